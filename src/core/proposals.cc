#include "core/proposals.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <boost/json.hpp>
#include <utility>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/sha256.h"
#include "base/units.h"
#include "core/clerks.h"
#include "core/commit.h"
#include "core/documents.h"
#include "core/notify.h"
#include "core/permissions.h"
#include "core/records.h"
#include "store/plans.h"
#include "sys/file.h"
#include "workspace/tree.h"

namespace bailiff {
namespace {

namespace json = boost::json;

constexpr std::size_t kDigestPrefixMin = 8;

ProposalCounts Counts(const ChangeSet& set) {
  const ChangeCounts counts = Count(set);
  return {counts.created, counts.modified, counts.deleted,
          counts.moved,   counts.metadata, counts.bytes_written};
}

// Files below `path`, counted no further than `enough`.
std::int64_t CountFiles(const Fd& root, const std::string& path, std::int64_t enough) {
  std::vector<std::string> pending = {path};
  std::int64_t files = 0;
  while (!pending.empty() && files < enough) {
    const std::string dir_path = std::move(pending.back());
    pending.pop_back();
    // What this user cannot see only makes the share of deletes look larger.
    const Result<Fd> dir = OpenDirBeneath(root, dir_path, O_RDONLY);
    if (!dir.ok()) continue;
    const Result<std::vector<std::string>> names = ListDir(dir.value(), kTreeEntriesMax);
    if (!names.ok()) continue;
    for (const std::string& name : names.value()) {
      const Result<std::optional<struct stat>> found = StatAt(dir.value(), name);
      if (!found.ok() || !found.value().has_value()) continue;
      const struct stat* st = &*found.value();
      if (S_ISDIR(st->st_mode) && name != kPrivateDir) pending.push_back(JoinPath(dir_path, name));
      if (!S_ISDIR(st->st_mode)) ++files;
    }
  }
  return files;
}

Source SourceOf(ProposalKind kind) {
  switch (kind) {
    case ProposalKind::kExecution:
      return Source::kExecution;
    case ProposalKind::kPlan:
      return Source::kPlan;
    case ProposalKind::kRollback:
      return Source::kRollback;
  }
  CheckFailed("ProposalKind out of range", __FILE__, __LINE__);
}

PolicyContext CircumstancesOf(const Context& context, const Proposal& proposal) {
  PolicyContext policy;
  policy.mode = proposal.mode;
  policy.source = SourceOf(proposal.kind);
  policy.succeeded = proposal.succeeded;
  policy.exit_code = proposal.exit_code;
  policy.principal = context.principal();
  policy.role = context.actor().role;
  policy.case_name = proposal.case_name;
  policy.script_path = proposal.script_path;
  if (policy.script_path.starts_with('/')) policy.script_path.erase(0, 1);
  policy.script_sha256 = ToHex(proposal.script_sha256);
  policy.environment = proposal.environment;
  policy.level = proposal.level;
  policy.host_network = proposal.host_network;
  policy.refused = proposal.captured.refused;
  return policy;
}

// What policy needs to see that the change set itself does not say, but for lint.
Result<PolicyFacts> GatherFacts(const Context& context, const Proposal& proposal) {
  PolicyFacts facts;
  PolicyContext& policy = facts.context;
  policy = CircumstancesOf(context, proposal);
  std::int64_t deleted = 0;
  const Fd& root = context.workspace().root();
  for (const Change& change : proposal.captured.set.changes) {
    if (change.op == ChangeOp::kDelete && change.type != EntryType::kDir) ++deleted;
    if (change.op != ChangeOp::kMove || change.type != EntryType::kDir) continue;
    for (const TreeEntry& entry : TRY(ListTree(root, change.from))) {
      policy.moved_below.push_back(JoinPath(change.from, entry.path));
    }
  }
  if (deleted == 0) return facts;
  const std::string scope = proposal.case_name.empty() ? "" : "projects/" + proposal.case_name;
  facts.files_counted_to = context.config().policy.FilesToCount(deleted);
  policy.case_files = CountFiles(root, scope, facts.files_counted_to);
  return facts;
}

// Lint costs a sandbox: only where a rule looks at it, or a person will.
Result<PolicyFacts> DecideProposal(Context& context, const Proposal& proposal, Decision* decision) {
  const Policy& policy = context.config().policy;
  PolicyFacts facts = TRY(GatherFacts(context, proposal));
  if (policy.NeedsLint()) facts.context.lint = Lint(context, proposal.lint);
  *decision = policy.Decide(proposal.captured.set, facts.context);
  if (policy.NeedsLint() || decision->verdict != Verdict::kReview) return facts;
  facts.context.lint = Lint(context, proposal.lint);
  TellLint(facts.context.lint, decision);
  return facts;
}

ProposalRow MakeRow(const Context& context, const Proposal& proposal, ProposalState state,
                    const std::string& digest) {
  const ChangeSet& set = proposal.captured.set;
  ProposalRow row;
  row.id = set.id;
  row.kind = proposal.kind;
  row.state = state;
  row.digest = digest;
  row.origin = proposal.rolls_back;
  row.created_by = context.principal();
  row.case_name = proposal.seen_in.empty() ? proposal.case_name : proposal.seen_in;
  row.created_ns = context.NowNanos();
  row.counts = Counts(set);
  row.change_set = Encode(set);
  return row;
}

Status CheckHeldBytes(Context& context, const ChangeSet& set) {
  std::int64_t held = Count(set).bytes_written;
  ProposalFilter filter;
  filter.limit = kStoreRowsMax;
  for (const ProposalState state : {ProposalState::kHeld, ProposalState::kApproved}) {
    filter.state = state;
    for (const ProposalRow& row : TRY(context.store().ListProposals(filter))) {
      AddSize(row.counts.bytes_written, &held);
    }
  }
  if (held <= context.config().held_bytes_max) return Ok();
  return Error(ErrorCode::kResourceExhausted,
               fmt::format("change sets that wait for review hold {} and may hold {}; approve or "
                           "reject some ('bailiff list --held'), or raise held_bytes_max",
                           FormatSize(held), FormatSize(context.config().held_bytes_max)));
}

// Keeps a proposal until somebody decides (kHeld), or asks for what policy let through (kApproved).
Result<ProposalOutcome> Keep(Context& context, const Proposal& proposal, ProposalOutcome outcome,
                             ProposalState state) {
  TRY(CheckHeldBytes(context, proposal.captured.set));
  TRY(ClerkSyncStaged(context, proposal.captured.set, Staged::kKnown));
  ProposalRow row = MakeRow(context, proposal, state, outcome.digest);
  row.problems = EncodeProblems({proposal.captured.refused, {}, outcome.decision, outcome.facts});
  const bool approved = state == ProposalState::kApproved;
  if (approved) {
    row.decided_by = "policy";
    row.decided_ns = context.NowNanos();
  }
  json::object data = AboutProposal(context, row);
  data["decision"] = ToJson(*outcome.decision);
  TRY(context.ledger().Append(approved ? "decided" : "held", data));
  TRY(context.store().InsertProposal(row));
  NotifyProposal(context, row, row.state);
  outcome.state = state;
  return outcome;
}

// Records a proposal that goes no further, and drops its content.
Result<ProposalOutcome> End(Context& context, const Proposal& proposal, ProposalOutcome outcome,
                            ProposalState state) {
  ProposalRow row = MakeRow(context, proposal, state, outcome.digest);
  row.problems = EncodeProblems(
      {proposal.captured.refused, proposal.captured.conflicts, outcome.decision, outcome.facts});
  json::object data = AboutProposal(context, row);
  data["state"] = Name(state);
  // What a run discards is followed by its "finished" at once.
  const Ledger::Sync sync =
      state == ProposalState::kDiscarded ? Ledger::Sync::kWithNext : Ledger::Sync::kNow;
  const char* type = state == ProposalState::kConflict ? "conflict" : "decided";
  TRY(context.ledger().Append(type, data, sync));
  TRY(context.store().InsertProposal(row));
  NotifyProposal(context, row, row.state);
  TRY(ClerkDiscardStaged(context, row.id));
  outcome.state = state;
  return outcome;
}

Result<ProposalOutcome> CommitDecided(Context& context, Proposal proposal,
                                      ProposalOutcome outcome) {
  ProposalRow row = MakeRow(context, proposal, ProposalState::kCommitting, outcome.digest);
  row.problems = EncodeProblems({proposal.captured.refused, {}, outcome.decision, outcome.facts});
  row.decided_by = "policy";
  row.decided_ns = context.NowNanos();
  Result<WorkspaceLock> lock = WorkspaceLock::Take(context, proposal.wait_lock);
  if (!lock.ok()) {  // Nothing is lost: a person may commit it later.
    row.state = ProposalState::kHeld;
    row.decided_by.clear();
    TRY(ClerkSyncStaged(context, proposal.captured.set, Staged::kKnown));
    TRY(context.store().InsertProposal(row));
    NotifyProposal(context, row, row.state);
    outcome.state = ProposalState::kHeld;
    outcome.error = lock.error().message();
    return outcome;
  }
  TRY(FinishInterrupted(context, lock.value()));
  json::object data = AboutProposal(context, row);
  data["decision"] = ToJson(*outcome.decision);
  TRY(context.ledger().Append("decided", data));
  TRY(context.store().InsertProposal(row));
  proposal.captured = CaptureResult();
  const CommitResult result = TRY(CommitUnderLock(context, std::move(row)));
  outcome.state = result.state;
  outcome.problems = result.problems;
  outcome.error = result.error;
  outcome.warning = result.warning;
  return outcome;
}

Action WrongState(const ProposalRow& row, std::string message) {
  Action action;
  action.result = Action::Result::kWrongState;
  action.state = row.state;
  action.id = row.id;
  action.message = std::move(message);
  return action;
}

// "sha256:abcd..." or the digits alone, whole or a prefix.
bool DigestMatches(const ProposalRow& row, std::string_view given) {
  if (given.starts_with("sha256:")) given.remove_prefix(std::string_view("sha256:").size());
  return given.size() >= kDigestPrefixMin && ToHex(row.digest).starts_with(given);
}

// A commit that was decided and then neither happened nor ended: it waits for a better time.
bool NotDone(ProposalState state) {
  return state == ProposalState::kHeld || state == ProposalState::kApproved ||
         state == ProposalState::kCommitting;
}

std::string StateSentence(const ProposalRow& row) {
  return fmt::format("{}: its changes are {}", row.id, Name(row.state));
}

Result<ProposalRow> RowOf(Context& context, const std::string& id) {
  Result<ProposalRow> row = context.store().GetProposal(id);
  if (row.ok() || row.error().code() != ErrorCode::kNotFound) return row;
  if (!GetPlanRow(context.store().connection(), id).ok()) return row;
  return Error(ErrorCode::kConflict,
               id + ": there is nothing to decide: the plan has errors, or changes nothing");
}

// Commits what is approved, in state `row.state` and by `decider` ("": it was decided before), with
// the workspace lock held.
Result<Action> CommitApproved(Context& context, ProposalRow row, const std::string& decider) {
  const std::string id = row.id;
  TRY(context.store().ChangeState(id, row.state, ProposalState::kCommitting, decider,
                                  context.NowNanos()));
  row.state = ProposalState::kCommitting;
  if (!decider.empty()) row.decided_by = decider;
  const CommitResult result = TRY(CommitUnderLock(context, std::move(row)));
  if (NotDone(result.state)) return Error(ErrorCode::kIo, id + ": " + result.error);
  Action action;
  action.id = id;
  action.state = result.state;
  action.problems = result.problems;
  action.warning = result.warning;
  if (result.state != ProposalState::kCommitted) {
    action.result = Action::Result::kConflict;
    action.message = result.error;
  }
  return action;
}

}  // namespace

Result<ProposalOutcome> Propose(Context& context, Proposal proposal) {
  ProposalOutcome outcome;
  const ChangeSet& set = proposal.captured.set;
  if (set.changes.empty() && proposal.captured.conflicts.empty()) {
    TRY(ClerkDiscardStaged(context, set.id));
    return outcome;
  }
  outcome.digest = Digest(set);
  if (!proposal.captured.conflicts.empty()) {
    outcome.problems = proposal.captured.conflicts;
    return End(context, proposal, std::move(outcome), ProposalState::kConflict);
  }
  if (proposal.mode == Mode::kDiscard) {
    return End(context, proposal, std::move(outcome), ProposalState::kDiscarded);
  }
  Decision decision;
  outcome.facts = TRY(DecideProposal(context, proposal, &decision));
  outcome.decision = std::move(decision);
  switch (outcome.decision->verdict) {
    case Verdict::kCommit:
      if (proposal.apply == Proposal::Apply::kWhenAsked) {
        return Keep(context, proposal, std::move(outcome), ProposalState::kApproved);
      }
      return CommitDecided(context, std::move(proposal), std::move(outcome));
    case Verdict::kReview:
      return Keep(context, proposal, std::move(outcome), ProposalState::kHeld);
    case Verdict::kDeny:
      return End(context, proposal, std::move(outcome), ProposalState::kDenied);
  }
  CheckFailed("Verdict out of range", __FILE__, __LINE__);
}

Result<Action> Approve(Context& context, const std::string& id, const std::string& digest,
                       std::chrono::milliseconds wait_lock) {
  TRY(MayApprove(context, id));
  const WorkspaceLock lock = TRY(WorkspaceLock::Take(context, wait_lock));
  TRY(FinishInterrupted(context, lock));
  ProposalRow row = TRY(RowOf(context, id));
  if (row.state != ProposalState::kHeld) {
    return WrongState(row, StateSentence(row) + "; only held changes can be approved");
  }
  if (!digest.empty() && !DigestMatches(row, digest)) {
    return WrongState(row, fmt::format("{}: its digest is {}, not {}; nothing was approved", row.id,
                                       FormatDigest(row.digest), digest));
  }
  TRY(Decode(row.change_set));  // What is damaged stays held.
  TRY(context.ledger().Append("approved", AboutProposal(context, row)));
  if (row.kind != ProposalKind::kPlan) {
    return CommitApproved(context, std::move(row), context.principal());
  }
  TRY(context.store().ChangeState(id, ProposalState::kHeld, ProposalState::kApproved,
                                  context.principal(), context.NowNanos()));
  Action action;
  action.id = id;
  action.state = ProposalState::kApproved;
  return action;
}

Result<Action> ApplyPlan(Context& context, const std::string& id,
                         std::chrono::milliseconds wait_lock) {
  const WorkspaceLock lock = TRY(WorkspaceLock::Take(context, wait_lock));
  TRY(FinishInterrupted(context, lock));
  ProposalRow row = TRY(RowOf(context, id));
  if (row.kind != ProposalKind::kPlan) {
    return Error(ErrorCode::kInvalidArgument, id + ": is not a plan; to approve it commits it");
  }
  if (row.state == ProposalState::kHeld) return WrongState(row, id + ": is not approved yet");
  if (row.state != ProposalState::kApproved) {
    return WrongState(row, StateSentence(row) + "; only an approved plan can be applied");
  }
  TRY(Decode(row.change_set));  // What is damaged stays approved.
  return CommitApproved(context, std::move(row), "");
}

Result<Action> Reject(Context& context, const std::string& id, const std::string& reason,
                      std::chrono::milliseconds wait_lock) {
  TRY(MayReject(context, id));
  // Under the lock nobody approves it meanwhile, so that the ledger can be told first.
  const WorkspaceLock lock = TRY(WorkspaceLock::Take(context, wait_lock));
  TRY(FinishInterrupted(context, lock));
  const ProposalRow row = TRY(RowOf(context, id));
  if (row.state != ProposalState::kHeld && row.state != ProposalState::kApproved) {
    return WrongState(row, StateSentence(row) + "; only held changes can be rejected");
  }
  json::object data = AboutProposal(context, row);
  data["reason"] = ToUtf8Lossy(reason);
  TRY(DropWaiting(context, row, ProposalState::kRejected, context.principal(), data));
  Action action;
  action.id = id;
  action.state = ProposalState::kRejected;
  return action;
}

Result<Action> RollBack(Context& context, const std::string& id,
                        std::chrono::milliseconds wait_lock) {
  TRY(MayRollBack(context, id));
  Proposal proposal;
  {
    const WorkspaceLock lock = TRY(WorkspaceLock::Take(context, wait_lock));
    TRY(FinishInterrupted(context, lock));
    const ProposalRow row = TRY(RowOf(context, id));
    if (row.state != ProposalState::kCommitted) {
      return WrongState(row, StateSentence(row) + "; only committed changes can be rolled back");
    }
    const std::string rollback_id = MakeId("roll", context.clock().Now());
    Result<Rollback> rollback = ClerkBuildRollback(context, id, rollback_id);
    if (!rollback.ok()) {
      if (rollback.error().code() != ErrorCode::kNotFound) return std::move(rollback).error();
      return WrongState(row, id + ": " + rollback.error().message());
    }
    proposal.kind = ProposalKind::kRollback;
    proposal.captured.set = std::move(rollback.value().set);
    proposal.captured.set.id = rollback_id;
    proposal.captured.conflicts = std::move(rollback.value().conflicts);
    proposal.rolls_back = id;
    proposal.seen_in = row.case_name;
    if (RollbackNeedsReview(context, row)) proposal.mode = Mode::kReview;
    proposal.wait_lock = wait_lock;
  }
  Action action;
  action.id = proposal.captured.set.id;
  action.rolls_back = id;
  if (!proposal.captured.conflicts.empty()) {
    action.id = id;
    action.result = Action::Result::kConflict;
    action.state = ProposalState::kCommitted;
    action.problems = std::move(proposal.captured.conflicts);
    action.message = id + ": was changed again since it was committed; nothing was rolled back";
    return action;
  }
  const ProposalOutcome outcome = TRY(Propose(context, std::move(proposal)));
  if (NotDone(outcome.state) && !outcome.error.empty()) {
    return Error(ErrorCode::kIo, action.id + ": " + outcome.error);
  }
  action.state = outcome.state;
  action.decision = outcome.decision;
  action.problems = outcome.problems;
  action.message = outcome.error;
  action.warning = outcome.warning;
  const bool going =
      outcome.state == ProposalState::kCommitted || outcome.state == ProposalState::kHeld;
  if (!going) action.result = Action::Result::kConflict;
  return action;
}

json::object ToJson(const Action& action) {
  json::object document;
  document["id"] = action.id;
  document["done"] = action.result == Action::Result::kDone;
  document["state"] = Name(action.state);
  document["error"] =
      action.message.empty() ? json::value() : json::value(ToUtf8Lossy(action.message));
  document["conflicts"] = ToJson(action.problems);
  json::array warnings;
  if (!action.warning.empty()) warnings.emplace_back(ToUtf8Lossy(action.warning));
  document["warnings"] = std::move(warnings);
  if (action.decision.has_value()) document["decision"] = ToJson(*action.decision);
  return document;
}

Result<ChangeSet> LoadChangeSet(Context& context, const std::string& id) {
  const ProposalRow row = TRY(context.store().GetProposal(id));
  return Decode(row.change_set);
}

}  // namespace bailiff
