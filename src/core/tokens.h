#pragma once

#include <boost/json/object.hpp>
#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "core/actor.h"
#include "core/context.h"
#include "store/tokens.h"

// Whom the server lets in. A token is "bailiff_<id>_<secret>": 8 hexadecimal digits, and 32 random
// bytes in base64url. Only the SHA-256 of the whole of it is kept.

namespace bailiff {

inline constexpr std::chrono::hours kAgentTokenLife{90L * 24};

struct TokenRequest {
  std::string name;  // At most 64 letters, digits, "." "_" "-"; no 8 hexadecimal digits.
  Role role = Role::kAgent;
  std::optional<std::vector<std::string>> cases{};  // Nothing: all of the workspace.
  // Not set: kAgentTokenLife for an agent, never for others.
  enum class Expiry { kDefault, kNever, kAfter } expiry = Expiry::kDefault;
  std::chrono::milliseconds life{0};  // kAfter.
};

struct CreatedToken {
  TokenRow row;
  std::string token;                  // The only time that it is told.
  std::vector<std::string> warnings;  // Cases that are not there (yet).
};

// Its principal is "token:<name>". Errors: kInvalidArgument; kConflict when the name is taken;
// kPermissionDenied for anybody but an admin.
Result<CreatedToken> CreateToken(Context& context, const TokenRequest& request);

// Newest first, with those that have ended. Errors: kPermissionDenied for anybody but an admin.
Result<std::vector<TokenRow>> ListTokens(Context& context);

// The one of that name that is not revoked, or with that id. It is refused from the next request
// on. Errors: kNotFound; kConflict when it was revoked before; kPermissionDenied as above.
Result<TokenRow> RevokeToken(Context& context, const std::string& name_or_id);

// Whose token it is. Errors: kPermissionDenied, with the same words whatever is wrong with it: the
// ledger alone says what.
Result<Actor> Authenticate(Context& context, std::string_view token);

// Everything but the secret and its digest. `now_ns`: for "state": living, expired or revoked.
boost::json::object ToJson(const TokenRow& row, std::int64_t now_ns);

}  // namespace bailiff
