#pragma once

#include <linux/filter.h>

#include <span>

namespace bailiff {

// The filters of sandbox/seccomp_policy.h, as they were made when the program was built.
using SeccompProgram = std::span<const sock_filter>;

struct SeccompFilters {
  SeccompProgram calls;
  SeccompProgram arguments;
};

SeccompFilters SandboxFilters();
SeccompProgram ClerkFilter();

}  // namespace bailiff
