#include "store/retention.h"

namespace bailiff {

Result<std::vector<std::string>> WaitingSince(const Connection& connection, std::int64_t before_ns,
                                              std::int64_t limit) {
  Statement select =
      TRY(connection.Prepare("SELECT id FROM proposals WHERE state IN ('held', 'approved')"
                             " AND max(created_ns, decided_ns) < ?1 ORDER BY seq LIMIT ?2"));
  select.Bind(1, before_ns).Bind(2, limit);
  std::vector<std::string> ids;
  for (;;) {
    const bool has_row = TRY(select.Step());
    if (!has_row) return ids;
    ids.push_back(select.Bytes(0));
  }
}

Result<std::vector<std::string>> EndedBefore(const Connection& connection,
                                             const std::vector<std::string>& ids,
                                             std::int64_t before_ns) {
  Statement select =
      TRY(connection.Prepare("SELECT 1 FROM executions WHERE id = ?1 AND created_ns < ?2"
                             " AND status NOT IN ('queued', 'running')"));
  std::vector<std::string> ended;
  for (const std::string& id : ids) {
    select.Reset();
    select.BindText(1, id).Bind(2, before_ns);
    const bool has_row = TRY(select.Step());
    if (has_row) ended.push_back(id);
  }
  return ended;
}

Status ForgetLogFiles(const Connection& connection, const std::vector<std::string>& ids) {
  if (ids.empty()) return Ok();
  Transaction transaction = TRY(Transaction::Begin(connection));
  Statement update = TRY(
      connection.Prepare("UPDATE executions SET document = json_set(document, '$.log_file', NULL)"
                         " WHERE id = ?1 AND json_valid(document)"));
  for (const std::string& id : ids) {
    update.Reset();
    update.BindText(1, id);
    TRY(update.Run());
  }
  return transaction.Commit();
}

Result<std::int64_t> RemoveOldAnswers(const Connection& connection, std::int64_t before_ns) {
  Statement remove = TRY(connection.Prepare("DELETE FROM answers WHERE created_ns < ?1"));
  remove.Bind(1, before_ns);
  TRY(remove.Run());
  return connection.ChangedRows();
}

}  // namespace bailiff
