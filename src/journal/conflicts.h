#pragma once

#include "journal/inspect.h"
#include "journal/plan.h"

namespace bailiff {

// Every reason why `set` does not apply to the workspace as it is: what it is based on changed or
// is gone, what it creates exists, a directory that goes has new entries. Changes nothing. Sorted.
Result<Problems> CheckConflicts(const Fd& workspace, const ChangeSet& set, const SetIndex& index,
                                Stability stability);

// Compares what lies below the directory `path` with what goes with change `unit`. Problems are
// told by workspace path.
enum class Below : std::uint8_t {
  kInPlace,   // A delete's base; what moves out is still there, and the rest is checked elsewhere.
  kAside,     // The same, after it was moved aside.
  kRestored,  // What a rollback brings back.
};
Result<Problems> CheckUnit(const Fd& root, const std::string& path, const SetIndex& index,
                           std::size_t unit, const Recognizer& recognizer, Below below);

void SortProblems(Problems* problems);

}  // namespace bailiff
