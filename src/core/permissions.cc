#include "core/permissions.h"

#include <boost/json.hpp>
#include <chrono>
#include <optional>

#include "base/bytes.h"
#include "core/documents.h"

namespace bailiff {
namespace {

namespace json = boost::json;

constexpr std::string_view kMeterKey = "denials";
constexpr std::size_t kTextBytesMax = 1024;  // Of each part of a record: a client chooses some.

std::int64_t Number(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  return value != nullptr && value->is_int64() ? value->as_int64() : 0;
}

std::string Text(std::string_view text) {
  return ToUtf8Lossy(text.substr(0, kTextBytesMax));
}

// Counts one more denial. Nothing when it is not to be recorded; else how many were not before it.
Result<std::optional<std::int64_t>> CountDenial(Context& context) {
  const Connection& connection = context.store().connection();
  const Unsynced unsynced(connection);
  Transaction transaction = TRY(Transaction::Begin(connection));
  const std::optional<std::string> stored = TRY(context.store().GetMeta(kMeterKey));
  boost::system::error_code error;
  const json::value value = json::parse(stored.value_or("{}"), error);
  json::object meter = !error && value.is_object() ? value.as_object() : json::object();
  const std::int64_t minute =
      std::chrono::floor<std::chrono::minutes>(context.clock().Now()).time_since_epoch().count();
  std::optional<std::int64_t> left_out;
  if (Number(meter, "minute") != minute) {
    left_out = Number(meter, "left_out");
    meter = {{"minute", minute}, {"recorded", 1}, {"left_out", 0}};
  } else if (Number(meter, "recorded") < kDenialsPerMinuteMax) {
    left_out = 0;
    meter["recorded"] = Number(meter, "recorded") + 1;
  } else {
    meter["left_out"] = Number(meter, "left_out") + 1;
  }
  TRY(context.store().SetMeta(kMeterKey, json::serialize(meter)));
  TRY(transaction.Commit());
  return left_out;
}

// Whoever works on the state itself, with every right: nothing here could hold that one back.
bool MayDoEverything(const Actor& actor) {
  return actor.embedded && actor.role == Role::kAdmin && !actor.cases.has_value();
}

Error Refuse(Context& context, std::string_view action, const std::string& id, Error error) {
  RecordDenial(context, {context.principal(), action, id, error.message()});
  return error;
}

// The proposal, if the actor may see it.
Result<ProposalRow> FindVisible(Context& context, std::string_view action, const std::string& id) {
  ProposalRow row = TRY(context.store().GetProposal(id));
  if (CanSee(context.actor(), row.case_name, row.created_by)) return row;
  RecordDenial(context, {context.principal(), action, id, "belongs to a case out of its sight"});
  // The words of a proposal that is not there.
  return Error(ErrorCode::kNotFound,
               "proposal '" + EscapeForTerminal(id, Lines::kSingle) + "' does not exist");
}

Role ReviewedBy(const ProposalRow& row) {
  const std::optional<Decision> decision = DecodeProblems(row.problems).decision;
  return decision.has_value() ? decision->review_by : Role::kReviewer;
}

}  // namespace

void RecordDenial(Context& context, const Denial& denial) {
  const Result<std::optional<std::int64_t>> left_out = CountDenial(context);
  // Where it could not be counted it is recorded.
  if (left_out.ok() && !left_out.value().has_value()) return;
  json::object data;
  data["principal"] = Text(denial.principal);
  data["action"] = Text(denial.action);
  data["id"] = denial.id.empty() ? json::value() : json::value(Text(denial.id));
  data["reason"] = Text(denial.reason);
  if (left_out.ok() && *left_out.value() > 0) data["left_out"] = *left_out.value();
  (void)context.ledger().Append("denied_request", data);  // See the contract.
}

Status Authorize(Context& context, Role least, std::string_view action, std::string_view what) {
  const Status allowed = RequireRole(context.actor(), least, what);
  return allowed.ok() ? allowed : Status(Refuse(context, action, "", allowed.error()));
}

bool SelfApprovalAllowed(const Context& context) {
  return context.config().policy.self_approval();
}

Status MayApprove(Context& context, const std::string& id) {
  const Actor& actor = context.actor();
  if (MayDoEverything(actor)) return Ok();
  const ProposalRow row = TRY(FindVisible(context, "approve", id));
  const Status allowed = RequireRole(actor, ReviewedBy(row), "approve " + id);
  if (!allowed.ok()) return Refuse(context, "approve", id, allowed.error());
  const bool own = row.created_by == actor.name && !actor.embedded;
  if (!own || SelfApprovalAllowed(context)) return Ok();
  return Refuse(
      context, "approve", id,
      Error(ErrorCode::kPermissionDenied,
            "approve " + id + ": " + actor.name + " proposed it; somebody else has to approve it"));
}

Status MayReject(Context& context, const std::string& id) {
  const Actor& actor = context.actor();
  if (MayDoEverything(actor)) return Ok();
  const ProposalRow row = TRY(FindVisible(context, "reject", id));
  if (row.created_by == actor.name) return Ok();  // It is withdrawn.
  const Status allowed = RequireRole(actor, Role::kReviewer, "reject " + id);
  return allowed.ok() ? allowed : Status(Refuse(context, "reject", id, allowed.error()));
}

Status MayRollBack(Context& context, const std::string& id) {
  if (MayDoEverything(context.actor())) return Ok();
  TRY(FindVisible(context, "rollback", id));
  return Ok();
}

Status MayCancel(Context& context, const std::string& id) {
  const ExecutionRow row = TRY(context.store().GetExecution(id));
  if (row.principal == context.principal()) return Ok();
  return Authorize(context, Role::kReviewer, "cancel", id + ": to cancel what another started");
}

bool RollbackNeedsReview(const Context& context, const ProposalRow& row) {
  return context.actor().role == Role::kAgent && row.decided_by != "policy";
}

}  // namespace bailiff
