#include "core/policy_trial.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <utility>

#include "core/documents.h"

namespace bailiff {
namespace {

namespace json = boost::json;

const json::object* ObjectIn(const json::object& object, const char* key) {
  const json::value* value = object.if_contains(key);
  return value != nullptr && value->is_object() ? &value->get_object() : nullptr;
}

// What the document of an execution tells, for records from before facts were kept.
PolicyContext ContextFromDocument(const json::object& document) {
  PolicyContext context;
  const Result<Mode> mode = ParseMode(GetBytes(document, "mode"));
  if (mode.ok()) context.mode = mode.value();
  context.succeeded = GetBytes(document, "status") == "succeeded";
  const json::value* code = document.if_contains("exit_code");
  if (code != nullptr && code->is_int64()) context.exit_code = static_cast<int>(code->get_int64());
  context.principal = GetBytes(document, "principal");
  context.role = Role::kAdmin;
  context.case_name = GetBytes(document, "case_name");
  context.script_path = GetBytes(document, "script_path");
  if (context.script_path.starts_with('/')) context.script_path.erase(0, 1);
  context.script_sha256 = GetBytes(document, "script_sha256");
  context.environment = GetBytes(document, "environment");
  const json::object* guarantees = ObjectIn(document, "guarantees");
  if (guarantees == nullptr) return context;
  context.level = GetBytes(*guarantees, "level");
  context.host_network = GetBytes(*guarantees, "network") == "host";
  return context;
}

Result<PolicyFacts> OldFacts(Context& context, const ProposalRow& row,
                             std::vector<std::string>* unknown) {
  PolicyFacts facts;
  if (row.kind == ProposalKind::kRollback) facts.context.source = Source::kRollback;
  if (row.kind == ProposalKind::kPlan) facts.context.source = Source::kPlan;
  const Result<ExecutionRow> execution = context.store().GetExecution(row.id);
  if (execution.ok()) {
    boost::system::error_code error;
    const json::value document = json::parse(execution.value().document, error);
    if (!error && document.is_object()) facts.context = ContextFromDocument(document.get_object());
  } else if (execution.error().code() != ErrorCode::kNotFound) {
    return execution.error();
  }
  unknown->emplace_back(
      "what was decided from was not recorded: the role is taken for admin, the script for "
      "without lint facts, the case for without files, moved directories for empty");
  return facts;
}

void NoteGaps(const PolicyFacts& facts, const Policy& policy, const ChangeSet& set,
              std::vector<std::string>* unknown) {
  if (facts.moved_omitted > 0) {
    unknown->push_back(
        fmt::format("{} paths below moved directories were not recorded", facts.moved_omitted));
  }
  const auto deleted =
      std::count_if(set.changes.begin(), set.changes.end(), [](const Change& change) {
        return change.op == ChangeOp::kDelete && change.type != EntryType::kDir;
      });
  const bool capped = deleted > 0 && facts.context.case_files >= facts.files_counted_to;
  if (capped && policy.FilesToCount(deleted) > facts.files_counted_to) {
    unknown->push_back(fmt::format("files were counted up to {} only: there may have been more",
                                   facts.files_counted_to));
  }
}

}  // namespace

Result<PolicyTrial> TryPolicy(Context& context, const std::string& id) {
  const Result<ProposalRow> found = context.store().GetProposal(id);
  if (!found.ok()) {
    if (found.error().code() != ErrorCode::kNotFound) return found.error();
    return Error(ErrorCode::kNotFound, id + ": changed nothing, so there was nothing to decide");
  }
  const ProposalRow& row = found.value();
  const ChangeSet set = TRY(Decode(row.change_set));
  StoredProblems problems = DecodeProblems(row.problems);
  PolicyTrial trial;
  trial.id = id;
  trial.then = std::move(problems.decision);
  const Policy& policy = context.config().policy;
  PolicyFacts facts;
  if (problems.facts.has_value()) {
    facts = std::move(*problems.facts);
    NoteGaps(facts, policy, set, &trial.unknown);
    const bool linted = trial.then.has_value() && trial.then->verdict == Verdict::kReview;
    if (policy.NeedsLint() && !linted && facts.context.lint.empty()) {
      trial.unknown.emplace_back("lint facts are kept where a rule or a reviewer needed them");
    }
  } else {
    facts = TRY(OldFacts(context, row, &trial.unknown));
  }
  facts.context.refused = std::move(problems.refused);
  trial.now = policy.Decide(set, facts.context);
  trial.rules = policy.Explain(set, facts.context);
  return trial;
}

}  // namespace bailiff
