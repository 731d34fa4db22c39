#include <algorithm>
#include <cstdint>
#include <iterator>
#include <utility>

#include "base/check.h"
#include "store/store.h"

namespace bailiff {
namespace {

constexpr Sql kRowsByPath =
    "SELECT row, epoch, proposal_id, op, type, path, from_path, sha256, size, at_ns FROM history"
    " WHERE path = ?1 AND epoch = ?2 ORDER BY row DESC LIMIT ?3";
constexpr Sql kRowsByFromPath =
    "SELECT row, epoch, proposal_id, op, type, path, from_path, sha256, size, at_ns FROM history"
    " WHERE from_path = ?1 AND from_path <> x'' AND epoch = ?2 ORDER BY row DESC LIMIT ?3";

// A change set says one or two things of a path; more is not ours.
constexpr std::int64_t kRowsPerPathMax = 16;

HistoryRow ReadRow(const Statement& statement) {
  HistoryRow row;
  row.row = statement.Int(0);
  row.epoch = statement.Int(1);
  row.proposal_id = statement.Bytes(2);
  row.op = statement.Bytes(3);
  row.type = statement.Bytes(4);
  row.path = statement.Bytes(5);
  row.from_path = statement.Bytes(6);
  row.sha256 = statement.Bytes(7);
  row.size = statement.Int(8);
  row.at_ns = statement.Int(9);
  return row;
}

Result<std::vector<HistoryRow>> ReadRows(Statement* statement) {
  std::vector<HistoryRow> rows;
  for (;;) {
    const bool has_row = TRY(statement->Step());
    if (!has_row) return rows;
    rows.push_back(ReadRow(*statement));
  }
}

// `path` and the directories above it, nearest first, without the workspace itself.
std::vector<std::string_view> WithAncestors(std::string_view path) {
  std::vector<std::string_view> paths;
  while (!path.empty()) {
    paths.push_back(path);
    const std::size_t slash = path.rfind('/');
    path = slash == path.npos ? std::string_view() : path.substr(0, slash);
  }
  return paths;
}

bool IsDirMove(const HistoryRow& row) {
  return row.op == "move" && row.type == "dir";
}

// Follows one path from the present into the past, one commit at a time.
class PathWalk {
 public:
  PathWalk(const Connection& connection, std::string_view path)
      : connection_(connection), path_(path) {}

  // The events of the newest commit before those already taken; empty at the beginning of time.
  Result<std::vector<PathEvent>> NextCommit();

 private:
  Result<std::int64_t> NewestEpoch(std::string_view path, bool is_exact);
  Result<std::vector<HistoryRow>> Rows(Sql sql, std::string_view path) const;
  Result<std::string> FindBase(std::vector<HistoryRow>* rows) const;
  Status FindWhatLeft(const std::string& base, std::vector<HistoryRow>* rows) const;

  const Connection& connection_;
  std::string path_;
  std::int64_t epoch_ = INT64_MAX;
};

// The newest epoch before epoch_ that concerns `path`: itself, or what is below it, as well.
Result<std::int64_t> PathWalk::NewestEpoch(std::string_view path, bool is_exact) {
  Statement select = TRY(connection_.Prepare(
      "SELECT max("
      " coalesce((SELECT max(epoch) FROM history WHERE path = ?1 AND epoch < ?2"
      "  AND (?3 OR (type = 'dir' AND op IN ('move', 'delete')))), 0),"
      " coalesce((SELECT max(epoch) FROM history WHERE from_path = ?1 AND from_path <> x''"
      "  AND epoch < ?2 AND op = 'move' AND (?3 OR type = 'dir')), 0))"));
  select.BindBlob(1, path).Bind(2, epoch_).Bind(3, is_exact ? 1 : 0);
  const bool has_row = TRY(select.Step());
  CHECK(has_row);
  return select.Int(0);
}

Result<std::vector<HistoryRow>> PathWalk::Rows(Sql sql, std::string_view path) const {
  Statement select = TRY(connection_.Prepare(sql));
  select.BindBlob(1, path).Bind(2, epoch_).Bind(3, kRowsPerPathMax);
  return ReadRows(&select);
}

// Adds what made path_ what it is after this commit, and returns the path that it had before. All
// rows of a commit happen at once: they take one tree to another, by docs/formats/changeset.md.
Result<std::string> PathWalk::FindBase(std::vector<HistoryRow>* rows) const {
  std::string base;
  const std::vector<HistoryRow> own = TRY(Rows(kRowsByPath, path_));
  for (const HistoryRow& row : own) {
    if (row.op == "delete") continue;  // Of the base path; FindWhatLeft() judges it.
    rows->push_back(row);
    if (!row.from_path.empty()) base = row.from_path;
  }
  for (const std::string_view ancestor : WithAncestors(path_)) {
    if (ancestor == path_) continue;
    const std::vector<HistoryRow> above = TRY(Rows(kRowsByPath, ancestor));
    const auto move = std::find_if(above.begin(), above.end(), IsDirMove);
    if (move == above.end()) continue;
    // What has its own `from`, or was made in the moved directory, tells more itself.
    if (rows->empty()) rows->push_back(*move);
    if (base.empty()) base = move->from_path + path_.substr(ancestor.size());
    break;  // The nearest moved directory decides.
  }
  return base.empty() ? path_ : base;
}

// Adds what took away whatever was at `base`, unless path_ is what became of it.
Status PathWalk::FindWhatLeft(const std::string& base, std::vector<HistoryRow>* rows) const {
  for (const std::string_view candidate : WithAncestors(base)) {
    const bool is_exact = candidate == base;
    const std::vector<HistoryRow> there = TRY(Rows(kRowsByPath, candidate));
    for (const HistoryRow& row : there) {
      // A file that moved out of a folder was not deleted with it.
      const bool with_folder = base == path_ && row.type == "dir";
      if (row.op == "delete" && (is_exact || with_folder)) rows->push_back(row);
    }
    if (base != path_) continue;
    const std::vector<HistoryRow> left = TRY(Rows(kRowsByFromPath, candidate));
    for (const HistoryRow& row : left) {
      if (row.op == "move" && (is_exact || row.type == "dir")) rows->push_back(row);
    }
  }
  return Ok();
}

Result<std::vector<PathEvent>> PathWalk::NextCommit() {
  std::int64_t newest = 0;
  for (const std::string_view candidate : WithAncestors(path_)) {
    const std::int64_t epoch = TRY(NewestEpoch(candidate, candidate == path_));
    newest = std::max(newest, epoch);
  }
  std::vector<PathEvent> events;
  if (newest == 0) return events;
  epoch_ = newest;
  std::vector<HistoryRow> rows;
  std::string base = TRY(FindBase(&rows));
  TRY(FindWhatLeft(base, &rows));
  for (HistoryRow& row : rows) events.push_back({std::move(row), path_});
  path_ = std::move(base);
  return events;
}

}  // namespace

Result<std::int64_t> Store::CurrentEpoch() {
  Statement select =
      TRY(connection_.Prepare("SELECT coalesce((SELECT value FROM meta WHERE key = 'epoch'), 0)"));
  const bool has_row = TRY(select.Step());
  CHECK(has_row);
  return select.Int(0);
}

Result<std::int64_t> Store::RecordCommit(const std::string& id, ProposalState from,
                                         const std::vector<HistoryRow>& rows, std::int64_t now_ns) {
  const Unsynced unsynced(connection_);  // The journal tells recovery the same.
  Transaction transaction = TRY(Transaction::Begin(connection_));
  TRY(WriteState(id, from, ProposalState::kCommitted));
  const std::int64_t last = TRY(CurrentEpoch());
  const std::int64_t epoch = last + 1;
  Statement count =
      TRY(connection_.Prepare("INSERT INTO meta (key, value) VALUES ('epoch', ?1)"
                              " ON CONFLICT (key) DO UPDATE SET value = excluded.value"));
  TRY(count.Bind(1, epoch).Run());
  Statement mark = TRY(connection_.Prepare("UPDATE proposals SET epoch = ?2 WHERE id = ?1"));
  TRY(mark.BindText(1, id).Bind(2, epoch).Run());
  TRY(InsertHistory(id, epoch, rows, now_ns));
  TRY(MarkRolledBack(id));
  TRY(transaction.Commit());
  return epoch;
}

Status Store::InsertHistory(const std::string& id, std::int64_t epoch,
                            const std::vector<HistoryRow>& rows, std::int64_t now_ns) {
  Statement insert = TRY(connection_.Prepare(
      "INSERT INTO history (epoch, proposal_id, op, type, path, from_path, sha256, size, at_ns)"
      " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"));
  for (const HistoryRow& row : rows) {
    insert.Reset();
    insert.Bind(1, epoch)
        .BindText(2, id)
        .BindText(3, row.op)
        .BindText(4, row.type)
        .BindBlob(5, row.path)
        .BindBlob(6, row.from_path)
        .BindBlob(7, row.sha256)
        .Bind(8, row.size)
        .Bind(9, row.at_ns != 0 ? row.at_ns : now_ns);
    TRY(insert.Run());
  }
  return Ok();
}

// What rollback `id` undid. By now it is undone in fact, so a state that does not allow the mark is
// left as it is instead of losing the record of the commit.
Status Store::MarkRolledBack(const std::string& id) {
  const ProposalRow row = TRY(GetProposal(id));
  if (row.kind != ProposalKind::kRollback) return Ok();
  const Result<ProposalRow> origin = GetProposal(row.origin);
  if (!origin.ok() && origin.error().code() != ErrorCode::kNotFound) return origin.error();
  if (!origin.ok() || !CanBecome(origin.value().state, ProposalState::kRolledBack)) return Ok();
  return WriteState(row.origin, origin.value().state, ProposalState::kRolledBack);
}

Result<std::vector<PathEvent>> Store::PathHistory(std::string_view path, std::int64_t limit) {
  const auto most = static_cast<std::size_t>(std::clamp<std::int64_t>(limit, 1, kStoreRowsMax));
  PathWalk walk(connection_, path);
  std::vector<PathEvent> events;
  while (events.size() < most) {
    std::vector<PathEvent> commit = TRY(walk.NextCommit());
    if (commit.empty()) break;
    std::move(commit.begin(), commit.end(), std::back_inserter(events));
  }
  if (events.size() > most) events.resize(most);
  return events;
}

Result<std::vector<HistoryRow>> Store::FolderHistory(std::string_view folder, std::int64_t limit,
                                                     std::int64_t before_row) {
  if (folder.empty()) return AllHistory(limit, before_row);
  // "/" and the byte after it, "0", enclose everything below a folder.
  Statement select = TRY(connection_.Prepare(
      "SELECT row, epoch, proposal_id, op, type, path, from_path, sha256, size, at_ns FROM history"
      " WHERE row IN ("
      "  SELECT row FROM history WHERE path = ?1"
      "  UNION SELECT row FROM history WHERE path > ?2 AND path < ?3"
      "  UNION SELECT row FROM history WHERE from_path = ?1 AND from_path <> x''"
      "  UNION SELECT row FROM history WHERE from_path > ?2 AND from_path < ?3"
      "   AND from_path <> x'')"
      " AND (?4 = 0 OR row < ?4) ORDER BY row DESC LIMIT ?5"));
  select.BindBlob(1, folder)
      .BindBlob(2, std::string(folder) + "/")
      .BindBlob(3, std::string(folder) + "0")
      .Bind(4, before_row)
      .Bind(5, std::clamp<std::int64_t>(limit, 1, kStoreRowsMax));
  return ReadRows(&select);
}

Result<std::vector<HistoryRow>> Store::AllHistory(std::int64_t limit, std::int64_t before_row) {
  Statement select = TRY(connection_.Prepare(
      "SELECT row, epoch, proposal_id, op, type, path, from_path, sha256, size, at_ns FROM history"
      " WHERE (?1 = 0 OR row < ?1) ORDER BY row DESC LIMIT ?2"));
  select.Bind(1, before_row).Bind(2, std::clamp<std::int64_t>(limit, 1, kStoreRowsMax));
  return ReadRows(&select);
}

}  // namespace bailiff
