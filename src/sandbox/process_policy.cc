#include <linux/sched.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <vector>

#include "sandbox/filter_builder.h"
#include "sandbox/seccomp_policy.h"

// The filters of Bailiff's own processes.

namespace bailiff {
namespace {

// What neither a clerk nor the process that serves has a use for, whoever gets hold of it. The one
// parses what a script left, the other what anybody sends: each is denied what an attacker would
// want next.
constexpr const char* kDenied[] = {
    "execve", "execveat", "fork", "vfork", "ptrace",
    // Mounts and namespaces, and files without the directories that lead to them.
    "mount", "umount2", "pivot_root", "chroot", "move_mount", "open_tree", "fsopen", "fsconfig",
    "fspick", "fsmount", "mount_setattr", "setns", "unshare", "open_by_handle_at",
    // Large or powerful parts of the kernel.
    "init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load", "bpf",
    "perf_event_open", "io_uring_setup", "userfaultfd", "fanotify_init", "swapon", "swapoff",
    "reboot", "keyctl", "add_key", "request_key",
    // Other processes.
    "kcmp", "pidfd_getfd", "process_madvise", "process_vm_readv", "process_vm_writev"};

// File work needs no network.
constexpr const char* kDeniedClerk[] = {"socket", "connect", "bind",      "listen",
                                        "accept", "accept4", "socketpair"};

// Of the process that serves. The C library looks its addresses up by netlink.
constexpr std::array<int, 4> kServerFamilies = {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK};

void Deny(FilterBuilder* filter) {
  for (const char* name : kDenied) filter->Add(SCMP_ACT_ERRNO(EPERM), name);
  // Threads, but no process. What clone3() is asked for no filter can see; libraries use clone()
  // where there is none.
  filter->Add(SCMP_ACT_ERRNO(EPERM), "clone", SCMP_A0_64(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0));
  filter->Add(SCMP_ACT_ERRNO(ENOSYS), "clone3");
}

}  // namespace

Result<std::vector<sock_filter>> BuildClerkPolicy() {
  FilterBuilder filter(SCMP_ACT_ALLOW);
  Deny(&filter);
  for (const char* name : kDeniedClerk) filter.Add(SCMP_ACT_ERRNO(EPERM), name);
  return filter.Export();
}

Result<std::vector<sock_filter>> BuildServerPolicy() {
  FilterBuilder filter(SCMP_ACT_ALLOW);
  Deny(&filter);
  filter.RefuseFamiliesBut(kServerFamilies);
  return filter.Export();
}

}  // namespace bailiff
