#include "store/proposal_state.h"

#include <gtest/gtest.h>

#include <iterator>
#include <set>
#include <string>
#include <utility>

#include "tests/support/matchers.h"

namespace bailiff {
namespace {

TEST(ProposalStateTest, TheWholeLifeOfAProposal) {
  using enum ProposalState;
  const std::set<std::pair<ProposalState, ProposalState>> allowed = {
      {kHeld, kApproved},
      {kHeld, kRejected},
      {kHeld, kExpired},
      {kHeld, kCommitting},
      {kHeld, kConflict},
      {kApproved, kCommitting},
      {kApproved, kRejected},
      {kApproved, kExpired},
      {kApproved, kConflict},
      {kCommitting, kCommitted},
      {kCommitting, kConflict},
      {kCommitting, kNeedsAttention},
      {kCommitting, kHeld},
      {kCommitting, kApproved},
      {kCommitted, kRolledBack},
      {kNeedsAttention, kCommitted},
      {kNeedsAttention, kRolledBack},
      {kNeedsAttention, kConflict},
  };
  for (const ProposalState from : kProposalStates) {
    for (const ProposalState to : kProposalStates) {
      EXPECT_EQ(CanBecome(from, to), allowed.contains({from, to}))
          << Name(from) << " to " << Name(to);
    }
  }
}

TEST(ProposalStateTest, EveryStateIsListedOnceAndItsNameParses) {
  std::set<std::string> names;
  for (const ProposalState state : kProposalStates) {
    names.emplace(Name(state));
    const Result<ProposalState> parsed = ParseProposalState(Name(state));
    ASSERT_THAT(parsed, IsOk());
    EXPECT_EQ(parsed.value(), state);
  }
  EXPECT_EQ(names, (std::set<std::string>{"none", "held", "approved", "committing", "committed",
                                          "discarded", "rejected", "denied", "expired", "conflict",
                                          "needs_attention", "rolled_back"}));
}

TEST(ProposalStateTest, AnUnknownNameIsAnsweredWithTheKnownOnes) {
  const Result<ProposalState> parsed = ParseProposalState("Held");
  ASSERT_THAT(parsed, FailsWith(ErrorCode::kInvalidArgument));
  EXPECT_NE(parsed.error().message().find("'Held' is unknown; the states are none, held"),
            std::string::npos);
}

}  // namespace
}  // namespace bailiff
