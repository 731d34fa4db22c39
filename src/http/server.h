#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "http/limits.h"
#include "http/message.h"
#include "sys/fd.h"

namespace boost::asio {
class io_context;
}

namespace bailiff {

struct HttpServerOptions {
  std::vector<std::string> listen;  // "127.0.0.1:8124", "[::1]:8124"; port 0 takes a free one.
  std::string socket_path;          // Of a unix socket, absolute; "" for none.
  mode_t socket_mode = 0600;
  std::vector<Fd> inherited;     // Listening sockets that systemd opened.
  std::string certificate_path;  // PEM, for TLS on all but unix sockets; "" for none.
  std::string key_path;
  // What Host may be, besides the listening address, localhost, 127.0.0.1 and [::1], each with its
  // port: "bailiff.example:8124".
  std::vector<std::string> allowed_hosts;
  HttpLimits limits;
  // Is told in a line what went wrong that no client is told: a handler that threw, no descriptors
  // left. Runs on the server's thread.
  std::function<void(const std::string&)> report = [](const std::string&) {};
};

// An HTTP/1.1 server for hostile clients. It refuses what is ambiguous (head_check.h), what comes
// from other sites' pages (site_guard.h) and what exceeds its limits (limits.h); after a refusal
// the connection is closed and nothing more of it is read. Requests of one connection are handled
// one after the other. Everything runs on the thread of Serve().
//
// A client that leaves is noticed while a stream is sent, or when the response is written; its
// handler runs to its end.
class HttpServer {
 public:
  // Opens the sockets; clients wait until Serve(). Raises the process's limit of descriptors.
  // Errors: kInvalidArgument; kConflict when an address is taken; kPermissionDenied; kIo.
  static Result<std::unique_ptr<HttpServer>> Listen(HttpServerOptions options);

  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  // Handlers that Stop() did not wait for end here, in the middle: what they use must still be
  // there, and nothing may be posted to io() any more.
  ~HttpServer();

  // Blocks until the server was stopped. Call it once.
  void Serve(HttpHandler handler);

  // Accepts nobody any more, closes idle connections and ends streams at once; gives running
  // requests `grace` before it cancels what they await and, a second later, abandons them. Returns
  // at once. May be called by any thread, before Serve() too.
  void Stop(std::chrono::milliseconds grace);

  // For timers and for handing results from other threads to handlers.
  boost::asio::io_context& io();

  // "127.0.0.1:40123" with the real port, or the path of a unix socket.
  std::vector<std::string> addresses() const;

 private:
  struct State;
  explicit HttpServer(std::unique_ptr<State> state);

  std::unique_ptr<State> state_;
};

}  // namespace bailiff
