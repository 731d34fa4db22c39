#include "core/plans.h"

#include <algorithm>
#include <boost/json.hpp>
#include <utility>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/sha256.h"
#include "core/clerks.h"
#include "core/documents.h"
#include "core/proposals.h"
#include "policy/policy.h"
#include "store/plans.h"

namespace bailiff {
namespace {

namespace json = boost::json;

constexpr std::int64_t kPlanChangesMax = 100'000;

json::value TextOrNull(const std::string& text) {
  return text.empty() ? json::value() : json::value(text);
}

json::array ToJson(const std::vector<std::string>& strings) {
  json::array array;
  for (const std::string& string : strings) array.emplace_back(ToUtf8Lossy(string));
  return array;
}

json::array EffectToJson(const ChangeSet& set) {
  json::array changes;
  for (const Change& change : set.changes) {
    const bool is_protected =
        IsProtected(change.path) || (!change.from.empty() && IsProtected(change.from));
    changes.push_back(ToJson(change, is_protected));
  }
  return changes;
}

json::object ValidationToJson(const Plan& plan, const PlanEffect& effect) {
  json::object object;
  object["valid"] = effect.errors.empty();
  object["errors"] = ToJson(effect.errors);
  object["warnings"] = ToJson(effect.warnings);
  object["operation_count"] = plan.operations.size();
  object["size_change_bytes"] = effect.size_change;
  return object;
}

json::object MakeDocument(const Context& context, const Plan& plan, const PlanEffect& effect,
                          std::int64_t now_ns) {
  json::object document;
  document["plan_id"] = nullptr;
  document["case_name"] = TextOrNull(plan.case_name);
  document["description"] = plan.description;
  document["created_by"] = plan.created_by.empty() ? context.principal() : plan.created_by;
  document["principal"] = context.principal();
  document["created"] = FormatTimestamp(WallTime(std::chrono::nanoseconds(now_ns)));
  document["requires_approval"] = plan.requires_approval;
  document["sha256"] = ToHex(plan.sha256);
  document["operations"] = OperationsToJson(plan);
  document["validation"] = ValidationToJson(plan, effect);
  return document;
}

void SetEffect(const ChangeSet& set, json::object* document) {
  document->at("validation").as_object()["effect"] = EffectToJson(set);
}

// What became of a plan: `row` is its proposal's, or null.
void SetOutcome(const ProposalRow* row, json::object* document) {
  const ProposalRow none;
  const ProposalRow& from = row == nullptr ? none : *row;
  const StoredProblems problems = DecodeProblems(from.problems);
  json::object changes;
  changes["state"] = Name(from.state);
  changes["digest"] = from.digest.empty() ? json::value() : json::value(FormatDigest(from.digest));
  changes["created"] = from.counts.created;
  changes["modified"] = from.counts.modified;
  changes["deleted"] = from.counts.deleted;
  changes["moved"] = from.counts.moved;
  changes["metadata"] = from.counts.metadata;
  changes["bytes_written"] = from.counts.bytes_written;
  if (!problems.conflicts.empty()) changes["conflicts"] = ToJson(problems.conflicts);
  (*document)["changes"] = std::move(changes);
  (*document)["decision"] =
      problems.decision.has_value() ? json::value(ToJson(*problems.decision)) : json::value();
  (*document)["decided_by"] = TextOrNull(from.decided_by);
}

Status CheckMayPlan(const Actor& actor, const Plan& plan) {
  if (!actor.cases.has_value()) return Ok();
  const std::vector<std::string>& cases = *actor.cases;
  const bool visible = std::find(cases.begin(), cases.end(), plan.case_name) != cases.end();
  if (!plan.case_name.empty() && visible) return Ok();
  return Error(ErrorCode::kPermissionDenied,
               "case_name: " + actor.name + " may plan only for cases that it was given");
}

Result<PlanEffect> Build(Context& context, const Plan& plan, const std::string& id, bool stage) {
  PlanRequest request;
  request.id = id;
  request.stage = stage;
  request.now_ns = context.NowNanos();
  request.files_max = kPlanChangesMax;
  request.bytes_max = context.config().held_bytes_max;
  if (!plan.case_name.empty()) request.scope = "projects/" + plan.case_name;
  const std::string& logs = context.config().execution_logs;
  if (!logs.empty()) request.reserved.push_back(logs);
  request.operations = plan.operations;
  return ClerkBuildPlan(context, request);
}

Status RecordPlan(Context& context, const Plan& plan, const PlanEffect& effect,
                  const PlanRow& row) {
  json::object data;
  data["id"] = row.id;
  data["principal"] = context.principal();
  data["case"] = TextOrNull(plan.case_name);
  data["description"] = plan.description;
  data["sha256"] = ToHex(plan.sha256);
  data["operations"] = plan.operations.size();
  data["valid"] = effect.errors.empty();
  TRY(context.ledger().Append("plan", data));
  return InsertPlan(context.store().connection(), row);
}

Status ProposePlan(Context& context, const Plan& plan, ChangeSet set) {
  const std::string id = set.id;
  Proposal proposal;
  proposal.kind = ProposalKind::kPlan;
  proposal.captured.set = std::move(set);
  proposal.mode = plan.requires_approval ? Mode::kReview : Mode::kCommit;
  proposal.case_name = plan.case_name;
  proposal.apply = Proposal::Apply::kWhenAsked;
  const Result<ProposalOutcome> outcome = Propose(context, std::move(proposal));
  if (outcome.ok()) return Ok();
  // The error that brought us here is the one to report; `gc` removes what stays.
  (void)ClerkDiscardStaged(context, id);
  return outcome.error();
}

// A stored plan with what became of it.
Result<PlanDocument> Load(const PlanRow& row) {
  boost::system::error_code error;
  json::value stored = json::parse(row.document, error);
  const json::value* validation =
      error || !stored.is_object() ? nullptr : stored.as_object().if_contains("validation");
  const json::value* valid = validation == nullptr || !validation->is_object()
                                 ? nullptr
                                 : validation->as_object().if_contains("valid");
  if (valid == nullptr || !valid->is_bool()) {
    return Error(ErrorCode::kIo, "plan " + row.id + ": its stored document is damaged");
  }
  PlanDocument plan;
  plan.id = row.id;
  plan.valid = valid->as_bool();
  plan.seq = row.seq;
  plan.document = std::move(stored.as_object());
  return plan;
}

Result<PlanRow> VisibleRow(Context& context, const std::string& id) {
  const PlanRow row = TRY(GetPlanRow(context.store().connection(), id));
  if (CanSee(context.actor(), row.case_name, row.created_by)) return row;
  return Error(ErrorCode::kNotFound, "plan '" + id + "' does not exist");
}

// With `set`, gives out the proposal's change set too.
Status AddOutcome(Context& context, PlanDocument* plan, ChangeSet* set) {
  const Result<ProposalRow> row = context.store().GetProposal(plan->id);
  if (!row.ok() && row.error().code() != ErrorCode::kNotFound) return row.error();
  if (row.ok()) plan->state = row.value().state;
  SetOutcome(row.ok() ? &row.value() : nullptr, &plan->document);
  if (row.ok() && set != nullptr) *set = TRY(Decode(row.value().change_set));
  return Ok();
}

}  // namespace

Result<PlanDocument> ValidatePlan(Context& context, const Plan& plan) {
  TRY(CheckMayPlan(context.actor(), plan));
  const std::int64_t now_ns = context.NowNanos();
  const std::string id = MakeId("plan", context.clock().Now());
  const PlanEffect effect = TRY(Build(context, plan, id, false));
  PlanDocument result;
  result.valid = effect.errors.empty();
  result.document = MakeDocument(context, plan, effect, now_ns);
  SetEffect(effect.set, &result.document);
  SetOutcome(nullptr, &result.document);
  return result;
}

Result<PlanDocument> SubmitPlan(Context& context, const Plan& plan,
                                std::chrono::milliseconds wait_lock) {
  if (plan.dry_run) return ValidatePlan(context, plan);
  TRY(CheckMayPlan(context.actor(), plan));
  // `gc` drops what is staged and belongs to no proposal yet, and half of a commit is no state to
  // plan against.
  const WorkspaceLock lock = TRY(WorkspaceLock::Take(context, wait_lock));
  TRY(FinishInterrupted(context, lock));
  PlanRow row;
  row.id = MakeId("plan", context.clock().Now());
  row.created_ns = context.NowNanos();
  row.created_by = context.principal();
  row.case_name = plan.case_name;
  PlanEffect effect = TRY(Build(context, plan, row.id, true));
  json::object document = MakeDocument(context, plan, effect, row.created_ns);
  document["plan_id"] = row.id;
  row.document = json::serialize(document);
  TRY(RecordPlan(context, plan, effect, row));
  if (effect.errors.empty()) TRY(ProposePlan(context, plan, std::move(effect.set)));
  return GetPlan(context, row.id);
}

Result<PlanDocument> GetPlan(Context& context, const std::string& id) {
  const PlanRow row = TRY(VisibleRow(context, id));
  PlanDocument plan = TRY(Load(row));
  ChangeSet set;
  TRY(AddOutcome(context, &plan, &set));
  SetEffect(set, &plan.document);
  return plan;
}

Result<PlanDocument> RevalidatePlan(Context& context, const std::string& id) {
  const PlanRow row = TRY(VisibleRow(context, id));
  PlanDocument stored = TRY(Load(row));
  Result<Plan> plan = PlanFromDocument(stored.document);
  if (!plan.ok()) return std::move(plan).error().WithCode(ErrorCode::kIo).WithContext(id);
  TRY(CheckMayPlan(context.actor(), plan.value()));
  const PlanEffect effect = TRY(Build(context, plan.value(), id, false));
  stored.valid = effect.errors.empty();
  stored.document["validation"] = ValidationToJson(plan.value(), effect);
  SetEffect(effect.set, &stored.document);
  TRY(AddOutcome(context, &stored, nullptr));
  return stored;
}

Result<std::vector<PlanDocument>> ListPlans(Context& context, std::int64_t limit,
                                            std::int64_t before_seq) {
  PlanFilter filter;
  filter.limit = limit;
  filter.before_seq = before_seq;
  filter.sight = SightOf(context.actor());
  std::vector<PlanDocument> plans;
  for (const PlanRow& row : TRY(ListPlanRows(context.store().connection(), filter))) {
    PlanDocument plan = TRY(Load(row));
    plan.document.erase("operations");
    TRY(AddOutcome(context, &plan, nullptr));
    plans.push_back(std::move(plan));
  }
  return plans;
}

}  // namespace bailiff
