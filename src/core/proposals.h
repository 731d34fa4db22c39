#pragma once

#include <boost/json/object.hpp>
#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "changeset/capture.h"
#include "core/context.h"
#include "core/lint_run.h"
#include "core/policy_facts.h"
#include "policy/policy.h"
#include "store/store.h"

// Every change to a workspace, whoever proposes it, goes through here: it is decided, held or
// committed, and recorded.

namespace bailiff {

// A change set on its way in.
struct Proposal {
  ProposalKind kind = ProposalKind::kExecution;
  CaptureResult captured;
  Mode mode = Mode::kCommit;
  bool succeeded = true;
  std::string case_name;
  bool host_network = false;
  std::string rolls_back;  // kRollback: the commit that it undoes.
  // kExecution: what ran. Policy may look at it.
  std::optional<int> exit_code;
  std::string script_path;    // As Admitted has it.
  std::string script_sha256;  // Raw.
  std::string environment;
  std::string level;
  LintInput lint;
  // Whose actors see it: the case of what is rolled back. Empty: `case_name`.
  std::string seen_in;
  // When what policy lets through is committed. kWhenAsked: by ApplyPlan(); until then it is
  // approved.
  enum class Apply : std::uint8_t { kAtOnce, kWhenAsked };
  Apply apply = Apply::kAtOnce;
  std::chrono::milliseconds wait_lock{30'000};
};

// Where it ended for now.
struct ProposalOutcome {
  ProposalState state = ProposalState::kNone;
  std::string digest;  // Raw; empty: there was nothing to propose.
  std::optional<Decision> decision;
  std::optional<PolicyFacts> facts;   // What it was decided from.
  std::vector<PathProblem> problems;  // kConflict, kNeedsAttention: the paths.
  std::string error;                  // Why a commit that was decided did not happen.
  std::string warning;                // What went wrong beside a commit that is whole.
};

// Decides a change set by policy, then holds, commits or drops it. Staged content that is not
// needed any more is gone afterwards.
//
// Errors: kResourceExhausted when too much is held already; those of the ledger, without which
//         nothing is committed; kIo.
Result<ProposalOutcome> Propose(Context& context, Proposal proposal);

// What `approve`, `reject` and `rollback` answer.
struct Action {
  enum class Result { kDone, kConflict, kWrongState };
  Result result = Result::kDone;
  ProposalState state = ProposalState::kNone;
  std::string id;          // Of the proposal acted on; a rollback's own.
  std::string rolls_back;  // Of a rollback: the commit that it undoes.
  std::string message;     // In words, where not kDone.
  std::string warning;     // See ProposalOutcome.
  std::vector<PathProblem> problems;
  std::optional<Decision> decision;  // Of a rollback.
};

// {"id", "done", "state", "error", "conflicts", "warnings", "decision"?}
boost::json::object ToJson(const Action& action);

// Commits a held change set, byte for byte as it was decided; a plan's is marked as approved
// instead. `digest` ("sha256:<hex>", or a prefix of at least 8 digits; empty: any) must be its
// digest. Errors: kNotFound; kConflict for a plan that has no change set; kPermissionDenied (see
// MayApprove()); those of Propose().
Result<Action> Approve(Context& context, const std::string& id, const std::string& digest,
                       std::chrono::milliseconds wait_lock);

// Commits an approved plan, all of it or nothing. Errors: as Approve(); kInvalidArgument when `id`
// is no plan.
Result<Action> ApplyPlan(Context& context, const std::string& id,
                         std::chrono::milliseconds wait_lock);

// Drops a held change set, or an approved plan. Errors: kNotFound; kConflict as Approve();
// kPermissionDenied (see MayReject()); those of
// WorkspaceLock::Take().
Result<Action> Reject(Context& context, const std::string& id, const std::string& reason,
                      std::chrono::milliseconds wait_lock);

// Undoes a commit by another one, which goes through policy as any change set does; an agent's is
// held where a person had approved the commit. Errors: kNotFound; those of Propose().
Result<Action> RollBack(Context& context, const std::string& id,
                        std::chrono::milliseconds wait_lock);

// Finishes what earlier processes left: commits that were cut short (the caller holds the lock).
// Returns the ids that were brought to an end.
Result<std::vector<std::string>> FinishInterrupted(Context& context, const WorkspaceLock& lock);

// The change set of a proposal. Errors: kNotFound.
Result<ChangeSet> LoadChangeSet(Context& context, const std::string& id);

}  // namespace bailiff
