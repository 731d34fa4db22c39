#pragma once

#include <cstdio>
#include <cstdlib>

// CHECK aborts when a fact this program relies on is false. It guards against bugs, never against
// bad input or a failing kernel: those are a Result. It stays on in release builds, because a
// process that manages sandboxes must stop rather than continue on a broken assumption.
#define CHECK(condition)                                                      \
  do {                                                                        \
    if (!(condition)) ::bailiff::CheckFailed(#condition, __FILE__, __LINE__); \
  } while (false)

namespace bailiff {

[[noreturn]] inline void CheckFailed(const char* what, const char* file, int line) {
  std::fprintf(stderr, "%s:%d: CHECK failed: %s\n", file, line, what);
  std::abort();
}

}  // namespace bailiff
