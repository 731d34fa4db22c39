#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

#include "http/server.h"

namespace bailiff {

// How long a test waits for what should come at once.
inline constexpr std::chrono::seconds kPatience{20};

// Waits until `condition` holds; false when it does not in time.
bool Eventually(const std::function<bool()>& condition);

// Answers "METHOD PATH BODY", whatever the request.
boost::asio::awaitable<HttpResponse> Echo(HttpRequest request);

// An HttpServer on a thread of its own, stopped at the end.
class TestServer {
 public:
  explicit TestServer(HttpHandler handler, HttpServerOptions options = OnLoopback());
  ~TestServer();

  static HttpServerOptions OnLoopback();

  HttpServer& server() { return *server_; }
  int port() const { return port_; }
  std::string host() const { return "127.0.0.1:" + std::to_string(port_); }

  // Stops the server and waits until it has.
  void Stop(std::chrono::milliseconds grace);

  // "METHOD TARGET HTTP/1.1", Host, the given headers ("A: b\r\n") and the empty line.
  std::string Head(std::string_view start, std::string_view headers = "") const;

 private:
  std::unique_ptr<HttpServer> server_;
  int port_ = 0;
  std::thread thread_;
};

// A client that sends what it is told to.
class TestClient {
 public:
  explicit TestClient(const TestServer& server);
  explicit TestClient(const std::string& socket_path);
  explicit TestClient(Fd socket) : socket_(std::move(socket)) {}

  bool Send(std::string_view bytes) const;  // False when the server takes no more.
  void EndSending() const;
  void Close() { socket_ = Fd(); }

  // Everything up to the end of the connection.
  std::string ReadAll();
  // Up to and with `end`, or less when the connection ends.
  std::string ReadUntil(std::string_view end);
  // One response with a Content-Length.
  std::string ReadResponse();

  const Fd& socket() const { return socket_; }

 private:
  bool Receive();

  Fd socket_;
  std::string input_;
};

// What a server says to `bytes`, with the end of the connection.
std::string Ask(const TestServer& server, std::string_view bytes);

// 200 of "HTTP/1.1 200 OK..."; 0 for no response.
int StatusOf(std::string_view response);

}  // namespace bailiff
