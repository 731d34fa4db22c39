// Runs between clone and exec. Only system calls are allowed in this file, and none of the rest of
// the program may be called from it. See child_plan.h.

#include "sandbox/child_plan.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox/child_steps.h"

namespace bailiff {
namespace {

// dup3() from a number to itself is an error; a slot that is already right only needs its flag.
long TakeFd(int fd, int target) {
  if (fd == target) return syscall(SYS_fcntl, fd, F_SETFD, FD_CLOEXEC);
  return syscall(SYS_dup3, fd, target, O_CLOEXEC);
}

long Take(const ChildOp& op) {
  return TakeFd(static_cast<int>(op.number), SlotFd(op.to));
}

long CloseOthers(const ChildOp& /*op*/) {
  const unsigned first = kSlotBase;
  const unsigned end = kSlotBase + static_cast<unsigned>(Slot::kCount);
  if (syscall(SYS_close_range, 0U, first - 1, 0U) < 0) return -1;
  return syscall(SYS_close_range, end, ~0U, 0U);
}

long AwaitParent(const ChildOp& op) {
  char byte = 0;
  const long size = syscall(SYS_read, SlotFd(op.from), &byte, sizeof(byte));
  if (size == 0) return ChildFails(ECANCELED);
  return size;
}

long SendFds(const ChildOp& op) {
  if (op.slot_count > kSentFdsMax) return ChildFails(E2BIG);
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kSentFdsMax)] = {};
  char byte = 'F';
  iovec part{&byte, sizeof(byte)};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = CMSG_SPACE(sizeof(int) * op.slot_count);
  auto* rights = reinterpret_cast<cmsghdr*>(control);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(sizeof(int) * op.slot_count);
  auto* fds = reinterpret_cast<int*>(CMSG_DATA(rights));
  for (std::size_t i = 0; i < op.slot_count; ++i) fds[i] = SlotFd(op.slots[i]);
  return syscall(SYS_sendmsg, SlotFd(op.from), &header, MSG_NOSIGNAL);
}

long SetMask(const ChildOp& op) {
  return syscall(SYS_umask, op.number);
}

long Unshare(const ChildOp& op) {
  return syscall(SYS_unshare, op.flags);
}

long Exit(const ChildOp& /*op*/) {
  _exit(0);
}

struct Step {
  ChildOpKind kind;
  long (*run)(const ChildOp& op);
};

constexpr Step kSteps[] = {
    {ChildOpKind::kTake, Take},
    {ChildOpKind::kCloseOthers, CloseOthers},
    {ChildOpKind::kJoinCgroup, ChildJoinCgroup},
    {ChildOpKind::kAwaitParent, AwaitParent},
    {ChildOpKind::kSetMask, SetMask},
    {ChildOpKind::kDropGroups, ChildDropGroups},
    {ChildOpKind::kSetIds, ChildSetIds},
    {ChildOpKind::kSetHostname, ChildSetHostname},
    {ChildOpKind::kRaiseLoopback, ChildRaiseLoopback},
    {ChildOpKind::kUnshare, Unshare},
    {ChildOpKind::kNewKeyring, ChildNewKeyring},
    {ChildOpKind::kMakePrivate, ChildMakePrivate},
    {ChildOpKind::kWriteFile, ChildWriteFile},
    {ChildOpKind::kCreateFile, ChildCreateFile},
    {ChildOpKind::kMakeDir, ChildMakeDir},
    {ChildOpKind::kMakeLink, ChildMakeLink},
    {ChildOpKind::kMakeWhiteout, ChildMakeWhiteout},
    {ChildOpKind::kRemoveDir, ChildRemoveDir},
    {ChildOpKind::kSetMode, ChildSetMode},
    {ChildOpKind::kChangeOwner, ChildChangeOwner},
    {ChildOpKind::kProveAttributes, ChildProveAttributes},
    {ChildOpKind::kOpenDir, ChildOpenDir},
    {ChildOpKind::kCheckIdentity, ChildCheckIdentity},
    {ChildOpKind::kCloneTree, ChildCloneTree},
    {ChildOpKind::kSetMountFlags, ChildSetMountFlags},
    {ChildOpKind::kNewFilesystem, ChildNewFilesystem},
    {ChildOpKind::kAttach, ChildAttach},
    {ChildOpKind::kBind, ChildBind},
    {ChildOpKind::kEnter, ChildEnter},
    {ChildOpKind::kPivot, ChildPivot},
    {ChildOpKind::kDetach, ChildDetach},
    {ChildOpKind::kSendFds, SendFds},
    {ChildOpKind::kDropPrivileges, ChildDropPrivileges},
    {ChildOpKind::kNoNewPrivileges, ChildNoNewPrivileges},
    {ChildOpKind::kHide, ChildHide},
    {ChildOpKind::kDieWithParent, ChildDieWithParent},
    {ChildOpKind::kFork, ChildFork},
    {ChildOpKind::kNewSession, ChildNewSession},
    {ChildOpKind::kResetSignals, ChildResetSignals},
    {ChildOpKind::kSetLimit, ChildSetLimit},
    {ChildOpKind::kPlaceStdio, ChildPlaceStdio},
    {ChildOpKind::kChangeDir, ChildChangeDir},
    {ChildOpKind::kLandlockCreate, ChildLandlockCreate},
    {ChildOpKind::kLandlockAllow, ChildLandlockAllow},
    {ChildOpKind::kLandlockEnforce, ChildLandlockEnforce},
    {ChildOpKind::kSeccomp, ChildSeccomp},
    {ChildOpKind::kSupervise, ChildSupervise},
    {ChildOpKind::kProve, ChildProve},
    {ChildOpKind::kExec, ChildExec},
    {ChildOpKind::kExit, Exit},
};

// The table is indexed by kind.
constexpr bool IsInOrder() {
  std::size_t next = 0;
  for (const Step& step : kSteps) {
    if (static_cast<std::size_t>(step.kind) != next++) return false;
  }
  return next == static_cast<std::size_t>(ChildOpKind::kExit) + 1;
}
static_assert(IsInOrder());

[[noreturn]] void Fail(std::uint32_t op_index, int sys_errno) {
  const ChildFailure failure{op_index, sys_errno};
  // Smaller than PIPE_BUF, so it arrives whole or not at all. If it does not arrive, the parent
  // still sees that the process ended without a status.
  syscall(SYS_write, SlotFd(Slot::kReport), &failure, sizeof(failure));
  _exit(kExitSetupFailed);
}

}  // namespace

void RunChildPlan(const ChildPlan& plan) {
  if (TakeFd(plan.report_fd, SlotFd(Slot::kReport)) < 0) _exit(kExitSetupFailed);
  for (std::uint32_t i = 0; i < plan.op_count; ++i) {
    if (kSteps[static_cast<std::size_t>(plan.ops[i].kind)].run(plan.ops[i]) < 0) Fail(i, errno);
  }
  Fail(plan.op_count, ENOEXEC);  // A plan without an end is a bug in its builder.
}

}  // namespace bailiff
