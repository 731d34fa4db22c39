#pragma once

#include <boost/json/object.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
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
  std::int64_t expired = 0;            // Held change sets that nobody decided in time.
  std::int64_t logs_dropped = 0;       // Execution documents in the workspace.
  std::int64_t answers_dropped = 0;    // Kept for repeated requests.
  std::int64_t messages_dropped = 0;   // For webhooks, that could not be sent.
};

boost::json::object ToJson(const Collected& collected);

// Drops what retention no longer needs: rollback data and kept output older than `older_than`, what
// is older than the configuration says (held change sets, execution documents), answers and
// messages that are a day old, and staged content of change sets that are neither held nor being
// committed. Takes the workspace lock.
Result<Collected> CollectGarbage(Context& context, std::chrono::nanoseconds older_than,
                                 std::chrono::milliseconds wait_lock);

// What every command that may change something does first: ends the books on executions and commits
// whose process is gone, and removes what they left on the host (processes, cgroups). Waits for no
// lock: what another process is still finishing is left to it.
struct TidiedUp {
  std::vector<std::string> interrupted;  // Executions.
  std::vector<std::string> finished;     // Commits.
  std::vector<std::string> expired;      // Change sets that were held for too long.
};
Result<TidiedUp> TidyUp(Context& context);

// What a server does every now and then, with an actor that sees everything, and without privilege:
// ends the books on executions whose process is gone, lets held change sets expire, drops old
// answers, and tells webhooks of the workspace's health. One that fails keeps none of the others
// from being done; `log` is told of it in a line.
void KeepUp(Context& context, const std::function<void(const std::string&)>& log);

}  // namespace bailiff
