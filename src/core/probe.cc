#include "core/probe.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/keyctl.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <utility>

#include "sys/file.h"
#include "sys/message.h"
#include "sys/pipe.h"

namespace bailiff {
namespace {

constexpr int kStdin = 0;
constexpr std::int64_t kScratchTryBytes = 1LL << 30;
constexpr int kFilesTry = 200'000;
constexpr int kPidsTry = 4096;

int Errno(long rc) {
  return rc < 0 ? errno : 0;
}

template <typename Address>
int Connect(int family, const Address& address, std::size_t size) {
  const int socket = ::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (socket < 0) return errno;
  return Errno(
      ::connect(socket, reinterpret_cast<const sockaddr*>(&address), static_cast<socklen_t>(size)));
}

sockaddr_in Loopback(int port) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

int ConnectUnix(std::string_view name) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  name.copy(address.sun_path, sizeof(address.sun_path) - 1);
  const bool abstract = name.starts_with('\0');
  return Connect(AF_UNIX, address,
                 abstract ? offsetof(sockaddr_un, sun_path) + name.size() : sizeof(address));
}

using Run = int (*)(const Places& places, int host_dir);

struct Trial {
  Attempt attempt;
  Run run;
};

int OpenFile(const Places& places, int /*host_dir*/) {
  return Errno(::open(places.file.c_str(), O_RDONLY | O_CLOEXEC));
}

// A file without a name: where it can be made, nothing is left of it.
int WriteUsr(const Places& /*places*/, int /*host_dir*/) {
  return Errno(::open("/usr", O_WRONLY | O_TMPFILE | O_CLOEXEC, 0600));
}

int SeePrivateDir(const Places& places, int /*host_dir*/) {
  return Errno(::access((places.workspace + "/.bailiff/secret").c_str(), F_OK));
}

int SignalProcess(const Places& places, int /*host_dir*/) {
  return Errno(::kill(places.process, 0));
}

int SeeProcess(const Places& places, int /*host_dir*/) {
  return Errno(::access(fmt::format("/proc/{}/status", places.process).c_str(), F_OK));
}

int ConnectTcp(const Places& places, int /*host_dir*/) {
  return Connect(AF_INET, Loopback(places.port), sizeof(sockaddr_in));
}

int ConnectAbstract(const Places& places, int /*host_dir*/) {
  return ConnectUnix(std::string(1, '\0') + places.abstract);
}

int ConnectPath(const Places& places, int /*host_dir*/) {
  return ConnectUnix(places.socket);
}

int FindMemory(const Places& places, int /*host_dir*/) {
  return Errno(::shmget(places.memory, 0, 0));
}

int BecomeRoot(const Places& /*places*/, int /*host_dir*/) {
  return Errno(::setuid(0));
}

int SetTrusted(const Places& places, int /*host_dir*/) {
  const std::string path = places.workspace + "/keep";
  return Errno(::setxattr(path.c_str(), "trusted.overlay.redirect", "x", 1, XATTR_REPLACE));
}

int MakeUserNamespace(const Places& /*places*/, int /*host_dir*/) {
  return Errno(::unshare(CLONE_NEWUSER));
}

int TraceMe(const Places& /*places*/, int /*host_dir*/) {
  return Errno(::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr));
}

int FindKeyring(const Places& /*places*/, int /*host_dir*/) {
  return Errno(::syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 1));
}

int MakeNetlink(const Places& /*places*/, int /*host_dir*/) {
  return Errno(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0));
}

int MakeVsock(const Places& /*places*/, int /*host_dir*/) {
  return Errno(::socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0));
}

int SetUpIoUring(const Places& /*places*/, int /*host_dir*/) {
  return Errno(::syscall(SYS_io_uring_setup, 1, nullptr));
}

int OpenByHandle(const Places& /*places*/, int /*host_dir*/) {
  return Errno(::syscall(SYS_open_by_handle_at, AT_FDCWD, nullptr, 0));
}

int OpenFromOutside(const Places& /*places*/, int host_dir) {
  return Errno(::openat(host_dir, "file", O_RDONLY | O_CLOEXEC));
}

int BindTcp(const Places& /*places*/, int /*host_dir*/) {
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (socket < 0) return errno;
  const sockaddr_in address = Loopback(0);
  return Errno(::bind(socket, reinterpret_cast<const sockaddr*>(&address), sizeof(address)));
}

// Where Landlock refuses as well, either answer may come first.
const std::vector<Trial>& Trials() {
  static const std::vector<Trial> kTrials = {
      {{"open a file of the host", "mounts", {ENOENT, EACCES}}, OpenFile},
      {{"write below /usr", "mounts", {EROFS}}, WriteUsr},
      {{"see .bailiff", "mounts", {ENOENT}}, SeePrivateDir},
      {{"connect to a unix socket of the host", "mounts", {ENOENT, EACCES}}, ConnectPath},
      {{"signal a process of the host", "pid-namespace", {ESRCH}}, SignalProcess},
      {{"see a process of the host", "pid-namespace", {ENOENT}}, SeeProcess},
      {{"connect to a port of the host", "network-namespace", {ECONNREFUSED, EACCES}}, ConnectTcp},
      {{"connect to an abstract socket of the host", "network-namespace", {ECONNREFUSED, EPERM}},
       ConnectAbstract},
      {{"find shared memory of the host", "ipc-namespace", {ENOENT}}, FindMemory},
      {{"become root", "user-namespace", {EINVAL}}, BecomeRoot},
      {{"set an attribute of the overlay", "privileges", {EPERM}}, SetTrusted},
      {{"make a user namespace", "seccomp", {EPERM}}, MakeUserNamespace},
      {{"trace", "seccomp", {EPERM}}, TraceMe},
      {{"find a key ring", "seccomp", {EPERM}}, FindKeyring},
      {{"make a netlink socket", "seccomp", {EAFNOSUPPORT}}, MakeNetlink},
      {{"make a socket to the hypervisor", "seccomp", {EAFNOSUPPORT}}, MakeVsock},
      {{"set up io_uring", "seccomp", {ENOSYS}}, SetUpIoUring},
      {{"open a file by its handle", "seccomp", {EPERM}}, OpenByHandle},
      {{"open a file beneath a directory passed from outside", "landlock", {EACCES}},
       OpenFromOutside},
      {{"listen on a port", "landlock", {EACCES}}, BindTcp},
  };
  return kTrials;
}

Result<int> TryOne(const Trial& trial, const Places& places, const Fd& host_dir) {
  const pid_t pid = ::fork();
  if (pid < 0) return Error::FromErrno(errno, "fork");
  if (pid == 0) ::_exit(trial.run(places, host_dir.get()));
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) return Error::FromErrno(errno, "wait");
  }
  // A signal ends it where the answer to a call is to be killed.
  return WIFEXITED(status) ? WEXITSTATUS(status) : ECANCELED;
}

void Tell(std::string_view name, std::int64_t number, int sys_errno) {
  const std::string line = fmt::format("{} {} {}\n", name, number, sys_errno);
  // When nobody reads this any more there is nothing left to tell.
  (void)!::write(1, line.data(), line.size());
}

// In a session of its own, with the signals ignored that a polite end would use.
int LeaveDetached() {
  Result<Pipe> told = MakePipe();
  if (!told.ok()) return EMFILE;
  const pid_t pid = ::fork();
  if (pid < 0) return errno;
  if (pid > 0) {
    char byte = 0;
    (void)told.value().write.Close();
    (void)!::read(told.value().read.get(), &byte, 1);  // Its end of file answers as well.
    while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
    }
    return byte == 'D' ? 0 : ECHILD;
  }
  ::setsid();
  if (::fork() != 0) ::_exit(0);
  for (const int number : {SIGTERM, SIGHUP, SIGINT}) (void)::signal(number, SIG_IGN);
  (void)!::write(kStdin, "D", 1);
  (void)!::write(told.value().write.get(), "D", 1);
  for (;;) ::pause();
}

// 0, or the step that did not go as on a plain file system.
int UseOverlay(const std::string& root) {
  const auto path = [&root](const char* name) { return root + "/" + name; };
  char bytes[8] = {};
  const int file = ::open(path("keep").c_str(), O_RDWR | O_CLOEXEC);
  if (::pwrite(file, "new!", 4, 0) != 4) return 1;
  if (::pread(file, bytes, 4, 0) != 4 || std::string_view(bytes, 4) != "new!") return 2;
  if (::unlink(path("gone").c_str()) != 0 || ::access(path("gone").c_str(), F_OK) == 0) return 3;
  if (::unlink(path("old/file").c_str()) != 0 || ::rmdir(path("old").c_str()) != 0) return 4;
  if (::mkdir(path("old").c_str(), 0755) != 0) return 5;
  if (::access(path("old/file").c_str(), F_OK) == 0) return 6;  // The whiteout was forgotten.
  return ::mkdir(path("made").c_str(), 0755) == 0 ? 0 : 7;
}

void FillScratch() {
  static const std::vector<char> kChunk(64UL * 1024, 'x');
  const int file = ::open("/tmp/fill", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  std::int64_t bytes = 0;
  while (bytes < kScratchTryBytes) {
    const ssize_t n = ::write(file, kChunk.data(), kChunk.size());
    if (n < 0) break;
    bytes += n;
  }
  const int sys_errno = bytes < kScratchTryBytes ? errno : 0;
  ::close(file);
  ::unlink("/tmp/fill");
  Tell(kProbeScratch, bytes, sys_errno);
}

void MakeFiles() {
  ::mkdir("/tmp/files", 0700);
  int made = 0;
  int sys_errno = 0;
  for (; made < kFilesTry && sys_errno == 0; ++made) {
    const int fd = ::open(fmt::format("/tmp/files/{}", made).c_str(), O_WRONLY | O_CREAT, 0600);
    sys_errno = Errno(fd);
    if (fd >= 0) ::close(fd);
  }
  Tell(kProbeFiles, made, sys_errno);
}

void MakeProcesses() {
  std::vector<pid_t> made;
  int sys_errno = 0;
  while (static_cast<int>(made.size()) < kPidsTry && sys_errno == 0) {
    const pid_t pid = ::fork();
    if (pid == 0) {
      for (;;) ::pause();
    }
    sys_errno = Errno(pid);
    if (pid > 0) made.push_back(pid);
  }
  for (const pid_t pid : made) ::kill(pid, SIGKILL);
  for (const pid_t pid : made) ::waitpid(pid, nullptr, 0);
  Tell(kProbePids, static_cast<std::int64_t>(made.size()), sys_errno);
}

// What is no number is 0, which nothing here goes by.
template <typename Number>
Number ToNumber(const std::string& text) {
  Number number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

int Explore(const std::vector<std::string>& words) {
  Places places;
  places.workspace = "/workspace";
  places.file = words[1];
  places.socket = words[2];
  places.abstract = words[3];
  places.port = ToNumber<int>(words[4]);
  places.process = ToNumber<int>(words[5]);
  places.memory = ToNumber<int>(words[6]);
  const int detached = LeaveDetached();
  if (detached != 0) return detached;
  if (::write(kStdin, "P", 1) != 1) return errno;
  Tell(kProbeReady, 0, 0);
  const Fd socket(::dup(kStdin));
  const Result<std::optional<Message>> go = ReceiveMessage(socket);
  if (!go.ok() || !go.value().has_value() || go.value()->fds.size() != 1) return EPROTO;
  const Result<std::vector<int>> tried = TryAll(places, go.value()->fds[0]);
  if (!tried.ok()) return EAGAIN;
  for (std::size_t i = 0; i < tried.value().size(); ++i) {
    Tell(kProbeAttempt, static_cast<std::int64_t>(i), tried.value()[i]);
  }
  Tell(kProbeOverlay, UseOverlay(places.workspace), 0);
  FillScratch();
  MakeFiles();
  MakeProcesses();
  return 0;
}

std::int64_t ProcessorMicros() {
  rusage usage = {};
  ::getrusage(RUSAGE_SELF, &usage);
  return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1'000'000 + usage.ru_utime.tv_usec +
         usage.ru_stime.tv_usec;
}

int Exhaust(std::int64_t memory_bytes) {
  using Clock = std::chrono::steady_clock;
  constexpr std::int64_t kBusyMicros = 400'000;
  const Clock::time_point start = Clock::now();
  const std::int64_t before = ProcessorMicros();
  std::int64_t passed = 0;
  while (passed < kBusyMicros) {
    passed = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - start).count();
  }
  Tell(kProbeCpu, (ProcessorMicros() - before) * 1000 / passed, 0);
  std::vector<char> memory(static_cast<std::size_t>(memory_bytes));
  std::fill(memory.begin(), memory.end(), 'x');
  // Longer than any watchdog needs to see it; nobody waits for this where the limit holds.
  ::sleep(2);
  Tell(kProbeSurvived, memory[memory.size() / 2], 0);
  return 0;
}

}  // namespace

std::span<const Attempt> Attempts() {
  static const std::vector<Attempt> kAttempts = [] {
    std::vector<Attempt> found;
    for (const Trial& trial : Trials()) found.push_back(trial.attempt);
    return found;
  }();
  return kAttempts;
}

Result<std::vector<int>> TryAll(const Places& places, const Fd& host_dir) {
  std::vector<int> errnos;
  for (const Trial& trial : Trials()) errnos.push_back(TRY(TryOne(trial, places, host_dir)));
  return errnos;
}

std::vector<std::string> ProbeCommand(const Places& places) {
  return {kProbeProgram,
          "probe",
          "explore",
          places.file,
          places.socket,
          places.abstract,
          std::to_string(places.port),
          std::to_string(places.process),
          std::to_string(places.memory)};
}

std::vector<std::string> ExhaustCommand(std::int64_t memory_bytes) {
  return {kProbeProgram, "probe", "exhaust", std::to_string(memory_bytes)};
}

int RunProbe(const std::vector<std::string>& words) {
  constexpr std::size_t kExploreWords = 7;
  int status = EINVAL;
  if (words.size() == kExploreWords && words[0] == "explore") status = Explore(words);
  if (words.size() == 2 && words[0] == "exhaust")
    status = Exhaust(ToNumber<std::int64_t>(words[1]));
  // Not by way of exit(): what a sanitizer does there needs calls that a sandbox refuses.
  ::_exit(status);
}

}  // namespace bailiff
