#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "store/store.h"

namespace bailiff {

// The `seq` of the executions that `filter` asks for, newest first. Looks at indexes alone where
// the filter leaves out much: documents are long, and a search that passes them takes as long as
// there are executions.
Result<std::vector<std::int64_t>> FindExecutions(const Connection& connection,
                                                 const ExecutionFilter& filter);

}  // namespace bailiff
