#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "store/sqlite.h"

// The table of tokens. Errors besides those named: as Statement::Step().

namespace bailiff {

struct TokenRow {
  std::string id;    // 8 hexadecimal digits.
  std::string name;  // Of one living token at a time.
  std::string role;
  std::optional<std::vector<std::string>> cases;  // Nothing: all of the workspace.
  std::string secret_sha256;                      // Raw.
  std::int64_t created_ns = 0;
  std::string created_by;
  std::int64_t expires_ns = 0;  // 0: never.
  std::int64_t revoked_ns = 0;  // 0: it is not.

  bool IsLiving(std::int64_t now_ns) const {
    return revoked_ns == 0 && (expires_ns == 0 || expires_ns > now_ns);
  }
};

// Errors: kConflict when there is a living token of this name, or one with this id.
Status InsertToken(const Connection& connection, const TokenRow& row);

Result<TokenRow> GetToken(const Connection& connection, const std::string& id);  // kNotFound

// The newest one of this name that was not revoked; it may have expired. Errors: kNotFound.
Result<TokenRow> FindToken(const Connection& connection, const std::string& name);

// All of them, newest first; at most kStoreRowsMax.
Result<std::vector<TokenRow>> ListTokenRows(const Connection& connection);

// Errors: kConflict when it was revoked before; kNotFound.
Status MarkTokenRevoked(const Connection& connection, const std::string& id, std::int64_t now_ns);

}  // namespace bailiff
