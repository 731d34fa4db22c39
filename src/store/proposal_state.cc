#include "store/proposal_state.h"

#include <string>

#include "base/bytes.h"
#include "base/check.h"

namespace bailiff {

std::string_view Name(ProposalState state) {
  switch (state) {
    case ProposalState::kNone:
      return "none";
    case ProposalState::kHeld:
      return "held";
    case ProposalState::kApproved:
      return "approved";
    case ProposalState::kCommitting:
      return "committing";
    case ProposalState::kCommitted:
      return "committed";
    case ProposalState::kDiscarded:
      return "discarded";
    case ProposalState::kRejected:
      return "rejected";
    case ProposalState::kDenied:
      return "denied";
    case ProposalState::kExpired:
      return "expired";
    case ProposalState::kConflict:
      return "conflict";
    case ProposalState::kNeedsAttention:
      return "needs_attention";
    case ProposalState::kRolledBack:
      return "rolled_back";
  }
  CheckFailed("ProposalState out of range", __FILE__, __LINE__);
}

Result<ProposalState> ParseProposalState(std::string_view name) {
  std::string known;
  for (const ProposalState state : kProposalStates) {
    if (Name(state) == name) return state;
    known += (known.empty() ? "" : ", ") + std::string(Name(state));
  }
  return Error(ErrorCode::kInvalidArgument, "state '" + EscapeForTerminal(name, Lines::kSingle) +
                                                "' is unknown; the states are " + known);
}

bool CanBecome(ProposalState from, ProposalState to) {
  using enum ProposalState;
  switch (from) {
    case kHeld:
      return to == kApproved || to == kRejected || to == kExpired || to == kCommitting ||
             to == kConflict;
    case kApproved:
      return to == kCommitting || to == kRejected || to == kExpired || to == kConflict;
    case kCommitting:
      // Back to held, a plan to approved: the commit could not begin (a full disk), and may be
      // tried again.
      return to == kCommitted || to == kConflict || to == kNeedsAttention || to == kHeld ||
             to == kApproved;
    case kCommitted:
      return to == kRolledBack;
    case kNeedsAttention:
      return to == kCommitted || to == kRolledBack || to == kConflict;
    case kNone:
    case kDiscarded:
    case kRejected:
    case kDenied:
    case kExpired:
    case kConflict:
    case kRolledBack:
      return false;
  }
  CheckFailed("ProposalState out of range", __FILE__, __LINE__);
}

}  // namespace bailiff
