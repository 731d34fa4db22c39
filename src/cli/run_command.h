#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/session.h"

namespace bailiff {

// The options of `run` and `exec` as they were written.
struct RunOptions {
  std::string case_name;
  std::optional<std::string> only_cases;
  std::string cwd;
  std::string mode = "commit";
  std::string on_failure = "discard";
  std::string environment = "default";
  std::string timeout = "300";
  std::string memory = "2g";
  std::string cpus = "1";
  std::string pids = "256";
  std::string scratch = "1g";
  std::string output = "10m";
  std::string files = "100000";
  std::string network = "none";
  std::string require;
  std::string description;
  std::string wait_lock = "30";
  std::vector<std::string> env;
  bool pass_stdin = false;
  bool cold = false;
  std::vector<std::string> words;  // The script or command, and its arguments.
};

enum class RunKind { kScript, kCommand };

// `run` and `exec`. Returns the exit status.
int RunOrExec(Session& session, const RunOptions& options, RunKind kind);

}  // namespace bailiff
