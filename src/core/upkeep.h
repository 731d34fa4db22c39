#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "core/context.h"

namespace bailiff {

// What `gc` did.
struct Collected {
  std::int64_t commits_forgotten = 0;  // Can no longer be rolled back.
  std::int64_t staged_dropped = 0;     // Change sets that will never be committed.
  std::int64_t outputs_dropped = 0;    // Kept output of executions.
};

// Drops what retention no longer needs: rollback data and kept output older than `older_than`, and
// staged content of change sets that are neither held nor being committed. Takes the workspace
// lock.
Result<Collected> CollectGarbage(Context& context, std::chrono::nanoseconds older_than,
                                 std::chrono::milliseconds wait_lock);

// What every command that may change something does first: ends the books on executions and commits
// whose process is gone, and removes what they left on the host (processes, cgroups). Waits for no
// lock: what another process is still finishing is left to it.
struct TidiedUp {
  std::vector<std::string> interrupted;  // Executions.
  std::vector<std::string> finished;     // Commits.
};
Result<TidiedUp> TidyUp(Context& context);

}  // namespace bailiff
