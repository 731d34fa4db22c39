#include "cli/token_commands.h"

#include <fmt/format.h>

#include <boost/json.hpp>
#include <utility>

#include "base/bytes.h"
#include "base/units.h"
#include "core/tokens.h"

namespace bailiff {
namespace {

namespace json = boost::json;

std::string Safe(std::string_view text) {
  return EscapeForTerminal(text, Lines::kSingle);
}

Result<CreatedToken> Create(Context& context, const TokenCreateOptions& options) {
  TokenRequest request;
  request.name = options.name;
  Result<Role> role = ParseRole(options.role);
  if (!role.ok()) return std::move(role).error().WithContext("--role");
  request.role = role.value();
  if (!options.cases.empty()) request.cases = options.cases;
  if (options.expires == "never") {
    request.expiry = TokenRequest::Expiry::kNever;
  } else if (!options.expires.empty()) {
    Result<std::chrono::milliseconds> life = ParseDuration(options.expires);
    if (!life.ok()) return std::move(life).error().WithContext("--expires");
    request.expiry = TokenRequest::Expiry::kAfter;
    request.life = life.value();
  }
  return CreateToken(context, request);
}

std::string DayOr(const json::value& time, std::string_view none) {
  return time.is_string() ? std::string(time.as_string()).substr(0, 10) : std::string(none);
}

std::string CasesText(const TokenRow& row) {
  if (!row.cases.has_value()) return "all cases";
  std::string text;
  for (const std::string& name : *row.cases) text += (text.empty() ? "" : ", ") + Safe(name);
  return text;
}

}  // namespace

int TokenCreateCommand(Session& session, const TokenCreateOptions& options) {
  const Result<Context*> context = session.Open(Session::Purpose::kChange);
  if (!context.ok()) return session.Fail(context.error());
  const Result<CreatedToken> created = Create(*context.value(), options);
  if (!created.ok()) return session.Fail(created.error());
  const TokenRow& row = created.value().row;
  json::object document = ToJson(row, row.created_ns);
  document["token"] = created.value().token;
  json::array warnings;
  for (const std::string& warning : created.value().warnings) {
    warnings.emplace_back(warning);
    session.Say("warning: " + warning);
  }
  document["warnings"] = std::move(warnings);
  session.Say(fmt::format("token {} ({}, {}, expires {}); it is not shown again", row.name,
                          row.role, CasesText(row), DayOr(document["expires"], "never")));
  session.Answer(document, created.value().token + "\n");
  return 0;
}

int TokenListCommand(Session& session) {
  const Result<Context*> context = session.Open(Session::Purpose::kRead);
  if (!context.ok()) return session.Fail(context.error());
  const Result<std::vector<TokenRow>> rows = ListTokens(*context.value());
  if (!rows.ok()) return session.Fail(rows.error());
  json::array array;
  std::string text;
  for (const TokenRow& row : rows.value()) {
    json::object item = ToJson(row, context.value()->NowNanos());
    text += fmt::format("{}  {:<20} {:<9} {:<8} expires {:<11} {}\n", row.id, row.name, row.role,
                        std::string(item["state"].as_string()), DayOr(item["expires"], "never"),
                        CasesText(row));
    array.push_back(std::move(item));
  }
  if (text.empty()) text = "no tokens yet\n";
  json::object document;
  document["tokens"] = std::move(array);
  session.Answer(document, text);
  return 0;
}

int TokenRevokeCommand(Session& session, const std::string& name_or_id) {
  const Result<Context*> context = session.Open(Session::Purpose::kChange);
  if (!context.ok()) return session.Fail(context.error());
  const Result<TokenRow> row = RevokeToken(*context.value(), name_or_id);
  if (!row.ok()) return session.Fail(row.error());
  session.Answer(ToJson(row.value(), context.value()->NowNanos()),
                 fmt::format("{}: token {} is revoked\n", row.value().id, row.value().name));
  return 0;
}

}  // namespace bailiff
