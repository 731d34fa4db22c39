#pragma once

#include <linux/filter.h>

#include <span>

#include "base/result.h"
#include "sandbox/spec.h"

namespace bailiff {

// The filters of sandbox/seccomp_policy.h, as they were made when the program was built.
using SeccompProgram = std::span<const sock_filter>;

struct SeccompFilters {
  SeccompProgram calls;
  SeccompProgram arguments;
  SeccompProgram renames;  // Empty where the kernel carries renames out.
};

SeccompFilters SandboxFilters();  // Without `renames`.
SeccompProgram RenameFilter(Tier tier);
SeccompProgram ClerkFilter();
SeccompProgram ServerFilter();

// Puts a filter on this thread and those that it starts, for good; PR_SET_NO_NEW_PRIVS must be set.
// Errors: kUnsupported; kPermissionDenied; kIo.
Status EnforceFilter(SeccompProgram filter);

}  // namespace bailiff
