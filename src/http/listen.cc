#include "http/listen.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <utility>

#include "sys/file.h"

namespace bailiff {
namespace {

constexpr int kBacklog = 4096;
constexpr int kPortMax = 65535;

Error BadAddress(const std::string& address) {
  return {ErrorCode::kInvalidArgument,
          "listen " + address + ": must be an address and a port, such as 127.0.0.1:8124"};
}

Result<std::pair<sockaddr_storage, socklen_t>> ParseAddress(const std::string& text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string::npos) return BadAddress(text);
  int port = -1;
  const char* end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data() + colon + 1, end, port);
  if (parsed.ec != std::errc() || parsed.ptr != end || port < 0 || port > kPortMax) {
    return BadAddress(text);
  }
  std::string host = text.substr(0, colon);
  if (host == "localhost") host = "127.0.0.1";
  sockaddr_storage storage{};
  auto* v4 = reinterpret_cast<sockaddr_in*>(&storage);
  if (::inet_pton(AF_INET, host.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(static_cast<std::uint16_t>(port));
    return std::pair(storage, socklen_t{sizeof(sockaddr_in)});
  }
  if (!host.starts_with('[') || !host.ends_with(']')) return BadAddress(text);
  host = host.substr(1, host.size() - 2);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&storage);
  if (::inet_pton(AF_INET6, host.c_str(), &v6->sin6_addr) != 1) return BadAddress(text);
  v6->sin6_family = AF_INET6;
  v6->sin6_port = htons(static_cast<std::uint16_t>(port));
  return std::pair(storage, socklen_t{sizeof(sockaddr_in6)});
}

Error Failed(const std::string& address) {
  Error error = Error::FromErrno(errno, "listen " + address);
  if (error.sys_errno() == EADDRINUSE) return std::move(error).WithCode(ErrorCode::kConflict);
  return error;
}

int PortOf(const sockaddr_storage& address) {
  // Both families have it at the same place.
  return ntohs(reinterpret_cast<const sockaddr_in*>(&address)->sin_port);
}

// By way of /proc, because sun_path holds 108 bytes and a path may be longer.
sockaddr_un UnixAddress(const Fd& dir, const std::string& name) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = "/proc/self/fd/" + std::to_string(dir.get()) + "/" + name;
  std::memcpy(address.sun_path, path.data(), std::min(path.size(), sizeof(address.sun_path) - 1));
  return address;
}

Result<Fd> UnixSocket() {
  const int raw = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (raw < 0) return Error::FromErrno(errno, "socket");
  return Fd(raw);
}

// The caller holds the lock.
Status RemoveStale(const Fd& dir, const std::string& name, const std::string& path) {
  const std::optional<struct stat> there = TRY(StatAt(dir, name));
  if (!there) return Ok();
  if (!S_ISSOCK(there->st_mode)) {
    return Error(ErrorCode::kConflict, "listen " + path + ": something else is there");
  }
  const Fd probe = TRY(UnixSocket());
  const sockaddr_un address = UnixAddress(dir, name);
  if (::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0 ||
      errno == EAGAIN) {
    return Error(ErrorCode::kConflict, "listen " + path + ": a server listens there");
  }
  return Unlink(dir, name);
}

}  // namespace

std::string FormatAddress(const sockaddr_storage& address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (address.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
    ::inet_ntop(AF_INET, &v4.sin_addr, text.data(), text.size());
    return std::string(text.data()) + ":" + std::to_string(PortOf(address));
  }
  if (address.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
    ::inet_ntop(AF_INET6, &v6.sin6_addr, text.data(), text.size());
    return "[" + std::string(text.data()) + "]:" + std::to_string(PortOf(address));
  }
  return "unix";
}

Result<ListeningSocket> AdoptListening(Fd fd) {
  int is_listening = 0;
  socklen_t size = sizeof(is_listening);
  int type = 0;
  socklen_t type_size = sizeof(type);
  if (::getsockopt(fd.get(), SOL_SOCKET, SO_ACCEPTCONN, &is_listening, &size) != 0 ||
      ::getsockopt(fd.get(), SOL_SOCKET, SO_TYPE, &type, &type_size) != 0 || is_listening == 0 ||
      type != SOCK_STREAM) {
    return Error(ErrorCode::kInvalidArgument, "an inherited descriptor is no listening socket");
  }
  const int flags = ::fcntl(fd.get(), F_GETFL);
  if (flags < 0 || ::fcntl(fd.get(), F_SETFL, flags | O_NONBLOCK) != 0 ||
      ::fcntl(fd.get(), F_SETFD, FD_CLOEXEC) != 0) {
    return Error::FromErrno(errno, "fcntl of a listening socket");
  }
  sockaddr_storage address{};
  socklen_t address_size = sizeof(address);
  if (::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &address_size) != 0) {
    return Error::FromErrno(errno, "getsockname");
  }
  const bool is_unix = address.ss_family == AF_UNIX;
  ListeningSocket socket{std::move(fd), is_unix, FormatAddress(address), 0};
  if (!is_unix) socket.port = PortOf(address);
  return socket;
}

Result<ListeningSocket> ListenTcp(const std::string& address) {
  const auto [storage, size] = TRY(ParseAddress(address));
  const int raw = ::socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (raw < 0) return Failed(address);
  Fd fd(raw);
  const int on = 1;
  // Whoever wants both families says so with two addresses.
  if (::setsockopt(raw, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
      (storage.ss_family == AF_INET6 &&
       ::setsockopt(raw, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) != 0) ||
      ::bind(raw, reinterpret_cast<const sockaddr*>(&storage), size) != 0 ||
      ::listen(raw, kBacklog) != 0) {
    return Failed(address);
  }
  return AdoptListening(std::move(fd));
}

UnixListener::UnixListener(Fd dir, std::string name, Fd lock, ListeningSocket socket)
    : dir_(std::move(dir)),
      name_(std::move(name)),
      lock_(std::move(lock)),
      socket_(std::move(socket)) {}

UnixListener::~UnixListener() {
  if (!dir_.valid()) return;
  // A file that stays is taken for that of a dead server, which is right.
  (void)Unlink(dir_, name_);
}

ListeningSocket UnixListener::Take() {
  return std::move(socket_);
}

Result<UnixListener> UnixListener::Make(const std::string& path, mode_t mode) {
  const std::size_t slash = path.rfind('/');
  const std::string name = path.substr(slash + 1);
  if (!path.starts_with('/') || name.empty() || name.size() > 64) {
    return Error(
        ErrorCode::kInvalidArgument,
        "listen " + path + ": must be an absolute path, its last part of at most 64 bytes");
  }
  Fd dir = TRY(OpenPath(path.substr(0, slash + 1), O_PATH | O_DIRECTORY));
  Fd lock = TRY(OpenEntry(dir, name + ".lock", O_RDWR | O_CREAT, 0600));
  if (!TRY(TryLock(lock, LockMode::kExclusive))) {
    return Error(ErrorCode::kConflict, "listen " + path + ": a server listens there");
  }
  TRY(RemoveStale(dir, name, path));
  Fd socket = TRY(UnixSocket());
  // The file is born with the socket's own mode, less the umask; what that took comes back after.
  const sockaddr_un address = UnixAddress(dir, name);
  if (::fchmod(socket.get(), mode) != 0 ||
      ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 ||
      ::fchmodat(dir.get(), name.c_str(), mode, 0) != 0 || ::listen(socket.get(), kBacklog) != 0) {
    return Failed(path);
  }
  ListeningSocket listening = TRY(AdoptListening(std::move(socket)));
  listening.address = path;
  return UnixListener(std::move(dir), name, std::move(lock), std::move(listening));
}

}  // namespace bailiff
