#include "cli/action_commands.h"

#include <fmt/format.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <utility>

#include "base/bytes.h"
#include "base/units.h"
#include "changeset/diff.h"
#include "core/documents.h"
#include "core/executions.h"
#include "core/proposals.h"
#include "core/queries.h"
#include "core/queue.h"
#include "core/upkeep.h"

namespace bailiff {
namespace {

namespace json = boost::json;

int ExitStatusOf(const Action& action) {
  switch (action.result) {
    case Action::Result::kDone:
      return 0;
    case Action::Result::kConflict:
      return kExitConflict;
    case Action::Result::kWrongState:
      return kExitWrongState;
  }
  CheckFailed("Action::Result out of range", __FILE__, __LINE__);
}

Result<Action> ApproveOne(Context& context, const std::string& prefix, const std::string& digest,
                          const std::string& wait_lock) {
  const std::chrono::milliseconds wait = TRY(ParseDuration(wait_lock));
  return Approve(context, TRY(ResolveId(context, prefix)), digest, wait);
}

Result<Action> RejectOne(Context& context, const std::string& prefix, const std::string& reason,
                         const std::string& wait_lock) {
  const std::chrono::milliseconds wait = TRY(ParseDuration(wait_lock));
  return Reject(context, TRY(ResolveId(context, prefix)), reason, wait);
}

Result<Action> RollBackOne(Context& context, const std::string& prefix,
                           const std::string& wait_lock) {
  const std::chrono::milliseconds wait = TRY(ParseDuration(wait_lock));
  return RollBack(context, TRY(ResolveId(context, prefix)), wait);
}

Result<std::vector<std::string>> CancelSome(Context& context, const std::string& prefix, bool all) {
  if (all) return CancelAll(context);
  const std::string id = TRY(ResolveId(context, prefix));
  const bool cancelled = TRY(CancelQueued(context, id)) || TRY(Cancel(context, id));
  return cancelled ? std::vector<std::string>{id} : std::vector<std::string>();
}

Result<Collected> Collect(Context& context, const std::string& older_than,
                          const std::string& wait_lock) {
  std::chrono::nanoseconds age = context.config().rollback_retention;
  if (!older_than.empty()) {
    // "0" means everything: the one duration that ParseDuration() has no use for.
    age = older_than == "0" ? std::chrono::nanoseconds(0)
                            : std::chrono::nanoseconds(TRY(ParseDuration(older_than)));
  }
  return CollectGarbage(context, age, TRY(ParseDuration(wait_lock)));
}

}  // namespace

int AnswerAction(const Session& session, const Action& action, std::string text) {
  if (action.result != Action::Result::kDone) {
    text = action.message.empty() ? action.id + ": " + std::string(Name(action.state))
                                  : action.message;
    text = "bailiff: " + EscapeForTerminal(text, Lines::kSingle) + "\n";
    for (const PathProblem& problem : action.problems) {
      text += "  " + QuotePath(problem.path) + ": " +
              EscapeForTerminal(problem.reason, Lines::kSingle) + "\n";
    }
    (void)WriteTo(STDERR_FILENO, text);
    text.clear();
  }
  if (!action.warning.empty()) {
    const std::string warning = EscapeForTerminal(action.warning, Lines::kSingle);
    (void)WriteTo(STDERR_FILENO, "bailiff: warning: " + warning + "\n");
  }
  session.Answer(ToJson(action), text);
  return ExitStatusOf(action);
}

int InitCommand(Session& session, const InitCommandOptions& options) {
  if (options.adopt && options.new_id) {
    return session.Fail(Error(ErrorCode::kInvalidArgument,
                              "init: --adopt and --new-id contradict each other; choose one"));
  }
  InitOptions init;
  const std::string& named = options.path.empty() ? session.options().workspace : options.path;
  init.path = session.Absolute(named.empty() ? "." : named);
  init.id = NewWorkspaceId();
  const std::string& state =
      session.options().state.empty() ? session.surroundings().state : session.options().state;
  init.state_path =
      state.empty() ? session.surroundings().state_home + "/" + init.id : session.Absolute(state);
  init.state_named = !state.empty();
  init.existing = options.adopt    ? InitOptions::Existing::kAdopt
                  : options.new_id ? InitOptions::Existing::kNewId
                                   : InitOptions::Existing::kRefuse;
  const Result<InitResult> result = InitWorkspace(init);
  if (!result.ok()) return session.Fail(result.error());
  const Result<Workspace> workspace = Workspace::Open(init.path);
  if (!workspace.ok()) return session.Fail(workspace.error());
  json::object document;
  document["workspace"] = ToUtf8Lossy(init.path);
  document["id"] = result.value().id;
  document["state"] = ToUtf8Lossy(workspace.value().state_path());
  document["created"] = result.value().created;
  session.Answer(
      document,
      fmt::format("{} {}\n  id     {}\n  state  {}\n",
                  result.value().created ? "made the workspace" : "is a workspace already:",
                  init.path, result.value().id, workspace.value().state_path()));
  return 0;
}

int ApproveCommand(Session& session, const std::string& id, const std::string& digest,
                   const std::string& wait_lock) {
  const Result<Context*> context = session.Open(Session::Purpose::kChange);
  if (!context.ok()) return session.Fail(context.error());
  const Result<Action> action = ApproveOne(*context.value(), id, digest, wait_lock);
  if (!action.ok()) return session.Fail(action.error());
  const std::string& done = action.value().id;
  const bool waits = action.value().state == ProposalState::kApproved;
  return AnswerAction(session, action.value(),
                      waits ? fmt::format("{0}: approved\n  bailiff plan apply {0}\n", done)
                            : done + ": approved and committed\n");
}

int RejectCommand(Session& session, const std::string& id, const std::string& reason,
                  const std::string& wait_lock) {
  const Result<Context*> context = session.Open(Session::Purpose::kChange);
  if (!context.ok()) return session.Fail(context.error());
  const Result<Action> action = RejectOne(*context.value(), id, reason, wait_lock);
  if (!action.ok()) return session.Fail(action.error());
  return AnswerAction(session, action.value(), action.value().id + ": rejected\n");
}

int RollbackCommand(Session& session, const std::string& id, const std::string& wait_lock) {
  const Result<Context*> context = session.Open(Session::Purpose::kChange);
  if (!context.ok()) return session.Fail(context.error());
  const Result<Action> action = RollBackOne(*context.value(), id, wait_lock);
  if (!action.ok()) return session.Fail(action.error());
  const Action& done = action.value();
  std::string text = fmt::format("{}: rolled back by {}\n", done.rolls_back, done.id);
  if (done.state == ProposalState::kHeld) {
    text = fmt::format("{0}: the rollback is held for review as {1}\n", done.rolls_back, done.id);
    if (done.decision.has_value()) {
      for (const std::string& reason : done.decision->reasons) text += "  " + reason + "\n";
    }
    text += fmt::format("  bailiff diff {0}      bailiff approve {0}\n", done.id);
  }
  return AnswerAction(session, done, EscapeForTerminal(text, Lines::kMultiple));
}

int CancelCommand(Session& session, const std::string& id, bool all) {
  if (all != id.empty()) {
    return session.Fail(Error(ErrorCode::kInvalidArgument, "cancel: name one id, or --all"));
  }
  const Result<Context*> context = session.Open(Session::Purpose::kRead);
  if (!context.ok()) return session.Fail(context.error());
  const Result<std::vector<std::string>> cancelled = CancelSome(*context.value(), id, all);
  if (!cancelled.ok()) return session.Fail(cancelled.error());
  json::array array;
  std::string text;
  for (const std::string& one : cancelled.value()) {
    array.emplace_back(one);
    text += one + ": cancelled\n";
  }
  const bool none = cancelled.value().empty();
  if (none) text = all ? "nothing is running\n" : id + ": is not running\n";
  json::object document;
  document["cancelled"] = std::move(array);
  if (all) {
    document["queue_paused"] = true;
    session.Say("the queue is paused; 'bailiff queue resume' lets it go on");
  }
  session.Answer(document, text);
  return none && !all ? kExitWrongState : 0;
}

int GcCommand(Session& session, const std::string& older_than, const std::string& wait_lock) {
  const Result<Context*> context = session.Open(Session::Purpose::kChange);
  if (!context.ok()) return session.Fail(context.error());
  const Result<Collected> collected = Collect(*context.value(), older_than, wait_lock);
  if (!collected.ok()) return session.Fail(collected.error());
  const Collected& dropped = collected.value();
  session.Answer(
      ToJson(dropped),
      fmt::format("dropped rollback data of {} commits, {} staged change sets, {} output "
                  "files, {} held change sets that expired, {} execution documents\n",
                  dropped.commits_forgotten, dropped.staged_dropped, dropped.outputs_dropped,
                  dropped.expired, dropped.logs_dropped));
  return 0;
}

}  // namespace bailiff
