#include "core/stats.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <chrono>
#include <utility>

#include "base/bytes.h"

namespace bailiff {
namespace {

namespace json = boost::json;

std::string TimeText(std::int64_t nanos) {
  return FormatTimestamp(WallTime(std::chrono::nanoseconds(nanos)));
}

json::value TextOrNull(const std::string& text) {
  return text.empty() ? json::value() : json::value(ToUtf8Lossy(text));
}

std::vector<Alert> AlertsFor(const Stats& stats, const HealthThresholds& limits) {
  std::vector<Alert> alerts;
  const ExecutionStatistics& counted = stats.counted;
  const double failure_rate = 1 - stats.success_rate();
  if (counted.ended > limits.failure_min_runs && failure_rate > limits.failure_rate) {
    alerts.push_back({Alert::Level::kWarning,
                      fmt::format("High failure rate: {:.1f}% in last hour", 100 * failure_rate),
                      "failure_rate", failure_rate});
  }
  const double longest = std::chrono::duration<double>(limits.average_duration).count();
  if (counted.ended > 0 && counted.average_seconds > longest) {
    alerts.push_back({Alert::Level::kInfo,
                      fmt::format("High average execution time: {:.1f}s", counted.average_seconds),
                      "avg_duration", counted.average_seconds});
  }
  if (counted.ended > limits.executions_per_hour) {
    alerts.push_back({Alert::Level::kInfo,
                      fmt::format("High execution volume: {} in last hour", counted.ended),
                      "execution_count", static_cast<double>(counted.ended)});
  }
  return alerts;
}

}  // namespace

double Stats::success_rate() const {
  if (counted.ended == 0) return 0;
  return static_cast<double>(counted.succeeded) / static_cast<double>(counted.ended);
}

bool Health::healthy() const {
  return std::none_of(alerts.begin(), alerts.end(),
                      [](const Alert& alert) { return alert.level == Alert::Level::kWarning; });
}

std::string_view Name(Alert::Level level) {
  switch (level) {
    case Alert::Level::kInfo:
      return "info";
    case Alert::Level::kWarning:
      return "warning";
  }
  CheckFailed("Alert::Level out of range", __FILE__, __LINE__);
}

Result<Stats> StatsOf(Context& context, std::int64_t hours) {
  if (hours < 1 || hours > kStatsHoursMax) {
    return Error(
        ErrorCode::kInvalidArgument,
        fmt::format("hours: {} is not a whole number from 1 to {}", hours, kStatsHoursMax));
  }
  const std::int64_t since_ns =
      context.NowNanos() - std::chrono::nanoseconds(std::chrono::hours(hours)).count();
  Stats stats;
  stats.hours = hours;
  stats.counted =
      TRY(StatisticsSince(context.store().connection(), since_ns, SightOf(context.actor())));
  return stats;
}

Result<Health> CheckHealth(Context& context) {
  Health health;
  health.at_ns = context.NowNanos();
  health.stats = TRY(StatsOf(context, 1));
  health.alerts = AlertsFor(health.stats, context.config().health);
  return health;
}

json::object ToJson(const Stats& stats) {
  const ExecutionStatistics& counted = stats.counted;
  json::object object;
  object["total_executions"] = counted.ended;
  object["success_count"] = counted.succeeded;
  object["failure_count"] = stats.failed();
  object["success_rate"] = stats.success_rate();
  object["average_duration"] = counted.average_seconds;
  object["p95_duration"] = counted.p95_seconds;
  json::object scripts;
  for (const auto& [path, count] : counted.scripts) scripts[ToUtf8Lossy(path)] = count;
  object["most_used_scripts"] = std::move(scripts);
  object["period_hours"] = stats.hours;
  json::object by_status;
  for (const auto& [status, count] : counted.by_status) by_status[status] = count;
  object["by_status"] = std::move(by_status);
  json::array failures;
  for (const FailedExecution& failure : counted.failures) {
    json::object item;
    item["execution_id"] = failure.id;
    item["status"] = failure.status;
    item["script_path"] = TextOrNull(failure.script_path);
    item["case_name"] = TextOrNull(failure.case_name);
    item["timestamp"] = TimeText(failure.created_ns);
    failures.push_back(std::move(item));
  }
  object["failures"] = std::move(failures);
  return object;
}

json::object ToJson(const Alert& alert) {
  return {{"level", Name(alert.level)},
          {"message", alert.message},
          {"metric", alert.metric},
          {"value", alert.value}};
}

json::object ToJson(const Health& health) {
  json::object object;
  object["healthy"] = health.healthy();
  object["stats"] = ToJson(health.stats);
  json::array alerts;
  for (const Alert& alert : health.alerts) alerts.push_back(ToJson(alert));
  object["alerts"] = std::move(alerts);
  object["timestamp"] = TimeText(health.at_ns);
  return object;
}

}  // namespace bailiff
