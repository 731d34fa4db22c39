#include "store/queue.h"

#include <utility>

namespace bailiff {
namespace {

// What a claimed request held (environment values) is not left behind in free pages.
constexpr Sql kEraseDeleted = "PRAGMA secure_delete = ON";

Status InsertQueued(const Connection& connection, const std::string& id, std::string_view request) {
  Statement insert =
      TRY(connection.Prepare("INSERT INTO queue (execution_id, request) VALUES (?1, ?2)"));
  insert.BindText(1, id).BindText(2, request);
  return insert.Run();
}

Result<bool> DeleteQueued(const Connection& connection, const std::string& id) {
  TRY(connection.Execute(kEraseDeleted));
  Statement remove = TRY(connection.Prepare("DELETE FROM queue WHERE execution_id = ?1"));
  remove.BindText(1, id);
  TRY(remove.Run());
  return connection.ChangedRows() == 1;
}

}  // namespace

Status Enqueue(Store& store, const ExecutionRow& row, std::string_view request,
               const AnswerKey* key) {
  const Connection& connection = store.connection();
  Transaction transaction = TRY(Transaction::Begin(connection));
  TRY(store.InsertExecutionRow(row));
  TRY(InsertQueued(connection, row.id, request));
  if (key != nullptr) {
    Statement update = TRY(connection.Prepare(
        "UPDATE answers SET resource = ?3 WHERE principal = ?1 AND key = ?2 AND status = 0"));
    update.BindText(1, key->principal).BindText(2, key->key).BindText(3, row.id);
    TRY(update.Run());
  }
  return transaction.Commit();
}

Result<std::int64_t> QueueLength(const Store& store) {
  Statement select = TRY(store.connection().Prepare("SELECT count(*) FROM queue"));
  const bool has_row = TRY(select.Step());
  CHECK(has_row);
  return select.Int(0);
}

Result<std::optional<QueuedRow>> NextQueued(const Store& store) {
  Statement select = TRY(
      store.connection().Prepare("SELECT execution_id, request FROM queue ORDER BY seq LIMIT 1"));
  const bool has_row = TRY(select.Step());
  if (!has_row) return std::optional<QueuedRow>();
  return std::optional(QueuedRow{select.Bytes(0), select.Bytes(1)});
}

Result<bool> ClaimQueued(const Store& store, const std::string& id, std::string_view owner) {
  const Connection& connection = store.connection();
  Transaction transaction = TRY(Transaction::Begin(connection));
  if (!TRY(DeleteQueued(connection, id))) return false;
  Statement update = TRY(connection.Prepare(
      "UPDATE executions SET status = 'running', owner = ?2 WHERE id = ?1 AND status = 'queued'"));
  update.BindText(1, id).BindText(2, owner);
  TRY(update.Run());
  const bool claimed = connection.ChangedRows() == 1;
  TRY(transaction.Commit());
  return claimed;
}

Result<bool> DropQueued(const Store& store, const std::string& id, std::string_view status,
                        std::string_view document, std::int64_t now_ns) {
  const Connection& connection = store.connection();
  Transaction transaction = TRY(Transaction::Begin(connection));
  if (!TRY(DeleteQueued(connection, id))) return false;
  Statement update = TRY(connection.Prepare(
      "UPDATE executions SET status = ?2, document = ?3, updated_ns = ?4 WHERE id = ?1"));
  update.BindText(1, id).BindText(2, status).BindText(3, document).Bind(4, now_ns);
  TRY(update.Run());
  TRY(transaction.Commit());
  return true;
}

void EraseFromLog(const Store& store) {
  (void)store.connection().Execute("PRAGMA wal_checkpoint(TRUNCATE)");  // See the contract.
}

Result<std::optional<Answer>> BeginAnswer(const Store& store, const AnswerKey& key,
                                          std::int64_t now_ns) {
  const Connection& connection = store.connection();
  Transaction transaction = TRY(Transaction::Begin(connection));
  Statement select =
      TRY(connection.Prepare("SELECT fingerprint, status, resource, body FROM answers"
                             " WHERE principal = ?1 AND key = ?2"));
  select.BindText(1, key.principal).BindText(2, key.key);
  const bool has_row = TRY(select.Step());
  if (has_row) {
    return std::optional(
        Answer{select.Bytes(0), static_cast<int>(select.Int(1)), select.Bytes(2), select.Bytes(3)});
  }
  Statement insert = TRY(connection.Prepare(
      "INSERT INTO answers (principal, key, fingerprint, created_ns, status, resource, body)"
      " VALUES (?1, ?2, ?3, ?4, 0, '', '')"));
  insert.BindText(1, key.principal)
      .BindText(2, key.key)
      .BindBlob(3, key.fingerprint)
      .Bind(4, now_ns);
  TRY(insert.Run());
  TRY(transaction.Commit());
  return std::optional<Answer>();
}

Status FinishAnswer(const Store& store, const AnswerKey& key, int status, std::string_view body) {
  Statement update = TRY(store.connection().Prepare(
      "UPDATE answers SET status = ?3, body = ?4 WHERE principal = ?1 AND key = ?2"));
  update.BindText(1, key.principal).BindText(2, key.key).Bind(3, status).BindText(4, body);
  return update.Run();
}

Status ForgetAnswer(const Store& store, const AnswerKey& key) {
  Statement remove = TRY(store.connection().Prepare(
      "DELETE FROM answers WHERE principal = ?1 AND key = ?2 AND resource = ''"));
  remove.BindText(1, key.principal).BindText(2, key.key);
  return remove.Run();
}

}  // namespace bailiff
