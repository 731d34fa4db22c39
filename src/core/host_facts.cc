#include "core/host_facts.h"

#include <fcntl.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cstdlib>
#include <sstream>
#include <utility>

#include "sys/file.h"
#include "sys/mount.h"

namespace bailiff {
namespace {

constexpr std::size_t kFileBytesMax = 1UL << 20;

constexpr const char* kAppArmorProfile =
    "printf '%s\\n' 'abi <abi/4.0>,' 'include <tunables/global>' "
    "'profile bailiff \"'\"$(command -v bailiff)\"'\" flags=(unconfined) { userns, }' "
    "| sudo tee /etc/apparmor.d/bailiff && sudo apparmor_parser -r /etc/apparmor.d/bailiff";

std::string ReadText(const char* path) {
  const Result<Fd> file = OpenPath(path, O_RDONLY);
  if (!file.ok()) return "";
  const Result<std::string> text = ReadAll(file.value(), kFileBytesMax);
  return text.ok() ? text.value() : "";
}

std::optional<int> ReadNumber(const char* path) {
  const std::string text = ReadText(path);
  if (text.empty()) return std::nullopt;
  return static_cast<int>(std::strtol(text.c_str(), nullptr, 10));
}

bool Contains(const std::string& text, const char* part) {
  return text.find(part) != std::string::npos;
}

Cause WhyNoUserNamespace(const HostFacts& host) {
  if (host.userns_max == 0) {
    return {"user.max_user_namespaces is 0", {"sudo sysctl -w user.max_user_namespaces=15000"}};
  }
  if (!host.kernel.privileged && host.userns_clone == 0) {
    return {"kernel.unprivileged_userns_clone is 0: only root may make user namespaces",
            {"sudo sysctl -w kernel.unprivileged_userns_clone=1"}};
  }
  if (!host.kernel.privileged && host.apparmor_restricts.value_or(0) != 0) {
    return {
        "AppArmor lets only programs with a profile make user namespaces "
        "(kernel.apparmor_restrict_unprivileged_userns)",
        {kAppArmorProfile, "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"}};
  }
  if (host.filtered) {
    return {
        "a seccomp filter that Bailiff was started under refuses user namespaces, as container "
        "engines' default profiles do",
        {"docker run --security-opt seccomp=unconfined --security-opt "
         "systempaths=unconfined ...",
         "Kubernetes: securityContext: {seccompProfile: {type: Unconfined}, procMount: "
         "Unmasked}"}};
  }
  return {host.kernel.user_namespaces.reason, {"run Bailiff as root, or on the host itself"}};
}

}  // namespace

Result<HostFacts> ReadHostFacts() {
  HostFacts host;
  const Fd tmp = TRY(OpenPath("/tmp", O_RDONLY | O_DIRECTORY));
  host.kernel = TRY(ProbeKernel(tmp));
  struct utsname name = {};
  if (::uname(&name) == 0) host.release = name.release;
  host.userns_clone = ReadNumber("/proc/sys/kernel/unprivileged_userns_clone");
  host.userns_max = ReadNumber("/proc/sys/user/max_user_namespaces");
  host.apparmor_restricts = ReadNumber("/proc/sys/kernel/apparmor_restrict_unprivileged_userns");
  host.filtered = Contains(ReadText("/proc/self/status"), "\nSeccomp:\t2");
  host.has_overlay = Contains(ReadText("/proc/filesystems"), "\toverlay\n");
  host.lsm = ReadText("/sys/kernel/security/lsm");
  for (const MountEntry& mount : TRY(ListMounts())) {
    // Where binfmt_misc is, or its trigger, nothing is hidden by it.
    if (mount.point.starts_with("/proc/") && !mount.point.ends_with("/binfmt_misc")) {
      host.masked = mount.point;
    }
    host.has_cgroup2 = host.has_cgroup2 || mount.type == "cgroup2";
    host.has_cgroup1 = host.has_cgroup1 || mount.type == "cgroup";
  }
  return host;
}

LaunchCause WhyNoSandbox(const HostFacts& host, const std::string& failure) {
  if (!host.kernel.user_namespaces.ok || Contains(failure, "User namespaces are not allowed")) {
    return {"user-namespace", WhyNoUserNamespace(host)};
  }
  if (!host.kernel.seccomp.ok) {
    return {"seccomp",
            {host.kernel.seccomp.reason, {"use a kernel built with CONFIG_SECCOMP_FILTER"}}};
  }
  if (Contains(failure, "user attributes")) {
    return {"overlay",
            {"tmpfs of Linux " + host.release + " has no user attributes, and neither has the disk",
             {"run Bailiff as root", "bailiff --state DIR ... # on ext4, xfs or btrfs",
              "sudo apt-get install -t bookworm-backports linux-image-amd64 "
              "# or any kernel from 6.6 on"}}};
  }
  if (Contains(failure, "overlay") && !host.has_overlay) {
    return {
        "overlay",
        {"the kernel's overlay module is not loaded",
         {"sudo modprobe overlay", "echo overlay | sudo tee /etc/modules-load.d/overlay.conf"}}};
  }
  if (Contains(failure, "mount /proc") && !host.masked.empty()) {
    return {"mounts",
            {"parts of /proc are hidden here (" + host.masked +
                 "), and the kernel then lets nobody mount another",
             {"docker run --security-opt systempaths=unconfined ...",
              "Kubernetes: securityContext: {procMount: Unmasked}"}}};
  }
  if (Contains(failure, "landlock")) {
    return {"landlock",
            {"the kernel said that it has Landlock, and then refused it",
             {"start Bailiff without the seccomp filter or policy that refuses landlock_*"}}};
  }
  if (host.filtered) {
    return {"mounts",
            {"a seccomp filter that Bailiff was started under may refuse what a sandbox needs",
             {"docker run --security-opt seccomp=unconfined ..."}}};
  }
  return {"mounts", {"", {}}};
}

Cause WhyNoLandlock(const HostFacts& host) {
  if (host.filtered) {
    return {
        "a seccomp filter that Bailiff was started under may refuse landlock_*, or the kernel "
        "has no Landlock",
        {"docker run --security-opt seccomp=unconfined ... # or a newer engine's profile"}};
  }
  if (!host.lsm.empty() && !Contains(host.lsm, "landlock")) {
    return {"Landlock is not among the security modules that were started: " + host.lsm,
            {"add landlock to the list of lsm= on the kernel's command line: lsm=landlock," +
             host.lsm}};
  }
  return {"Linux " + host.release + " was built without Landlock, or started without it",
          {"use Linux 5.13 or newer with CONFIG_SECURITY_LANDLOCK and lsm=landlock,..."}};
}

Cause WhyNoCgroup(const HostFacts& host) {
  if (!host.has_cgroup2 && !host.has_cgroup1) {
    return {"no cgroup file system is mounted", {"sudo mount -t cgroup2 cgroup2 /sys/fs/cgroup"}};
  }
  if (!host.kernel.privileged) {
    return {"no cgroup with the controllers cpu, memory and pids was delegated to this user",
            {"systemd-run --user --scope -p Delegate=yes bailiff ...",
             "sudo mkdir -p /etc/systemd/system/user@.service.d && printf "
             "'[Service]\\nDelegate=cpu memory pids\\n' | sudo tee "
             "/etc/systemd/system/user@.service.d/delegate.conf # then log in again"}};
  }
  return {"the cgroups can be seen and not written, or lack cpu, memory or pids",
          {"docker run --cgroupns=host -v /sys/fs/cgroup:/sys/fs/cgroup:rw ... # in a container",
           "add cgroup_enable=memory to the kernel's command line # where memory is missing"}};
}

Cause WhySharedUid(const HostFacts& host, const std::string& place) {
  if (!host.kernel.privileged) {
    return {"without root a script has its user's uid", {"run Bailiff as root"}};
  }
  return {place + " is on a file system that cannot map ids",
          {"keep workspaces on ext4, xfs or btrfs; from Linux 6.3 on tmpfs can map ids too"}};
}

}  // namespace bailiff
