#pragma once

#include <string>

#include "base/result.h"
#include "core/supervise.h"
#include "engine/launcher.h"
#include "sandbox/spec.h"
#include "sys/fd.h"

namespace bailiff {

struct SideRun {
  Supervised supervised;
  std::string out;  // What was kept.
  std::string err;
};

// Runs `spec` over `workspace` in a sandbox beside all executions: nothing of it is recorded or
// captured, and nobody can cancel it. Of each stream `output_max` bytes are kept. Blocks until it
// has ended. Errors: those of StartMonitor() and Supervise().
struct SideRunFds {
  const Fd& workspace;
  const Fd& in;
  const Fd& scratch;
};
Result<SideRun> RunAside(Launcher& launcher, const SandboxSpec& spec, const SideRunFds& fds,
                         const RunObserver& observer, std::int64_t output_max);

}  // namespace bailiff
