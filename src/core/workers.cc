#include "core/workers.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <chrono>
#include <utility>

#include "base/check.h"
#include "core/queue.h"

namespace bailiff {
namespace {

// What changes without a word to this process, such as `bailiff queue resume`, is seen after this.
constexpr std::chrono::seconds kLookAgain{1};

}  // namespace

Workers::Workers(std::vector<std::unique_ptr<Context>> contexts, Live* live,
                 std::function<void(const std::string&)> log)
    : live_(live), log_(std::move(log)) {
  for (std::unique_ptr<Context>& context : contexts) {
    auto worker = std::make_unique<Worker>();
    worker->context = std::move(context);
    worker->stop = Fd(::eventfd(0, EFD_CLOEXEC));
    workers_.push_back(std::move(worker));
  }
  for (const std::unique_ptr<Worker>& worker : workers_) {
    worker->thread = std::thread([this, raw = worker.get()] { Work(raw); });
  }
}

Workers::~Workers() {
  Stop(Running::kCancel);
  Wait();
}

void Workers::Notify() {
  {
    const std::lock_guard lock(mutex_);
    ++notified_;
  }
  changed_.notify_one();
}

void Workers::Stop(Running running) {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  for (const std::unique_ptr<Worker>& worker : workers_) {
    if (running == Running::kFinish) break;
    const std::uint64_t one = 1;
    CHECK(::write(worker->stop.get(), &one, sizeof(one)) == sizeof(one));
  }
}

void Workers::Wait() {
  for (const std::unique_ptr<Worker>& worker : workers_) {
    if (worker->thread.joinable()) worker->thread.join();
  }
}

void Workers::Work(Worker* worker) {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    const std::uint64_t seen = notified_;
    lock.unlock();
    const bool ran = RunOne(worker);
    lock.lock();
    if (ran) continue;
    changed_.wait_for(lock, kLookAgain, [&] { return stopping_ || notified_ != seen; });
  }
}

// False when nothing was there to run.
bool Workers::RunOne(Worker* worker) {
  Result<std::optional<Claimed>> claimed = [&] {
    const std::lock_guard lock(claiming_);
    return ClaimNext(*worker->context);
  }();
  if (!claimed.ok()) log_("worker: take the next execution: " + claimed.error().message());
  if (!claimed.ok() || !claimed.value().has_value()) return false;
  ++busy_;
  const std::string id = claimed.value()->row.execution_id;
  RunObserver observer;
  observer.stop = &worker->stop;
  observer.progress = [&](const Execution& execution) { live_->Changed(execution); };
  observer.output = [&](Stream /*stream*/, std::string_view /*bytes*/) { live_->Output(id); };
  const Result<Execution> ran = RunClaimed(*worker->context, std::move(*claimed.value()), observer);
  if (ran.ok()) {
    live_->Changed(ran.value());
  } else {
    log_("worker: " + id + ": " + ran.error().message());
  }
  live_->End(id);
  --busy_;
  return true;
}

}  // namespace bailiff
