#pragma once

#include <boost/json/object.hpp>
#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "core/context.h"
#include "core/plan_text.h"
#include "store/proposal_state.h"

// Hand-written plans: docs/plans.md. Approve(), ApplyPlan(), Reject() and RollBack() of
// core/proposals.h act on one that was submitted.

namespace bailiff {

struct PlanDocument {
  std::string id;  // Empty where nothing was stored.
  bool valid = false;
  ProposalState state = ProposalState::kNone;  // Of its proposal; kNone: it has none.
  std::int64_t seq = 0;                        // For ListPlans() to go on from.
  boost::json::object document;                // docs/plans.md
};

// What the plan would do to the workspace as it is now. Stores nothing.
//
// Errors: kPermissionDenied when the actor is limited to cases and this is none of them; those of
//         BuildPlan().
Result<PlanDocument> ValidatePlan(Context& context, const Plan& plan);

// Records the plan, and proposes what it does: it is held, approved by policy or denied. One that
// has errors is recorded and goes no further; one with `dry_run` is validated only. Takes the
// workspace lock.
//
// Errors: those of ValidatePlan(), WorkspaceLock::Take() and Propose().
Result<PlanDocument> SubmitPlan(Context& context, const Plan& plan,
                                std::chrono::milliseconds wait_lock);

// A submitted plan, with the effect that was decided about. Errors: kNotFound, also for one that
// the actor may not see.
Result<PlanDocument> GetPlan(Context& context, const std::string& id);

// The same plan validated anew, against the workspace as it is now. Errors: as GetPlan(), and those
// of ValidatePlan().
Result<PlanDocument> RevalidatePlan(Context& context, const std::string& id);

// Those that the actor may see, newest first, without operations and effects. `before_seq`: 0 for
// all, or the last one's `seq`.
Result<std::vector<PlanDocument>> ListPlans(Context& context, std::int64_t limit,
                                            std::int64_t before_seq = 0);

}  // namespace bailiff
