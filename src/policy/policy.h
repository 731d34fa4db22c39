#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/toml.h"
#include "changeset/capture.h"
#include "changeset/model.h"
#include "policy/lint.h"
#include "policy/role.h"

namespace bailiff {

enum class Verdict : std::uint8_t { kCommit, kReview, kDeny };

std::string_view Name(Verdict verdict);  // "commit", "review", "deny"
Result<Verdict> ParseVerdict(std::string_view name);

enum class Mode : std::uint8_t { kCommit, kReview, kDiscard };

std::string_view Name(Mode mode);  // "commit", "review", "discard"
Result<Mode> ParseMode(std::string_view name);

// Where a change set comes from.
enum class Source : std::uint8_t { kExecution, kPlan, kRollback };

std::string_view Name(Source source);  // "execution", "plan", "rollback"
Result<Source> ParseSource(std::string_view name);

// What policy may look at, beside the change set. Pure data: deciding reads no file.
struct PolicyContext {
  Mode mode = Mode::kCommit;
  Source source = Source::kExecution;
  bool succeeded = true;         // The script exited with 0.
  std::optional<int> exit_code;  // Absent where nothing ran.
  std::string principal;         // Who proposes.
  Role role = Role::kAgent;
  std::string case_name;      // Empty: none.
  std::string script_path;    // "Tools/x.py"; "-" for a text; empty: no script.
  std::string script_sha256;  // Hexadecimal; empty: no script.
  std::string environment;    // Empty where nothing ran.
  std::string level;          // Of the sandbox, "ns"; empty where there was none.
  bool host_network = false;
  // Files of the case (or of the workspace) before the run. Not counted where nothing is deleted,
  // nor further than the rules ask: see Policy::FilesToCount().
  std::int64_t case_files = 0;
  std::vector<PathProblem> refused;
  // Base paths below directories that move as a whole: one move stands for all of these, and rules
  // see each of them under its old and its new name.
  std::vector<std::string> moved_below;
  std::vector<LintFact> lint;  // What was found in the script's text: informs, never protects.
};

struct Decision {
  Verdict verdict = Verdict::kReview;
  std::string rule;                  // Its name, as docs/policy.md or bailiff.toml has it.
  std::vector<std::string> reasons;  // In words, for a person; empty when committed.
  Role review_by = Role::kReviewer;  // kReview: who may approve, that role or a higher one.
  std::vector<LintFact> lint;        // Facts for whoever reviews.
};

// Adds facts to what a reviewer is told. They change no verdict.
void TellLint(std::vector<LintFact> facts, Decision* decision);

// One condition of a rule, looked at.
struct ConditionTrace {
  std::string words;  // "some changed path matches Filings/**"
  bool holds = false;
  std::string finding;  // What it was, for this change set: "no changed path matches"
};

// One rule, looked at.
struct RuleTrace {
  std::string name;
  Verdict verdict = Verdict::kReview;
  Role review_by = Role::kReviewer;
  bool is_floor = false;  // A rule that always stands: see Policy.
  bool matches = false;   // Every condition holds.
  bool decides = false;   // It is the one that gives its name to the decision.
  std::vector<ConditionTrace> conditions;
};

// One rule in words.
struct RuleText {
  std::string name;
  Verdict verdict = Verdict::kReview;
  Role review_by = Role::kReviewer;
  std::string reason;
  std::vector<std::string> conditions;  // All must hold; none: it always matches.
  std::string note;  // What its author should know, for example that it is never reached.
};

struct PolicyRules;

// The rules that decide about change sets: docs/policy.md. Immutable; copies share.
//
// Rules are tried in order and the first that matches decides. When none does: without rules of the
// operator's it is "default-commit", with such rules a review, "no-match". Whatever rules of the
// operator's say, a few conditions (the floor) turn a commit into a review; they never change a
// denial. Mode kDiscard has nothing to decide and is held like kReview.
class Policy {
 public:
  // The rules that ship with Bailiff. They hold when in doubt and never deny.
  static Policy Shipped();

  // From the section [policy] of `file`. Without rules in it, they are those that ship.
  // Errors: kInvalidArgument, "FILE: KEY: what is wrong; what would be right".
  static Result<Policy> Parse(const TomlTable& section, const std::string& file);

  Decision Decide(const ChangeSet& set, const PolicyContext& context) const;

  // Every rule in the order in which it is tried, the floor last, with all of their conditions,
  // also of those after the one that decides.
  std::vector<RuleTrace> Explain(const ChangeSet& set, const PolicyContext& context) const;

  // The rules in words, in their order; the floor is not among them.
  std::vector<RuleText> Describe() const;

  bool is_shipped() const;
  bool self_approval() const;  // Whether one may approve what one proposed.
  bool NeedsLint() const;      // Whether a rule looks at PolicyContext::lint.

  // How many files are enough to know for PolicyContext::case_files.
  std::int64_t FilesToCount(std::int64_t deleted) const;

 private:
  explicit Policy(std::shared_ptr<const PolicyRules> rules) : rules_(std::move(rules)) {}

  std::shared_ptr<const PolicyRules> rules_;
};

// True for paths that something runs later, outside of any sandbox: .git/hooks, .envrc, ...
// Case-insensitive. Also true for anything below such a directory.
bool IsProtected(std::string_view path);

// The protected paths that `set` changes, under their old and new names, those below moved
// directories included; and symbolic links that lie where a directory with such paths would. Sorted
// by PathLess(). For flags in documents and for RenderDiff().
std::vector<std::string> ProtectedPathsIn(const ChangeSet& set, const PolicyContext& context);

}  // namespace bailiff
