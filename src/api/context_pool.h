#pragma once

#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "core/context.h"

namespace bailiff {

// Threads that do the core's blocking work for handlers, each with a context of its own. How many
// tasks may wait is bounded by the connections: each waits for one.
class ContextPool {
 public:
  ContextPool(std::vector<std::unique_ptr<Context>> contexts, boost::asio::io_context* io);
  ~ContextPool();  // Waits for what runs; what waits is dropped.

  // Runs `work(Context&)` for `actor` on one of the threads; the awaiting handler goes on with its
  // result on the io thread. `work` is a variable of the caller: what a lambda captures that is
  // written into a co_await expression is destroyed twice by g++ 12 (GCC bug 101367).
  template <typename Work>
  auto Run(const Actor& actor, const Work& work)
      -> boost::asio::awaitable<decltype(work(std::declval<Context&>()))> {
    using Value = decltype(work(std::declval<Context&>()));
    auto shared_work = std::make_shared<Work>(work);
    auto shared_actor = std::make_shared<Actor>(actor);
    return boost::asio::async_initiate<const boost::asio::use_awaitable_t<>, void(Value)>(
        [this, shared_actor, shared_work](auto handler) {
          auto shared = std::make_shared<decltype(handler)>(std::move(handler));
          Add([this, shared_actor, shared_work, shared](Context& context) {
            context.ActAs(*shared_actor);
            auto value = std::make_shared<Value>((*shared_work)(context));
            boost::asio::post(*io_, [shared, value] { std::move (*shared)(std::move(*value)); });
          });
        },
        boost::asio::use_awaitable);
  }

  template <typename Work>
  void Run(const Actor& actor, const Work&& work) = delete;

 private:
  using Task = std::function<void(Context&)>;
  void Add(Task task);
  void Work(Context* context);

  boost::asio::io_context* io_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Task> tasks_;
  bool stopping_ = false;
  std::vector<std::unique_ptr<Context>> contexts_;
  std::vector<std::thread> threads_;
};

}  // namespace bailiff
