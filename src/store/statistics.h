#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "store/sqlite.h"
#include "store/store.h"

namespace bailiff {

inline constexpr std::int64_t kScriptsShown = 10;
inline constexpr std::int64_t kFailuresShown = 20;

struct FailedExecution {
  std::string id;
  std::string status;
  std::string script_path;  // Empty: a command.
  std::string case_name;    // Empty: none.
  std::int64_t created_ns = 0;
};

// What became of executions. Those that have not ended count for `by_status` alone.
struct ExecutionStatistics {
  std::int64_t ended = 0;
  std::int64_t succeeded = 0;
  double average_seconds = 0;
  double p95_seconds = 0;  // 95 of 100 were no longer.
  std::map<std::string, std::int64_t> by_status;
  std::vector<std::pair<std::string, std::int64_t>> scripts;  // The most used, most often first.
  std::vector<FailedExecution> failures;                      // The newest, newest first.
};

// Of the executions since `since_ns` that `sight` shows. Aggregated by the database: 100,000 of
// them take some tenths of a second. Errors: as Statement::Step().
Result<ExecutionStatistics> StatisticsSince(const Connection& connection, std::int64_t since_ns,
                                            const std::optional<Sight>& sight);

}  // namespace bailiff
