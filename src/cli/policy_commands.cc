#include "cli/policy_commands.h"

#include <fmt/format.h>

#include <boost/json.hpp>

#include "base/bytes.h"
#include "core/config.h"
#include "core/documents.h"
#include "core/policy_trial.h"
#include "core/queries.h"

namespace bailiff {
namespace {

namespace json = boost::json;

std::string Safe(std::string_view text) {
  return EscapeForTerminal(text, Lines::kSingle);
}

// "review by admin"
std::string DecisionWords(Verdict verdict, Role review_by) {
  std::string words(Name(verdict));
  if (verdict == Verdict::kReview) words += " by " + std::string(Name(review_by));
  return words;
}

std::string RuleWords(const RuleText& rule) {
  std::string text =
      fmt::format("{}: {}\n", rule.name, DecisionWords(rule.verdict, rule.review_by));
  if (rule.conditions.empty()) text += "    always\n";
  for (std::size_t i = 0; i < rule.conditions.size(); ++i) {
    text += fmt::format("    {} {}\n", i == 0 ? "when" : " and", Safe(rule.conditions[i]));
  }
  if (!rule.reason.empty()) text += "    says: " + Safe(rule.reason) + "\n";
  if (!rule.note.empty()) text += "    note: " + Safe(rule.note) + "\n";
  return text;
}

json::object RuleDocument(const RuleText& rule) {
  json::object object;
  object["name"] = rule.name;
  object["decide"] = Name(rule.verdict);
  if (rule.verdict == Verdict::kReview) object["by"] = Name(rule.review_by);
  if (!rule.reason.empty()) object["reason"] = ToUtf8Lossy(rule.reason);
  json::array conditions;
  for (const std::string& condition : rule.conditions)
    conditions.emplace_back(ToUtf8Lossy(condition));
  object["conditions"] = std::move(conditions);
  if (!rule.note.empty()) object["note"] = rule.note;
  return object;
}

// How it goes on after the last rule.
std::string EndWords(const Policy& policy) {
  std::string text;
  if (policy.is_shipped()) {
    text = "No rule matches: commit (default-commit). These are the rules that ship.\n";
  } else {
    text =
        "No rule matches: review by reviewer (no-match).\n"
        "Whatever a rule says, these are never committed without a person: a run with mode review, "
        "refused entries, a run with the host's network, protected paths, Tools/.\n";
  }
  text += policy.self_approval() ? "One may approve what one proposed.\n"
                                 : "Nobody approves what they proposed themselves.\n";
  if (policy.NeedsLint()) {
    text += "Lint informs and does not protect: anyone can write a script in another way.\n";
  }
  return text;
}

std::string TraceWords(const RuleTrace& trace) {
  const char* mark = trace.decides ? "=>" : "  ";
  std::string text = fmt::format("{} {}{}: {}", mark, trace.is_floor ? "always: " : "", trace.name,
                                 trace.matches ? "matches" : "does not match");
  if (trace.decides) text += ", " + DecisionWords(trace.verdict, trace.review_by);
  text += "\n";
  for (const ConditionTrace& condition : trace.conditions) {
    text += fmt::format("       {} {}", condition.holds ? "yes" : "no ", Safe(condition.words));
    if (!condition.finding.empty()) text += " [" + Safe(condition.finding) + "]";
    text += "\n";
  }
  return text;
}

json::object TraceDocument(const RuleTrace& trace) {
  json::object object;
  object["name"] = trace.name;
  object["decide"] = Name(trace.verdict);
  if (trace.verdict == Verdict::kReview) object["by"] = Name(trace.review_by);
  object["floor"] = trace.is_floor;
  object["matches"] = trace.matches;
  object["decides"] = trace.decides;
  json::array conditions;
  for (const ConditionTrace& condition : trace.conditions) {
    json::object item;
    item["condition"] = ToUtf8Lossy(condition.words);
    item["holds"] = condition.holds;
    item["finding"] = ToUtf8Lossy(condition.finding);
    conditions.push_back(std::move(item));
  }
  object["conditions"] = std::move(conditions);
  return object;
}

std::string TrialWords(const PolicyTrial& trial) {
  std::string text = trial.id + "\n";
  if (trial.then.has_value()) {
    text +=
        fmt::format("  then  {} ({})\n", DecisionWords(trial.then->verdict, trial.then->review_by),
                    Safe(trial.then->rule));
  }
  text += fmt::format("  now   {} ({})\n", DecisionWords(trial.now.verdict, trial.now.review_by),
                      trial.now.rule);
  for (const std::string& reason : trial.now.reasons) text += "        " + Safe(reason) + "\n";
  for (const std::string& gap : trial.unknown) text += "  not known: " + gap + "\n";
  text += "\n";
  for (const RuleTrace& trace : trial.rules) text += TraceWords(trace);
  return text;
}

Result<int> Check(Session& session, const std::string& path) {
  const Config config = TRY(LoadConfig(session.Absolute(path), ConfigFile::kMustExist));
  json::object document;
  document["ok"] = true;
  document["shipped"] = config.policy.is_shipped();
  document["self_approval"] = config.policy.self_approval();
  std::string text;
  json::array rules;
  for (const RuleText& rule : config.policy.Describe()) {
    text += RuleWords(rule);
    rules.push_back(RuleDocument(rule));
  }
  document["rules"] = std::move(rules);
  session.Answer(document, text + EndWords(config.policy));
  return 0;
}

Result<int> Test(Session& session, const std::string& prefix) {
  Context* context = TRY(session.Open(Session::Purpose::kRead));
  const std::string id = TRY(ResolveId(*context, prefix));
  const PolicyTrial trial = TRY(TryPolicy(*context, id));
  json::object document;
  document["id"] = trial.id;
  document["then"] = trial.then.has_value() ? json::value(ToJson(*trial.then)) : json::value();
  document["now"] = ToJson(trial.now);
  json::array unknown;
  for (const std::string& gap : trial.unknown) unknown.emplace_back(gap);
  document["unknown"] = std::move(unknown);
  json::array rules;
  for (const RuleTrace& trace : trial.rules) rules.push_back(TraceDocument(trace));
  document["rules"] = std::move(rules);
  session.Answer(document, TrialWords(trial));
  return 0;
}

}  // namespace

int PolicyCheckCommand(Session& session, const std::string& path) {
  const Result<int> done = Check(session, path);
  return done.ok() ? done.value() : session.Fail(done.error());
}

int PolicyTestCommand(Session& session, const std::string& id) {
  const Result<int> done = Test(session, id);
  return done.ok() ? done.value() : session.Fail(done.error());
}

}  // namespace bailiff
