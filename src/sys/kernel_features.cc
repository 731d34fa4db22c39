#include "sys/kernel_features.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <linux/mount.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "sys/file.h"
#include "sys/mount.h"
#include "sys/process.h"
#include "sys/user_namespace.h"

namespace bailiff {
namespace {

constexpr const char* kRedirectMax = "/sys/module/overlay/parameters/redirect_max";
constexpr int kRedirectMaxWanted = 4096;
constexpr unsigned kLandlockVersionFlag = 1;

Feature FromErrno(int sys_errno, const std::string& what, const std::string& hint) {
  if (sys_errno == 0) return {.ok = true, .reason = ""};
  return {.ok = false, .reason = Error::FromErrno(sys_errno, what).message() + ". " + hint};
}

// Each runs in a child of its own and exits with an errno, or 0.
void TryNothing(const void* /*unused*/) {
  ::_exit(0);
}

void TryKeyring(const void* /*unused*/) {
  const long rc = ::syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, nullptr);
  ::_exit(rc < 0 ? errno : 0);
}

// An empty filter is refused with EFAULT by a kernel that has filters at all.
void TrySeccomp(const void* /*unused*/) {
  const long rc = ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, nullptr);
  ::_exit(rc < 0 && errno != EFAULT ? errno : 0);
}

Result<int> TryInChild(std::uint64_t flags, void (*attempt)(const void*)) {
  Result<Process> child = CloneProcess({.flags = flags}, attempt, nullptr);
  if (!child.ok()) {
    const int sys_errno = child.error().sys_errno();
    return sys_errno != 0 ? Result<int>(sys_errno) : Result<int>(std::move(child).error());
  }
  const ProcessEnd end = TRY(child.value().Wait());
  return WIFEXITED(end.wait_status) ? WEXITSTATUS(end.wait_status) : EIO;
}

Feature ProbeIdmap(const Fd& directory, bool privileged) {
  if (!privileged) return {.ok = false, .reason = "only a privileged process can map ids"};
  constexpr std::uint32_t kSomeId = 2'000'000'000;
  const IdMaps maps{ExchangeIds(0, kSomeId), ExchangeIds(0, kSomeId)};
  const Result<Fd> user_namespace = MakeUserNamespace(maps);
  if (!user_namespace.ok()) return {.ok = false, .reason = user_namespace.error().message()};
  const Result<Fd> mount = CloneMount(directory);
  if (!mount.ok()) return {.ok = false, .reason = mount.error().message()};
  const Status set = SetMountAttributes(mount.value(), MOUNT_ATTR_IDMAP, &user_namespace.value());
  if (!set.ok()) return {.ok = false, .reason = set.error().message()};
  return {.ok = true, .reason = ""};
}

int ReadRedirectMax() {
  const Result<Fd> file = OpenPath(kRedirectMax, O_RDONLY);
  if (!file.ok()) return 0;
  const Result<std::string> text = ReadAll(file.value(), 64);
  return text.ok() ? static_cast<int>(std::strtol(text.value().c_str(), nullptr, 10)) : 0;
}

}  // namespace

Result<bool> IsPrivileged() {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = {};
  if (::syscall(SYS_capget, &header, sets) != 0) return Error::FromErrno(errno, "capget");
  if ((sets[0].effective & (1U << CAP_SYS_ADMIN)) == 0) return false;
  return InInitialUserNamespace();
}

int LandlockAbi() {
  const long abi = ::syscall(SYS_landlock_create_ruleset, nullptr, 0, kLandlockVersionFlag);
  return abi < 0 ? 0 : static_cast<int>(abi);
}

Feature ProbeTmpfsAttributes() {
  // Memory files lie on a tmpfs of the kernel's own.
  const Fd file(::memfd_create("attributes", MFD_CLOEXEC));
  const bool set = file.valid() && ::fsetxattr(file.get(), "user.overlay.opaque", "y", 1, 0) == 0;
  return FromErrno(set ? 0 : errno, "set user attributes on tmpfs",
                   "Linux 6.6 or newer has them; without, changes lie on disk");
}

Feature ProbeKeyrings() {
  const long rc = ::syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0);
  const bool absent = rc < 0 && (errno == ENOSYS || errno == EPERM);
  return FromErrno(absent ? errno : 0, "keyctl",
                   "The kernel has no keyrings, or forbids them here");
}

Result<KernelFeatures> ProbeKernel(const Fd& directory) {
  KernelFeatures features;
  features.privileged = TRY(IsPrivileged());
  features.user_namespaces = FromErrno(
      TRY(TryInChild(CLONE_NEWUSER, TryNothing)), "make a user namespace",
      "See kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns and "
      "user.max_user_namespaces; or run as root");
  features.tmpfs_attributes = ProbeTmpfsAttributes();
  features.idmap = ProbeIdmap(directory, features.privileged);
  features.seccomp =
      FromErrno(TRY(TryInChild(0, TrySeccomp)), "seccomp", "The kernel has no system call filters");
  features.keyrings = FromErrno(TRY(TryInChild(0, TryKeyring)), "join a keyring",
                                "The kernel has no keyrings, or forbids them here");
  features.landlock_abi = LandlockAbi();
  features.redirect_max = ReadRedirectMax();
  return features;
}

int RaiseRedirectMax() {
  const int present = ReadRedirectMax();
  if (present >= kRedirectMaxWanted) return present;
  const Result<Fd> file = OpenPath(kRedirectMax, O_WRONLY);
  if (!file.ok()) return present;
  // The present one says what came of it.
  (void)WriteAll(file.value(), std::to_string(kRedirectMaxWanted));
  return ReadRedirectMax();
}

}  // namespace bailiff
