#include <unistd.h>

#include <climits>
#include <cstdio>
#include <cstdlib>
#include <exception>

#include "api/serve.h"
#include "cli/cli.h"

namespace {

std::string Variable(const char* name) {
  const char* value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): no threads yet.
  return value == nullptr ? "" : value;
}

// Where a user's state goes: the system's place for root, the XDG one for others.
std::string StateHome() {
  if (::geteuid() == 0) return "/var/lib/bailiff";
  const std::string xdg = Variable("XDG_STATE_HOME");
  if (xdg.starts_with('/')) return xdg + "/bailiff";
  const std::string home = Variable("HOME");
  return (home.starts_with('/') ? home : "/tmp") + "/.local/state/bailiff";
}

}  // namespace

int main(int argc, char** argv) {
  bailiff::Surroundings surroundings;
  surroundings.arguments.assign(argv + 1, argv + argc);
  char working_dir[PATH_MAX];
  if (::getcwd(working_dir, sizeof(working_dir)) != nullptr) surroundings.working_dir = working_dir;
  surroundings.workspace = Variable("BAILIFF_WORKSPACE");
  surroundings.state = Variable("BAILIFF_STATE");
  surroundings.state_home = StateHome();
  surroundings.listen_pid = Variable("LISTEN_PID");
  surroundings.listen_fds = Variable("LISTEN_FDS");
  surroundings.notify_socket = Variable("NOTIFY_SOCKET");
  surroundings.serve = bailiff::Serve;
  try {
    return bailiff::RunCommandLine(surroundings);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bailiff: internal error: %s\n", error.what());
    return bailiff::kExitBailiff;
  }
}
