#include "core/upkeep.h"

#include <fcntl.h>

#include <boost/json.hpp>
#include <set>

#include "base/ids.h"
#include "core/clerks.h"
#include "core/deliver.h"
#include "core/executions.h"
#include "core/notify.h"
#include "core/proposals.h"
#include "core/retention.h"
#include "sandbox/stale.h"
#include "store/outbox.h"
#include "store/retention.h"
#include "sys/file.h"

namespace bailiff {
namespace {

constexpr std::size_t kOutputsMax = 1'000'000;

bool NeedsStage(ProposalState state) {
  return state == ProposalState::kHeld || state == ProposalState::kApproved ||
         state == ProposalState::kCommitting || state == ProposalState::kNeedsAttention;
}

// Ids of executions that are running somewhere: their staging directory is about to be used.
Result<std::set<std::string>> RunningIds(Context& context) {
  std::set<std::string> ids;
  for (const ExecutionRow& row : TRY(context.store().RunningExecutions())) ids.insert(row.id);
  return ids;
}

Result<std::int64_t> DropStaged(Context& context) {
  const std::set<std::string> running = TRY(RunningIds(context));
  std::int64_t dropped = 0;
  for (const std::string& id : TRY(ListStaged(context))) {
    if (!IsId(id) || running.contains(id)) continue;
    const Result<ProposalRow> row = context.store().GetProposal(id);
    if (row.ok() && NeedsStage(row.value().state)) continue;
    if (!row.ok() && row.error().code() != ErrorCode::kNotFound) return row.error();
    TRY(ClerkDiscardStaged(context, id));
    ++dropped;
  }
  return dropped;
}

Result<std::int64_t> ForgetCommits(Context& context, std::int64_t before_ns) {
  std::int64_t forgotten = 0;
  std::set<std::string> ids;
  for (std::string& name : TRY(ListPutAside(context))) ids.insert(std::move(name));
  for (std::string& id : TRY(ListCommits(context.journal().journal))) ids.insert(std::move(id));
  for (const std::string& id : ids) {
    if (!IsId(id)) continue;
    const Result<ProposalRow> row = context.store().GetProposal(id);
    if (!row.ok() && row.error().code() != ErrorCode::kNotFound) return row.error();
    if (!row.ok()) continue;  // Not ours to judge: `bailiff doctor` shows what lies there.
    const ProposalState state = row.value().state;
    const bool ended = state == ProposalState::kCommitted || state == ProposalState::kRolledBack ||
                       state == ProposalState::kConflict;
    const std::int64_t since =
        row.value().decided_ns != 0 ? row.value().decided_ns : row.value().created_ns;
    if (!ended || since > before_ns) continue;
    TRY(ClerkForget(context, id));
    ++forgotten;
  }
  return forgotten;
}

Result<std::int64_t> DropOutputs(const Context& context, std::int64_t before_ns) {
  std::int64_t dropped = 0;
  for (const std::string& name : TRY(ListDir(context.output_dir(), kOutputsMax))) {
    const std::optional<struct stat> st = TRY(StatAt(context.output_dir(), name));
    if (!st.has_value() || ToNanos(st->st_mtim) > before_ns) continue;
    TRY(Unlink(context.output_dir(), name));
    ++dropped;
  }
  return dropped;
}

}  // namespace

Result<Collected> CollectGarbage(Context& context, std::chrono::nanoseconds older_than,
                                 std::chrono::milliseconds wait_lock) {
  const WorkspaceLock lock = TRY(WorkspaceLock::Take(context, wait_lock));
  TRY(FinishInterrupted(context, lock));
  TRY(ClerkRecover(context));  // It also removes what attempts left that nothing else tells of.
  const std::int64_t before_ns = context.NowNanos() - older_than.count();
  Collected collected;
  collected.expired = static_cast<std::int64_t>(TRY(ExpireHeld(context, lock)).size());
  collected.staged_dropped = TRY(DropStaged(context));
  // The database may still rely on journals that are about to go.
  TRY(context.store().Sync());
  collected.commits_forgotten = TRY(ForgetCommits(context, before_ns));
  collected.outputs_dropped = TRY(DropOutputs(context, before_ns));
  collected.logs_dropped = TRY(DropExecutionLogs(context));
  const Connection& connection = context.store().connection();
  const auto ago = [&](std::chrono::nanoseconds age) { return context.NowNanos() - age.count(); };
  collected.answers_dropped = TRY(RemoveOldAnswers(connection, ago(kAnswerLife)));
  collected.messages_dropped = TRY(RemoveOldMessages(connection, ago(kGiveUpAfter)));
  boost::json::object data = ToJson(collected);
  data["principal"] = context.principal();
  TRY(context.ledger().Append("gc", data));
  return collected;
}

boost::json::object ToJson(const Collected& collected) {
  boost::json::object data;
  data["commits_forgotten"] = collected.commits_forgotten;
  data["staged_dropped"] = collected.staged_dropped;
  data["outputs_dropped"] = collected.outputs_dropped;
  data["expired"] = collected.expired;
  data["logs_dropped"] = collected.logs_dropped;
  data["answers_dropped"] = collected.answers_dropped;
  data["messages_dropped"] = collected.messages_dropped;
  return data;
}

Result<TidiedUp> TidyUp(Context& context) {
  TRY(CleanStale());
  TRY(CleanStaleScratch(context.scratch_dir()));
  TidiedUp tidied;
  tidied.interrupted = TRY(FinishAbandoned(context));
  tidied.expired = TRY(ExpireHeld(context));
  ProposalFilter filter;
  filter.state = ProposalState::kCommitting;
  filter.limit = 1;
  const bool stuck = !TRY(context.store().ListProposals(filter)).empty();
  if (!stuck && !TRY(NeedsRecovery(context.journal().journal))) return tidied;
  const Result<WorkspaceLock> lock = WorkspaceLock::Take(context, std::chrono::milliseconds(0));
  if (!lock.ok()) {
    if (lock.error().code() == ErrorCode::kResourceExhausted) return tidied;
    return lock.error();
  }
  tidied.finished = TRY(FinishInterrupted(context, lock.value()));
  return tidied;
}

void KeepUp(Context& context, const std::function<void(const std::string&)>& log) {
  const auto tell = [&](const char* what, const auto& result) {
    if (!result.ok()) log(std::string("upkeep: ") + what + ": " + result.error().message());
  };
  const Result<std::vector<std::string>> abandoned = FinishAbandoned(context);
  tell("abandoned executions", abandoned);
  if (abandoned.ok()) {
    for (const std::string& id : abandoned.value()) log(id + ": its process is gone");
  }
  tell("held change sets", ExpireHeld(context));
  tell("old answers",
       RemoveOldAnswers(context.store().connection(),
                        context.NowNanos() - std::chrono::nanoseconds(kAnswerLife).count()));
  tell("health", AlertOnHealth(context));
}

}  // namespace bailiff
