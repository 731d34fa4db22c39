#pragma once

#include <chrono>
#include <cstddef>

namespace bailiff {

// What one client may take of a server. A request beyond a limit gets the status named here, then
// the connection is closed.
struct HttpLimits {
  std::size_t header_bytes_max = 16UL * 1024;          // Request line and headers. 431.
  std::size_t headers_max = 100;                       // 431.
  std::size_t target_bytes_max = 8UL * 1024;           // 414.
  std::size_t body_bytes_max = 32UL * 1024 * 1024;     // 413.
  std::size_t bodies_bytes_max = 512UL * 1024 * 1024;  // Of all requests being read. 503.
  std::size_t connections_max = 10'240;                // 503.
  std::size_t connections_per_peer_max = 256;          // Loopback and unix are exempt. 503.
  std::chrono::milliseconds read_header_time{10'000};  // From its first byte. 408. TLS: closed.
  std::chrono::milliseconds read_body_time{60'000};    // 408.
  std::chrono::milliseconds idle_time{75'000};         // Before a request. Closed.
  std::chrono::milliseconds write_time{30'000};        // For each 256 KiB. Closed.
};

}  // namespace bailiff
