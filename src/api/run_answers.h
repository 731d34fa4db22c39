#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/json/object.hpp>
#include <chrono>
#include <memory>
#include <string>

#include "api/api.h"

namespace bailiff {

// An answer with a larger body is not kept for a repetition; what it was about is looked up.
inline constexpr std::size_t kAnswerBytesMax = 1UL << 20;

// Wakes a handler on the io thread from any other one.
class Signal : public std::enable_shared_from_this<Signal> {
 public:
  explicit Signal(boost::asio::io_context* io) : io_(io), timer_(*io) {}

  void Raise();  // From any thread.

  // Returns when it was raised since the last Wait(), or at `deadline`. On the io thread.
  boost::asio::awaitable<void> Wait(std::chrono::steady_clock::time_point deadline);

 private:
  boost::asio::io_context* io_;
  boost::asio::steady_timer timer_;
  bool raised_ = false;  // Of the io thread alone.
};

// The execution document of `id`, if the actor may see it.
boost::asio::awaitable<HttpResponse> ShowExecution(ApiParts& parts, Actor actor, std::string id,
                                                   int status);

// Returns when the execution has ended, or after `time`.
boost::asio::awaitable<void> WaitUntilEnded(ApiParts& parts, std::string id,
                                            std::chrono::milliseconds time);

}  // namespace bailiff
