#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

// Runs code in a child process that is traced, and makes one of its system calls go wrong: those
// that write, rename, link, make, remove, set, sync or close. strace(1) can kill and fail calls of
// whole programs; this also makes writes short, and takes a hundredth of the time.

namespace bailiff {

enum class FaultKind : std::uint8_t {
  kNone,
  kKill,   // SIGKILL before the call is made.
  kFail,   // The call is not made, and gives `sys_errno`. A close closes all the same, as ever.
  kShort,  // The call writes half of what it was asked to; others are made as they are.
};

struct Fault {
  FaultKind kind = FaultKind::kNone;
  std::size_t nth = 0;  // Counted from 0.
  int sys_errno = 0;
  bool lasts = false;  // kFail: every later sync fails too.
};

struct Traced {
  std::vector<std::string> calls;  // The names of those that could have gone wrong, in order.
  bool killed = false;
  int exit_status = -1;
};

struct FaultyCall {
  long number;
  const char* name;
  int size_argument;  // Which argument says how much to write; -1: it does not write.
};

inline constexpr long kFchmodat2Number = 452;  // Not in Debian 12's headers.

inline constexpr std::array kFaultyCalls = {
    FaultyCall{SYS_write, "write", 2},
    FaultyCall{SYS_pwrite64, "pwrite64", 2},
    FaultyCall{SYS_sendfile, "sendfile", 3},
    FaultyCall{SYS_copy_file_range, "copy_file_range", 4},
    FaultyCall{SYS_ftruncate, "ftruncate", -1},
    FaultyCall{SYS_fallocate, "fallocate", -1},
    FaultyCall{SYS_rename, "rename", -1},
    FaultyCall{SYS_renameat, "renameat", -1},
    FaultyCall{SYS_renameat2, "renameat2", -1},
    FaultyCall{SYS_link, "link", -1},
    FaultyCall{SYS_linkat, "linkat", -1},
    FaultyCall{SYS_symlinkat, "symlinkat", -1},
    FaultyCall{SYS_unlink, "unlink", -1},
    FaultyCall{SYS_unlinkat, "unlinkat", -1},
    FaultyCall{SYS_mkdir, "mkdir", -1},
    FaultyCall{SYS_mkdirat, "mkdirat", -1},
    FaultyCall{SYS_fchmod, "fchmod", -1},
    FaultyCall{SYS_chmod, "chmod", -1},
    FaultyCall{kFchmodat2Number, "fchmodat2", -1},
    FaultyCall{SYS_fchown, "fchown", -1},
    FaultyCall{SYS_fchownat, "fchownat", -1},
    FaultyCall{SYS_utimensat, "utimensat", -1},
    FaultyCall{SYS_fsetxattr, "fsetxattr", -1},
    FaultyCall{SYS_fsync, "fsync", -1},
    FaultyCall{SYS_fdatasync, "fdatasync", -1},
    FaultyCall{SYS_syncfs, "syncfs", -1},
    FaultyCall{SYS_close, "close", -1},
    FaultyCall{SYS_openat, "openat", -1},  // With O_CREAT only.
};

inline bool IsSync(std::string_view call) {
  return call == "fsync" || call == "fdatasync" || call == "syncfs";
}

class SyscallTracer {
 public:
  SyscallTracer(const Fault& fault, std::function<void()> meanwhile)
      : fault_(fault), meanwhile_(std::move(meanwhile)) {}

  // `body`'s result becomes the exit status.
  Traced Run(const std::function<int()>& body) {
    child_ = ::fork();
    if (child_ == 0) {
      ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
      ::raise(SIGSTOP);
      if (!StopAtFaultyCalls()) ::_exit(99);
      ::_exit(body());
    }
    int status = 0;
    EXPECT_EQ(::waitpid(child_, &status, 0), child_);
    constexpr long kOptions = PTRACE_O_TRACESECCOMP | PTRACE_O_EXITKILL;
    EXPECT_EQ(::ptrace(PTRACE_SETOPTIONS, child_, nullptr, kOptions), 0);
    long signal = 0;
    for (;;) {
      // ESRCH: it was killed, and that is to be waited for.
      if (::ptrace(PTRACE_CONT, child_, nullptr, signal) != 0 && errno != ESRCH) break;
      if (::waitpid(child_, &status, 0) != child_ || !WIFSTOPPED(status)) break;
      const bool at_call = status >> 8 == (SIGTRAP | PTRACE_EVENT_SECCOMP << 8);
      signal = at_call || WSTOPSIG(status) == SIGUSR1 ? 0 : WSTOPSIG(status);
      if (at_call) AtCall();
      if (WSTOPSIG(status) == SIGUSR1) meanwhile_();
    }
    traced_.killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    traced_.exit_status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    return traced_;
  }

 private:
  // A filter that hands those calls to the tracer costs the others nothing.
  static bool StopAtFaultyCalls() {
    std::vector<sock_filter> filter;
    filter.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)));
    for (const FaultyCall& call : kFaultyCalls) {
      filter.push_back(
          BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(call.number), 0, 1));
      filter.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE));
    }
    filter.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
    const sock_fprog program{static_cast<unsigned short>(filter.size()), filter.data()};
    return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
  }

  static const FaultyCall* Find(const user_regs_struct& registers) {
    constexpr unsigned kOpenFlags = O_CREAT;
    for (const FaultyCall& call : kFaultyCalls) {
      if (static_cast<long>(registers.orig_rax) != call.number) continue;
      const bool only_opens = call.number == SYS_openat && (registers.rdx & kOpenFlags) == 0;
      return only_opens ? nullptr : &call;
    }
    return nullptr;
  }

  static unsigned long long* SizeOf(user_regs_struct* registers, int argument) {
    if (argument == 2) return &registers->rdx;
    if (argument == 3) return &registers->r10;
    return &registers->r8;
  }

  void AtCall() {
    user_regs_struct registers{};
    ::ptrace(PTRACE_GETREGS, child_, nullptr, &registers);
    const FaultyCall* call = Find(registers);
    if (call == nullptr) return;
    traced_.calls.emplace_back(call->name);
    const std::size_t struck = fault_.nth + 1;
    const bool again =
        fault_.lasts && traced_.calls.size() > struck && IsSync(traced_.calls.back());
    if (traced_.calls.size() != struck && !again) return;
    switch (fault_.kind) {
      case FaultKind::kNone:
        return;
      case FaultKind::kKill:
        ::kill(child_, SIGKILL);
        return;
      case FaultKind::kFail:
        if (call->number == SYS_close) return FailAfterwards(&registers);
        // No call has this number: the kernel skips it and keeps `rax`.
        registers.orig_rax = static_cast<unsigned long long>(-1);
        registers.rax = static_cast<unsigned long long>(-fault_.sys_errno);
        break;
      case FaultKind::kShort: {
        if (call->size_argument < 0) return;
        unsigned long long* size = SizeOf(&registers, call->size_argument);
        if (*size > 1) *size /= 2;
        break;
      }
    }
    ::ptrace(PTRACE_SETREGS, child_, nullptr, &registers);
  }

  // Lets the call happen and then look as if it had failed.
  void FailAfterwards(user_regs_struct* registers) {
    for (int stop = 0; stop < 2; ++stop) {  // At its entry, and at its end.
      int status = 0;
      ::ptrace(PTRACE_SYSCALL, child_, nullptr, nullptr);
      EXPECT_EQ(::waitpid(child_, &status, 0), child_);
    }
    ::ptrace(PTRACE_GETREGS, child_, nullptr, registers);
    registers->rax = static_cast<unsigned long long>(-fault_.sys_errno);
    ::ptrace(PTRACE_SETREGS, child_, nullptr, registers);
  }

  const Fault fault_;
  const std::function<void()> meanwhile_;
  pid_t child_ = -1;
  Traced traced_;
};

// `meanwhile` is called here, with the child standing still, when it sends itself SIGUSR1.
inline Traced RunWithFault(
    const Fault& fault, const std::function<int()>& body, std::function<void()> meanwhile = [] {}) {
  return SyscallTracer(fault, std::move(meanwhile)).Run(body);
}

}  // namespace bailiff
