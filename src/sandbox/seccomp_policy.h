#pragma once

#include <linux/filter.h>

#include <vector>

#include "base/result.h"
#include "sandbox/spec.h"

// libseccomp takes milliseconds to make these. They are made once, when the program is built
// (tools/compile_filters.cc), and a running program has them from sandbox/seccomp_filters.h.

namespace bailiff {

// The system calls that a sandboxed program may make, as filters of which the strictest answer
// counts.
struct SeccompPolicy {
  // Allows by number; an unknown call is ENOSYS, as on a kernel that does not have it, so that
  // programs fall back. A call of another architecture kills.
  std::vector<sock_filter> calls;
  // Refuses by argument. Install it last: among equal answers the newest filter's errno counts.
  std::vector<sock_filter> arguments;
};

// Errors: kUnsupported when libseccomp does not know this machine; kInternal.
Result<SeccompPolicy> BuildSeccompPolicy();

// The one filter of a clerk: everything but what has no place in file work.
Result<std::vector<sock_filter>> BuildClerkPolicy();

// The one filter of the process that serves: no process, program, mount or namespace; of sockets,
// those of the network and of this host.
Result<std::vector<sock_filter>> BuildServerPolicy();

// Notifies pid 1 of the calls that it carries out. Not for pid 1 itself. Errors: as above.
Result<std::vector<sock_filter>> BuildRenameFilter(Tier tier);

}  // namespace bailiff
