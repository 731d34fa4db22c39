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
  // result on the io thread.
  template <typename Work>
  auto Run(Actor actor, Work work)
      -> boost::asio::awaitable<decltype(work(std::declval<Context&>()))> {
    using Value = decltype(work(std::declval<Context&>()));
    auto initiate = [this, actor = std::move(actor), work = std::move(work)](auto handler) mutable {
      auto shared = std::make_shared<decltype(handler)>(std::move(handler));
      Add([this, actor = std::move(actor), work = std::move(work),
           shared = std::move(shared)](Context& context) mutable {
        context.ActAs(std::move(actor));
        auto value = std::make_shared<Value>(work(context));
        boost::asio::post(*io_, [shared = std::move(shared), value = std::move(value)]() mutable {
          std::move (*shared)(std::move(*value));
        });
      });
    };
    co_return co_await boost::asio::async_initiate<decltype(boost::asio::use_awaitable),
                                                   void(Value)>(std::move(initiate),
                                                                boost::asio::use_awaitable);
  }

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
