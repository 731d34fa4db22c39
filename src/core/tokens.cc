#include "core/tokens.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <boost/json.hpp>
#include <utility>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/sha256.h"
#include "changeset/model.h"
#include "core/documents.h"
#include "core/permissions.h"
#include "workspace/workspace.h"

namespace bailiff {
namespace {

namespace json = boost::json;

constexpr std::string_view kPrefix = "bailiff_";
constexpr std::size_t kIdBytes = 4;
constexpr std::size_t kSecretBytes = 32;
constexpr std::size_t kSecretChars = 43;
constexpr std::size_t kTokenChars = kPrefix.size() + 2 * kIdBytes + 1 + kSecretChars;
constexpr std::size_t kNameBytesMax = 64;
constexpr std::size_t kTokenCasesMax = 1000;

bool IsHex(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

bool LooksLikeTokenId(std::string_view text) {
  return text.size() == 2 * kIdBytes && std::all_of(text.begin(), text.end(), IsHex);
}

Status CheckName(const std::string& name) {
  const auto fits = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  };
  const bool sound = !name.empty() && name.size() <= kNameBytesMax &&
                     std::all_of(name.begin(), name.end(), fits) && !name.starts_with('-');
  if (!sound) {
    return Error(ErrorCode::kInvalidArgument,
                 "name '" + EscapeForTerminal(name, Lines::kSingle) +
                     "': must be at most 64 letters, digits, '.', '_' and '-', for example "
                     "intake-agent");
  }
  if (!LooksLikeTokenId(name)) return Ok();
  return Error(ErrorCode::kInvalidArgument,
               "name '" + name + "': looks like the id of a token; choose another one");
}

Status CheckCases(const std::vector<std::string>& cases) {
  if (cases.empty() || cases.size() > kTokenCasesMax) {
    return Error(ErrorCode::kInvalidArgument, "cases: must name from 1 to 1,000 of them");
  }
  for (const std::string& name : cases) {
    const bool sound =
        IsUtf8(name) && ValidatePath(name).ok() && name.find('/') == std::string::npos;
    if (sound) continue;
    return Error(ErrorCode::kInvalidArgument, "case '" + EscapeForTerminal(name, Lines::kSingle) +
                                                  "': must be the name of a folder of projects/");
  }
  return Ok();
}

Result<std::vector<std::string>> MissingCases(const Context& context,
                                              const std::vector<std::string>& cases) {
  const std::vector<std::string> known = TRY(ListCases(context.workspace()));
  std::vector<std::string> warnings;
  for (const std::string& name : cases) {
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    warnings.push_back("there is no case '" + name + "' yet");
  }
  return warnings;
}

std::string NewSecret() {
  std::string text = ToBase64(RandomBytes(kSecretBytes));
  text.resize(kSecretChars);  // Without its padding.
  std::replace(text.begin(), text.end(), '+', '-');
  std::replace(text.begin(), text.end(), '/', '_');
  return text;
}

std::int64_t ExpiryOf(const TokenRequest& request, std::int64_t now_ns) {
  const auto after = [&](std::chrono::nanoseconds life) { return now_ns + life.count(); };
  switch (request.expiry) {
    case TokenRequest::Expiry::kNever:
      return 0;
    case TokenRequest::Expiry::kAfter:
      return after(request.life);
    case TokenRequest::Expiry::kDefault:
      return request.role == Role::kAgent ? after(kAgentTokenLife) : 0;
  }
  CheckFailed("Expiry out of range", __FILE__, __LINE__);
}

json::value TimeOrNull(std::int64_t nanos) {
  if (nanos == 0) return nullptr;
  return json::value(FormatTimestamp(WallTime(std::chrono::nanoseconds(nanos))));
}

// "bailiff_<id>_<secret>": the id. Empty for anything else.
std::string IdIn(std::string_view token) {
  if (token.size() != kTokenChars || !token.starts_with(kPrefix)) return "";
  const std::string_view id = token.substr(kPrefix.size(), 2 * kIdBytes);
  const bool sound = LooksLikeTokenId(id) && token[kPrefix.size() + 2 * kIdBytes] == '_';
  return sound ? std::string(id) : "";
}

// What is wrong with a token; empty: nothing.
std::string WrongWith(const TokenRow& row, std::string_view token, std::int64_t now_ns) {
  const std::string digest = Sha256::Of(token);
  // In the same time wherever the first difference is.
  const bool same = row.secret_sha256.size() == digest.size() &&
                    ::CRYPTO_memcmp(row.secret_sha256.data(), digest.data(), digest.size()) == 0;
  if (!same) return "wrong secret";
  if (row.revoked_ns != 0) return "was revoked";
  return row.IsLiving(now_ns) ? "" : "has expired";
}

Error NotValid() {
  return {ErrorCode::kPermissionDenied, "the token is not valid; 'bailiff token create' makes one"};
}

}  // namespace

Result<CreatedToken> CreateToken(Context& context, const TokenRequest& request) {
  TRY(Authorize(context, Role::kAdmin, "token.create", "create a token"));
  TRY(CheckName(request.name));
  CreatedToken created;
  if (request.cases.has_value()) {
    TRY(CheckCases(*request.cases));
    created.warnings = TRY(MissingCases(context, *request.cases));
  }
  TokenRow& row = created.row;
  row.id = ToHex(RandomBytes(kIdBytes));
  row.name = request.name;
  row.role = Name(request.role);
  row.cases = request.cases;
  row.created_ns = context.NowNanos();
  row.created_by = context.principal();
  row.expires_ns = ExpiryOf(request, row.created_ns);
  created.token = std::string(kPrefix) + row.id + "_" + NewSecret();
  row.secret_sha256 = Sha256::Of(created.token);
  TRY(InsertToken(context.store().connection(), row));
  json::object data = ToJson(row, row.created_ns);
  data["principal"] = context.principal();
  const Result<RecordRef> recorded = context.ledger().Append("token_created", data);
  if (recorded.ok()) return created;
  // What the ledger does not know of lets nobody in.
  TRY(MarkTokenRevoked(context.store().connection(), row.id, row.created_ns));
  return recorded.error();
}

Result<std::vector<TokenRow>> ListTokens(Context& context) {
  TRY(Authorize(context, Role::kAdmin, "token.list", "list tokens"));
  return ListTokenRows(context.store().connection());
}

Result<TokenRow> RevokeToken(Context& context, const std::string& name_or_id) {
  TRY(Authorize(context, Role::kAdmin, "token.revoke", "revoke a token"));
  const Connection& connection = context.store().connection();
  TokenRow row = TRY(LooksLikeTokenId(name_or_id) ? GetToken(connection, name_or_id)
                                                  : FindToken(connection, name_or_id));
  row.revoked_ns = context.NowNanos();
  TRY(MarkTokenRevoked(connection, row.id, row.revoked_ns));
  json::object data;
  data["id"] = row.id;
  data["name"] = row.name;
  data["principal"] = context.principal();
  TRY(context.ledger().Append("token_revoked", data));
  return row;
}

Result<Actor> Authenticate(Context& context, std::string_view token) {
  const std::string id = IdIn(token);
  const auto refuse = [&](std::string_view principal, std::string_view why) {
    RecordDenial(context, {principal, "authenticate", id, why});
    return NotValid();
  };
  if (id.empty()) return refuse("unknown", "is no token");
  const Result<TokenRow> row = GetToken(context.store().connection(), id);
  if (!row.ok()) {
    if (row.error().code() != ErrorCode::kNotFound) return row.error();
    return refuse("unknown", "there is no token with this id");
  }
  Actor actor;
  actor.name = "token:" + row.value().name;
  const std::string wrong = WrongWith(row.value(), token, context.NowNanos());
  if (!wrong.empty()) return refuse(actor.name, wrong);
  actor.role = TRY(ParseRole(row.value().role));
  actor.cases = row.value().cases;
  return actor;
}

json::object ToJson(const TokenRow& row, std::int64_t now_ns) {
  json::object object;
  object["id"] = row.id;
  object["name"] = row.name;
  object["role"] = row.role;
  object["cases"] = row.cases.has_value() ? json::value(Strings(*row.cases)) : json::value();
  object["state"] = row.revoked_ns != 0 ? "revoked" : row.IsLiving(now_ns) ? "living" : "expired";
  object["created"] = TimeOrNull(row.created_ns);
  object["created_by"] = row.created_by;
  object["expires"] = TimeOrNull(row.expires_ns);
  object["revoked"] = TimeOrNull(row.revoked_ns);
  return object;
}

}  // namespace bailiff
