#pragma once

#include <sys/resource.h>
#include <sys/types.h>

#include <cstdint>
#include <optional>

#include "base/result.h"
#include "sys/fd.h"

namespace bailiff {

// How a child ended, as the kernel tells it.
struct ProcessEnd {
  int wait_status = 0;
  rusage usage = {};  // Of the child and of those it waited for.
};

// A child of this process, named by a pidfd: killing and waiting cannot hit another process that
// was given its number. Destruction kills and reaps. Not thread-safe.
class [[nodiscard]] Process {
 public:
  Process(pid_t pid, Fd pidfd) : pid_(pid), pidfd_(std::move(pidfd)) {}
  Process(Process&& other) noexcept = default;
  Process& operator=(Process&&) = delete;
  ~Process();

  pid_t pid() const { return pid_; }
  const Fd& pidfd() const { return pidfd_; }  // Readable once the child has ended.

  // SIGKILL. No error when it has ended already.
  Status Kill();

  // Blocks until the child has ended, and reaps it. The same answer again when called again.
  Result<ProcessEnd> Wait();

 private:
  pid_t pid_;
  Fd pidfd_;
  std::optional<ProcessEnd> end_;
};

struct CloneOptions {
  std::uint64_t flags = 0;     // CLONE_NEW*.
  const Fd* cgroup = nullptr;  // A cgroup v2 directory to be born in.
};

// clone3(2): starts a child that is a copy of this process and calls run(argument), which must not
// return. All signals are blocked in the child.
//
// Errors: kPermissionDenied; kResourceExhausted; kIo.
Result<Process> CloneProcess(const CloneOptions& options, void (*run)(const void*),
                             const void* argument);

// Where a child runs that shares this process's memory. Must outlive the child.
class ChildStack {
 public:
  static Result<ChildStack> Make();
  ChildStack(ChildStack&& other) noexcept;
  ChildStack& operator=(ChildStack&&) = delete;
  ~ChildStack();

 private:
  friend Result<Process> CloneSharing(std::uint64_t flags, const ChildStack& stack,
                                      void (*run)(const void*), const void* argument);
  explicit ChildStack(void* memory) : memory_(memory) {}
  void* memory_;
};

// As CloneProcess(), but nothing is copied, which is most of the work: run() shares this process's
// memory, `errno` included, and may make system calls only. With CLONE_VFORK in `flags` this
// process sleeps until the child has ended; without it, the child's calls must not fail. The child
// is killed when the calling thread ends, and CLONE_NEWPID must not be in `flags`.
Result<Process> CloneSharing(std::uint64_t flags, const ChildStack& stack, void (*run)(const void*),
                             const void* argument);

// Lets this process have as many descriptors as it may. Where that fails, it has fewer.
void RaiseDescriptorLimit();

// When process `pid` was started, in the kernel's ticks since boot; with its number, that names it
// for good. Errors: kNotFound, also once it has ended and only waits to be reaped; kIo.
Result<std::uint64_t> ProcessStartTime(pid_t pid);

}  // namespace bailiff
