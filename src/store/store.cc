#include "store/store.h"

#include <algorithm>
#include <utility>

#include "base/bytes.h"
#include "base/check.h"
#include "store/execution_list.h"
#include "store/strings.h"

namespace bailiff {
namespace {

constexpr Sql kSelectProposal =
    "SELECT seq, id, kind, state, digest, origin, created_ns, decided_ns, decided_by, created,"
    " modified, deleted, moved, metadata, bytes_written, problems, epoch, created_by, case_name,"
    " change_set FROM proposals WHERE id = ?1";
constexpr Sql kListProposals =
    "SELECT seq, id, kind, state, digest, origin, created_ns, decided_ns, decided_by, created,"
    " modified, deleted, moved, metadata, bytes_written, problems, epoch, created_by, case_name"
    " FROM proposals WHERE (?1 = 0 OR seq < ?1) AND (?3 = '' OR kind = ?3)"
    " AND (?5 = '' OR created_by = ?6 OR case_name IN (SELECT value FROM json_each(?5)))"
    " ORDER BY seq DESC LIMIT ?4";
// Of a state there are few among many, but for `committed`.
constexpr Sql kListProposalsOfState =
    "SELECT seq, id, kind, state, digest, origin, created_ns, decided_ns, decided_by, created,"
    " modified, deleted, moved, metadata, bytes_written, problems, epoch, created_by, case_name"
    " FROM proposals INDEXED BY proposals_by_state WHERE (?1 = 0 OR seq < ?1) AND state = ?2"
    " AND (?3 = '' OR kind = ?3) AND (?5 = '' OR created_by = ?6"
    " OR case_name IN (SELECT value FROM json_each(?5))) ORDER BY seq DESC LIMIT ?4";
constexpr int kChangeSetColumn = 19;  // Of kSelectProposal only.

std::int64_t Capped(std::int64_t limit) {
  return std::clamp<std::int64_t>(limit, 1, kStoreRowsMax);
}

Error NoSuch(std::string_view what, std::string_view id) {
  return {ErrorCode::kNotFound,
          std::string(what) + " '" + EscapeForTerminal(id, Lines::kSingle) + "' does not exist"};
}

Error AlreadyThere(std::string_view what, std::string_view id) {
  return {ErrorCode::kConflict, std::string(what) + " '" + std::string(id) + "' exists already"};
}

ExecutionRow ReadExecution(const Statement& statement) {
  ExecutionRow row;
  row.seq = statement.Int(0);
  row.id = statement.Bytes(1);
  row.created_ns = statement.Int(2);
  row.updated_ns = statement.Int(3);
  row.status = statement.Bytes(4);
  row.case_name = statement.Bytes(5);
  row.script_path = statement.Bytes(6);
  row.principal = statement.Bytes(7);
  row.owner = statement.Bytes(8);
  row.document = statement.Bytes(9);
  return row;
}

Result<std::vector<ExecutionRow>> ReadExecutions(Statement* statement) {
  std::vector<ExecutionRow> rows;
  for (;;) {
    const bool has_row = TRY(statement->Step());
    if (!has_row) return rows;
    rows.push_back(ReadExecution(*statement));
  }
}

Result<std::map<std::string, std::int64_t>> ReadCounts(Statement statement) {
  std::map<std::string, std::int64_t> counts;
  for (;;) {
    const bool has_row = TRY(statement.Step());
    if (!has_row) return counts;
    counts[statement.Bytes(0)] = statement.Int(1);
  }
}

Result<ProposalKind> ParseKind(std::string_view name) {
  using enum ProposalKind;
  for (const ProposalKind kind : {kExecution, kPlan, kRollback}) {
    if (Name(kind) == name) return kind;
  }
  return Error(ErrorCode::kInvalidArgument, "kind '" + std::string(name) + "' is unknown");
}

// Everything but the change set.
Result<ProposalRow> ReadProposal(const Statement& statement) {
  ProposalRow row;
  row.seq = statement.Int(0);
  row.id = statement.Bytes(1);
  row.kind = TRY(ParseKind(statement.Bytes(2)));
  row.state = TRY(ParseProposalState(statement.Bytes(3)));
  row.digest = statement.Bytes(4);
  row.origin = statement.Bytes(5);
  row.created_ns = statement.Int(6);
  row.decided_ns = statement.Int(7);
  row.decided_by = statement.Bytes(8);
  row.counts = {statement.Int(9),  statement.Int(10), statement.Int(11),
                statement.Int(12), statement.Int(13), statement.Int(14)};
  row.problems = statement.Bytes(15);
  if (!statement.IsNull(16)) row.epoch = statement.Int(16);
  row.created_by = statement.Bytes(17);
  row.case_name = statement.Bytes(18);
  return row;
}

// Binds digest, counts, change_set and problems to ?1 ... ?9.
void BindContent(const ProposalRow& row, Statement* statement) {
  statement->BindBlob(1, row.digest)
      .Bind(2, row.counts.created)
      .Bind(3, row.counts.modified)
      .Bind(4, row.counts.deleted)
      .Bind(5, row.counts.moved)
      .Bind(6, row.counts.metadata)
      .Bind(7, row.counts.bytes_written)
      .BindBlob(8, row.change_set)
      .BindText(9, row.problems);
}

Result<std::optional<ProposalState>> StateOf(const Connection& connection, const std::string& id) {
  Statement select = TRY(connection.Prepare("SELECT state FROM proposals WHERE id = ?1"));
  select.BindText(1, id);
  const bool has_row = TRY(select.Step());
  if (!has_row) return std::optional<ProposalState>();
  return std::optional(TRY(ParseProposalState(select.Bytes(0))));
}

// Why an UPDATE that names the state `expected` changed no row.
Error WhyUnchanged(const Connection& connection, const std::string& id, ProposalState expected) {
  Result<std::optional<ProposalState>> state = StateOf(connection, id);
  if (!state.ok()) return std::move(state).error();
  if (!state.value().has_value()) return NoSuch("proposal", id);
  return {ErrorCode::kConflict, "proposal '" + id + "' is " + std::string(Name(*state.value())) +
                                    ", not " + std::string(Name(expected))};
}

}  // namespace

void BindSight(const std::optional<Sight>& sight, int cases, int who, Statement* statement) {
  statement->BindText(cases, sight.has_value() ? EncodeStrings(sight->cases) : "")
      .BindText(who, sight.has_value() ? sight->principal : "");
}

std::string_view Name(ProposalKind kind) {
  switch (kind) {
    case ProposalKind::kExecution:
      return "execution";
    case ProposalKind::kPlan:
      return "plan";
    case ProposalKind::kRollback:
      return "rollback";
  }
  CheckFailed("ProposalKind out of range", __FILE__, __LINE__);
}

Result<Store> Store::Open(const std::string& path) {
  Result<Store> opened = [&]() -> Result<Store> {
    Connection connection = TRY(Connection::Open(path));
    TRY(Migrate(connection));
    return Store(std::move(connection));
  }();
  if (!opened.ok()) return std::move(opened).error().WithContext("open database");
  return opened;
}

Status Store::InsertExecution(const ExecutionRow& row) {
  const Unsynced unsynced(connection_);
  return InsertExecutionRow(row);
}

Status Store::InsertExecutionRow(const ExecutionRow& row) {
  Statement insert = TRY(connection_.Prepare(
      "INSERT INTO executions (id, created_ns, updated_ns, status, case_name, script_path,"
      " principal, owner, document) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"));
  insert.BindText(1, row.id)
      .Bind(2, row.created_ns)
      .Bind(3, row.updated_ns)
      .BindText(4, row.status)
      .BindText(5, row.case_name)
      .BindText(6, row.script_path)
      .BindText(7, row.principal)
      .BindText(8, row.owner)
      .BindText(9, row.document);
  Status inserted = insert.Run();
  if (!inserted.ok() && inserted.error().code() == ErrorCode::kConflict) {
    return AlreadyThere("execution", row.id);
  }
  return inserted;
}

Status Store::UpdateExecution(const std::string& id, std::string_view status,
                              std::string_view document, std::int64_t now_ns) {
  Statement update = TRY(connection_.Prepare(
      "UPDATE executions SET status = ?2, document = ?3, updated_ns = ?4,"
      " success = ifnull(json_extract(?3, '$.success'), 0),"
      " duration_seconds = ifnull(json_extract(?3, '$.duration_seconds'), 0) WHERE id = ?1"));
  update.BindText(1, id).BindText(2, status).BindText(3, document).Bind(4, now_ns);
  TRY(update.Run());
  return connection_.ChangedRows() == 1 ? Ok() : Status(NoSuch("execution", id));
}

Result<ExecutionRow> Store::GetExecution(const std::string& id) {
  Statement select = TRY(connection_.Prepare(
      "SELECT seq, id, created_ns, updated_ns, status, case_name, script_path, principal, owner,"
      " document FROM executions WHERE id = ?1"));
  select.BindText(1, id);
  const bool has_row = TRY(select.Step());
  if (!has_row) return NoSuch("execution", id);
  return ReadExecution(select);
}

Result<std::vector<ExecutionRow>> Store::ListExecutions(const ExecutionFilter& filter) {
  const std::vector<std::int64_t> found = TRY(FindExecutions(connection_, filter));
  Statement select = TRY(connection_.Prepare(
      "SELECT seq, id, created_ns, updated_ns, status, case_name, script_path, principal, owner,"
      " document FROM executions WHERE seq = ?1"));
  std::vector<ExecutionRow> rows;
  for (const std::int64_t seq : found) {
    select.Bind(1, seq);
    const bool has_row = TRY(select.Step());
    if (has_row) rows.push_back(ReadExecution(select));
    select.Reset();
  }
  return rows;
}

Result<std::vector<ExecutionRow>> Store::RunningExecutions() {
  Statement select = TRY(connection_.Prepare(
      "SELECT seq, id, created_ns, updated_ns, status, case_name, script_path, principal, owner,"
      " document FROM executions WHERE status IN ('queued', 'running') ORDER BY seq LIMIT ?1"));
  select.Bind(1, kStoreRowsMax);
  return ReadExecutions(&select);
}

Result<std::map<std::string, std::int64_t>> Store::CountExecutions() {
  return ReadCounts(
      TRY(connection_.Prepare("SELECT status, count(*) FROM executions GROUP BY status")));
}

Result<std::map<std::string, std::int64_t>> Store::CountProposals() {
  return ReadCounts(
      TRY(connection_.Prepare("SELECT state, count(*) FROM proposals GROUP BY state")));
}

Result<std::vector<std::string>> Store::FindByPrefix(std::string_view prefix, std::int64_t limit) {
  // Ids are ASCII, so every id that begins with the prefix sorts before prefix + DEL.
  Statement select = TRY(
      connection_.Prepare("SELECT id FROM executions WHERE id >= ?1 AND id < ?1 || char(127)"
                          " UNION SELECT id FROM proposals WHERE id >= ?1 AND id < ?1 || char(127)"
                          " UNION SELECT id FROM plans WHERE id >= ?1 AND id < ?1 || char(127)"
                          " ORDER BY 1 LIMIT ?2"));
  select.BindText(1, prefix).Bind(2, Capped(limit));
  std::vector<std::string> ids;
  for (;;) {
    const bool has_row = TRY(select.Step());
    if (!has_row) return ids;
    ids.push_back(select.Bytes(0));
    if (ids.front() == prefix) return ids;
  }
}

Status Store::InsertProposal(const ProposalRow& row) {
  std::optional<Unsynced> unsynced;
  const bool goes_on = row.state == ProposalState::kHeld || row.state == ProposalState::kApproved ||
                       row.state == ProposalState::kCommitting;
  if (!goes_on) unsynced.emplace(connection_);
  Statement insert = TRY(connection_.Prepare(
      "INSERT INTO proposals (digest, created, modified, deleted, moved, metadata, bytes_written,"
      " change_set, problems, id, kind, state, origin, created_ns, decided_ns, decided_by,"
      " created_by, case_name)"
      " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)"));
  BindContent(row, &insert);
  insert.BindText(10, row.id)
      .BindText(11, Name(row.kind))
      .BindText(12, Name(row.state))
      .BindText(13, row.origin)
      .Bind(14, row.created_ns)
      .Bind(15, row.decided_ns)
      .BindText(16, row.decided_by)
      .BindText(17, row.created_by)
      .BindText(18, row.case_name);
  Status inserted = insert.Run();
  if (!inserted.ok() && inserted.error().code() == ErrorCode::kConflict) {
    return AlreadyThere("proposal", row.id);
  }
  return inserted;
}

Result<ProposalRow> Store::GetProposal(const std::string& id) {
  Statement select = TRY(connection_.Prepare(kSelectProposal));
  select.BindText(1, id);
  const bool has_row = TRY(select.Step());
  if (!has_row) return NoSuch("proposal", id);
  ProposalRow row = TRY(ReadProposal(select));
  row.change_set = select.Bytes(kChangeSetColumn);
  return row;
}

Result<std::vector<ProposalRow>> Store::ListProposals(const ProposalFilter& filter) {
  const Sql list = filter.state.has_value() ? kListProposalsOfState : kListProposals;
  Statement select = TRY(connection_.Prepare(list));
  select.Bind(1, filter.before_seq)
      .BindText(2, filter.state.has_value() ? Name(*filter.state) : "")
      .BindText(3, filter.kind.has_value() ? Name(*filter.kind) : "")
      .Bind(4, Capped(filter.limit));
  BindSight(filter.sight, 5, 6, &select);
  std::vector<ProposalRow> rows;
  for (;;) {
    const bool has_row = TRY(select.Step());
    if (!has_row) return rows;
    rows.push_back(TRY(ReadProposal(select)));
  }
}

// The only writer of an existing proposal's state. Runs in the caller's transaction.
Status Store::WriteState(const std::string& id, ProposalState from, ProposalState to) {
  if (!CanBecome(from, to)) {
    return Error(ErrorCode::kInternal, "proposal '" + id + "': " + std::string(Name(from)) +
                                           " cannot become " + std::string(Name(to)));
  }
  Statement update =
      TRY(connection_.Prepare("UPDATE proposals SET state = ?3 WHERE id = ?1 AND state = ?2"));
  update.BindText(1, id).BindText(2, Name(from)).BindText(3, Name(to));
  TRY(update.Run());
  return connection_.ChangedRows() == 1 ? Ok() : Status(WhyUnchanged(connection_, id, from));
}

Status Store::ChangeState(const std::string& id, ProposalState from, ProposalState to,
                          std::string_view decided_by, std::int64_t now_ns) {
  Transaction transaction = TRY(Transaction::Begin(connection_));
  TRY(WriteState(id, from, to));
  if (!decided_by.empty()) {
    Statement update = TRY(
        connection_.Prepare("UPDATE proposals SET decided_by = ?2, decided_ns = ?3 WHERE id = ?1"));
    update.BindText(1, id).BindText(2, decided_by).Bind(3, now_ns);
    TRY(update.Run());
  }
  return transaction.Commit();
}

Status Store::SetProposalContent(const ProposalRow& row) {
  Statement update = TRY(connection_.Prepare(
      "UPDATE proposals SET digest = ?1, created = ?2, modified = ?3, deleted = ?4, moved = ?5,"
      " metadata = ?6, bytes_written = ?7, change_set = ?8, problems = ?9"
      " WHERE id = ?10 AND state = 'held'"));
  BindContent(row, &update);
  update.BindText(10, row.id);
  TRY(update.Run());
  if (connection_.ChangedRows() == 1) return Ok();
  return WhyUnchanged(connection_, row.id, ProposalState::kHeld);
}

Status Store::SetProblems(const std::string& id, std::string_view problems) {
  Statement update = TRY(connection_.Prepare("UPDATE proposals SET problems = ?2 WHERE id = ?1"));
  update.BindText(1, id).BindText(2, problems);
  TRY(update.Run());
  return connection_.ChangedRows() == 1 ? Ok() : Status(NoSuch("proposal", id));
}

Result<std::optional<std::string>> Store::GetMeta(std::string_view key) {
  Statement select = TRY(connection_.Prepare("SELECT value FROM meta WHERE key = ?1"));
  select.BindText(1, key);
  const bool has_row = TRY(select.Step());
  if (!has_row) return std::optional<std::string>();
  return std::optional(select.Bytes(0));
}

// A synced transaction takes along those before it. SQLite writes only what differs, hence a
// number.
Status Store::Sync() {
  return connection_.Execute(
      "INSERT INTO meta (key, value) VALUES ('syncs', 1)"
      " ON CONFLICT (key) DO UPDATE SET value = value + 1");
}

Status Store::SetMeta(std::string_view key, std::string_view value) {
  Statement upsert =
      TRY(connection_.Prepare("INSERT INTO meta (key, value) VALUES (?1, ?2)"
                              " ON CONFLICT (key) DO UPDATE SET value = excluded.value"));
  upsert.BindText(1, key).BindBlob(2, value);
  return upsert.Run();
}

}  // namespace bailiff
