// Runs between clone and exec: system calls only. See child_plan.h.

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <linux/seccomp.h>
#include <linux/securebits.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox/child_steps.h"
#include "sandbox/landlock_abi.h"

namespace bailiff {
namespace {

// The kernel clears `dumpable` when ids change, and then /proc/self/uid_map belongs to root.
long SetIds(const ChildOp& op) {
  if (syscall(SYS_setresgid, op.extra, op.extra, op.extra) < 0) return -1;
  if (syscall(SYS_setresuid, op.number, op.number, op.number) < 0) return -1;
  return prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}

long RaiseLoopback() {
  const long fd = syscall(SYS_socket, AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  ifreq request = {};
  request.ifr_name[0] = 'l';
  request.ifr_name[1] = 'o';
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  const long rc = syscall(SYS_ioctl, fd, SIOCSIFFLAGS, &request);
  const int sys_errno = errno;
  syscall(SYS_close, fd);
  return rc < 0 ? ChildFails(sys_errno) : rc;
}

// The parent's end of the sync socket closes with it, which answers the race between its death and
// our request.
long DieWithParent(Slot sync) {
  if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0) return -1;
  pollfd watched{SlotFd(sync), POLLIN, 0};
  timespec now = {};
  if (syscall(SYS_ppoll, &watched, 1, &now, nullptr, 0) < 0) return -1;
  return (watched.revents & (POLLHUP | POLLERR)) != 0 ? ChildFails(ECANCELED) : 0;
}

long DropPrivileges() {
  // EINVAL is how the kernel says that there is no capability of this number.
  for (unsigned long capability = 0; capability < 64; ++capability) {
    if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0 && errno != EINVAL) return -1;
  }
  if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0) return -1;
  const unsigned long locked = SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP |
                               SECBIT_NO_SETUID_FIXUP_LOCKED | SECBIT_KEEP_CAPS_LOCKED |
                               SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED;
  if (prctl(PR_SET_SECUREBITS, locked, 0, 0, 0) < 0) return -1;
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {};
  return syscall(SYS_capset, &header, none);
}

// Older kernels take a shorter structure and refuse a longer one unless its tail is zero.
long LandlockCreate(const ChildOp& op) {
  const LandlockRuleset ruleset{op.flags, op.number, op.extra};
  std::size_t size = sizeof(ruleset);
  if (op.extra == 0) size -= sizeof(ruleset.scoped);
  if (op.extra == 0 && op.number == 0) size -= sizeof(ruleset.handled_access_net);
  const long fd = syscall(SYS_landlock_create_ruleset, &ruleset, size, 0);
  if (fd < 0) return -1;
  const long rc = syscall(SYS_dup3, fd, SlotFd(op.to), O_CLOEXEC);
  syscall(SYS_close, fd);
  return rc;
}

long LandlockAllow(const ChildOp& op) {
  const long fd = syscall(SYS_openat, AT_FDCWD, op.path, O_PATH | O_CLOEXEC);
  if (fd < 0) return -1;
  const LandlockPathRule rule{op.flags, static_cast<std::int32_t>(fd)};
  const long rc = syscall(SYS_landlock_add_rule, SlotFd(op.from), kLandlockRulePath, &rule, 0);
  const int sys_errno = errno;
  syscall(SYS_close, fd);
  return rc < 0 ? ChildFails(sys_errno) : rc;
}

bool HasIds(std::uint64_t id) {
  std::uint32_t uids[3] = {};
  std::uint32_t gids[3] = {};
  if (syscall(SYS_getresuid, &uids[0], &uids[1], &uids[2]) < 0) return false;
  if (syscall(SYS_getresgid, &gids[0], &gids[1], &gids[2]) < 0) return false;
  for (int i = 0; i < 3; ++i) {
    if (uids[i] != id || gids[i] != id) return false;
  }
  return true;
}

bool HasNoCapability() {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = {};
  if (syscall(SYS_capget, &header, sets) < 0) return false;
  for (const __user_cap_data_struct& set : sets) {
    if ((set.effective | set.permitted | set.inheritable) != 0) return false;
  }
  // EINVAL ends the capabilities that this kernel has.
  for (unsigned long capability = 0; capability < 64; ++capability) {
    if (prctl(PR_CAPBSET_READ, capability, 0, 0, 0) > 0) return false;
  }
  return true;
}

bool CannotBind() {
  const long fd = syscall(SYS_socket, AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = 0x0100007F;  // 127.0.0.1
  const bool refused = syscall(SYS_bind, fd, &address, sizeof(address)) < 0 && errno == EACCES;
  syscall(SYS_close, fd);
  return refused;
}

bool Holds(const ChildOp& op) {
  switch (static_cast<ChildFact>(op.number)) {
    case ChildFact::kIds:
      return HasIds(op.extra);
    case ChildFact::kNoGroups:
      return syscall(SYS_getgroups, 0, nullptr) == 0;
    case ChildFact::kNoNewPrivileges:
      return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1;
    case ChildFact::kNoCapabilities:
      return HasNoCapability();
    case ChildFact::kSeccomp:
      return prctl(PR_GET_SECCOMP, 0, 0, 0, 0) == SECCOMP_MODE_FILTER;
    case ChildFact::kLandlock:
      return CannotBind();
  }
  return false;
}

}  // namespace

// "0" is the writer itself. Only for it, alone in `tasks`, does the kernel not stop every fork and
// exit of the host, which takes a grace period of milliseconds (cgroup_procs_write_start(), since
// Linux 5.16). Whether it may is judged by who opened the file.
long ChildJoinCgroup(const ChildOp& op) {
  return syscall(SYS_write, SlotFd(op.from), "0", 1);
}

long ChildDropGroups(const ChildOp& /*op*/) {
  return syscall(SYS_setgroups, 0, nullptr);
}

long ChildSetIds(const ChildOp& op) {
  return SetIds(op);
}

long ChildSetHostname(const ChildOp& op) {
  return syscall(SYS_sethostname, op.text, op.text_size);
}

long ChildRaiseLoopback(const ChildOp& /*op*/) {
  return RaiseLoopback();
}

long ChildNewKeyring(const ChildOp& /*op*/) {
  return syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, nullptr);
}

long ChildDieWithParent(const ChildOp& op) {
  return DieWithParent(op.from);
}

long ChildDropPrivileges(const ChildOp& /*op*/) {
  return DropPrivileges();
}

long ChildNoNewPrivileges(const ChildOp& /*op*/) {
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

long ChildHide(const ChildOp& /*op*/) {
  return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

long ChildLandlockCreate(const ChildOp& op) {
  return LandlockCreate(op);
}

long ChildLandlockAllow(const ChildOp& op) {
  return LandlockAllow(op);
}

long ChildLandlockEnforce(const ChildOp& op) {
  return syscall(SYS_landlock_restrict_self, SlotFd(op.from), 0);
}

long ChildSeccomp(const ChildOp& op) {
  return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, op.filter);
}

long ChildProve(const ChildOp& op) {
  return Holds(op) ? 0 : ChildFails(EPERM);
}

}  // namespace bailiff
