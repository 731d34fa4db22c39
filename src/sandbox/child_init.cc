// Runs as pid 1 of a sandbox's tree: system calls only. See child_plan.h.
//
// It reaps, and carries renames out for the others (child_rename.h). No signal from inside reaches
// it: the kernel shields the init of a pid namespace. When it exits, the kernel kills whatever is
// left in the namespace. Nothing of what it does takes more rights than the program has: it is
// bound by the same Landlock rules and filters, and has no capability either.

#include <fcntl.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandbox/child_rename.h"
#include "sandbox/child_steps.h"

namespace bailiff {
namespace {

constexpr int kStatusFd = 0;
constexpr int kLockFd = 1;
constexpr int kChannelFd = 2;
constexpr std::size_t kKernelSignalSetSize = 8;

// SECCOMP_IOCTL_NOTIF_SET_FLAGS and SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP, newer than these headers.
constexpr unsigned long kSetNotificationFlags = _IOW(SECCOMP_IOC_MAGIC, 4, std::uint64_t);
constexpr std::uint64_t kSyncWakeUp = 1;

// Keeps the status pipe, the uid's lock and our end of the channel to the program's process. The
// program's output must reach end of file without us.
void KeepOnlyOwnFds() {
  syscall(SYS_dup3, SlotFd(Slot::kStatus), kStatusFd, 0);
  // There is no lock where the sandbox has no uid of its own.
  syscall(SYS_dup3, SlotFd(Slot::kUidLock), kLockFd, 0);
  syscall(SYS_dup3, SlotFd(Slot::kInitChannel), kChannelFd, 0);
  syscall(SYS_close_range, 3U, ~0U, 0U);
}

// Collects whoever has ended, and ends with the program.
void Reap(long program) {
  for (;;) {
    int status = 0;
    const long pid = syscall(SYS_wait4, -1, &status, __WALL | WNOHANG, nullptr);
    if (pid == 0) return;
    if (pid < 0) _exit(kExitSetupFailed);
    if (pid != program) continue;
    const InitReport report{status};
    syscall(SYS_write, kStatusFd, &report, sizeof(report));
    _exit(0);
  }
}

// What SendListener() sent; -1 when the program's process ended before.
int ReceiveListener() {
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  char byte = 0;
  iovec part{&byte, sizeof(byte)};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof(control);
  const long size = syscall(SYS_recvmsg, kChannelFd, &header, MSG_CMSG_CLOEXEC);
  syscall(SYS_close, kChannelFd);
  if (size <= 0 || header.msg_controllen < CMSG_LEN(sizeof(int))) return -1;
  int listener = -1;
  memcpy(&listener, CMSG_DATA(reinterpret_cast<cmsghdr*>(control)), sizeof(listener));
  return listener;
}

long SendListener(int channel, int listener) {
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  char byte = 'L';
  iovec part{&byte, sizeof(byte)};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof(control);
  auto* rights = reinterpret_cast<cmsghdr*>(control);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(rights), &listener, sizeof(listener));
  return syscall(SYS_sendmsg, channel, &header, MSG_NOSIGNAL);
}

[[noreturn]] void Serve(long program) {
  const std::uint64_t child_ended = 1ULL << (SIGCHLD - 1);
  const long ended =
      syscall(SYS_signalfd4, -1, &child_ended, kKernelSignalSetSize, SFD_CLOEXEC | SFD_NONBLOCK);
  if (ended < 0) _exit(kExitSetupFailed);
  RenameServer server{ReceiveListener()};
  // Caller and server take turns: waking each other on one processor is faster. Since Linux 6.6.
  syscall(SYS_ioctl, server.listener, kSetNotificationFlags, kSyncWakeUp);
  pollfd watched[] = {{static_cast<int>(ended), POLLIN, 0}, {server.listener, POLLIN, 0}};
  Reap(program);
  for (;;) {
    if (syscall(SYS_ppoll, watched, 2, nullptr, nullptr, 0) < 0 && errno != EINTR) {
      _exit(kExitSetupFailed);
    }
    signalfd_siginfo signal;
    if (watched[0].revents != 0) {
      syscall(SYS_read, ended, &signal, sizeof(signal));
      Reap(program);
    }
    if ((watched[1].revents & POLLIN) != 0) {
      AnswerCall(&server);
    } else if (watched[1].revents != 0) {
      watched[1].fd = -1;  // No process is left that could call.
    }
  }
}

long OpenChannel() {
  int ends[2];
  if (syscall(SYS_socketpair, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) return -1;
  long rc = syscall(SYS_dup3, ends[0], SlotFd(Slot::kInitChannel), O_CLOEXEC);
  if (rc >= 0) rc = syscall(SYS_dup3, ends[1], SlotFd(Slot::kChannel), O_CLOEXEC);
  const int sys_errno = errno;
  syscall(SYS_close, ends[0]);
  syscall(SYS_close, ends[1]);
  return rc < 0 ? ChildFails(sys_errno) : rc;
}

}  // namespace

long ChildFork(const ChildOp& /*op*/) {
  if (OpenChannel() < 0) return -1;
  const long pid = syscall(SYS_clone, SIGCHLD, nullptr, nullptr, nullptr, nullptr);
  if (pid < 0) return pid;
  if (pid == 0) return syscall(SYS_close, SlotFd(Slot::kInitChannel));
  KeepOnlyOwnFds();
  Serve(pid);
}

// Killable: once we have taken a call up, no signal but a deadly one disturbs it.
long ChildSupervise(const ChildOp& op) {
  const unsigned flags = SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
  const long listener = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, op.filter);
  if (listener < 0) return -1;
  const long rc = SendListener(SlotFd(Slot::kChannel), static_cast<int>(listener));
  const int sys_errno = errno;
  syscall(SYS_close, listener);
  return rc < 0 ? ChildFails(sys_errno) : rc;
}

}  // namespace bailiff
