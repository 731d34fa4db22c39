#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/result.h"
#include "core/context.h"
#include "core/live.h"
#include "core/queue.h"

namespace bailiff {

// The threads that take executions off the queue, each with a context of its own.
class Workers {
 public:
  // `log` is told, in a line, what no execution can tell: from any of the threads.
  Workers(std::vector<std::unique_ptr<Context>> contexts, Live* live,
          std::function<void(const std::string&)> log);
  ~Workers();  // Stop(kCancel) and Wait().

  // Something was queued, or the queue goes on.
  void Notify();

  // Gives a run to a worker that has nothing to do. False, and nothing is done, when there is none.
  bool Hand(HandedRun* handed);

  // No further execution is taken; those that run end by themselves or are cancelled. From any
  // thread. Wait() returns when all have ended after that.
  enum class Running : std::uint8_t { kFinish, kCancel };
  void Stop(Running running);
  void Wait();

  std::size_t busy() const { return busy_; }
  std::size_t size() const { return workers_.size(); }

 private:
  struct Worker {
    std::unique_ptr<Context> context;
    Fd stop;  // An eventfd: readable when what it runs is to be cancelled.
    std::thread thread;
  };
  void Work(Worker* worker);
  bool RunOne(Worker* worker);
  void RunOneHanded(Worker* worker, const HandedRun& handed);
  using Runner = std::function<Result<Execution>(const RunObserver&)>;
  Result<Execution> Follow(Worker* worker, const std::string& id, const Runner& run);

  Live* live_;
  std::function<void(const std::string&)> log_;
  std::mutex claiming_;
  std::mutex mutex_;  // Of what follows.
  std::condition_variable changed_;
  std::uint64_t notified_ = 0;
  bool stopping_ = false;
  std::atomic<std::size_t> busy_ = 0;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::size_t idle_ = 0;          // Workers that wait.
  std::deque<HandedRun> handed_;  // No more than those.
};

}  // namespace bailiff
