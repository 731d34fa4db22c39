#include "sandbox/seccomp_policy.h"

#include <asm/termbits.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <netinet/in.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "sandbox/filter_builder.h"

namespace bailiff {
namespace {

// Names that this libseccomp or machine does not know are left out: an unknown call is ENOSYS.
constexpr const char* kAllowed[] = {
    // Files, by path and descriptor. Permissions and Landlock decide which.
    "access",
    "chdir",
    "chmod",
    "chown",
    "close",
    "close_range",
    "copy_file_range",
    "creat",
    "dup",
    "dup2",
    "dup3",
    "faccessat",
    "faccessat2",
    "fadvise64",
    "fallocate",
    "fchdir",
    "fchmod",
    "fchmodat",
    "fchmodat2",
    "fchown",
    "fchownat",
    "fcntl",
    "fdatasync",
    "fgetxattr",
    "flistxattr",
    "flock",
    "fremovexattr",
    "fsetxattr",
    "fstat",
    "fstatfs",
    "fsync",
    "ftruncate",
    "futimesat",
    "getcwd",
    "getdents",
    "getdents64",
    "getxattr",
    "ioctl",
    "lchown",
    "lgetxattr",
    "link",
    "linkat",
    "listxattr",
    "llistxattr",
    "lremovexattr",
    "lseek",
    "lsetxattr",
    "lstat",
    "mkdir",
    "mkdirat",
    "mknod",
    "mknodat",
    "newfstatat",
    "open",
    "openat",
    "openat2",
    "pread64",
    "preadv",
    "preadv2",
    "pwrite64",
    "pwritev",
    "pwritev2",
    "read",
    "readahead",
    "readlink",
    "readlinkat",
    "readv",
    "removexattr",
    "rename",
    "renameat",
    "renameat2",
    "rmdir",
    "sendfile",
    "setxattr",
    "splice",
    "stat",
    "statfs",
    "statx",
    "symlink",
    "symlinkat",
    "sync_file_range",
    "tee",
    "truncate",
    "umask",
    "unlink",
    "unlinkat",
    "utime",
    "utimensat",
    "utimes",
    "write",
    "writev",
    // Memory.
    "brk",
    "get_mempolicy",
    "madvise",
    "map_shadow_stack",
    "mbind",
    "membarrier",
    "memfd_create",
    "mincore",
    "mlock",
    "mlock2",
    "mlockall",
    "mmap",
    "mprotect",
    "mremap",
    "mseal",
    "msync",
    "munlock",
    "munlockall",
    "munmap",
    "pkey_alloc",
    "pkey_free",
    "pkey_mprotect",
    "set_mempolicy",
    "process_mrelease",
    // Processes and threads. New namespaces are refused by argument.
    "arch_prctl",
    "capget",
    "capset",
    "clone",
    "execve",
    "execveat",
    "exit",
    "exit_group",
    "fork",
    "get_robust_list",
    "get_thread_area",
    "getcpu",
    "getegid",
    "geteuid",
    "getgid",
    "getgroups",
    "getpgid",
    "getpgrp",
    "getpid",
    "getppid",
    "getpriority",
    "getresgid",
    "getresuid",
    "getrlimit",
    "getrusage",
    "getsid",
    "gettid",
    "getuid",
    "ioprio_get",
    "ioprio_set",
    "kill",
    "pidfd_open",
    "pidfd_send_signal",
    "prctl",
    "prlimit64",
    "rseq",
    "sched_get_priority_max",
    "sched_get_priority_min",
    "sched_getaffinity",
    "sched_getattr",
    "sched_getparam",
    "sched_getscheduler",
    "sched_rr_get_interval",
    "sched_setaffinity",
    "sched_setattr",
    "sched_setparam",
    "sched_setscheduler",
    "sched_yield",
    "set_robust_list",
    "set_thread_area",
    "set_tid_address",
    "setfsgid",
    "setfsuid",
    "setgid",
    "setgroups",
    "setpgid",
    "setpriority",
    "setregid",
    "setresgid",
    "setresuid",
    "setreuid",
    "setrlimit",
    "setsid",
    "setuid",
    "tgkill",
    "time",
    "times",
    "tkill",
    "uname",
    "sysinfo",
    "vfork",
    "wait4",
    "waitid",
    "waitpid",
    // Signals, time, waiting.
    "alarm",
    "clock_getres",
    "clock_gettime",
    "clock_nanosleep",
    "epoll_create",
    "epoll_create1",
    "epoll_ctl",
    "epoll_pwait",
    "epoll_pwait2",
    "epoll_wait",
    "eventfd",
    "eventfd2",
    "futex",
    "futex_requeue",
    "futex_wait",
    "futex_waitv",
    "futex_wake",
    "getitimer",
    "gettimeofday",
    "inotify_add_watch",
    "inotify_init",
    "inotify_init1",
    "inotify_rm_watch",
    "nanosleep",
    "pause",
    "poll",
    "ppoll",
    "pselect6",
    "restart_syscall",
    "rt_sigaction",
    "rt_sigpending",
    "rt_sigprocmask",
    "rt_sigqueueinfo",
    "rt_sigreturn",
    "rt_sigsuspend",
    "rt_sigtimedwait",
    "rt_tgsigqueueinfo",
    "select",
    "setitimer",
    "sigaltstack",
    "signalfd",
    "signalfd4",
    "timer_create",
    "timer_delete",
    "timer_getoverrun",
    "timer_gettime",
    "timer_settime",
    "timerfd_create",
    "timerfd_gettime",
    "timerfd_settime",
    // Pipes and sockets. The families are chosen below.
    "accept",
    "accept4",
    "bind",
    "connect",
    "getpeername",
    "getsockname",
    "getsockopt",
    "listen",
    "pipe",
    "pipe2",
    "recvfrom",
    "recvmmsg",
    "recvmsg",
    "sendmmsg",
    "sendmsg",
    "sendto",
    "setsockopt",
    "shutdown",
    // System V and POSIX IPC, in the sandbox's own namespace.
    "mq_getsetattr",
    "mq_notify",
    "mq_open",
    "mq_timedreceive",
    "mq_timedsend",
    "mq_unlink",
    "msgctl",
    "msgget",
    "msgrcv",
    "msgsnd",
    "semctl",
    "semget",
    "semop",
    "semtimedop",
    "shmat",
    "shmctl",
    "shmdt",
    "shmget",
    // A program may confine itself further.
    "getrandom",
    "landlock_add_rule",
    "landlock_create_ruleset",
    "landlock_restrict_self",
    "seccomp",
};

// Done without a call. What a script writes is in memory and is synced by its commit; the kernel
// would write back every file system of the host, as often as a script asks.
constexpr const char* kAnswered[] = {"sync", "syncfs"};

// Known and refused. EPERM says "you may not" where ENOSYS would say "try another way".
constexpr const char* kRefused[] = {
    // A namespace or a mount would give capabilities over something.
    "chroot",
    "fsconfig",
    "fsmount",
    "fsopen",
    "fspick",
    "mount",
    "mount_setattr",
    "move_mount",
    "open_tree",
    "pivot_root",
    "setns",
    "umount",
    "umount2",
    "unshare",
    // Looking into other processes, or taking their descriptors.
    "kcmp",
    "pidfd_getfd",
    "process_madvise",
    "process_vm_readv",
    "process_vm_writev",
    "ptrace",
    // Files by handle bypass the directories that lead to them.
    "name_to_handle_at",
    "open_by_handle_at",
    // Keyrings are shared by uid and have a history of holes.
    "add_key",
    "keyctl",
    "request_key",
    // Large kernel surfaces that a script has no use for.
    "bpf",
    "fanotify_init",
    "fanotify_mark",
    "perf_event_open",
    "quotactl",
    "quotactl_fd",
    "userfaultfd",
    "lookup_dcookie",
    "memfd_secret",
    "modify_ldt",
    // The machine itself.
    "acct",
    "adjtimex",
    "clock_adjtime",
    "clock_settime",
    "delete_module",
    "finit_module",
    "init_module",
    "ioperm",
    "iopl",
    "kexec_file_load",
    "kexec_load",
    "nfsservctl",
    "reboot",
    "sethostname",
    "setdomainname",
    "settimeofday",
    "swapoff",
    "swapon",
    "syslog",
    "vhangup",
};

constexpr std::array<int, 3> kFamilies = {AF_UNIX, AF_INET, AF_INET6};
// Others, such as SCTP, DCCP and L2TP, would make the kernel load modules that hardly anyone uses.
constexpr std::array<int, 5> kProtocols = {0, IPPROTO_ICMP, IPPROTO_TCP, IPPROTO_UDP,
                                           IPPROTO_ICMPV6};
constexpr std::uint64_t kTypeBits = 0xF;  // The rest of a socket's type are flags.
constexpr std::uint64_t kTypeMax = SOCK_SEQPACKET;
constexpr std::uint64_t kLow32 = 0xFFFFFFFF;  // The kernel reads an int argument's low half only.

// Only these personalities are had: the plain one, and the question which it is. Others switch off
// address randomization or make memory executable.
constexpr std::array<std::uint64_t, 2> kPersonalities = {0, kLow32};

constexpr std::array<std::uint64_t, 8> kNamespaceFlags = {
    CLONE_NEWUSER, CLONE_NEWNS,  CLONE_NEWPID,    CLONE_NEWNET,
    CLONE_NEWIPC,  CLONE_NEWUTS, CLONE_NEWCGROUP, CLONE_NEWTIME};

// These put input into a terminal, or take it from its owner.
constexpr std::array<std::uint64_t, 6> kTerminalRequests = {
    TIOCSTI, 0x541C /* TIOCLINUX */, TIOCSETD, TIOCCONS, TIOCEXCL, TIOCSCTTY};

Result<std::vector<sock_filter>> BuildCalls() {
  FilterBuilder filter(SCMP_ACT_ERRNO(ENOSYS));
  for (const char* name : kAllowed) filter.Add(SCMP_ACT_ALLOW, name);
  for (const char* name : kAnswered) filter.Add(SCMP_ACT_ERRNO(0), name);
  for (const char* name : kRefused) filter.Add(SCMP_ACT_ERRNO(EPERM), name);
  for (const int family : kFamilies) {
    const auto wanted = static_cast<scmp_datum_t>(family);
    filter.Add(SCMP_ACT_ALLOW, "socket", SCMP_A0_64(SCMP_CMP_EQ, wanted));
  }
  filter.Add(SCMP_ACT_ALLOW, "socketpair", SCMP_A0_64(SCMP_CMP_EQ, AF_UNIX));
  for (const std::uint64_t personality : kPersonalities) {
    filter.Add(SCMP_ACT_ALLOW, "personality", SCMP_A0_64(SCMP_CMP_MASKED_EQ, kLow32, personality));
  }
  return filter.Export();
}

Result<std::vector<sock_filter>> BuildArguments() {
  FilterBuilder filter(SCMP_ACT_ALLOW);
  const std::uint32_t refuse = SCMP_ACT_ERRNO(EPERM);
  for (const std::uint64_t flag : kNamespaceFlags) {
    filter.Add(refuse, "clone", SCMP_A0_64(SCMP_CMP_MASKED_EQ, flag, flag));
  }
  for (const std::uint64_t request : kTerminalRequests) {
    filter.Add(refuse, "ioctl", SCMP_A1_64(SCMP_CMP_MASKED_EQ, kLow32, request));
  }
  for (const std::uint64_t type : {std::uint64_t{S_IFCHR}, std::uint64_t{S_IFBLK}}) {
    filter.Add(refuse, "mknod", SCMP_A1_64(SCMP_CMP_MASKED_EQ, S_IFMT, type));
    filter.Add(refuse, "mknodat", SCMP_A2_64(SCMP_CMP_MASKED_EQ, S_IFMT, type));
  }
  // Limits of pid 1, which has the same uid, would be a way to kill it.
  filter.Add(refuse, "prlimit64", SCMP_A0_64(SCMP_CMP_NE, 0));
  filter.RefuseFamiliesBut(kFamilies);
  const std::uint32_t no_protocol = SCMP_ACT_ERRNO(EPROTONOSUPPORT);
  for (int protocol = 0; protocol < IPPROTO_ICMPV6; ++protocol) {
    if (std::find(kProtocols.begin(), kProtocols.end(), protocol) != kProtocols.end()) continue;
    filter.Add(no_protocol, "socket", SCMP_A2_64(SCMP_CMP_EQ, static_cast<scmp_datum_t>(protocol)));
  }
  filter.Add(no_protocol, "socket", SCMP_A2_64(SCMP_CMP_GT, IPPROTO_ICMPV6));
  for (std::uint64_t type = kTypeMax + 1; type <= kTypeBits; ++type) {
    filter.Add(no_protocol, "socket", SCMP_A1_64(SCMP_CMP_MASKED_EQ, kTypeBits, type));
  }
  return filter.Export();
}

// A process that confines itself further must not be helped beyond that, so we are told.
constexpr const char* kNotified[] = {"rename", "renameat", "renameat2", "landlock_restrict_self"};
// Without privilege there are no redirects, and a link is never refused for want of one.
constexpr const char* kNotifiedPrivileged[] = {"link", "linkat"};

}  // namespace

Result<SeccompPolicy> BuildSeccompPolicy() {
  SeccompPolicy policy;
  policy.calls = TRY(BuildCalls());
  policy.arguments = TRY(BuildArguments());
  return policy;
}

Result<std::vector<sock_filter>> BuildRenameFilter(Tier tier) {
  FilterBuilder filter(SCMP_ACT_ALLOW);
  for (const char* name : kNotified) filter.Add(SCMP_ACT_NOTIFY, name);
  if (tier == Tier::kPrivileged) {
    for (const char* name : kNotifiedPrivileged) filter.Add(SCMP_ACT_NOTIFY, name);
  }
  return filter.Export();
}

}  // namespace bailiff
