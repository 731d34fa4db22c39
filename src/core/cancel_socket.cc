#include "core/cancel_socket.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "sys/file.h"

namespace bailiff {
namespace {

constexpr int kBacklog = 16;

std::string SocketName(const std::string& id) {
  return id + ".sock";
}

std::string LockName(const std::string& id) {
  return id + ".lock";
}

// By way of /proc, because sun_path holds 108 bytes and a state directory may lie deep.
sockaddr_un Address(const Fd& run_dir, const std::string& id) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = "/proc/self/fd/" + std::to_string(run_dir.get()) + "/" + SocketName(id);
  CHECK(path.size() < sizeof(address.sun_path));
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

Result<Fd> MakeSocket() {
  const int raw = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (raw < 0) return Error::FromErrno(errno, "socket");
  return Fd(raw);
}

}  // namespace

CancelSocket::CancelSocket(Fd run_dir, std::string id, Fd lock, Fd socket)
    : run_dir_(std::move(run_dir)),
      id_(std::move(id)),
      lock_(std::move(lock)),
      socket_(std::move(socket)) {}

CancelSocket::~CancelSocket() {
  if (!socket_.valid()) return;
  // A name that stays is removed by the next FinishAbandoned().
  (void)Remove(run_dir_, id_);
}

Result<CancelSocket> CancelSocket::Make(const Fd& run_dir, const std::string& id) {
  Fd dir = TRY(OpenDirBeneath(run_dir, "."));
  const Entry lock_entry{TRY(OpenDirBeneath(run_dir, ".")), LockName(id)};
  Fd lock = TRY(OpenEntry(lock_entry, O_RDWR | O_CREAT | O_EXCL, 0600));
  const bool locked = TRY(TryLock(lock, LockMode::kExclusive));
  CHECK(locked);  // Nobody else knows the id yet.
  Fd socket = TRY(MakeSocket());
  const sockaddr_un address = Address(run_dir, id);
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return Error::FromErrno(errno, "bind " + SocketName(id));
  }
  if (::listen(socket.get(), kBacklog) != 0) return Error::FromErrno(errno, "listen");
  return CancelSocket(std::move(dir), id, std::move(lock), std::move(socket));
}

Result<bool> CancelSocket::Ask(const Fd& run_dir, const std::string& id) {
  const Fd socket = TRY(MakeSocket());
  const sockaddr_un address = Address(run_dir, id);
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    if (errno == ENOENT || errno == ECONNREFUSED) return false;
    return Error::FromErrno(errno, "connect " + SocketName(id));
  }
  char byte = 0;
  while (::read(socket.get(), &byte, 1) < 0 && errno == EINTR) {
  }
  // The tree is gone; the lock goes when all of it is recorded.
  const Entry entry{TRY(OpenDirBeneath(run_dir, ".")), LockName(id)};
  const Result<Fd> lock = OpenEntry(entry, O_RDWR);
  if (!lock.ok()) return true;  // Gone already.
  while (::flock(lock.value().get(), LOCK_SH) != 0 && errno == EINTR) {
  }
  return true;
}

Result<bool> CancelSocket::IsAlive(const Fd& run_dir, const std::string& id) {
  const Entry entry{TRY(OpenDirBeneath(run_dir, ".")), LockName(id)};
  const Result<Fd> lock = OpenEntry(entry, O_RDWR);
  if (!lock.ok()) {
    if (lock.error().code() == ErrorCode::kNotFound) return false;
    return lock.error();
  }
  return !TRY(TryLock(lock.value(), LockMode::kExclusive));
}

Status CancelSocket::Remove(const Fd& run_dir, const std::string& id) {
  for (const std::string& name : {SocketName(id), LockName(id)}) {
    const Status removed = Unlink(run_dir, name);
    if (!removed.ok() && removed.error().code() != ErrorCode::kNotFound) return removed;
  }
  return Ok();
}

}  // namespace bailiff
