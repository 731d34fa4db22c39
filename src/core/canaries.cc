#include "core/canaries.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/ipc.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/sendfile.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

#include "sys/file.h"

namespace bailiff {
namespace {

// A process with a number that a sandbox's own few processes do not come to.
constexpr pid_t kPidMin = 100;
constexpr std::size_t kSecretBytesMax = 64;
constexpr const char* kText = "base";

Status WriteFile(const Fd& dir, const char* name) {
  const Fd file = TRY(OpenBeneath(dir, name, O_WRONLY | O_CREAT | O_EXCL, 0644));
  return WriteAll(file, kText);
}

Status CopyProgram(const Fd& dir) {
  const Fd from = TRY(OpenPath("/proc/self/exe", O_RDONLY));
  const Fd to = TRY(OpenBeneath(dir, "probe", O_WRONLY | O_CREAT | O_EXCL, 0755));
  for (;;) {
    constexpr std::size_t kChunk = 1UL << 30;
    const ssize_t n = ::sendfile(to.get(), from.get(), nullptr, kChunk);
    if (n == 0) return Ok();
    if (n < 0) return Error::FromErrno(errno, "copy the probe");
  }
}

// A sandbox may have to run as the owner of its workspace, where ids cannot be mapped; never as
// root.
Status GiveAway(const Fd& workspace) {
  constexpr uid_t kNobody = 65534;
  for (const char* name : {".", "probe", "keep", "gone", "old", "old/file", ".bailiff"}) {
    if (::fchownat(workspace.get(), name, kNobody, kNobody, AT_SYMLINK_NOFOLLOW) != 0) {
      return Error::FromErrno(errno, "chown");
    }
  }
  return Ok();
}

Result<Fd> Listen(int family, const sockaddr* address, socklen_t size) {
  const int raw = ::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (raw < 0) return Error::FromErrno(errno, "socket");
  Fd socket(raw);
  if (::bind(raw, address, size) != 0) return Error::FromErrno(errno, "bind");
  if (::listen(raw, 8) != 0) return Error::FromErrno(errno, "listen");
  return socket;
}

void EndProcess(pid_t pid) {
  ::kill(pid, SIGKILL);
  ::waitpid(pid, nullptr, 0);
}

bool Holds(const Fd& dir, const char* name) {
  const Result<Fd> file = OpenBeneath(dir, name, O_RDONLY);
  if (!file.ok()) return false;
  const Result<std::string> text = ReadAll(file.value(), kSecretBytesMax);
  return text.ok() && text.value() == kText;
}

}  // namespace

Result<std::unique_ptr<Canaries>> Canaries::Make() {
  std::unique_ptr<Canaries> canaries(new Canaries());
  std::string path = "/tmp/bailiff-doctor-XXXXXX";
  if (::mkdtemp(path.data()) == nullptr) return Error::FromErrno(errno, "mkdtemp " + path);
  canaries->path_ = path;
  TRY(canaries->MakeFiles());
  TRY(canaries->MakeSockets());
  TRY(canaries->MakeProcess());
  TRY(canaries->MakeMemory());
  return canaries;
}

Canaries::~Canaries() {
  if (places_.process > 0) EndProcess(places_.process);
  if (memory_id_ >= 0) ::shmctl(memory_id_, IPC_RMID, nullptr);
  if (path_.empty()) return;
  const Result<Fd> tmp = OpenPath("/tmp", O_RDONLY | O_DIRECTORY);
  // What cannot be removed now is a small directory that the system clears away.
  if (tmp.ok()) (void)RemoveTree(tmp.value(), path_.substr(path_.rfind('/') + 1));
}

// Modes and owner are such that only a layer of the sandbox is in the way.
Status Canaries::MakeFiles() {
  if (::chmod(path_.c_str(), 0755) != 0) return Error::FromErrno(errno, "chmod");
  dir_ = TRY(OpenPath(path_, O_RDONLY | O_DIRECTORY));
  TRY(WriteFile(dir_, "file"));
  for (const char* name : {"workspace", "workspace/old", "workspace/.bailiff", "scratch"}) {
    if (::mkdirat(dir_.get(), name, 0755) != 0) return Error::FromErrno(errno, "mkdir");
  }
  workspace_ = TRY(OpenDirBeneath(dir_, "workspace", O_RDONLY));
  scratch_ = TRY(OpenDirBeneath(dir_, "scratch", O_RDONLY));
  for (const char* name : {"keep", "gone", "old/file", ".bailiff/secret"}) {
    TRY(WriteFile(workspace_, name));
  }
  TRY(CopyProgram(workspace_));
  if (::geteuid() == 0) TRY(GiveAway(workspace_));
  places_.workspace = path_ + "/workspace";
  places_.file = path_ + "/file";
  places_.socket = path_ + "/socket";
  return Ok();
}

Status Canaries::MakeSockets() {
  sockaddr_in port = {};
  port.sin_family = AF_INET;
  port.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  listeners_[0] = TRY(Listen(AF_INET, reinterpret_cast<sockaddr*>(&port), sizeof(port)));
  socklen_t size = sizeof(port);
  ::getsockname(listeners_[0].get(), reinterpret_cast<sockaddr*>(&port), &size);
  places_.port = ntohs(port.sin_port);
  // An address without a name is given one by the kernel.
  sockaddr_un name = {};
  name.sun_family = AF_UNIX;
  listeners_[1] = TRY(Listen(AF_UNIX, reinterpret_cast<sockaddr*>(&name), sizeof(name.sun_family)));
  size = sizeof(name);
  ::getsockname(listeners_[1].get(), reinterpret_cast<sockaddr*>(&name), &size);
  places_.abstract.assign(name.sun_path + 1, size - offsetof(sockaddr_un, sun_path) - 1);
  sockaddr_un path = {};
  path.sun_family = AF_UNIX;
  places_.socket.copy(path.sun_path, sizeof(path.sun_path) - 1);
  listeners_[2] = TRY(Listen(AF_UNIX, reinterpret_cast<sockaddr*>(&path), sizeof(path)));
  return Ok();
}

Status Canaries::MakeProcess() {
  const pid_t parent = ::getpid();
  for (int attempt = 0; attempt <= kPidMin; ++attempt) {
    const pid_t pid = ::fork();
    if (pid < 0) return Error::FromErrno(errno, "fork");
    if (pid == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (::getppid() != parent) ::_exit(1);
      for (;;) ::pause();
    }
    if (pid >= kPidMin || attempt == kPidMin) {
      places_.process = pid;
      return Ok();
    }
    EndProcess(pid);
  }
  return Ok();
}

Status Canaries::MakeMemory() {
  constexpr int kPositive = 0x7FFFFFFF;
  if (::getrandom(&places_.memory, sizeof(places_.memory), 0) < 0) {
    return Error::FromErrno(errno, "getrandom");
  }
  places_.memory &= kPositive;
  memory_id_ = ::shmget(places_.memory, 4096, IPC_CREAT | IPC_EXCL | 0600);
  // A kernel without them has nothing that could be reached.
  if (memory_id_ < 0 && errno != ENOSYS) return Error::FromErrno(errno, "shmget");
  return Ok();
}

int Canaries::Connections() const {
  int count = 0;
  for (const Fd& listener : listeners_) {
    for (;; ++count) {
      const int raw = ::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC);
      if (raw < 0) break;
      ::close(raw);
    }
  }
  return count;
}

std::string Canaries::Damage() const {
  for (const char* name : {"keep", "gone", "old/file", ".bailiff/secret"}) {
    if (!Holds(workspace_, name)) return name;
  }
  struct stat st = {};
  return ::fstatat(workspace_.get(), "made", &st, AT_SYMLINK_NOFOLLOW) == 0 ? "made" : "";
}

}  // namespace bailiff
