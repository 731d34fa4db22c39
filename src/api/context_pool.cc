#include "api/context_pool.h"

namespace bailiff {

ContextPool::ContextPool(std::vector<std::unique_ptr<Context>> contexts,
                         boost::asio::io_context* io)
    : io_(io), contexts_(std::move(contexts)) {
  for (const std::unique_ptr<Context>& context : contexts_) {
    threads_.emplace_back([this, raw = context.get()] { Work(raw); });
  }
}

ContextPool::~ContextPool() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void ContextPool::Add(Task task) {
  {
    const std::lock_guard lock(mutex_);
    tasks_.push_back(std::move(task));
  }
  changed_.notify_one();
}

void ContextPool::Work(Context* context) {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return stopping_ || !tasks_.empty(); });
    if (stopping_) return;
    const Task task = std::move(tasks_.front());
    tasks_.pop_front();
    lock.unlock();
    task(*context);
    lock.lock();
  }
}

}  // namespace bailiff
