#include "store/tokens.h"

#include <boost/json.hpp>
#include <utility>

#include "base/bytes.h"
#include "store/store.h"
#include "store/strings.h"

namespace bailiff {
namespace {

namespace json = boost::json;

Error NoSuchToken(const std::string& name) {
  return {ErrorCode::kNotFound,
          "token '" + EscapeForTerminal(name, Lines::kSingle) + "' does not exist"};
}

std::string EncodeCases(const std::optional<std::vector<std::string>>& cases) {
  return cases.has_value() ? EncodeStrings(*cases) : "";
}

// What cannot be read limits to nothing: a damaged row must not open up the workspace.
std::optional<std::vector<std::string>> DecodeCases(const std::string& text) {
  if (text.empty()) return std::nullopt;
  std::vector<std::string> cases;
  boost::system::error_code error;
  const json::value value = json::parse(text, error);
  if (error || !value.is_array()) return cases;
  for (const json::value& item : value.as_array()) {
    if (item.is_string()) cases.emplace_back(item.as_string());
  }
  return cases;
}

TokenRow Read(const Statement& statement) {
  TokenRow row;
  row.id = statement.Bytes(0);
  row.name = statement.Bytes(1);
  row.role = statement.Bytes(2);
  row.cases = DecodeCases(statement.Bytes(3));
  row.secret_sha256 = statement.Bytes(4);
  row.created_ns = statement.Int(5);
  row.created_by = statement.Bytes(6);
  row.expires_ns = statement.Int(7);
  row.revoked_ns = statement.Int(8);
  return row;
}

}  // namespace

Status InsertToken(const Connection& connection, const TokenRow& row) {
  Statement insert = TRY(connection.Prepare(
      "INSERT INTO tokens (id, name, role, cases, secret_sha256, created_ns, created_by,"
      " expires_ns, revoked_ns) SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 0 WHERE NOT EXISTS"
      " (SELECT 1 FROM tokens WHERE name = ?2 AND revoked_ns = 0"
      "  AND (expires_ns = 0 OR expires_ns > ?6))"));
  insert.BindText(1, row.id)
      .BindText(2, row.name)
      .BindText(3, row.role)
      .BindText(4, EncodeCases(row.cases))
      .BindBlob(5, row.secret_sha256)
      .Bind(6, row.created_ns)
      .BindText(7, row.created_by)
      .Bind(8, row.expires_ns);
  TRY(insert.Run());
  if (connection.ChangedRows() == 1) return Ok();
  return Error(ErrorCode::kConflict, "token '" + row.name +
                                         "' exists already; revoke it first, or choose another "
                                         "name");
}

Result<TokenRow> GetToken(const Connection& connection, const std::string& id) {
  Statement select =
      TRY(connection.Prepare("SELECT id, name, role, cases, secret_sha256, created_ns, created_by,"
                             " expires_ns, revoked_ns FROM tokens WHERE id = ?1"));
  select.BindText(1, id);
  const bool has_row = TRY(select.Step());
  if (!has_row) return NoSuchToken(id);
  return Read(select);
}

Result<TokenRow> FindToken(const Connection& connection, const std::string& name) {
  Statement select = TRY(
      connection.Prepare("SELECT id, name, role, cases, secret_sha256, created_ns, created_by,"
                         " expires_ns, revoked_ns FROM tokens WHERE name = ?1 AND revoked_ns = 0"
                         " ORDER BY created_ns DESC LIMIT 1"));
  select.BindText(1, name);
  const bool has_row = TRY(select.Step());
  if (!has_row) return NoSuchToken(name);
  return Read(select);
}

Result<std::vector<TokenRow>> ListTokenRows(const Connection& connection) {
  Statement select =
      TRY(connection.Prepare("SELECT id, name, role, cases, secret_sha256, created_ns, created_by,"
                             " expires_ns, revoked_ns FROM tokens ORDER BY created_ns DESC, id"
                             " LIMIT ?1"));
  select.Bind(1, kStoreRowsMax);
  std::vector<TokenRow> rows;
  for (;;) {
    const bool has_row = TRY(select.Step());
    if (!has_row) return rows;
    rows.push_back(Read(select));
  }
}

Status MarkTokenRevoked(const Connection& connection, const std::string& id, std::int64_t now_ns) {
  Statement update =
      TRY(connection.Prepare("UPDATE tokens SET revoked_ns = ?2 WHERE id = ?1 AND revoked_ns = 0"));
  update.BindText(1, id).Bind(2, now_ns);
  TRY(update.Run());
  if (connection.ChangedRows() == 1) return Ok();
  TRY(GetToken(connection, id));
  return Error(ErrorCode::kConflict, "token '" + id + "' was revoked before");
}

}  // namespace bailiff
