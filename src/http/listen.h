#pragma once

#include <sys/socket.h>
#include <sys/types.h>

#include <string>

#include "base/result.h"
#include "sys/fd.h"

namespace bailiff {

// A socket that accepts, without blocking.
struct ListeningSocket {
  Fd fd;
  bool is_unix = false;
  std::string address;  // "127.0.0.1:8124", "[::1]:8124" or the path.
  int port = 0;
};

// "127.0.0.1:8124", "[::1]:8124", "localhost:8124"; port 0 takes a free one.
// Errors: kInvalidArgument; kConflict when the port is taken; kPermissionDenied; kIo.
Result<ListeningSocket> ListenTcp(const std::string& address);

// A socket file at an absolute path, with exactly this mode from birth.
class UnixListener {
 public:
  // Replaces the socket file of a server that is dead. Two servers cannot believe that of each
  // other: `<path>.lock` is held for as long as one lives.
  // Errors: kConflict when a server listens there, or what is there is no socket;
  //         kPermissionDenied; kNotFound; kIo.
  static Result<UnixListener> Make(const std::string& path, mode_t mode);

  UnixListener(UnixListener&&) noexcept = default;
  UnixListener& operator=(UnixListener&&) = delete;
  ~UnixListener();  // Removes the socket file.

  // The socket itself. Call it once.
  ListeningSocket Take();

 private:
  UnixListener(Fd dir, std::string name, Fd lock, ListeningSocket socket);

  Fd dir_;
  std::string name_;
  Fd lock_;
  ListeningSocket socket_;
};

// One that somebody else opened. Errors: kInvalidArgument when it does not accept streams.
Result<ListeningSocket> AdoptListening(Fd fd);

// "127.0.0.1:8124", "[::1]:8124" or "unix".
std::string FormatAddress(const sockaddr_storage& address);

}  // namespace bailiff
