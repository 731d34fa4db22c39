#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

#include "policy/conditions.h"
#include "policy/policy.h"
#include "policy/rule.h"
#include "policy/settings.h"
#include "policy/words.h"

namespace bailiff {
namespace {

constexpr std::size_t kRulesMax = 200;
constexpr std::size_t kNameBytesMax = 64;

Error Invalid(std::string message) {
  return Error(ErrorCode::kInvalidArgument, std::move(message));
}

Result<std::string> ReadName(const TomlValue& value) {
  std::string name = TRY(TextSetting(value));
  constexpr std::string_view kAllowed = "abcdefghijklmnopqrstuvwxyz0123456789-";
  if (name.size() > kNameBytesMax || name.find_first_not_of(kAllowed) != std::string::npos) {
    return Invalid(
        fmt::format("'{}' must be 1 to {} of a-z, 0-9 and -", Shown(name), kNameBytesMax));
  }
  std::vector<Rule> shipped = ShippedRules();
  const bool taken = name == "no-match" || name == "default-commit" ||
                     std::any_of(shipped.begin(), shipped.end(),
                                 [&](const Rule& rule) { return rule.name == name; });
  if (taken) return Invalid("'" + name + "' is the name of a rule that ships; choose another");
  return name;
}

// Reads [[policy.rule]] tables.
class Reader {
 public:
  Result<PolicyRules> Read(const TomlTable& section) {
    for (const auto& [key, value] : section) {
      Status read = ReadSetting(key, value);
      if (!read.ok()) return std::move(read).error().WithContext("policy." + Shown(key));
    }
    if (rules_.rules.empty()) {
      rules_.rules = ShippedRules();
    } else {
      rules_.is_shipped = false;
      rules_.floor = FloorRules();
    }
    return std::move(rules_);
  }

 private:
  Status ReadSetting(const std::string& key, const TomlValue& value) {
    if (key == "self_approval") {
      rules_.self_approval = TRY(BoolSetting(value));
      return Ok();
    }
    if (key != "rule") return Invalid("is not a known setting; use self_approval or rule");
    const auto* tables = value.As<TomlArray>();
    if (tables == nullptr) return Invalid("must be written as [[policy.rule]]");
    if (tables->size() > kRulesMax) {
      return Invalid(fmt::format("{} rules; at most {}", tables->size(), kRulesMax));
    }
    for (std::size_t i = 0; i < tables->size(); ++i) {
      const auto* table = (*tables)[i].As<TomlTable>();
      if (table == nullptr) return Invalid("must be written as [[policy.rule]]");
      Status added = AddRule(*table);
      if (!added.ok()) return std::move(added).error().WithContext(Label(*table, i));
    }
    return Ok();
  }

  // "3 (court-filings)"
  static std::string Label(const TomlTable& table, std::size_t index) {
    for (const auto& [key, value] : table) {
      const auto* name = key == "name" ? value.As<std::string>() : nullptr;
      if (name != nullptr) return fmt::format("{} ({})", index + 1, Shown(*name));
    }
    return std::to_string(index + 1);
  }

  Status AddRule(const TomlTable& table) {
    if (std::any_of(table.begin(), table.end(),
                    [](const auto& item) { return item.key == "use"; })) {
      return UseShipped(table);
    }
    Rule rule;
    bool decides = false;
    bool has_by = false;
    for (const auto& [key, value] : table) {
      Status read = ReadKey(key, value, &rule);
      if (!read.ok()) return std::move(read).error().WithContext(Shown(key));
      decides = decides || key == "decide";
      has_by = has_by || key == "by";
    }
    if (rule.name.empty()) return Invalid("name: is missing; write name = \"...\"");
    if (!decides) return Invalid("decide: is missing; use commit, review or deny");
    if (has_by && rule.verdict != Verdict::kReview) {
      return Invalid("by: says who reviews; only with decide = \"review\"");
    }
    if (!names_.insert(rule.name).second) return Invalid("name: is another rule's too");
    rules_.rules.push_back(std::move(rule));
    return Ok();
  }

  Status UseShipped(const TomlTable& table) {
    const auto* word = table.front().value.As<std::string>();
    if (table.size() != 1) return Invalid("use: stands alone, without other keys");
    if (word == nullptr || *word != "shipped") return Invalid("use: must be \"shipped\"");
    if (!names_.insert("use").second) return Invalid("use: the rules that ship are there already");
    for (Rule& rule : ShippedRules()) rules_.rules.push_back(std::move(rule));
    return Ok();
  }

  Status ReadKey(const std::string& key, const TomlValue& value, Rule* rule) {
    if (key == "name") {
      rule->name = TRY(ReadName(value));
    } else if (key == "decide") {
      const std::string decision = TRY(TextSetting(value));
      rule->verdict = TRY(ParseVerdict(decision));
    } else if (key == "by") {
      const std::string role = TRY(TextSetting(value));
      rule->review_by = TRY(ParseRole(role));
      if (rule->review_by == Role::kAgent) {
        return Invalid("an agent approves nothing; use reviewer or admin");
      }
    } else if (key == "reason") {
      rule->reason = TRY(TextSetting(value));
    } else if (key == "when") {
      const auto* when = value.As<TomlTable>();
      if (when == nullptr) return Invalid("must be a table, [policy.rule.when]");
      return ReadWhen(*when, rule);
    } else {
      return Invalid("is not a key of a rule; use name, decide, by, reason, when or use");
    }
    return Ok();
  }

  Status ReadWhen(const TomlTable& when, Rule* rule) {
    Conditions made = TRY(ParseConditions(when));
    if (made.conditions.empty())
      return Invalid("is empty; leave it out for a rule that always matches");
    rule->conditions = std::move(made.conditions);
    rules_.needs_lint = rules_.needs_lint || made.needs_lint;
    if (made.least_share > 0) {
      rules_.least_share = std::min(rules_.least_share, made.least_share);
    }
    return Ok();
  }

  PolicyRules rules_;
  std::set<std::string> names_;
};

}  // namespace

Result<Policy> Policy::Parse(const TomlTable& section, const std::string& file) {
  Result<PolicyRules> rules = Reader().Read(section);
  if (!rules.ok()) return std::move(rules).error().WithContext(file);
  return Policy(std::make_shared<const PolicyRules>(std::move(rules).value()));
}

}  // namespace bailiff
