#include "sys/process.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <csignal>
#include <string>
#include <utility>

#include "sys/file.h"

namespace bailiff {
namespace {

constexpr std::size_t kProcFileBytesMax = 4096;

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
