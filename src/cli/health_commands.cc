#include "cli/health_commands.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <utility>

#include "base/bytes.h"
#include "base/units.h"
#include "core/queue_pause.h"
#include "core/stats.h"

namespace bailiff {
namespace {

namespace json = boost::json;

std::string Safe(std::string_view text) {
  return EscapeForTerminal(text, Lines::kSingle);
}

std::string StatsText(const Stats& stats, const Health& health) {
  const ExecutionStatistics& counted = stats.counted;
  std::string text = fmt::format("Script Execution Stats (Last {} hours)\n\n", stats.hours);
  text += fmt::format("Total Executions: {}\n", counted.ended);
  text += fmt::format("Success Rate: {:.1f}%\n", 100 * stats.success_rate());
  text += fmt::format("Average Duration: {:.2f}s\n", counted.average_seconds);
  text += fmt::format("95% Took At Most: {:.2f}s\n\nMost Used Scripts:\n", counted.p95_seconds);
  for (const auto& [script, count] : counted.scripts) {
    text += fmt::format("  - {}: {} executions\n", Safe(script), count);
  }
  if (!counted.failures.empty()) text += "\nLatest Failures:\n";
  for (const FailedExecution& failure : counted.failures) {
    text += fmt::format("  - {}: {} {}\n", failure.id, failure.status, Safe(failure.script_path));
  }
  if (!health.alerts.empty()) text += "\nAlerts:\n";
  for (const Alert& alert : health.alerts) {
    text += fmt::format("  {}: {}\n", Name(alert.level), alert.message);
  }
  return text;
}

Result<int> TellStats(Session& session, Context& context, const std::string& hours) {
  Result<std::int64_t> count = ParseCount(hours, kStatsHoursMax);
  if (!count.ok()) return std::move(count).error().WithContext("--hours");
  const Stats stats = TRY(StatsOf(context, count.value()));
  const Health health = TRY(CheckHealth(context));
  json::object document = ToJson(stats);
  json::array alerts;
  for (const Alert& alert : health.alerts) alerts.push_back(ToJson(alert));
  document["healthy"] = health.healthy();
  document["alerts"] = std::move(alerts);
  session.Answer(document, StatsText(stats, health));
  return 0;
}

Result<int> TellQueue(Session& session, Context& context) {
  ExecutionFilter filter;
  filter.status = "queued";
  filter.limit = kStoreRowsMax;
  std::vector<ExecutionRow> rows = TRY(context.store().ListExecutions(filter));
  std::reverse(rows.begin(), rows.end());  // Oldest first, as they will run.
  json::array queued;
  std::string text;
  for (const ExecutionRow& row : rows) {
    text += fmt::format("{}  {}  {}\n", row.id, Safe(row.principal), Safe(row.script_path));
    queued.emplace_back(row.id);
  }
  if (text.empty()) text = "nothing is queued\n";
  json::object document;
  document["paused"] = nullptr;
  const std::optional<QueuePause> pause = TRY(PausedBy(context));
  if (pause.has_value()) {
    const std::string at = FormatTimestamp(WallTime(std::chrono::nanoseconds(pause->at_ns)));
    document["paused"] = {{"by", pause->by}, {"at", at}};
    text = fmt::format("paused by {} at {}\n", Safe(pause->by), at) + text;
  }
  document["queued"] = std::move(queued);
  session.Answer(document, text);
  return 0;
}

// Pauses or resumes. `change` tells whether that changed anything.
int ChangePause(Session& session, Result<bool> (*change)(Context&), bool paused) {
  const Result<Context*> context = session.Open(Session::Purpose::kRead);
  if (!context.ok()) return session.Fail(context.error());
  const Result<bool> changed = change(*context.value());
  if (!changed.ok()) return session.Fail(changed.error());
  json::object document;
  document["paused"] = paused;
  document["changed"] = changed.value();
  session.Answer(document, fmt::format("the queue {} {}\n", changed.value() ? "is" : "was",
                                       paused ? "paused" : "running"));
  return 0;
}

template <typename Work>
int Reading(Session& session, const Work& work) {
  const Result<Context*> context = session.Open(Session::Purpose::kRead);
  if (!context.ok()) return session.Fail(context.error());
  const Result<int> exit_code = work(*context.value());
  return exit_code.ok() ? exit_code.value() : session.Fail(exit_code.error());
}

}  // namespace

int StatsCommand(Session& session, const std::string& hours) {
  return Reading(session, [&](Context& context) { return TellStats(session, context, hours); });
}

int QueueShowCommand(Session& session) {
  return Reading(session, [&](Context& context) { return TellQueue(session, context); });
}

int QueuePauseCommand(Session& session) {
  return ChangePause(session, PauseQueue, true);
}

int QueueResumeCommand(Session& session) {
  return ChangePause(session, ResumeQueue, false);
}

}  // namespace bailiff
