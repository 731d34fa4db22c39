#pragma once

#include <sys/types.h>

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "sys/fd.h"

namespace bailiff {

// File work that a clerk does: gets the request's bytes and descriptors, gives the answer's bytes.
// Runs in a process of its own, with few capabilities and one thread.
using ClerkJob =
    std::function<Result<std::string>(std::string request, const std::vector<Fd>& fds)>;

// The small process that keeps the privilege and forks everything below it: one monitor per running
// sandbox, one clerk per commit, rollback or recovery. It shares no memory with its starter; when
// the starter is gone (end of file on their socket) it kills what it forked and leaves.
//
// Start it before the process has threads. Destruction closes the socket and waits for it. The
// object may be used by one thread at a time.
class Launcher {
 public:
  // Forks. `jobs` are the clerks that can be asked for, by name.
  static Result<Launcher> Start(std::map<std::string, ClerkJob> jobs);

  Launcher(Launcher&& other) noexcept;
  Launcher& operator=(Launcher&&) = delete;
  ~Launcher();

  // Another object for the same process, for another thread. This one outlives it.
  Result<Launcher> Share() const;

  // A socket to a new monitor. See engine/protocol.h for what is said there.
  Result<Fd> StartMonitor();

  // Has a clerk do `job` and waits for its answer. Errors: the job's own; kInternal when the clerk
  // died without an answer.
  Result<std::string> RunClerk(const std::string& job, std::string request,
                               const std::vector<const Fd*>& fds);

  // RunClerk() in two halves, for a caller with other work meanwhile: the answer comes from
  // AwaitAnswer() (engine/clerk.h) on the socket that is returned.
  Result<Fd> AskClerk(const std::string& job, std::string_view request,
                      const std::vector<const Fd*>& fds);

  // Has a clerk wait, confined, for the next request for `job`, whose `fds` must be the same.
  Status ReadyClerk(const std::string& job, const std::vector<const Fd*>& fds);

 private:
  Result<Fd> StartClerk(const std::string& job, const std::vector<const Fd*>& fds);

  Launcher(Fd socket, pid_t pid) : socket_(std::move(socket)), pid_(pid) {}

  Fd socket_;
  pid_t pid_;                        // Negative: another object waits for the process.
  std::map<std::string, Fd> ready_;  // Sockets of clerks that wait, by job.
};

}  // namespace bailiff
