#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "changeset/capture.h"

// What other commits did to the workspace while an execution ran.

namespace bailiff {

class Context;

// Whether a commit has changed the workspace since `base_epoch`, or is changing it now.
Result<bool> IsOvertaken(Context& context, std::int64_t base_epoch);

// The paths on which `set` relies and that such commits concern: themselves, a directory above, or
// something in a directory that goes or moves. For file systems whose times do not tell: a commit
// keeps the mtime that the script gave, which may be older than the start of this run.
Result<std::vector<PathProblem>> OvertakenPaths(Context& context, std::int64_t base_epoch,
                                                const ChangeSet& set);

}  // namespace bailiff
