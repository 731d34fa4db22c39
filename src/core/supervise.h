#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "engine/protocol.h"
#include "sandbox/spec.h"
#include "sys/fd.h"

namespace bailiff {

struct Execution;

enum class Stream : std::uint8_t { kOut, kErr };

// What a caller wants to see of a run while it goes on.
struct RunObserver {
  // Each piece of output, as it comes. All of it, also what is above the limit of what is kept.
  std::function<void(Stream, std::string_view)> output;
  // When the execution has started, has changes that were decided on, and has ended.
  std::function<void(const Execution&)> progress{};
  // Readable or closed at its other end: the run is to be cancelled. May be invalid.
  const Fd* stop = nullptr;
};

// The first `max` bytes of a stream, and the count of the others.
class KeptOutput {
 public:
  explicit KeptOutput(std::int64_t max) : max_(max) {}

  void Add(std::string_view bytes);
  const std::string& kept() const { return kept_; }
  bool truncated() const { return dropped_ > 0; }
  std::int64_t dropped() const { return dropped_; }

 private:
  std::int64_t max_;
  std::int64_t dropped_ = 0;
  std::string kept_;
};

// What came of one run, before anyone looked at its changes.
struct Supervised {
  std::optional<Guarantees> guarantees;
  std::optional<Ending> ending;  // Absent when the launch failed:
  std::optional<Error> failure;  // then this says why.
  bool cancelled = false;
};

struct RunPipes {
  Fd out;  // Reading ends.
  Fd err;
};

// Follows a run that was asked of a monitor, on this thread, until its tree is gone and its output
// read to the end. `cancel_socket` is where `bailiff cancel` connects; a connection is held open
// until the run has ended, so that the one who asked can wait for that.
//
// Errors: kInternal when the monitor died; kIo.
Result<Supervised> Supervise(const Fd& monitor, RunPipes pipes, const Fd& cancel_socket,
                             const RunObserver& observer, KeptOutput* out, KeptOutput* err);

}  // namespace bailiff
