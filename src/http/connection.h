#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <chrono>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "http/head_check.h"
#include "http/limits.h"
#include "http/message.h"
#include "http/request_parser.h"
#include "http/response_writer.h"
#include "http/site_guard.h"
#include "http/wire.h"

namespace bailiff {

// What all connections of a server have in common.
struct ServerShare {
  HttpLimits limits;
  SiteGuard guard;
  HttpHandler handler;
  std::function<void(const std::string&)> report;
  bool stopping = false;
  std::size_t bodies_bytes = 0;  // Of the requests that are being read or handled.
};

// One client: its requests, one after the other. Runs on the server's thread.
class ClientConnection {
 public:
  using Time = std::chrono::steady_clock::time_point;

  // `share` must outlive the connection.
  ClientConnection(std::unique_ptr<Wire> wire, Peer peer, bool is_tls, ServerShare* share);

  // Until the client or the server has enough. Throws when it is cancelled.
  boost::asio::awaitable<void> Run();

  // Breaks off what waits for the client and should not any longer. To be called now and then.
  void Sweep(Time now);

  // The server stops: what waits for a request ends, and so does a stream.
  void Stop();

  boost::asio::cancellation_signal& cancel() { return cancel_; }

 private:
  enum class Phase { kIdle, kRequest, kStream };
  class Budget;

  boost::asio::awaitable<bool> ServeOne();
  boost::asio::awaitable<std::optional<Refusal>> ReadHead(RequestParser* parser);
  boost::asio::awaitable<std::optional<Refusal>> ReadBody(RequestParser* parser, Budget* budget);
  boost::asio::awaitable<bool> ReadMore(std::size_t size);
  boost::asio::awaitable<HttpResponse> Answer(HttpRequest request);
  boost::asio::awaitable<bool> Send(HttpResponse response, bool is_head, bool is_old, bool keep);
  boost::asio::awaitable<bool> SendStream(const BodyStream* stream, BodyFraming framing);
  boost::asio::awaitable<void> WaitUntilGone();
  boost::asio::awaitable<bool> Write(std::string_view bytes);
  void Report(const std::string& what, const std::exception& failure) const;
  void SetDeadline(std::chrono::milliseconds time);
  bool IsLate() const { return std::chrono::steady_clock::now() >= deadline_; }

  std::unique_ptr<Wire> wire_;
  Peer peer_;
  bool is_tls_;
  ServerShare* share_;
  boost::asio::cancellation_signal cancel_;
  Phase phase_ = Phase::kIdle;
  std::string input_;  // What arrived and was not used yet.
  Time deadline_ = Time::max();
  bool gone_ = false;  // There is nobody to answer.
};

}  // namespace bailiff
