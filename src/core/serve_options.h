#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "core/context.h"
#include "sys/fd.h"

namespace bailiff {

// What `bailiff serve` is told. docs/server.md has the options in words.
struct ServeOptions {
  std::vector<std::string> listen;  // "127.0.0.1:8124"; empty with `listen_tcp` false.
  std::string socket_path;          // Absolute; empty: "socket" in the state directory.
  std::string certificate_path;
  std::string key_path;
  std::vector<std::string> allowed_hosts;
  std::int64_t workers = 2;
  std::int64_t queue_length_max = 1'000;
  std::int64_t body_bytes_max = 32LL << 20;
  bool cancel_on_stop = false;  // What runs; else it is let finish.
  std::vector<Fd> inherited;    // Listening sockets from systemd.
  std::string notify_socket;    // systemd's $NOTIFY_SOCKET; empty: none.
};

// Serves until it is told to stop (SIGTERM, SIGINT; a second one cancels what runs).
using ServeFunction = Status (*)(Context& context, ServeOptions options);

}  // namespace bailiff
