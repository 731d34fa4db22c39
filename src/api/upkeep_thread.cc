#include "api/upkeep_thread.h"

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <utility>

#include "core/deliver.h"
#include "core/upkeep.h"
#include "http/client.h"

namespace bailiff {
namespace {

constexpr std::chrono::seconds kUpkeepEvery{30};
// Messages come from other processes too, without a word to this one.
constexpr std::chrono::seconds kLookAgain{1};
constexpr std::chrono::milliseconds kPostDeadline{5'000};

void Pause(const std::stop_token& stop, std::chrono::nanoseconds time) {
  std::mutex mutex;
  std::condition_variable_any never;
  std::unique_lock lock(mutex);
  never.wait_for(lock, stop, time, [] { return false; });
}

Result<int> PostHook(const std::string& url, const HookHeaders& headers, const std::string& body) {
  PostOptions options;
  options.deadline = kPostDeadline;
  return TRY(Post(url, headers, body, options)).status;
}

}  // namespace

UpkeepThreads::UpkeepThreads(std::unique_ptr<Context> upkeep, std::unique_ptr<Context> delivery,
                             std::function<void(const std::string&)> log)
    : upkeep_context_(std::move(upkeep)),
      delivery_context_(std::move(delivery)),
      log_(std::move(log)) {
  upkeep_ = std::jthread([this](const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      KeepUp(*upkeep_context_, log_);
      Pause(stop, kUpkeepEvery);
    }
  });
  delivery_ = std::jthread([this](const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      const Result<Delivered> delivered = DeliverDue(*delivery_context_, PostHook, stop);
      if (!delivered.ok()) log_("webhooks: " + delivered.error().message());
      Pause(stop, delivery_context_->config().webhooks.empty() ? kUpkeepEvery : kLookAgain);
    }
  });
}

UpkeepThreads::~UpkeepThreads() {
  upkeep_.request_stop();
  delivery_.request_stop();
}

}  // namespace bailiff
