#include "sandbox/seccomp_filters.h"

namespace bailiff {
namespace {

// kCalls, kArguments, kRenamesPrivileged, kRenamesRootless and kClerk, written by
// tools/compile_filters.cc.
#include "seccomp_filters.inc"

}  // namespace

SeccompFilters SandboxFilters() {
  return {kCalls, kArguments, {}};
}

SeccompProgram RenameFilter(Tier tier) {
  return tier == Tier::kPrivileged ? SeccompProgram(kRenamesPrivileged)
                                   : SeccompProgram(kRenamesRootless);
}

SeccompProgram ClerkFilter() {
  return kClerk;
}

}  // namespace bailiff
