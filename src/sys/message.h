#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "sys/fd.h"

// Messages with descriptors between our own processes, over SOCK_SEQPACKET sockets: each arrives
// whole or not at all. What is larger than kMessageBytesMax travels in a sealed memory file.

namespace bailiff {

inline constexpr std::size_t kMessageBytesMax = 64UL * 1024;
inline constexpr std::size_t kMessageFdsMax = 16;

struct Message {
  std::string bytes;
  std::vector<Fd> fds;
};

// Two connected ends.
Result<std::pair<Fd, Fd>> MakeMessageSocket();

// Errors: kInvalidArgument above the limits; kConflict when the other end is closed; kIo.
Status SendMessage(const Fd& socket, std::string_view bytes,
                   const std::vector<const Fd*>& fds = {});

// Blocks until a message arrives. Nothing when the other end is closed.
// Errors: kInvalidArgument for a message that was cut short; kIo.
Result<std::optional<Message>> ReceiveMessage(const Fd& socket);

}  // namespace bailiff
