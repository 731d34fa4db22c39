#include "store/statistics.h"

namespace bailiff {
namespace {

// SQLite gives whole numbers here: see Statement.
constexpr double kMicrosPerSecond = 1e6;

double Seconds(std::int64_t micros) {
  return static_cast<double>(micros) / kMicrosPerSecond;
}

bool HasEnded(const std::string& status) {
  return status != "queued" && status != "running";
}

// INDEXED BY: the planner has no statistics of its own, and would take an index that leads to the
// rows, past each document.
//
// ?1: since when; ?2 and ?3: see BindSight().
void BindWhich(std::int64_t since_ns, const std::optional<Sight>& sight, Statement* statement) {
  statement->Bind(1, since_ns);
  BindSight(sight, 2, 3, statement);
}

Status CountByStatus(const Connection& connection, std::int64_t since_ns,
                     const std::optional<Sight>& sight, ExecutionStatistics* statistics) {
  Statement select = TRY(connection.Prepare(
      "SELECT status, count(*), sum(success), CAST(sum(duration_seconds) * 1e6 AS INTEGER)"
      " FROM executions INDEXED BY executions_by_time WHERE created_ns >= ?1 AND (?2 = '' OR "
      "principal = ?3"
      " OR case_name IN (SELECT value FROM json_each(?2))) GROUP BY status"));
  BindWhich(since_ns, sight, &select);
  std::int64_t micros = 0;
  for (;;) {
    const bool has_row = TRY(select.Step());
    if (!has_row) break;
    const std::string status = select.Bytes(0);
    statistics->by_status[status] = select.Int(1);
    if (!HasEnded(status)) continue;
    statistics->ended += select.Int(1);
    statistics->succeeded += select.Int(2);
    micros += select.Int(3);
  }
  if (statistics->ended == 0) return Ok();
  statistics->average_seconds = Seconds(micros) / static_cast<double>(statistics->ended);
  return Ok();
}

Status FindP95(const Connection& connection, std::int64_t since_ns,
               const std::optional<Sight>& sight, ExecutionStatistics* statistics) {
  Statement select = TRY(connection.Prepare(
      "SELECT CAST(duration_seconds * 1e6 AS INTEGER)"
      " FROM executions INDEXED BY executions_by_time WHERE created_ns >= ?1 AND (?2 = '' OR "
      "principal = ?3"
      " OR case_name IN (SELECT value FROM json_each(?2)))"
      " AND status NOT IN ('queued', 'running') ORDER BY duration_seconds DESC LIMIT 1 OFFSET ?4"));
  BindWhich(since_ns, sight, &select);
  select.Bind(4, statistics->ended / 20);  // As many are longer, at most.
  const bool has_row = TRY(select.Step());
  if (has_row) statistics->p95_seconds = Seconds(select.Int(0));
  return Ok();
}

Status CountScripts(const Connection& connection, std::int64_t since_ns,
                    const std::optional<Sight>& sight, ExecutionStatistics* statistics) {
  Statement select =
      TRY(connection.Prepare("SELECT script_path, count(*)"
                             " FROM executions INDEXED BY executions_by_time WHERE created_ns >= "
                             "?1 AND (?2 = '' OR principal = ?3"
                             " OR case_name IN (SELECT value FROM json_each(?2)))"
                             " AND status NOT IN ('queued', 'running') AND script_path <> ''"
                             " GROUP BY script_path ORDER BY 2 DESC, 1 LIMIT ?4"));
  BindWhich(since_ns, sight, &select);
  select.Bind(4, kScriptsShown);
  for (;;) {
    const bool has_row = TRY(select.Step());
    if (!has_row) return Ok();
    statistics->scripts.emplace_back(select.Bytes(0), select.Int(1));
  }
}

Status ListFailures(const Connection& connection, std::int64_t since_ns,
                    const std::optional<Sight>& sight, ExecutionStatistics* statistics) {
  Statement select = TRY(connection.Prepare(
      "SELECT id, status, script_path, case_name, created_ns FROM executions WHERE seq IN"
      " (SELECT seq FROM executions INDEXED BY executions_by_time WHERE created_ns >= ?1 AND (?2 = "
      "'' OR principal = ?3"
      " OR case_name IN (SELECT value FROM json_each(?2)))"
      " AND status NOT IN ('queued', 'running') AND success = 0 ORDER BY created_ns DESC LIMIT ?4)"
      " ORDER BY created_ns DESC"));
  BindWhich(since_ns, sight, &select);
  select.Bind(4, kFailuresShown);
  for (;;) {
    const bool has_row = TRY(select.Step());
    if (!has_row) return Ok();
    statistics->failures.push_back(
        {select.Bytes(0), select.Bytes(1), select.Bytes(2), select.Bytes(3), select.Int(4)});
  }
}

}  // namespace

Result<ExecutionStatistics> StatisticsSince(const Connection& connection, std::int64_t since_ns,
                                            const std::optional<Sight>& sight) {
  ExecutionStatistics statistics;
  TRY(CountByStatus(connection, since_ns, sight, &statistics));
  if (statistics.ended == 0) return statistics;
  TRY(FindP95(connection, since_ns, sight, &statistics));
  TRY(CountScripts(connection, since_ns, sight, &statistics));
  TRY(ListFailures(connection, since_ns, sight, &statistics));
  return statistics;
}

}  // namespace bailiff
