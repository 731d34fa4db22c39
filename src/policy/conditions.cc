#include "policy/conditions.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include "base/sha256.h"
#include "base/units.h"
#include "policy/effects.h"
#include "policy/glob.h"
#include "policy/settings.h"
#include "policy/words.h"

namespace bailiff {
namespace {

constexpr std::int64_t kNumberMax = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t kExitCodeMax = 255;
// Below this a share of deletes would have every file of a large workspace counted.
constexpr double kShareMin = 0.001;

// One key of a table `when`, and the others beside it.
struct Setting {
  std::string_view key;
  const TomlValue& value;
  const TomlTable& when;
};

using Made = Result<Condition>;

Error Invalid(std::string message) {
  return Error(ErrorCode::kInvalidArgument, std::move(message));
}

const TomlValue* Find(const TomlTable& table, std::string_view key) {
  for (const auto& [name, value] : table) {
    if (name == key) return &value;
  }
  return nullptr;
}

Result<Globs> ReadGlobs(const TomlValue& value) {
  const std::vector<std::string> patterns = TRY(TextsSetting(value));
  return Globs::Parse(patterns);
}

// Paths

using Ops = std::vector<ChangeOp>;

constexpr std::array kOps = {ChangeOp::kCreate, ChangeOp::kModify, ChangeOp::kDelete,
                             ChangeOp::kMove, ChangeOp::kMetadata};

// All of them where the setting is missing.
Result<Ops> ReadOps(const TomlValue* value) {
  if (value == nullptr) return Ops(kOps.begin(), kOps.end());
  std::vector<std::string_view> known;
  known.reserve(kOps.size());
  for (const ChangeOp op : kOps) known.push_back(Name(op));
  const std::vector<std::string> names = TRY(ChoicesSetting(*value, known));
  Ops ops;
  for (const ChangeOp op : kOps) {
    if (std::find(names.begin(), names.end(), Name(op)) != names.end()) ops.push_back(op);
  }
  return ops;
}

std::string Describe(const Ops& ops) {
  if (ops.size() == kOps.size()) return "changed";
  std::vector<std::string_view> names;
  for (const ChangeOp op : ops) names.push_back(Name(op));
  return "changed by " + OneOf(names);
}

Made MakePaths(const Setting& setting) {
  const Globs globs = TRY(ReadGlobs(setting.value));
  const Result<Ops> ops = ReadOps(Find(setting.when, "ops"));
  if (!ops.ok()) return Error(ops.error()).WithContext("with ops");
  Condition condition;
  condition.words =
      fmt::format("a path is {} that matches {}", Describe(ops.value()), OneOf(globs.patterns()));
  condition.look = [globs, ops = ops.value()](const ChangeSet& set, const PolicyContext& context) {
    const std::vector<std::string> paths =
        PathsWhere(set, context, [&](const std::string& path, const Change& change) {
          return std::find(ops.begin(), ops.end(), change.op) != ops.end() && globs.Match(path);
        });
    if (paths.empty()) return Finding{false, "no such path"};
    return Finding{true, Counted(paths.size(), "path") + ": " + FirstFew(paths)};
  };
  return condition;
}

Made MakeOps(const Setting& setting) {
  const Ops ops = TRY(ReadOps(&setting.value));
  Condition condition;
  condition.words = "a path is " + Describe(ops);
  condition.look = [ops](const ChangeSet& set, const PolicyContext& context) {
    const std::vector<std::string> paths =
        PathsWhere(set, context, [&](const std::string& /*path*/, const Change& change) {
          return std::find(ops.begin(), ops.end(), change.op) != ops.end();
        });
    if (paths.empty()) return Finding{false, "no such path"};
    return Finding{true, Counted(paths.size(), "path") + ": " + FirstFew(paths)};
  };
  return condition;
}

Made MakeOnlyPaths(const Setting& setting) {
  const Globs globs = TRY(ReadGlobs(setting.value));
  Condition condition;
  condition.words = "every changed path matches " + OneOf(globs.patterns());
  condition.look = [globs](const ChangeSet& set, const PolicyContext& context) {
    const std::vector<std::string> others = PathsWhere(
        set, context,
        [&](const std::string& path, const Change& /*change*/) { return !globs.Match(path); });
    if (others.empty()) return Finding{true, "no path is elsewhere"};
    return Finding{false, Counted(others.size(), "path") + " elsewhere: " + FirstFew(others)};
  };
  return condition;
}

// Amounts

std::int64_t CountFiles(const ChangeSet& set, ChangeOp op) {
  return std::count_if(set.changes.begin(), set.changes.end(), [op](const Change& change) {
    return change.op == op && change.type != EntryType::kDir;
  });
}

std::int64_t CountMoved(const ChangeSet& set, const PolicyContext& context) {
  const std::int64_t moves = Count(set).moved;
  return moves + static_cast<std::int64_t>(context.moved_below.size());
}

struct Amount {
  std::string_view key;
  std::string_view noun;
  std::string_view done;
  std::int64_t (*count)(const ChangeSet& set, const PolicyContext& context);
};

constexpr auto kAmounts = std::to_array<Amount>({
    {"created_above", "file", "created",
     [](const ChangeSet& set, const PolicyContext& /*context*/) {
       return CountFiles(set, ChangeOp::kCreate);
     }},
    {"modified_above", "file", "modified",
     [](const ChangeSet& set, const PolicyContext& /*context*/) {
       return CountFiles(set, ChangeOp::kModify);
     }},
    {"deleted_above", "file", "deleted",
     [](const ChangeSet& set, const PolicyContext& /*context*/) {
       return CountFiles(set, ChangeOp::kDelete);
     }},
    {"moved_above", "path", "moved", CountMoved},
    {"changed_above", "path", "changed",
     [](const ChangeSet& set, const PolicyContext& context) {
       return Count(set).total() + CountMoved(set, context) - Count(set).moved;
     }},
});

Made MakeAmount(const Setting& setting) {
  const auto* amount = std::find_if(kAmounts.begin(), kAmounts.end(),
                                    [&](const Amount& known) { return known.key == setting.key; });
  const std::int64_t above = TRY(NumberSetting(setting.value, kNumberMax));
  Condition condition;
  condition.words =
      fmt::format("more than {} {} {}", Counted(static_cast<std::size_t>(above), amount->noun),
                  above == 1 ? "is" : "are", amount->done);
  condition.look = [above, amount](const ChangeSet& set, const PolicyContext& context) {
    const std::int64_t count = amount->count(set, context);
    return Finding{
        count > above,
        fmt::format("{} {}", Counted(static_cast<std::size_t>(count), amount->noun), amount->done)};
  };
  return condition;
}

Made MakeBytes(const Setting& setting) {
  const std::int64_t above = TRY(SizeSetting(setting.value));
  Condition condition;
  condition.words = fmt::format("more than {} of content are written", FormatSize(above));
  condition.look = [above](const ChangeSet& set, const PolicyContext& /*context*/) {
    const std::int64_t bytes = Count(set).bytes_written;
    return Finding{bytes > above, FormatSize(bytes) + " written"};
  };
  return condition;
}

Made MakeDeletedShare(const Setting& setting) {
  const double share = TRY(ShareSetting(setting.value));
  if (share > 0 && share < kShareMin)
    return Invalid(fmt::format("must be 0, or from {}", kShareMin));
  Condition condition;
  condition.words = fmt::format("more than {:g} % of the files are deleted", share * 100);
  condition.look = [share](const ChangeSet& set, const PolicyContext& context) {
    const std::int64_t deleted = CountFiles(set, ChangeOp::kDelete);
    const double allowed = share * static_cast<double>(context.case_files);
    if (deleted == 0) return Finding{false, "no file deleted"};
    return Finding{static_cast<double>(deleted) > allowed,
                   fmt::format("{} of {} deleted", deleted,
                               Counted(static_cast<std::size_t>(context.case_files), "file"))};
  };
  return condition;
}

// What a rule that ships looks for, by the key that it has here.
struct Shared {
  std::string_view key;
  std::string_view rule;
};

constexpr auto kShared = std::to_array<Shared>({
    {"protected", "protected-path"},
    {"escaping_symlink", "escaping-symlink"},
    {"hard_link", "hard-link"},
    {"setid", "setid"},
    {"refused", "refused-entries"},
    {"outside_case", "outside-case"},
    {"tools", "tools"},
    {"failed", "run-failed"},
});

Condition Negated(Condition condition) {
  condition.words = "not: " + condition.words;
  condition.look = [look = std::move(condition.look)](const ChangeSet& set,
                                                      const PolicyContext& context) {
    const Finding finding = look(set, context);
    return Finding{!finding.holds, finding.holds ? finding.words : ""};
  };
  return condition;
}

Made MakeShared(const Setting& setting) {
  const bool wanted = TRY(BoolSetting(setting.value));
  const auto* shared = std::find_if(kShared.begin(), kShared.end(),
                                    [&](const Shared& known) { return known.key == setting.key; });
  std::vector<Rule> rules = ShippedRules();
  const auto rule = std::find_if(rules.begin(), rules.end(),
                                 [&](const Rule& known) { return known.name == shared->rule; });
  CHECK(rule != rules.end());
  Condition condition = std::move(rule->conditions.front());
  return wanted ? condition : Negated(std::move(condition));
}

Made MakeExecutable(const Setting& setting) {
  const bool wanted = TRY(BoolSetting(setting.value));
  Condition condition;
  condition.words = "a new or changed file may be executed";
  condition.look = [](const ChangeSet& set, const PolicyContext& /*context*/) {
    std::vector<std::string> paths;
    for (const Change& change : set.changes) {
      if (change.Has(ChangeFlag::kExecutable)) paths.push_back(change.path);
    }
    if (paths.empty()) return Finding{false, ""};
    return Finding{true, Counted(paths.size(), "executable file") + ": " + FirstFew(paths)};
  };
  return wanted ? condition : Negated(std::move(condition));
}

// Circumstances

using Circumstance = std::function<std::string(const PolicyContext& context)>;

// `label` is how the circumstance is called, before "is".
Condition IsOneOf(std::string_view label, std::vector<std::string> wanted, Circumstance value) {
  Condition condition;
  condition.words = fmt::format("{} is {}", label, OneOf(wanted));
  condition.look = [wanted = std::move(wanted), value = std::move(value)](
                       const ChangeSet& /*set*/, const PolicyContext& context) {
    const std::string found = value(context);
    const bool holds =
        !found.empty() && std::find(wanted.begin(), wanted.end(), found) != wanted.end();
    return Finding{holds, found.empty() ? "there is none" : Shown(found)};
  };
  return condition;
}

Made MatchesGlobs(std::string_view label, const TomlValue& value, Circumstance circumstance) {
  const Globs globs = TRY(ReadGlobs(value));
  Condition condition;
  condition.words = fmt::format("{} matches {}", label, OneOf(globs.patterns()));
  condition.look = [globs, circumstance = std::move(circumstance)](const ChangeSet& /*set*/,
                                                                   const PolicyContext& context) {
    const std::string found = circumstance(context);
    if (found.empty()) return Finding{false, "there is none"};
    return Finding{globs.Match(found), Shown(found)};
  };
  return condition;
}

Made MakeMode(const Setting& setting) {
  return IsOneOf("the mode", TRY(ChoicesSetting(setting.value, {"commit", "review"})),
                 [](const PolicyContext& context) { return std::string(Name(context.mode)); });
}

Made MakePrincipal(const Setting& setting) {
  return MatchesGlobs("who proposes", setting.value,
                      [](const PolicyContext& context) { return context.principal; });
}

Made MakeRole(const Setting& setting) {
  return IsOneOf("the role of who proposes",
                 TRY(ChoicesSetting(setting.value, {"agent", "reviewer", "admin"})),
                 [](const PolicyContext& context) { return std::string(Name(context.role)); });
}

Made MakeCase(const Setting& setting) {
  return MatchesGlobs("the case", setting.value,
                      [](const PolicyContext& context) { return context.case_name; });
}

Made MakeScript(const Setting& setting) {
  return MatchesGlobs("the script", setting.value,
                      [](const PolicyContext& context) { return context.script_path; });
}

Made MakeScriptSha256(const Setting& setting) {
  std::vector<std::string> digests = TRY(TextsSetting(setting.value));
  for (const std::string& digest : digests) {
    const bool is_digest =
        digest.size() == 64 && digest.find_first_not_of("0123456789abcdef") == std::string::npos;
    if (!is_digest) return Invalid("'" + Shown(digest) + "' is not 64 digits of 0-9 and a-f");
  }
  return IsOneOf("the SHA-256 of the script", std::move(digests),
                 [](const PolicyContext& context) { return context.script_sha256; });
}

Made MakeEnvironment(const Setting& setting) {
  return IsOneOf("the environment", TRY(TextsSetting(setting.value)),
                 [](const PolicyContext& context) { return context.environment; });
}

Made MakeNetwork(const Setting& setting) {
  return IsOneOf("the network", TRY(ChoicesSetting(setting.value, {"none", "host"})),
                 [](const PolicyContext& context) {
                   return std::string(context.host_network ? "host" : "none");
                 });
}

Made MakeLevel(const Setting& setting) {
  return IsOneOf("the sandbox's level", TRY(ChoicesSetting(setting.value, {"ns", "gvisor", "vm"})),
                 [](const PolicyContext& context) { return context.level; });
}

Made MakeKind(const Setting& setting) {
  return IsOneOf("what proposes it",
                 TRY(ChoicesSetting(setting.value, {"execution", "plan", "rollback"})),
                 [](const PolicyContext& context) { return std::string(Name(context.source)); });
}

Made MakeExitCode(const Setting& setting) {
  std::vector<std::string> codes;
  for (const std::int64_t code : TRY(NumbersSetting(setting.value, kExitCodeMax))) {
    codes.push_back(std::to_string(code));
  }
  return IsOneOf("the exit code", std::move(codes), [](const PolicyContext& context) {
    return context.exit_code.has_value() ? std::to_string(*context.exit_code) : std::string();
  });
}

Made MakeLint(const Setting& setting) {
  const std::span<const std::string_view> known = LintNames();
  const std::vector<std::string> names =
      TRY(ChoicesSetting(setting.value, {known.begin(), known.end()}));
  Condition condition;
  condition.words = "lint (which protects nothing) found " + OneOf(names);
  condition.look = [names](const ChangeSet& /*set*/, const PolicyContext& context) {
    std::vector<LintFact> facts;
    for (const LintFact& fact : context.lint) {
      if (std::find(names.begin(), names.end(), fact.name) != names.end()) facts.push_back(fact);
    }
    if (facts.empty()) return Finding{false, "nothing of that"};
    return Finding{true, LintSentence(facts)};
  };
  return condition;
}

struct Kind {
  std::string_view key;
  Made (*make)(const Setting& setting);
};

constexpr auto kKinds = std::to_array<Kind>({
    {"paths", MakePaths},
    {"ops", MakeOps},
    {"only_paths", MakeOnlyPaths},
    {"created_above", MakeAmount},
    {"modified_above", MakeAmount},
    {"deleted_above", MakeAmount},
    {"moved_above", MakeAmount},
    {"changed_above", MakeAmount},
    {"bytes_above", MakeBytes},
    {"deleted_share_above", MakeDeletedShare},
    {"protected", MakeShared},
    {"escaping_symlink", MakeShared},
    {"executable", MakeExecutable},
    {"hard_link", MakeShared},
    {"setid", MakeShared},
    {"refused", MakeShared},
    {"outside_case", MakeShared},
    {"tools", MakeShared},
    {"failed", MakeShared},
    {"exit_code", MakeExitCode},
    {"mode", MakeMode},
    {"kind", MakeKind},
    {"principal", MakePrincipal},
    {"role", MakeRole},
    {"case", MakeCase},
    {"script", MakeScript},
    {"script_sha256", MakeScriptSha256},
    {"environment", MakeEnvironment},
    {"network", MakeNetwork},
    {"level", MakeLevel},
    {"lint", MakeLint},
});

}  // namespace

Result<Conditions> ParseConditions(const TomlTable& when) {
  const auto known = [](const std::string& key) {
    return std::any_of(kKinds.begin(), kKinds.end(),
                       [&](const Kind& kind) { return kind.key == key; });
  };
  for (const auto& [key, value] : when) {
    if (known(key)) continue;
    std::vector<std::string_view> keys;
    keys.reserve(kKinds.size());
    for (const Kind& kind : kKinds) keys.push_back(kind.key);
    return Invalid(Shown(key) + ": is not a condition; use " + OneOf(keys));
  }
  Conditions made;
  // In the table's order: what is cheap to look at comes no earlier than what people read first.
  for (const Kind& kind : kKinds) {
    const TomlValue* value = Find(when, kind.key);
    if (value == nullptr) continue;
    if (kind.key == "ops" && Find(when, "paths") != nullptr) continue;  // Part of that.
    Made condition = kind.make({kind.key, *value, when});
    if (!condition.ok()) return std::move(condition).error().WithContext(kind.key);
    made.conditions.push_back(std::move(condition).value());
    if (kind.key == "lint") made.needs_lint = true;
    if (kind.key == "deleted_share_above") made.least_share = TRY(ShareSetting(*value));
  }
  return made;
}

}  // namespace bailiff
