#include "core/live.h"

#include <utility>

#include "core/documents.h"

namespace bailiff {

Live::Subscription::~Subscription() {
  live_->Unsubscribe(id_, number_);
}

void Live::Begin(const std::string& id, const std::string& status) {
  const std::lock_guard lock(mutex_);
  Entry& entry = entries_[id];
  // A worker may have begun before the one who queued it says so.
  if (entry.state.status.empty()) entry.state.status = status;
  ++entry.state.version;
  for (const auto& [number, wake] : entry.wakers) wake();
}

void Live::Changed(const Execution& execution) {
  const std::lock_guard lock(mutex_);
  Entry& entry = entries_[execution.id];
  entry.state.status = execution.status;
  entry.state.change_state = execution.change_state;
  ++entry.state.version;
  for (const auto& [number, wake] : entry.wakers) wake();
}

void Live::Output(const std::string& id) {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(id);
  if (found == entries_.end()) return;
  ++found->second.state.version;
  for (const auto& [number, wake] : found->second.wakers) wake();
}

void Live::End(const std::string& id) {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(id);
  if (found == entries_.end()) return;
  found->second.state.ended = true;
  ++found->second.state.version;
  for (const auto& [number, wake] : found->second.wakers) wake();
  if (found->second.wakers.empty()) entries_.erase(found);
}

std::optional<Live::State> Live::Get(const std::string& id) const {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(id);
  if (found == entries_.end()) return std::nullopt;
  return found->second.state;
}

std::unique_ptr<Live::Subscription> Live::Subscribe(const std::string& id,
                                                    std::function<void()> wake) {
  const std::lock_guard lock(mutex_);
  const std::uint64_t number = ++next_number_;
  const auto found = entries_.find(id);
  if (found != entries_.end()) found->second.wakers.emplace(number, std::move(wake));
  return std::unique_ptr<Subscription>(new Subscription(this, id, number));
}

void Live::Unsubscribe(const std::string& id, std::uint64_t number) {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(id);
  if (found == entries_.end()) return;
  found->second.wakers.erase(number);
  if (found->second.state.ended && found->second.wakers.empty()) entries_.erase(found);
}

}  // namespace bailiff
