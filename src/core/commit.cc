#include "core/commit.h"

#include <boost/json.hpp>
#include <optional>
#include <utility>

#include "core/clerks.h"
#include "core/documents.h"
#include "core/notify.h"
#include "core/proposals.h"
#include "core/records.h"
#include "sys/memory.h"

namespace bailiff {
namespace {

namespace json = boost::json;

constexpr std::size_t kLargeSetBytes = 4UL << 20;

ProposalState StateFor(CommitOutcome outcome) {
  switch (outcome) {
    case CommitOutcome::kCommitted:
      return ProposalState::kCommitted;
    case CommitOutcome::kConflict:
      return ProposalState::kConflict;
    case CommitOutcome::kNeedsAttention:
      return ProposalState::kNeedsAttention;
  }
  CheckFailed("CommitOutcome out of range", __FILE__, __LINE__);
}

// Where a proposal waits whose commit could not begin.
ProposalState WaitingState(const ProposalRow& row) {
  return row.kind == ProposalKind::kPlan ? ProposalState::kApproved : ProposalState::kHeld;
}

Status UpdateOne(Context& context, const std::string& id, ProposalState state) {
  const Result<ExecutionRow> row = context.store().GetExecution(id);
  if (!row.ok()) return row.error().code() == ErrorCode::kNotFound ? Ok() : Status(row.error());
  // It is given its document when it ends, or by who finds it abandoned.
  if (row.value().status == "running") return Ok();
  boost::system::error_code error;
  json::value document = json::parse(row.value().document, error);
  if (error || !document.is_object()) {
    return Error(ErrorCode::kIo, "execution " + id + ": its stored document is damaged");
  }
  SetChangeState(&document.as_object(), state);
  WriteExecutionRecord(context, id, &document.as_object());
  return context.store().UpdateExecution(id, row.value().status, json::serialize(document),
                                         context.NowNanos());
}

// Writes down what a finished commit came to. Its row stops being `committing` last: until then,
// whoever takes the lock next does all of this again.
Status WriteOutcome(Context& context, const ProposalRow& row, const ChangeSet& set,
                    const CommitReport& report, const std::string& record_type) {
  const ProposalState state = StateFor(report.outcome);
  json::object data = AboutProposal(context, row);
  data["state"] = Name(state);
  data["decided_by"] = row.decided_by;
  if (!report.problems.empty()) data["problems"] = ToJson(report.problems);
  const std::int64_t now = context.NowNanos();
  TRY(UpdateDocuments(context, row, state));
  if (state != ProposalState::kCommitted) {
    StoredProblems problems = DecodeProblems(row.problems);
    problems.conflicts = report.problems;
    TRY(context.store().SetProblems(row.id, EncodeProblems(problems)));
    TRY(context.ledger().Append(record_type.empty() ? "conflict" : record_type, data));
    TRY(context.store().ChangeState(row.id, row.state, state, "", now));
    NotifyProposal(context, row, state);
    return Ok();
  }
  // Under the lock nobody else counts it up.
  data["epoch"] = TRY(context.store().CurrentEpoch()) + 1;
  const std::string type = !record_type.empty() ? record_type
                           : row.origin.empty() ? "committed"
                                                : "rolled_back";
  TRY(AppendCommit(context, type, row, set, std::move(data)));  // Checkpoint() syncs it.
  // What changed files is signed at once: a later rewriting of it would need the key.
  TRY(context.ledger().Checkpoint());
  TRY(context.store().RecordCommit(row.id, row.state, HistoryRows(set, now), now));
  NotifyProposal(context, row, state);
  return Ok();
}

std::string Describe(const CommitReport& report) {
  switch (report.outcome) {
    case CommitOutcome::kCommitted:
      return "";
    case CommitOutcome::kConflict:
      return "the workspace changed meanwhile; nothing was applied";
    case CommitOutcome::kNeedsAttention:
      return "another writer changed paths while the commit was being undone; they were left alone";
  }
  CheckFailed("CommitOutcome out of range", __FILE__, __LINE__);
}

// The clerk's own report, or what the journal tells of a commit that ended before its clerk died:
// then `warning` says so.
Result<CommitReport> CommitByClerk(Context& context, ProposalRow* row, std::string* warning) {
  if (row->change_set.size() > kLargeSetBytes) ReleaseFreeMemory();  // The clerk needs as much.
  Result<CommitReport> report =
      ClerkCommit(context, std::exchange(row->change_set, ""), row->digest, row->origin);
  if (report.ok()) return report;
  std::optional<CommitReport> ended = TRY(ReportOf(context.journal().journal, row->id));
  if (!ended.has_value()) return report;
  *warning = "the commit had ended, as its journal tells, but: " + report.error().message();
  return *std::move(ended);
}

}  // namespace

Result<CommitResult> CommitUnderLock(Context& context, ProposalRow row) {
  CommitResult result;
  const Result<CommitReport> report = CommitByClerk(context, &row, &result.warning);
  if (report.ok()) {
    const ChangeSet set = TRY(LoadChangeSet(context, row.id));
    TRY(WriteOutcome(context, row, set, report.value(), ""));
    result.state = StateFor(report.value().outcome);
    result.problems = report.value().problems;
    result.error = Describe(report.value());
    return result;
  }
  result.error = report.error().message();
  // Earlier commits were finished under this lock: one that is not is this one, and the next taker
  // of the lock finishes it.
  if (TRY(NeedsRecovery(context.journal().journal))) return result;
  const ChangeSet set = TRY(LoadChangeSet(context, row.id));
  TRY(ClerkSyncStaged(context, set, Staged::kKnown));  // What is told as held survives a power cut.
  result.state = WaitingState(row);
  TRY(context.store().ChangeState(row.id, ProposalState::kCommitting, result.state, "",
                                  context.NowNanos()));
  json::object data = AboutProposal(context, row);
  data["error"] = result.error;
  TRY(context.ledger().Append("held", data));
  NotifyProposal(context, row, result.state);
  return result;
}

Status DropWaiting(Context& context, const ProposalRow& row, ProposalState state,
                   std::string_view decided_by, const json::object& data) {
  TRY(context.ledger().Append(Name(state), data));
  TRY(context.store().ChangeState(row.id, row.state, state, decided_by, context.NowNanos()));
  TRY(ClerkDiscardStaged(context, row.id));
  return UpdateDocuments(context, row, state);
}

Status UpdateDocuments(Context& context, const ProposalRow& row, ProposalState state) {
  TRY(UpdateOne(context, row.id, state));
  if (row.origin.empty() || state != ProposalState::kCommitted) return Ok();
  return UpdateOne(context, row.origin, ProposalState::kRolledBack);
}

Result<std::vector<std::string>> FinishInterrupted(Context& context,
                                                   const WorkspaceLock& /*lock*/) {
  std::vector<std::string> finished;
  ProposalFilter filter;
  filter.state = ProposalState::kCommitting;
  filter.limit = kStoreRowsMax;
  // Rows become committing under the lock only: whoever wrote these is gone.
  const std::vector<ProposalRow> left = TRY(context.store().ListProposals(filter));
  // Also what was not decided may have prepared something.
  const bool recovers = !left.empty() || TRY(NeedsRecovery(context.journal().journal));
  if (recovers) TRY(ClerkRecover(context));
  for (const ProposalRow& listed : left) {
    const ProposalRow row = TRY(context.store().GetProposal(listed.id));
    const std::optional<CommitReport> report = TRY(ReportOf(context.journal().journal, row.id));
    const ChangeSet set = TRY(Decode(row.change_set));
    if (report.has_value()) {
      TRY(WriteOutcome(context, row, set, *report, "recovered"));
    } else {  // It was never decided, so nothing was applied.
      const Status synced = ClerkSyncStaged(context, set, Staged::kDoubtful);
      // What a power cut took, its approval will tell.
      if (!synced.ok() && synced.error().code() != ErrorCode::kNotFound) return synced.error();
      TRY(UpdateDocuments(context, row, WaitingState(row)));
      TRY(context.store().ChangeState(row.id, row.state, WaitingState(row), "",
                                      context.NowNanos()));
      NotifyProposal(context, row, ProposalState::kHeld);
    }
    finished.push_back(row.id);
  }
  return finished;
}

}  // namespace bailiff
