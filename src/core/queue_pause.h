#pragma once

#include <optional>
#include <string>

#include "base/result.h"
#include "core/context.h"

// The emergency stop: while the queue is paused, queued executions stay queued and none starts.
// Whoever takes work from the queue asks PausedBy() before each.

namespace bailiff {

struct QueuePause {
  std::string by;  // The principal.
  std::int64_t at_ns = 0;
};

// Nothing when the queue is not paused.
Result<std::optional<QueuePause>> PausedBy(Context& context);

// False when it was paused, or running, already: then nothing changes. Errors: kPermissionDenied
// for anybody below a reviewer.
Result<bool> PauseQueue(Context& context);
Result<bool> ResumeQueue(Context& context);

}  // namespace bailiff
