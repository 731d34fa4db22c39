#pragma once

#include "base/result.h"
#include "sandbox/sandbox.h"
#include "sandbox/sandbox_state.h"

namespace bailiff {

// Sandbox::Prepare() and Start(). After an error, destroying `state` removes what was made so far.
Status PrepareSandbox(const SandboxSpec& spec, const SandboxFds& fds, SandboxState* state);
Status StartSandbox(SandboxState* state);

}  // namespace bailiff
