#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "core/context.h"

namespace bailiff {

// What a server does in the background: KeepUp() (core/upkeep.h), at once and every 30 s; and, on a
// thread of its own because receivers may be slow, sends what lies in the outbox within a second
// after it is due (core/deliver.h).
class UpkeepThreads {
 public:
  // Each thread has one of the contexts. `log` is told in a line what goes wrong, from both.
  UpkeepThreads(std::unique_ptr<Context> upkeep, std::unique_ptr<Context> delivery,
                std::function<void(const std::string&)> log);
  UpkeepThreads(const UpkeepThreads&) = delete;
  UpkeepThreads& operator=(const UpkeepThreads&) = delete;
  // Waits for the request that is on its way, for at most 5 s; what is not sent stays in the
  // outbox.
  ~UpkeepThreads();

 private:
  std::unique_ptr<Context> upkeep_context_;
  std::unique_ptr<Context> delivery_context_;
  std::function<void(const std::string&)> log_;
  std::jthread upkeep_;
  std::jthread delivery_;
};

}  // namespace bailiff
