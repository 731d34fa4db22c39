#pragma once

#include <cstdint>
#include <string_view>

#include "base/result.h"

namespace bailiff {

// Where a proposal stands. The names are those of `changes.state` in the execution document.
enum class ProposalState : std::uint8_t {
  kNone,  // There was nothing to propose.
  kHeld,
  kApproved,  // A plan that was approved and not yet applied.
  kCommitting,
  kCommitted,
  kDiscarded,
  kRejected,
  kDenied,
  kExpired,
  kConflict,
  kNeedsAttention,
  kRolledBack,
};

constexpr ProposalState kProposalStates[] = {
    ProposalState::kNone,       ProposalState::kHeld,           ProposalState::kApproved,
    ProposalState::kCommitting, ProposalState::kCommitted,      ProposalState::kDiscarded,
    ProposalState::kRejected,   ProposalState::kDenied,         ProposalState::kExpired,
    ProposalState::kConflict,   ProposalState::kNeedsAttention, ProposalState::kRolledBack,
};

std::string_view Name(ProposalState state);  // "none", "held", ..., "needs_attention", ...

// Errors: kInvalidArgument; the message lists what would be right.
Result<ProposalState> ParseProposalState(std::string_view name);

// The whole life of a proposal: whether `from` may be followed by `to`.
bool CanBecome(ProposalState from, ProposalState to);

}  // namespace bailiff
