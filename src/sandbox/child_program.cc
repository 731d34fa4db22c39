// Runs between clone and exec: system calls only. See child_plan.h.

#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/limits.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox/child_steps.h"

namespace bailiff {
namespace {

constexpr int kSignalsEnd = 65;
constexpr std::size_t kKernelSignalSetSize = 8;

// The kernel's own structure: glibc's wrapper refuses some numbers and adds a restorer.
struct KernelSigaction {
  void (*handler)(int);
  unsigned long flags;
  void (*restorer)();
  std::uint64_t mask;
};

// What the parent ignores (SIGPIPE) would stay ignored over exec.
long ResetSignals() {
  const KernelSigaction action = {};
  for (int number = 1; number < kSignalsEnd; ++number) {
    if (number == SIGKILL || number == SIGSTOP) continue;
    if (syscall(SYS_rt_sigaction, number, &action, nullptr, kKernelSignalSetSize) < 0) return -1;
  }
  const std::uint64_t none = 0;
  return syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, nullptr, kKernelSignalSetSize);
}

// A hard limit can only be lowered without privilege, so the present one is the most there is.
long SetLimit(const ChildOp& op) {
  rlimit present = {};
  if (syscall(SYS_prlimit64, 0, op.number, nullptr, &present) < 0) return -1;
  const rlim_t hard = op.extra < present.rlim_max ? op.extra : present.rlim_max;
  const rlimit limit{op.flags < hard ? op.flags : hard, hard};
  rlimit set = {~limit.rlim_cur, ~limit.rlim_max};
  if (syscall(SYS_prlimit64, 0, op.number, &limit, nullptr) < 0) return -1;
  if (syscall(SYS_prlimit64, 0, op.number, nullptr, &set) < 0) return -1;
  const bool is_set = set.rlim_cur == limit.rlim_cur && set.rlim_max == limit.rlim_max;
  return is_set ? 0 : ChildFails(EPERM);
}

long PlaceStdio() {
  if (syscall(SYS_dup3, SlotFd(Slot::kStdin), 0, 0) < 0) return -1;
  if (syscall(SYS_dup3, SlotFd(Slot::kStdout), 1, 0) < 0) return -1;
  if (syscall(SYS_dup3, SlotFd(Slot::kStderr), 2, 0) < 0) return -1;
  return syscall(SYS_close_range, 3U, ~0U, CLOSE_RANGE_CLOEXEC);
}

// getcwd() of a directory outside the root begins with "(unreachable)".
long ChangeDir(const char* path) {
  char found[PATH_MAX] = {};
  if (syscall(SYS_chdir, path) < 0) return -1;
  if (syscall(SYS_getcwd, found, sizeof(found)) < 0) return -1;
  return found[0] == '/' ? 0 : ChildFails(ENOENT);
}

// As execvp(): a candidate that may not be executed does not hide a later one, but it is what is
// reported when none works.
long Exec(const ChildOp& op) {
  int sys_errno = ENOENT;
  for (const char* const* path = op.list; *path != nullptr; ++path) {
    syscall(SYS_execve, *path, op.argv, op.envp);
    if (errno != ENOENT && errno != ENOTDIR && errno != EACCES) return -1;
    if (errno == EACCES) sys_errno = EACCES;
  }
  return ChildFails(sys_errno);
}

}  // namespace

long ChildNewSession(const ChildOp& /*op*/) {
  const long session = syscall(SYS_setsid);
  return session == 0 ? ChildFails(EPERM) : session;
}

long ChildResetSignals(const ChildOp& /*op*/) {
  return ResetSignals();
}

long ChildSetLimit(const ChildOp& op) {
  return SetLimit(op);
}

long ChildPlaceStdio(const ChildOp& /*op*/) {
  return PlaceStdio();
}

long ChildChangeDir(const ChildOp& op) {
  return ChangeDir(op.path);
}

long ChildExec(const ChildOp& op) {
  return Exec(op);
}

}  // namespace bailiff
