#include "core/policy_facts.h"

#include <algorithm>
#include <boost/json.hpp>
#include <limits>
#include <string>

#include "base/bytes.h"
#include "core/documents.h"

namespace bailiff {
namespace {

namespace json = boost::json;

std::int64_t NumberFrom(const json::object& object, const char* key) {
  const json::value* value = object.if_contains(key);
  return value != nullptr && value->is_int64() ? std::max<std::int64_t>(value->get_int64(), 0) : 0;
}

bool FlagFrom(const json::object& object, const char* key) {
  const json::value* value = object.if_contains(key);
  return value != nullptr && value->is_bool() && value->get_bool();
}

int SmallNumberFrom(const json::object& object, const char* key) {
  constexpr std::int64_t kMax = std::numeric_limits<int>::max();
  return static_cast<int>(std::min(NumberFrom(object, key), kMax));
}

// The value of a name that Parse() knows, else what `context` has.
template <typename T, typename Parse>
void ReadName(const json::object& object, const char* key, const Parse& parse, T* value) {
  const Result<T> parsed = parse(GetBytes(object, key));
  if (parsed.ok()) *value = parsed.value();
}

}  // namespace

json::array ToJson(const std::vector<LintFact>& facts) {
  json::array array;
  for (const LintFact& fact : facts) {
    array.push_back(json::object(
        {{"name", ToUtf8Lossy(fact.name)}, {"line", fact.line}, {"text", ToUtf8Lossy(fact.text)}}));
  }
  return array;
}

std::vector<LintFact> LintFrom(const json::value* value) {
  std::vector<LintFact> facts;
  if (value == nullptr || !value->is_array()) return facts;
  for (const json::value& item : value->get_array()) {
    if (!item.is_object() || facts.size() == kLintFactsMax) continue;
    const json::object& object = item.get_object();
    facts.push_back(
        {GetBytes(object, "name"), SmallNumberFrom(object, "line"), GetBytes(object, "text")});
  }
  return facts;
}

json::object ToJson(const PolicyFacts& facts) {
  const PolicyContext& context = facts.context;
  json::object object;
  object["mode"] = Name(context.mode);
  object["kind"] = Name(context.source);
  object["succeeded"] = context.succeeded;
  if (context.exit_code.has_value()) object["exit_code"] = *context.exit_code;
  PutBytes(&object, "principal", context.principal);
  object["role"] = Name(context.role);
  PutBytes(&object, "case_name", context.case_name);
  PutBytes(&object, "script_path", context.script_path);
  PutBytes(&object, "script_sha256", context.script_sha256);
  PutBytes(&object, "environment", context.environment);
  PutBytes(&object, "level", context.level);
  object["host_network"] = context.host_network;
  object["case_files"] = context.case_files;
  object["files_counted_to"] = facts.files_counted_to;
  json::array moved;
  const std::size_t kept = std::min(context.moved_below.size(), kMovedPathsKeptMax);
  for (std::size_t i = 0; i < kept; ++i) {
    json::object item;
    PutBytes(&item, "path", context.moved_below[i]);
    moved.push_back(std::move(item));
  }
  object["moved_below"] = std::move(moved);
  object["moved_omitted"] =
      facts.moved_omitted + static_cast<std::int64_t>(context.moved_below.size() - kept);
  object["lint"] = ToJson(context.lint);
  return object;
}

PolicyFacts PolicyFactsFrom(const json::object& object) {
  PolicyFacts facts;
  PolicyContext& context = facts.context;
  ReadName(object, "mode", ParseMode, &context.mode);
  ReadName(object, "kind", ParseSource, &context.source);
  ReadName(object, "role", ParseRole, &context.role);
  context.succeeded = FlagFrom(object, "succeeded");
  if (object.contains("exit_code")) context.exit_code = SmallNumberFrom(object, "exit_code");
  context.principal = GetBytes(object, "principal");
  context.case_name = GetBytes(object, "case_name");
  context.script_path = GetBytes(object, "script_path");
  context.script_sha256 = GetBytes(object, "script_sha256");
  context.environment = GetBytes(object, "environment");
  context.level = GetBytes(object, "level");
  context.host_network = FlagFrom(object, "host_network");
  context.case_files = NumberFrom(object, "case_files");
  facts.files_counted_to = NumberFrom(object, "files_counted_to");
  facts.moved_omitted = NumberFrom(object, "moved_omitted");
  const json::value* moved = object.if_contains("moved_below");
  if (moved != nullptr && moved->is_array()) {
    for (const json::value& item : moved->get_array()) {
      const bool fits = context.moved_below.size() < kMovedPathsKeptMax;
      if (item.is_object() && fits)
        context.moved_below.push_back(GetBytes(item.get_object(), "path"));
    }
  }
  context.lint = LintFrom(object.if_contains("lint"));
  return facts;
}

}  // namespace bailiff
