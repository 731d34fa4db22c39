#pragma once

#include <string>
#include <vector>

#include "core/serve_options.h"

namespace bailiff {

// What the process was started with. Only main.cc reads the environment.
struct Surroundings {
  std::vector<std::string> arguments;  // Without the program's name.
  std::string working_dir;             // Absolute.
  std::string workspace;               // $BAILIFF_WORKSPACE
  std::string state;                   // $BAILIFF_STATE
  std::string state_home;              // Where a user's state goes: absolute.
  std::string listen_pid;              // $LISTEN_PID, $LISTEN_FDS, $NOTIFY_SOCKET: of systemd.
  std::string listen_fds;
  std::string notify_socket;
  ServeFunction serve = nullptr;  // What `serve` does.
};

// Exit statuses of Bailiff's own, beside the script's (docs/cli.md).
inline constexpr int kExitConflict = 3;
inline constexpr int kExitWrongState = 4;
inline constexpr int kExitTimedOut = 124;
inline constexpr int kExitBailiff = 125;  // Misused, could not run, or a commit failed.
inline constexpr int kExitDenied = 126;
inline constexpr int kExitNotFound = 127;

// Does what the command line says and returns the exit status.
int RunCommandLine(const Surroundings& surroundings);

}  // namespace bailiff
