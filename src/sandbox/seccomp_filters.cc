#include "sandbox/seccomp_filters.h"

#include <linux/seccomp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

namespace bailiff {
namespace {

// kCalls, kArguments, kRenamesPrivileged, kRenamesRootless, kClerk and kServer,
// written by tools/compile_filters.cc.
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

SeccompProgram ServerFilter() {
  return kServer;
}

Status EnforceFilter(SeccompProgram filter) {
  const sock_fprog program{static_cast<unsigned short>(filter.size()),
                           const_cast<sock_filter*>(filter.data())};
  if (::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0) return Ok();
  return Error::FromErrno(errno, "seccomp");
}

}  // namespace bailiff
