#include "store/outbox.h"

#include "store/strings.h"

namespace bailiff {
namespace {

Result<std::vector<OutboxRow>> ReadRows(Statement* statement) {
  std::vector<OutboxRow> rows;
  for (;;) {
    const bool has_row = TRY(statement->Step());
    if (!has_row) return rows;
    OutboxRow row;
    row.seq = statement->Int(0);
    row.hook = statement->Bytes(1);
    row.event = statement->Bytes(2);
    row.body = statement->Bytes(3);
    row.created_ns = statement->Int(4);
    row.attempts = statement->Int(5);
    row.next_ns = statement->Int(6);
    row.last_error = statement->Bytes(7);
    rows.push_back(std::move(row));
  }
}

// In the caller's transaction.
Status DropOverflow(const Connection& connection) {
  Statement drop =
      TRY(connection.Prepare("DELETE FROM outbox WHERE seq IN (SELECT seq FROM outbox ORDER BY seq"
                             " LIMIT max(0, (SELECT count(*) FROM outbox) - ?1))"));
  drop.Bind(1, kOutboxRowsMax);
  TRY(drop.Run());
  const std::int64_t dropped = connection.ChangedRows();
  if (dropped == 0) return Ok();
  Statement count =
      TRY(connection.Prepare("INSERT INTO meta (key, value) VALUES ('outbox_lost', ?1)"
                             " ON CONFLICT (key) DO UPDATE SET value = value + ?1"));
  count.Bind(1, dropped);
  return count.Run();
}

}  // namespace

Status Enqueue(const Connection& connection, const OutboxRow& row) {
  Transaction transaction = TRY(Transaction::Begin(connection));
  Statement insert = TRY(connection.Prepare(
      "INSERT INTO outbox (hook, event, body, created_ns, attempts, next_ns, last_error)"
      " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"));
  insert.BindText(1, row.hook)
      .BindText(2, row.event)
      .BindText(3, row.body)
      .Bind(4, row.created_ns)
      .Bind(5, row.attempts)
      .Bind(6, row.next_ns)
      .BindText(7, row.last_error);
  TRY(insert.Run());
  TRY(DropOverflow(connection));
  return transaction.Commit();
}

Result<std::vector<OutboxRow>> DueMessages(const Connection& connection, const std::string& hook,
                                           std::int64_t now_ns, std::int64_t limit) {
  Statement select = TRY(connection.Prepare(
      "SELECT seq, hook, event, body, created_ns, attempts, next_ns, last_error FROM outbox"
      " WHERE hook = ?1 AND next_ns <= ?2 ORDER BY seq LIMIT ?3"));
  select.BindText(1, hook).Bind(2, now_ns).Bind(3, limit);
  return ReadRows(&select);
}

Result<std::vector<OutboxRow>> StrayMessages(const Connection& connection,
                                             const std::vector<std::string>& known,
                                             std::int64_t limit) {
  Statement select = TRY(connection.Prepare(
      "SELECT seq, hook, event, body, created_ns, attempts, next_ns, last_error FROM outbox"
      " WHERE hook NOT IN (SELECT value FROM json_each(?1)) ORDER BY seq LIMIT ?2"));
  select.BindText(1, EncodeStrings(known)).Bind(2, limit);
  return ReadRows(&select);
}

Result<std::optional<std::int64_t>> NextDue(const Connection& connection) {
  Statement select = TRY(connection.Prepare("SELECT min(next_ns) FROM outbox"));
  const bool has_row = TRY(select.Step());
  if (!has_row || select.IsNull(0)) return std::optional<std::int64_t>();
  return std::optional(select.Int(0));
}

Status DeferMessage(const Connection& connection, std::int64_t seq, std::int64_t next_ns,
                    const std::string& error) {
  Statement update = TRY(connection.Prepare(
      "UPDATE outbox SET attempts = attempts + 1, next_ns = ?2, last_error = ?3 WHERE seq = ?1"));
  update.Bind(1, seq).Bind(2, next_ns).BindText(3, error);
  return update.Run();
}

Status RemoveMessage(const Connection& connection, std::int64_t seq) {
  Statement remove = TRY(connection.Prepare("DELETE FROM outbox WHERE seq = ?1"));
  remove.Bind(1, seq);
  return remove.Run();
}

Result<std::int64_t> RemoveOldMessages(const Connection& connection, std::int64_t before_ns) {
  Statement remove = TRY(connection.Prepare("DELETE FROM outbox WHERE created_ns < ?1"));
  remove.Bind(1, before_ns);
  TRY(remove.Run());
  return connection.ChangedRows();
}

Result<std::int64_t> LostMessages(const Connection& connection) {
  Statement select = TRY(
      connection.Prepare("SELECT ifnull((SELECT value FROM meta WHERE key = 'outbox_lost'), 0)"));
  const bool has_row = TRY(select.Step());
  CHECK(has_row);
  return select.Int(0);
}

}  // namespace bailiff
