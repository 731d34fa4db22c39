#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "core/context.h"
#include "store/store.h"

// What an actor may do to what others proposed. docs/server.md has the rules in words.

namespace bailiff {

// At most so many records "denied_request" are written in one minute; the first of the next minute
// says how many were left out.
inline constexpr std::int64_t kDenialsPerMinuteMax = 600;

struct Denial {
  std::string_view principal;
  std::string_view action;  // "approve", "token.create", ...
  std::string_view id;      // Of what it was about; may be empty.
  std::string_view reason;
};

// Notes in the ledger that a request was refused. What keeps it from being noted does not make the
// refusal less of one, so there is no error.
void RecordDenial(Context& context, const Denial& denial);

// RequireRole() for the context's actor, noted when it fails.
Status Authorize(Context& context, Role least, std::string_view action, std::string_view what);

// Whether a reviewer may approve what the same principal proposed.
bool SelfApprovalAllowed(const Context& context);

// Whether the context's actor may do it to the proposal `id`; what is refused is noted. What it may
// not see does not exist for it. Each reads the proposal, unless the actor may do everything.
// Errors: kNotFound; kPermissionDenied.
Status MayApprove(Context& context, const std::string& id);
Status MayReject(Context& context, const std::string& id);
Status MayRollBack(Context& context, const std::string& id);

// Whether it may end the execution `id`: its own, or any for a reviewer.
// Errors: kNotFound; kPermissionDenied.
Status MayCancel(Context& context, const std::string& id);

// Whether a person must look at a rollback of `row` by the context's actor, whatever policy says.
bool RollbackNeedsReview(const Context& context, const ProposalRow& row);

}  // namespace bailiff
