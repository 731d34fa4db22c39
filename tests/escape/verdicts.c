// Makes every system call, and some with each of their dangerous arguments, and prints what the
// seccomp filter above this process says to it: one line each, "table name verdict".
//
//   allowed          the filter lets it pass; in some tables with what the kernel then says
//   EPERM, ENOSYS..  the filter refuses with this error; "done": it answers without a call
//   killed           the filter ends the process
//
// The filter's EPERM is told from the kernel's by a filter of our own, which asks for a tracer
// where there is none: the kernel then makes no call and gives ENOSYS, unless an older filter is
// stricter (seccomp(2): the strictest answer counts, and an error is stricter than a tracer).
// ENOSYS alone is ambiguous, and such a call is made. Its arguments are nonsense: it fails, or
// changes only a child.
//
// A call that is ENOSYS without any filter too is one that this kernel does not have.

#define _GNU_SOURCE
#include <asm/termbits.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/fs.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <linux/securebits.h>
#include <linux/sockios.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { kLastCall = 470, kX32Bit = 0x40000000, kBlockedMs = 500, kEnded = -1, kKilled = -2 };
enum Entry { kSyscall, kInt80 };

struct Call {
  enum Entry entry;
  long number;
  long arguments[6];
};

static int* g_result;  // Shared with the child: the errno, 0 for success.

static inline __attribute__((always_inline)) long Enter(const struct Call* call) {
  const long* a = call->arguments;
  long result = 0;
  if (call->entry == kInt80) {
    asm volatile("int $0x80" : "=a"(result) : "a"(call->number), "b"(0), "c"(0), "d"(0) : "memory");
    return result;
  }
  register long r10 asm("r10") = a[3];
  register long r8 asm("r8") = a[4];
  register long r9 asm("r9") = a[5];
  asm volatile("syscall"
               : "=a"(result)
               : "a"(call->number), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9)
               : "rcx", "r11", "memory");
  // A child of fork or vfork. The latter has our stack: it may not return from here.
  const int forks =
      call->number == SYS_fork || call->number == SYS_vfork || call->number == SYS_clone;
  if (forks && result == 0) asm volatile("syscall" : : "a"(SYS_exit_group), "D"(0) : "memory");
  return result;
}

static void AskForTracer(long number) {
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const struct sock_fprog program = {sizeof(code) / sizeof(code[0]), code};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
      syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0) {
    perror("install a filter");
    abort();
  }
}

// The errno that a child gets, 0, kEnded when it did not come back, kKilled.
static int Try(const struct Call* call, int traced) {
  *g_result = kEnded;
  fflush(stdout);
  const pid_t pid = fork();
  if (pid == 0) {
    if (traced) AskForTracer(call->number);
    const long result = Enter(call);
    *g_result = result < 0 && result > -4096 ? (int)-result : 0;
    _exit(0);
  }
  const int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
  struct pollfd watched = {pidfd, POLLIN, 0};
  if (pid < 0 || pidfd < 0 || poll(&watched, 1, kBlockedMs) < 0) {
    perror("start a child");
    exit(1);
  }
  kill(pid, SIGKILL);
  close(pidfd);
  int status = 0;
  while (waitpid(pid, &status, __WALL) != pid) continue;
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS) return kKilled;
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT && *g_result == kEnded) exit(1);
  return *g_result;
}

enum Detail { kFilterOnly, kWithKernel };

static const char* ErrorName(int error) {
  return error == 0 ? "done" : error == kEnded ? "ended" : strerrorname_np(error);
}

static void Report(const char* table, const char* name, const struct Call* call,
                   enum Detail detail) {
  int error = call->entry == kInt80 ? Try(call, 0) : Try(call, 1);
  // EFAULT and EINVAL are what a supervisor answers that the filter asks (seccomp_unotify(2)): it lets
  // pass, and does itself what the kernel would.
  const int ambiguous = error == ENOSYS || error == EFAULT || error == EINVAL || error == kEnded;
  if (ambiguous) error = Try(call, 0);
  if (error == kKilled) {
    printf("%s %s killed\n", table, name);
  } else if (!ambiguous || error == ENOSYS) {
    printf("%s %s %s\n", table, name, ErrorName(error));
  } else if (detail == kWithKernel) {
    printf("%s %s allowed %s\n", table, name, ErrorName(error));
  } else {
    printf("%s %s allowed\n", table, name);
  }
}

// What must not be -1: it would block, make something that stays, or name a variant that the filter
// refuses or the kernel does not know.
static const struct Call kSpecial[] = {
    {kSyscall, SYS_clone, {SIGCHLD}},
    {kSyscall, SYS_futex, {0, 1 /* FUTEX_WAKE */}},
    {kSyscall, SYS_ioctl, {-1, 0}},
    {kSyscall, SYS_mknod, {-1, S_IFREG}},
    {kSyscall, SYS_mknodat, {-1, -1, S_IFREG}},
    {kSyscall, SYS_modify_ldt, {0, -1}},
    {kSyscall, SYS_msgget, {0x7fff0001}},
    {kSyscall, SYS_personality, {0xffffffff}},
    {kSyscall, SYS_prlimit64, {0, -1, -1, -1}},
    {kSyscall, SYS_socket, {AF_UNIX, SOCK_STREAM}},
    {kSyscall, SYS_socketpair, {AF_UNIX, SOCK_STREAM, 0, -1}},
};

static void ReportCalls(void) {
  for (long number = 0; number <= kLastCall; ++number) {
    // From 6.14 on the kernel asks no filter about 335 and 336, which only its own trampoline
    // makes; the rest were never given out.
    if (number >= 335 && number < 424) continue;
    struct Call call = {kSyscall, number, {-1, -1, -1, -1, -1, -1}};
    for (size_t i = 0; i < sizeof(kSpecial) / sizeof(kSpecial[0]); ++i) {
      if (kSpecial[i].number == number) call = kSpecial[i];
    }
    char name[24];
    snprintf(name, sizeof(name), "%ld", number);
    Report("syscall", name, &call, kFilterOnly);
  }
}

static void ReportArchitectures(void) {
  static const long kNumbers[] = {0, 1, 20, 39, 56, 59, 101, 120, 165, 272, 425, 512, 520, 547};
  for (size_t i = 0; i < sizeof(kNumbers) / sizeof(kNumbers[0]); ++i) {
    char name[24];
    snprintf(name, sizeof(name), "%ld", kNumbers[i]);
    // 1 ends the process by int 0x80, which tells nothing.
    const struct Call old = {kInt80, kNumbers[i] == 1 ? 24 : kNumbers[i], {0}};
    Report("int80", name, &old, kFilterOnly);
    const struct Call x32 = {kSyscall, kNumbers[i] | kX32Bit, {-1, -1, -1, -1, -1, -1}};
    Report("x32", name, &x32, kFilterOnly);
  }
}

struct Named {
  const char* name;
  long value;
};

static void ReportSockets(void) {
  static const struct {
    const char* name;
    long type;
  } kTypes[] = {{"STREAM", SOCK_STREAM},
                {"DGRAM", SOCK_DGRAM},
                {"RAW", SOCK_RAW},
                {"RDM", SOCK_RDM},
                {"SEQPACKET", SOCK_SEQPACKET},
                {"DCCP", 6},
                {"PACKET", 10},
                {"STREAM|CLOEXEC", SOCK_STREAM | SOCK_CLOEXEC}};
  static int ends[2];
  for (long family = 0; family <= 47; ++family) {
    // The last two: bits that the kernel does not read.
    const long given = family == 46 ? 0x100000001 : family == 47 ? 0x100000028 : family;
    for (size_t i = 0; i < sizeof(kTypes) / sizeof(kTypes[0]); ++i) {
      char name[64];
      snprintf(name, sizeof(name), "%#lx %s", given, kTypes[i].name);
      const struct Call one = {kSyscall, SYS_socket, {given, kTypes[i].type}};
      Report("socket", name, &one, kWithKernel);
      const struct Call pair = {kSyscall, SYS_socketpair, {given, kTypes[i].type, 0, (long)ends}};
      Report("socketpair", name, &pair, kWithKernel);
    }
  }
  // ICMP is the kernel's to refuse (net.ipv4.ping_group_range); of the others it may not have all.
  static const struct Named kProtocols[] = {{"0", 0},
                                            {"TCP", 6},
                                            {"UDP", 17},
                                            {"DCCP", 33},
                                            {"L2TP", 115},
                                            {"SCTP", 132},
                                            {"UDPLITE", 136},
                                            {"MPTCP", 262},
                                            {"ICMP", 1},
                                            {"SCTP with high bits", 0x100000084},
                                            {"DCCP with high bits", 0x100000021}};
  for (size_t i = 0; i < sizeof(kProtocols) / sizeof(kProtocols[0]); ++i) {
    const struct Call call = {kSyscall, SYS_socket, {AF_INET, SOCK_STREAM, kProtocols[i].value}};
    Report("protocol", kProtocols[i].name, &call, kFilterOnly);
  }
}

#define NAMED(value) \
  { #value, value }
#define ROWS(table) (sizeof(table) / sizeof((table)[0]))

static const struct Named kRequests[] = {
    NAMED(TIOCSTI),
    {"TIOCLINUX", 0x541C},
    NAMED(TIOCSETD),
    NAMED(TIOCCONS),
    NAMED(TIOCSCTTY),
    NAMED(TIOCNOTTY),
    NAMED(TIOCSPGRP),
    NAMED(TIOCEXCL),
    NAMED(TIOCVHANGUP),
    NAMED(TIOCGPTPEER),
    NAMED(TIOCSWINSZ),
    NAMED(TIOCGWINSZ),
    NAMED(TCGETS),
    NAMED(FIOSETOWN),
    NAMED(SIOCSPGRP),
    NAMED(FIOASYNC),
    NAMED(FIONREAD),
    NAMED(FIONBIO),
    NAMED(FIFREEZE),
    NAMED(FITRIM),
    NAMED(FICLONE),
    NAMED(FS_IOC_SETFLAGS),
    NAMED(FS_IOC_FSSETXATTR),
    NAMED(SIOCSIFFLAGS),
    NAMED(SIOCETHTOOL),
    {"KVM_CREATE_VM", 0xAE01},
    {"TIOCSTI with high bits", 0x100005412},
    {"TIOCLINUX with high bits", 0x10000541C},
};

static const struct Named kNamespaces[] = {
    NAMED(CLONE_NEWTIME), NAMED(CLONE_NEWNS),   NAMED(CLONE_NEWCGROUP), NAMED(CLONE_NEWUTS),
    NAMED(CLONE_NEWIPC),  NAMED(CLONE_NEWUSER), NAMED(CLONE_NEWPID),    NAMED(CLONE_NEWNET),
};

static const struct Named kCloneFlags[] = {
    NAMED(CLONE_VM),       NAMED(CLONE_FS),      NAMED(CLONE_FILES),  NAMED(CLONE_PIDFD),
    NAMED(CLONE_PTRACE),   NAMED(CLONE_VFORK),   NAMED(CLONE_PARENT), NAMED(CLONE_IO),
    NAMED(CLONE_UNTRACED), NAMED(CLONE_SYSVSEM),
};

static const struct Named kPersonalities[] = {
    {"PER_LINUX", 0},
    {"query", 0xffffffff},
    {"query with high bits", 0x1ffffffff},
    {"PER_LINUX with high bits", 0x100000000},
    {"PER_LINUX32", 8},
    {"ADDR_NO_RANDOMIZE", 0x40000},
    {"MMAP_PAGE_ZERO", 0x100000},
    {"ADDR_COMPAT_LAYOUT", 0x200000},
    {"READ_IMPLIES_EXEC", 0x400000},
    {"ADDR_LIMIT_32BIT", 0x800000},
    {"ADDR_LIMIT_3GB", 0x8000000},
    {"UNAME26", 0x20000},
};

// What a script could want of prctl(2) and must not be given by the kernel either.
static const struct {
  const char* name;
  long arguments[5];
} kPrctl[] = {
    {"PR_SET_DUMPABLE", {PR_SET_DUMPABLE, 1}},
    {"PR_SET_KEEPCAPS", {PR_SET_KEEPCAPS, 1}},
    {"PR_SET_SECCOMP none", {PR_SET_SECCOMP, 0}},
    {"PR_CAPBSET_READ SYS_ADMIN", {PR_CAPBSET_READ, 21}},
    {"PR_SET_SECUREBITS", {PR_SET_SECUREBITS, SECBIT_KEEP_CAPS}},
    {"PR_SET_MM", {PR_SET_MM, PR_SET_MM_BRK, 4096}},
    {"PR_SET_MM_EXE_FILE", {PR_SET_MM, PR_SET_MM_EXE_FILE, 0}},
    {"PR_CAP_AMBIENT_RAISE", {PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, 21}},
    {"PR_SET_NO_NEW_PRIVS 0", {PR_SET_NO_NEW_PRIVS, 0}},
    {"PR_TASK_PERF_EVENTS_DISABLE", {PR_TASK_PERF_EVENTS_DISABLE}},
    {"PR_SET_IO_FLUSHER", {PR_SET_IO_FLUSHER, 1}},
    {"PR_SET_CHILD_SUBREAPER", {PR_SET_CHILD_SUBREAPER, 1}},
    {"PR_SET_PDEATHSIG", {PR_SET_PDEATHSIG, SIGKILL}},
    {"PR_SET_NAME", {PR_SET_NAME, (long)"verdicts"}},
};

static void ReportValues(const char* table, long number, int position, const struct Named* values,
                         size_t count, long base) {
  for (size_t i = 0; i < count; ++i) {
    struct Call call = {kSyscall, number, {-1, -1, -1, 0, 0, 0}};
    call.arguments[position] = base | values[i].value;
    if (number == SYS_clone) memset(call.arguments + 1, 0, 5 * sizeof(long));
    Report(table, values[i].name, &call, kFilterOnly);
  }
}

static void ReportArguments(void) {
  static const struct Named kTypes[] = {NAMED(S_IFREG), NAMED(S_IFIFO), NAMED(S_IFSOCK),
                                        NAMED(S_IFCHR), NAMED(S_IFBLK)};
  const struct Named limits_of[] = {{"pid 0", 0}, {"pid 1", 1}, {"pid 0 with high bits", 1L << 32}};
  ReportValues("ioctl", SYS_ioctl, 1, kRequests, ROWS(kRequests), 0);
  ReportValues("clone", SYS_clone, 0, kNamespaces, ROWS(kNamespaces), SIGCHLD);
  // Threads and shared memory need a stack of their own: here only what the filter says counts.
  ReportValues("clone", SYS_clone, 0, kCloneFlags + 1, ROWS(kCloneFlags) - 1, SIGCHLD);
  ReportValues("unshare", SYS_unshare, 0, kNamespaces, ROWS(kNamespaces), 0);
  ReportValues("unshare", SYS_unshare, 0, kCloneFlags, ROWS(kCloneFlags), 0);
  ReportValues("setns", SYS_setns, 1, kNamespaces, ROWS(kNamespaces), 0);
  ReportValues("personality", SYS_personality, 0, kPersonalities, ROWS(kPersonalities), 0);
  ReportValues("mknod", SYS_mknod, 1, kTypes, ROWS(kTypes), 0);
  ReportValues("mknodat", SYS_mknodat, 2, kTypes, ROWS(kTypes), 0);
  ReportValues("prlimit64", SYS_prlimit64, 0, limits_of, ROWS(limits_of), 0);
  for (size_t i = 0; i < ROWS(kPrctl); ++i) {
    struct Call call = {kSyscall, SYS_prctl, {0}};
    memcpy(call.arguments, kPrctl[i].arguments, sizeof(kPrctl[i].arguments));
    Report("prctl", kPrctl[i].name, &call, kWithKernel);
  }
}

int main(void) {
  g_result =
      mmap(NULL, sizeof(*g_result), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  // Children that crash on purpose leave no core files where the control runs.
  const struct rlimit none = {0, 0};
  if (g_result == MAP_FAILED || setrlimit(RLIMIT_CORE, &none) != 0) {
    perror("prepare");
    return 1;
  }
  ReportCalls();
  ReportArchitectures();
  ReportSockets();
  ReportArguments();
  return 0;
}
