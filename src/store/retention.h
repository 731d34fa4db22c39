#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "store/sqlite.h"

// What the database knows of age. Errors of all functions: as Statement::Step().

namespace bailiff {

// Proposals that have been held, or approved and not applied, since before `before_ns`: oldest
// first, at most `limit`.
Result<std::vector<std::string>> WaitingSince(const Connection& connection, std::int64_t before_ns,
                                              std::int64_t limit);

// Those of `ids` that are executions, have ended, and began before `before_ns`.
Result<std::vector<std::string>> EndedBefore(const Connection& connection,
                                             const std::vector<std::string>& ids,
                                             std::int64_t before_ns);

// Their documents say from now on that there is no file with them in the workspace.
Status ForgetLogFiles(const Connection& connection, const std::vector<std::string>& ids);

// Removes answers to requests that were given before `before_ns`; returns how many.
Result<std::int64_t> RemoveOldAnswers(const Connection& connection, std::int64_t before_ns);

}  // namespace bailiff
