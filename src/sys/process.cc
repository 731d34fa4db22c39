#include "sys/process.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <csignal>
#include <new>
#include <string>
#include <utility>

#include "sys/file.h"

namespace bailiff {
namespace {

constexpr std::size_t kProcFileBytesMax = 4096;
constexpr std::size_t kStackBytes = 64UL * 1024;

struct Call {
  void (*run)(const void*);
  const void* argument;
  pid_t parent;
};

// A parent that is killed does not come to end its child. One that was killed before we asked the
// kernel to tell us is not our parent any more.
void DieWith(pid_t parent) {
  ::syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL);
  if (::syscall(SYS_getppid) != parent) ::_exit(1);
}

}  // namespace

Process::~Process() {
  if (!pidfd_.valid() || end_.has_value()) return;
  // A child that cannot be killed or waited for is gone already; there is nobody to tell.
  (void)Kill();
  (void)Wait();
}

Status Process::Kill() {
  if (end_.has_value()) return Ok();
  const long rc = ::syscall(SYS_pidfd_send_signal, pidfd_.get(), SIGKILL, nullptr, 0);
  if (rc == 0 || errno == ESRCH) return Ok();
  return Error::FromErrno(errno, "kill child");
}

Result<ProcessEnd> Process::Wait() {
  if (end_.has_value()) return *end_;
  ProcessEnd end;
  pid_t rc = -1;
  do {
    rc = ::wait4(pid_, &end.wait_status, __WALL, &end.usage);
  } while (rc < 0 && errno == EINTR);
  if (rc < 0) return Error::FromErrno(errno, "wait for child");
  end_ = end;
  return end;
}

Result<Process> CloneProcess(const CloneOptions& options, void (*run)(const void*),
                             const void* argument) {
  int pidfd = -1;
  clone_args args = {};
  args.flags = static_cast<__u64>(options.flags) | CLONE_PIDFD;
  args.pidfd = reinterpret_cast<std::uintptr_t>(&pidfd);
  args.exit_signal = SIGCHLD;
  if (options.cgroup != nullptr) {
    args.flags |= CLONE_INTO_CGROUP;
    args.cgroup = static_cast<__u64>(options.cgroup->get());
  }
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::sigprocmask(SIG_SETMASK, &all, &before);
  const long pid = ::syscall(SYS_clone3, &args, sizeof(args));
  if (pid == 0) {
    run(argument);
    ::_exit(1);
  }
  const int sys_errno = errno;
  ::sigprocmask(SIG_SETMASK, &before, nullptr);
  if (pid < 0) return Error::FromErrno(sys_errno, "clone3");
  return Process(static_cast<pid_t>(pid), Fd(pidfd));
}

Result<ChildStack> ChildStack::Make() {
  void* memory = ::mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
  if (memory == MAP_FAILED) return Error::FromErrno(errno, "map a stack");
  return ChildStack(memory);
}

ChildStack::ChildStack(ChildStack&& other) noexcept
    : memory_(std::exchange(other.memory_, nullptr)) {}

ChildStack::~ChildStack() {
  if (memory_ != nullptr) ::munmap(memory_, kStackBytes);
}

Result<Process> CloneSharing(std::uint64_t flags, const ChildStack& stack, void (*run)(const void*),
                             const void* argument) {
  // At the bottom of the stack, which the child does not reach: this frame may be gone before it
  // has looked.
  auto* const call = new (stack.memory_) Call{run, argument, ::getpid()};
  void* const top = static_cast<char*>(stack.memory_) + kStackBytes;
  const auto enter = [](void* raw) -> int {
    const auto* const wanted = static_cast<const Call*>(raw);
    DieWith(wanted->parent);
    wanted->run(wanted->argument);
    return 1;
  };
  int pidfd = -1;
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::sigprocmask(SIG_SETMASK, &all, &before);
  const int pid =
      ::clone(enter, top, static_cast<int>(flags) | CLONE_VM | CLONE_PIDFD | SIGCHLD, call, &pidfd);
  const int sys_errno = errno;
  ::sigprocmask(SIG_SETMASK, &before, nullptr);
  if (pid < 0) return Error::FromErrno(sys_errno, "clone");
  return Process(pid, Fd(pidfd));
}

void RaiseDescriptorLimit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  (void)::setrlimit(RLIMIT_NOFILE, &limit);
}

Result<std::uint64_t> ProcessStartTime(pid_t pid) {
  const std::string path = "/proc/" + std::to_string(pid) + "/stat";
  const Fd file = TRY(OpenPath(path, O_RDONLY));
  const std::string text = TRY(ReadAll(file, kProcFileBytesMax));
  // The command's name, in parentheses, may itself hold spaces and parentheses.
  std::size_t at = text.rfind(')');
  if (at != std::string::npos && at + 2 < text.size() && text[at + 2] == 'Z') {
    return Error(ErrorCode::kNotFound, path + ": the process has ended");
  }
  constexpr int kFieldsToStartTime = 20;
  for (int i = 0; i < kFieldsToStartTime && at != std::string::npos; ++i) {
    at = text.find(' ', at + 1);
  }
  std::uint64_t ticks = 0;
  const char* end = text.data() + text.size();
  if (at == std::string::npos ||
      std::from_chars(text.data() + at + 1, end, ticks).ec != std::errc()) {
    return Error(ErrorCode::kIo, path + ": not in the form that the kernel documents");
  }
  return ticks;
}

}  // namespace bailiff
