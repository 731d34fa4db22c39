#include "store/plans.h"

#include <algorithm>

#include "base/bytes.h"

namespace bailiff {
namespace {

PlanRow ReadPlan(const Statement& statement) {
  PlanRow row;
  row.seq = statement.Int(0);
  row.id = statement.Bytes(1);
  row.created_ns = statement.Int(2);
  row.created_by = statement.Bytes(3);
  row.case_name = statement.Bytes(4);
  row.document = statement.Bytes(5);
  return row;
}

}  // namespace

Status InsertPlan(const Connection& connection, const PlanRow& row) {
  Statement insert =
      TRY(connection.Prepare("INSERT INTO plans (id, created_ns, created_by, case_name, document)"
                             " VALUES (?1, ?2, ?3, ?4, ?5)"));
  insert.BindText(1, row.id)
      .Bind(2, row.created_ns)
      .BindText(3, row.created_by)
      .BindText(4, row.case_name)
      .BindText(5, row.document);
  Status inserted = insert.Run();
  if (!inserted.ok() && inserted.error().code() == ErrorCode::kConflict) {
    return Error(ErrorCode::kConflict, "plan '" + row.id + "' exists already");
  }
  return inserted;
}

Result<PlanRow> GetPlanRow(const Connection& connection, const std::string& id) {
  Statement select =
      TRY(connection.Prepare("SELECT seq, id, created_ns, created_by, case_name, document"
                             " FROM plans WHERE id = ?1"));
  select.BindText(1, id);
  const bool has_row = TRY(select.Step());
  if (has_row) return ReadPlan(select);
  return Error(ErrorCode::kNotFound,
               "plan '" + EscapeForTerminal(id, Lines::kSingle) + "' does not exist");
}

Result<std::vector<PlanRow>> ListPlanRows(const Connection& connection, const PlanFilter& filter) {
  Statement select = TRY(connection.Prepare(
      "SELECT seq, id, created_ns, created_by, case_name, document FROM plans"
      " WHERE (?1 = 0 OR seq < ?1) AND (?3 = '' OR created_by = ?4"
      " OR case_name IN (SELECT value FROM json_each(?3))) ORDER BY seq DESC LIMIT ?2"));
  select.Bind(1, filter.before_seq)
      .Bind(2, std::clamp<std::int64_t>(filter.limit, 1, kStoreRowsMax));
  BindSight(filter.sight, 3, 4, &select);
  std::vector<PlanRow> rows;
  for (;;) {
    const bool has_row = TRY(select.Step());
    if (!has_row) return rows;
    rows.push_back(ReadPlan(select));
  }
}

}  // namespace bailiff
