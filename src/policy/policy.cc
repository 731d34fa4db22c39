#include "policy/policy.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/check.h"
#include "policy/rule.h"
#include "policy/words.h"

namespace bailiff {
namespace {

// What the conditions of a rule that matches found, or nothing where it does not match.
using Findings = std::optional<std::vector<std::string>>;

Findings Match(const Rule& rule, const ChangeSet& set, const PolicyContext& context) {
  std::vector<std::string> words;
  for (const Condition& condition : rule.conditions) {
    Finding finding = condition.look(set, context);
    if (!finding.holds) return std::nullopt;
    if (!finding.words.empty()) words.push_back(std::move(finding.words));
  }
  return words;
}

// The sentence for a person.
std::string ReasonOf(const Rule& rule, const std::vector<std::string>& findings) {
  std::string text = rule.reason;
  if (text.empty() && !rule.is_shipped) text = "rule " + rule.name;
  for (const std::string& finding : findings) text += (text.empty() ? "" : "; ") + finding;
  return text;
}

struct Decided {
  Decision decision;
  const Rule* by = nullptr;  // Null: no rule matched.
};

// Without the floor.
Decided DecideByRules(const PolicyRules& policy, const ChangeSet& set,
                      const PolicyContext& context) {
  Decided decided;
  Decision& decision = decided.decision;
  for (const Rule& rule : policy.rules) {
    // Where a rule that ships decides, the others of them tell what they see as well.
    if (decided.by != nullptr && !(decided.by->is_shipped && rule.is_shipped)) continue;
    const Findings findings = Match(rule, set, context);
    if (!findings.has_value()) continue;
    decision.reasons.push_back(ReasonOf(rule, *findings));
    if (decided.by != nullptr) continue;
    decided.by = &rule;
    decision.verdict = rule.verdict;
    decision.rule = rule.name;
    decision.review_by = rule.review_by;
  }
  if (decided.by != nullptr) return decided;
  decision.verdict = policy.is_shipped ? Verdict::kCommit : Verdict::kReview;
  decision.rule = policy.is_shipped ? "default-commit" : "no-match";
  if (!policy.is_shipped) decision.reasons.emplace_back("no rule of the policy matches");
  return decided;
}

// Turns a commit into a review where it must be one, and tells who reviews what else there is.
void RaiseToFloor(const PolicyRules& policy, const ChangeSet& set, const PolicyContext& context,
                  Decided* decided) {
  Decision& decision = decided->decision;
  if (decision.verdict == Verdict::kDeny) return;
  for (const Rule& rule : policy.floor) {
    const Findings findings = Match(rule, set, context);
    if (!findings.has_value()) continue;
    std::string reason = ReasonOf(rule, *findings);
    if (decision.verdict == Verdict::kCommit) {
      decision.reasons = {
          fmt::format("rule {} would commit this, but never without a person", decision.rule)};
      decision.verdict = Verdict::kReview;
      decision.rule = rule.name;
      decision.review_by = Role::kReviewer;
      decided->by = &rule;
    }
    const auto begin = decision.reasons.begin();
    const auto end = decision.reasons.end();
    if (std::find(begin, end, reason) == end) decision.reasons.push_back(std::move(reason));
  }
}

Decided DecideByAll(const PolicyRules& policy, const ChangeSet& set, const PolicyContext& context) {
  Decided decided = DecideByRules(policy, set, context);
  RaiseToFloor(policy, set, context, &decided);
  Decision& decision = decided.decision;
  if (decision.verdict == Verdict::kCommit) {
    decision.reasons.clear();
  } else {
    TellLint(context.lint, &decision);
  }
  return decided;
}

RuleTrace TraceOf(const Rule& rule, const ChangeSet& set, const PolicyContext& context) {
  RuleTrace trace;
  trace.name = rule.name;
  trace.verdict = rule.verdict;
  trace.review_by = rule.review_by;
  trace.matches = true;
  for (const Condition& condition : rule.conditions) {
    Finding finding = condition.look(set, context);
    trace.matches = trace.matches && finding.holds;
    trace.conditions.push_back({condition.words, finding.holds, std::move(finding.words)});
  }
  return trace;
}

}  // namespace

void TellLint(std::vector<LintFact> facts, Decision* decision) {
  if (facts.empty()) return;
  decision->reasons.push_back("lint, which informs and does not protect: " + LintSentence(facts));
  decision->lint = std::move(facts);
}

Policy Policy::Shipped() {
  PolicyRules rules;
  rules.rules = ShippedRules();
  return Policy(std::make_shared<const PolicyRules>(std::move(rules)));
}

Decision Policy::Decide(const ChangeSet& set, const PolicyContext& context) const {
  return DecideByAll(*rules_, set, context).decision;
}

std::vector<RuleTrace> Policy::Explain(const ChangeSet& set, const PolicyContext& context) const {
  const Rule* decider = DecideByAll(*rules_, set, context).by;
  std::vector<RuleTrace> traces;
  for (const std::vector<Rule>* rules : {&rules_->rules, &rules_->floor}) {
    for (const Rule& rule : *rules) {
      traces.push_back(TraceOf(rule, set, context));
      traces.back().is_floor = rules == &rules_->floor;
      traces.back().decides = &rule == decider;
    }
  }
  return traces;
}

std::vector<RuleText> Policy::Describe() const {
  std::vector<RuleText> texts;
  std::string all;  // The first rule that always matches.
  for (const Rule& rule : rules_->rules) {
    RuleText text{rule.name, rule.verdict, rule.review_by, rule.reason, {}, ""};
    for (const Condition& condition : rule.conditions) text.conditions.push_back(condition.words);
    if (!all.empty()) text.note = "is never reached: rule " + all + " matches everything";
    if (all.empty() && rule.conditions.empty()) all = rule.name;
    texts.push_back(std::move(text));
  }
  return texts;
}

bool Policy::is_shipped() const {
  return rules_->is_shipped;
}

bool Policy::self_approval() const {
  return rules_->self_approval;
}

bool Policy::NeedsLint() const {
  return rules_->needs_lint;
}

std::int64_t Policy::FilesToCount(std::int64_t deleted) const {
  return static_cast<std::int64_t>(std::ceil(static_cast<double>(deleted) / rules_->least_share)) +
         1;
}

std::string_view Name(Verdict verdict) {
  switch (verdict) {
    case Verdict::kCommit:
      return "commit";
    case Verdict::kReview:
      return "review";
    case Verdict::kDeny:
      return "deny";
  }
  CheckFailed("Verdict out of range", __FILE__, __LINE__);
}

Result<Verdict> ParseVerdict(std::string_view name) {
  for (const Verdict verdict : {Verdict::kCommit, Verdict::kReview, Verdict::kDeny}) {
    if (name == Name(verdict)) return verdict;
  }
  return Error(ErrorCode::kInvalidArgument,
               fmt::format("'{}' is not a decision; use commit, review or deny", Shown(name)));
}

std::string_view Name(Mode mode) {
  switch (mode) {
    case Mode::kCommit:
      return "commit";
    case Mode::kReview:
      return "review";
    case Mode::kDiscard:
      return "discard";
  }
  CheckFailed("Mode out of range", __FILE__, __LINE__);
}

Result<Mode> ParseMode(std::string_view name) {
  for (const Mode mode : {Mode::kCommit, Mode::kReview, Mode::kDiscard}) {
    if (name == Name(mode)) return mode;
  }
  return Error(ErrorCode::kInvalidArgument,
               fmt::format("'{}' is not a mode; use commit, review or discard", Shown(name)));
}

std::string_view Name(Source source) {
  switch (source) {
    case Source::kExecution:
      return "execution";
    case Source::kPlan:
      return "plan";
    case Source::kRollback:
      return "rollback";
  }
  CheckFailed("Source out of range", __FILE__, __LINE__);
}

Result<Source> ParseSource(std::string_view name) {
  for (const Source source : {Source::kExecution, Source::kPlan, Source::kRollback}) {
    if (name == Name(source)) return source;
  }
  return Error(
      ErrorCode::kInvalidArgument,
      fmt::format("'{}' makes no change sets; use execution, plan or rollback", Shown(name)));
}

}  // namespace bailiff
