#pragma once

#include "base/result.h"
#include "sandbox/sandbox.h"
#include "sandbox/sandbox_state.h"

namespace bailiff {

// Builds the sandbox and starts its program. After an error, destroying `state` removes what was
// made so far. Errors: as Sandbox::Launch().
Status LaunchSandbox(const SandboxSpec& spec, const SandboxFds& fds, SandboxState* state);

}  // namespace bailiff
