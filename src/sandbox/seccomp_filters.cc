#include "sandbox/seccomp_filters.h"

namespace bailiff {
namespace {

// kCalls, kArguments and kClerk, written by tools/compile_filters.cc.
#include "seccomp_filters.inc"

}  // namespace

SeccompFilters SandboxFilters() {
  return {kCalls, kArguments};
}

SeccompProgram ClerkFilter() {
  return kClerk;
}

}  // namespace bailiff
