#pragma once

#include <boost/json/object.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "core/context.h"
#include "store/statistics.h"

namespace bailiff {

inline constexpr std::int64_t kStatsHoursMax = 10L * 366 * 24;

struct Stats {
  std::int64_t hours = 0;
  ExecutionStatistics counted;

  std::int64_t failed() const { return counted.ended - counted.succeeded; }
  double success_rate() const;  // 0 where nothing has ended.
};

// Of the last `hours` (1 to kStatsHoursMax), as far as the context's actor sees them.
// Errors: kInvalidArgument.
Result<Stats> StatsOf(Context& context, std::int64_t hours);

struct Alert {
  enum class Level : std::uint8_t { kInfo, kWarning } level = Level::kInfo;
  std::string message;
  std::string metric;  // "failure_rate", "avg_duration", "execution_count"
  double value = 0;
};
std::string_view Name(Alert::Level level);  // "info", "warning"

struct Health {
  Stats stats;  // Of the last hour.
  std::vector<Alert> alerts;
  std::int64_t at_ns = 0;

  bool healthy() const;  // There is no warning.
};

// The last hour, as far as the context's actor sees it, against the thresholds of the
// configuration.
Result<Health> CheckHealth(Context& context);

boost::json::object ToJson(const Stats& stats);
boost::json::object ToJson(const Alert& alert);
boost::json::object ToJson(const Health& health);

}  // namespace bailiff
