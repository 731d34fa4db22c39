#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "core/supervise.h"

namespace bailiff {

// What goes on in this process's workers, for those who follow an execution: how much output there
// is in its files, and what it has come to. For any number of threads.
class Live {
 public:
  struct State {
    std::string status;        // "queued" until a worker has it.
    std::string change_state;  // As in the execution document.
    bool ended = false;
    std::uint64_t version = 0;  // Goes up with everything that is new, output included.
  };

  // Unsubscribes when it dies.
  class Subscription {
   public:
    ~Subscription();
    Subscription(const Subscription&) = delete;
    Subscription& operator=(const Subscription&) = delete;

   private:
    friend class Live;
    Subscription(Live* live, std::string id, std::uint64_t number)
        : live_(live), id_(std::move(id)), number_(number) {}
    Live* live_;
    std::string id_;
    std::uint64_t number_;
  };

  // From a worker. Begin() also for one that is queued; End() after it is recorded.
  void Begin(const std::string& id, const std::string& status);
  void Changed(const Execution& execution);
  void Output(const std::string& id);
  void End(const std::string& id);

  // Nothing when it is not known here: it has ended, or another process runs it.
  std::optional<State> Get(const std::string& id) const;

  // `wake` is called, from any thread, whenever something is new. It must return at once and must
  // not call back. Subscribing to what is not known here is allowed, and is never woken.
  std::unique_ptr<Subscription> Subscribe(const std::string& id, std::function<void()> wake);

 private:
  struct Entry {
    State state;
    std::map<std::uint64_t, std::function<void()>> wakers;
  };
  void Unsubscribe(const std::string& id, std::uint64_t number);

  mutable std::mutex mutex_;
  std::map<std::string, Entry> entries_;
  std::uint64_t next_number_ = 0;
};

}  // namespace bailiff
