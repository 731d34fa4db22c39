#include "core/workers.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <chrono>
#include <utility>

#include "base/check.h"

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

bool Workers::Hand(HandedRun* handed) {
  {
    const std::lock_guard lock(mutex_);
    if (stopping_ || handed_.size() >= idle_) return false;
    handed_.push_back(std::move(*handed));
  }
  changed_.notify_one();
  return true;
}

void Workers::Work(Worker* worker) {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    const std::uint64_t seen = notified_;
    if (!handed_.empty()) {
      const HandedRun handed = std::move(handed_.front());
      handed_.pop_front();
      lock.unlock();
      RunOneHanded(worker, handed);
      lock.lock();
      continue;
    }
    lock.unlock();
    const bool ran = RunOne(worker);
    lock.lock();
    if (ran) continue;
    ++idle_;
    changed_.wait_for(lock, kLookAgain,
                      [&] { return stopping_ || notified_ != seen || !handed_.empty(); });
    --idle_;
  }
  while (!handed_.empty()) {
    handed_.front().known(Error(ErrorCode::kResourceExhausted, "the server is stopping"));
    handed_.pop_front();
  }
}

Result<Execution> Workers::Follow(Worker* worker, const std::string& id, const Runner& run) {
  ++busy_;
  RunObserver observer;
  observer.stop = &worker->stop;
  observer.progress = [&](const Execution& execution) { live_->Changed(execution); };
  observer.output = [&](Stream /*stream*/, std::string_view /*bytes*/) { live_->Output(id); };
  Result<Execution> ran = run(observer);
  --busy_;
  if (ran.ok()) live_->Changed(ran.value());
  return ran;
}

// False when nothing was there to run.
bool Workers::RunOne(Worker* worker) {
  Result<std::optional<Claimed>> claimed = [&] {
    const std::lock_guard lock(claiming_);
    return ClaimNext(*worker->context);
  }();
  if (!claimed.ok()) log_("worker: take the next execution: " + claimed.error().message());
  if (!claimed.ok() || !claimed.value().has_value()) return false;
  const std::string id = claimed.value()->row.execution_id;
  const Result<Execution> ran = Follow(worker, id, [&](const RunObserver& observer) {
    return RunClaimed(*worker->context, std::move(*claimed.value()), observer);
  });
  if (!ran.ok()) log_("worker: " + id + ": " + ran.error().message());
  live_->End(id);
  return true;
}

void Workers::RunOneHanded(Worker* worker, const HandedRun& handed) {
  bool is_known = false;
  HandedRun told = handed;
  told.known = [&](Status status) {
    is_known = status.ok();
    handed.known(std::move(status));
  };
  const Result<Execution> ran = Follow(worker, handed.id, [&](const RunObserver& observer) {
    return RunHanded(*worker->context, told, observer);
  });
  if (ran.ok() && ran.value().status == "queued") return Notify();
  // Whoever asked hears why it was not begun.
  if (!ran.ok() && is_known) log_("worker: " + handed.id + ": " + ran.error().message());
  live_->End(handed.id);
}

}  // namespace bailiff
