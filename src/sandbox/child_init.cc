// Runs as pid 1 of a sandbox's tree: system calls only. See child_plan.h.
//
// Its only work is to reap. No signal from inside reaches it: the kernel shields the init of a pid
// namespace. When it exits, the kernel kills whatever is left in the namespace.

#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandbox/child_steps.h"

namespace bailiff {
namespace {

constexpr int kStatusFd = 0;
constexpr int kLockFd = 1;

// Keeps the status pipe and the uid's lock. The program's output must reach end of file without us.
void KeepOnlyOwnFds() {
  syscall(SYS_dup3, SlotFd(Slot::kStatus), kStatusFd, 0);
  // There is no lock where the sandbox has no uid of its own.
  syscall(SYS_dup3, SlotFd(Slot::kUidLock), kLockFd, 0);
  syscall(SYS_close_range, 2U, ~0U, 0U);
}

[[noreturn]] void Reap(long program) {
  for (;;) {
    int status = 0;
    const long pid = syscall(SYS_wait4, -1, &status, __WALL, nullptr);
    if (pid < 0 && errno == EINTR) continue;
    if (pid < 0) _exit(kExitSetupFailed);
    if (pid != program) continue;
    const InitReport report{status};
    syscall(SYS_write, kStatusFd, &report, sizeof(report));
    _exit(0);
  }
}

}  // namespace

long ChildFork(const ChildOp& /*op*/) {
  const long pid = syscall(SYS_clone, SIGCHLD, nullptr, nullptr, nullptr, nullptr);
  if (pid <= 0) return pid;
  KeepOnlyOwnFds();
  Reap(pid);
}

}  // namespace bailiff
