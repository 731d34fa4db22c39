#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "core/config.h"
#include "core/lint_run.h"
#include "core/request.h"
#include "sandbox/spec.h"
#include "workspace/workspace.h"

namespace bailiff {

// A request that has passed every check, ready to launch.
struct Admitted {
  SandboxSpec spec;
  Fd in;
  std::string script_path;               // "/Tools/x.py"; "-" for a text; empty for a command.
  std::string script_sha256;             // Raw; empty for a command.
  std::vector<std::string> script_args;  // For a command: the command itself.
  LintInput lint;                        // What lint may look at afterwards.
  std::vector<std::string> warnings;
};

// Checks `request` against the workspace and the configuration, and caps what has a cap; takes over
// its `in`. `id` is the execution's.
//
// With RunRequest::visible_cases what the run will not see does not exist: messages are the same.
//
// Errors: kNotFound when the script does not exist; kPermissionDenied when it leads out of the
//         workspace or cannot be read; kInvalidArgument for anything else that is wrong, naming the
//         option, what is wrong with it and what would be right.
Result<Admitted> Admit(RunRequest* request, const std::string& id, const Workspace& workspace,
                       const Config& config);

// SHA-256 (raw) of the script at the workspace path `path`, as it is now.
Result<std::string> HashScript(const std::string& path, const Workspace& workspace);

// A path as people write it ("Tools/x.py", "/Tools/x.py", "/workspace/Tools/x.py", "./a/../b") as a
// workspace path; "" is the root. Errors: kInvalidArgument when it leaves the workspace.
Result<std::string> NormalizePath(const std::string& text);

// SHA-256 (raw) over what the environment `default` is made of: the host's Python interpreter.
std::string DefaultEnvironmentDigest();

}  // namespace bailiff
