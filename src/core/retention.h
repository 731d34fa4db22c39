#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "core/context.h"

// What time does to things.

namespace bailiff {

// An answer that is kept for a request that may be repeated.
inline constexpr std::chrono::hours kAnswerLife{24};

// Drops change sets that have been held, or approved and not applied, for longer than [retention]
// held: their state is `expired` from then on. Returns their ids.
Result<std::vector<std::string>> ExpireHeld(Context& context, const WorkspaceLock& lock);

// The same, where nobody else has the lock; where somebody has, it is for the next call. Fast when
// there is nothing to do.
Result<std::vector<std::string>> ExpireHeld(Context& context);

// Removes from the workspace the documents of executions that are older than [retention]
// execution_logs; the database and the ledger keep them. Returns how many.
Result<std::int64_t> DropExecutionLogs(Context& context);

}  // namespace bailiff
