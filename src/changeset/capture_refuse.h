#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "changeset/capture_compare.h"
#include "changeset/capture_pairs.h"

namespace bailiff {

// Takes out of `drafts` what may not be changed (Draft::refused, options.reserved, .bailiff) and,
// so that the rest is still a consistent change set, what cannot be without it. Returns what was
// taken out, with reasons.
Result<std::vector<PathProblem>> TakeRefused(const Pairs& pairs, Base* base,
                                             const CaptureOptions& options,
                                             std::vector<Draft>* drafts);

// The conflicts that `drafts` are in: base entries that they touch, and directories on the way to
// them, that changed after the run began.
Result<std::vector<PathProblem>> FindConflicts(const Pairs& pairs, Base* base,
                                               const CaptureOptions& options,
                                               const std::vector<Draft>& drafts);

}  // namespace bailiff
