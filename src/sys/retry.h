#pragma once

#include <cerrno>

namespace bailiff {

// Makes a system call again for as long as it is interrupted. A local file system never interrupts
// those that change it; FUSE and NFS do when a signal comes, before anything was changed.
// Not for close(2), which must not be repeated.
template <typename Call>
auto RetryInterrupted(const Call& call) {
  for (;;) {
    const auto result = call();
    if (result >= 0 || errno != EINTR) return result;
  }
}

}  // namespace bailiff
