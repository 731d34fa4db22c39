#pragma once

#include <boost/json/object.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "core/context.h"
#include "store/store.h"

namespace bailiff {

struct CommitResult {
  ProposalState state = ProposalState::kCommitting;
  std::vector<PathProblem> problems;
  std::string error;    // Empty: none.
  std::string warning;  // Of a commit that is whole, all the same. Empty: none.
};

// Commits a proposal that is in state committing, and stored, with the workspace lock held, and
// records what became of it in store and ledger. Its change set, which may be large, is in memory
// once: not here while the clerk works.
//
// A commit that could not begin (disk full) leaves the proposal held, a plan approved. One that was
// cut short by an I/O error stays committing: the next taker of the lock finishes it.
Result<CommitResult> CommitUnderLock(Context& context, ProposalRow row);

// Takes a proposal that is held, or approved and not applied, to `state`, rejected or expired: the
// record of that name with `data`, the state, its content, its documents. The caller has the
// workspace lock.
Status DropWaiting(Context& context, const ProposalRow& row, ProposalState state,
                   std::string_view decided_by, const boost::json::object& data);

// Brings the execution documents (stored, and the record in the workspace) of a proposal, and of
// what it rolled back, up to date with its new state.
Status UpdateDocuments(Context& context, const ProposalRow& row, ProposalState state);

}  // namespace bailiff
