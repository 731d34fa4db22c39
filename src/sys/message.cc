#include "sys/message.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

namespace bailiff {
namespace {

constexpr std::size_t kControlBytes = CMSG_SPACE(sizeof(int) * kMessageFdsMax);

void TakeFds(msghdr* header, std::vector<Fd>* fds) {
  for (cmsghdr* part = CMSG_FIRSTHDR(header); part != nullptr; part = CMSG_NXTHDR(header, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof(int));
      fds->emplace_back(fd);
    }
  }
}

}  // namespace

Result<std::pair<Fd, Fd>> MakeMessageSocket() {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    return Error::FromErrno(errno, "socketpair");
  }
  return std::pair(Fd(ends[0]), Fd(ends[1]));
}

Status SendMessage(const Fd& socket, std::string_view bytes, const std::vector<const Fd*>& fds) {
  if (bytes.empty() || bytes.size() > kMessageBytesMax || fds.size() > kMessageFdsMax) {
    return Error(ErrorCode::kInvalidArgument, "send: message is empty or too large");
  }
  iovec part{const_cast<char*>(bytes.data()), bytes.size()};
  alignas(cmsghdr) std::array<char, kControlBytes> control{};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  if (!fds.empty()) {
    header.msg_control = control.data();
    header.msg_controllen = CMSG_SPACE(sizeof(int) * fds.size());
    cmsghdr* rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int) * fds.size());
    for (std::size_t i = 0; i < fds.size(); ++i) {
      const int fd = fds[i]->get();
      std::memcpy(CMSG_DATA(rights) + i * sizeof(int), &fd, sizeof(int));
    }
  }
  for (;;) {
    if (::sendmsg(socket.get(), &header, MSG_NOSIGNAL) >= 0) return Ok();
    if (errno == EPIPE || errno == ECONNRESET) {
      return Error(ErrorCode::kConflict, "send: the other process is gone");
    }
    if (errno != EINTR) return Error::FromErrno(errno, "send");
  }
}

Result<std::optional<Message>> ReceiveMessage(const Fd& socket) {
  Message message;
  // A first look waits for the message and tells its size: it is small, unlike the largest.
  ssize_t waiting = -1;
  do {
    waiting = ::recv(socket.get(), nullptr, 0, MSG_PEEK | MSG_TRUNC);
  } while (waiting < 0 && errno == EINTR);
  if (waiting < 0 && errno == ECONNRESET) return std::optional<Message>();
  if (waiting < 0) return Error::FromErrno(errno, "receive");
  message.bytes.resize(
      std::clamp<std::size_t>(static_cast<std::size_t>(waiting), 1, kMessageBytesMax));
  iovec part{message.bytes.data(), message.bytes.size()};
  alignas(cmsghdr) std::array<char, kControlBytes> control{};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control.data();
  header.msg_controllen = control.size();
  ssize_t size = -1;
  do {
    size = ::recvmsg(socket.get(), &header, MSG_CMSG_CLOEXEC);
  } while (size < 0 && errno == EINTR);
  if (size < 0 && errno == ECONNRESET) return std::optional<Message>();
  if (size < 0) return Error::FromErrno(errno, "receive");
  TakeFds(&header, &message.fds);
  if (size == 0) return std::optional<Message>();
  if ((header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
    return Error(ErrorCode::kInvalidArgument, "receive: message was cut short");
  }
  message.bytes.resize(static_cast<std::size_t>(size));
  return std::optional(std::move(message));
}

}  // namespace bailiff
