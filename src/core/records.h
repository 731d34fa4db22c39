#pragma once

#include <boost/json/object.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "changeset/model.h"
#include "store/store.h"

// What the ledger and the history say of a change set.

namespace bailiff {

class Context;

std::vector<HistoryRow> HistoryRows(const ChangeSet& set, std::int64_t now_ns);

// Appends the records of one commit: its changes, with digests of what was written and identities
// of what moved, in as many "changes" records as it takes, then one of `type` that closes it.
// Durable with the checkpoint that follows a commit.
Status AppendCommit(Context& context, const std::string& type, const ProposalRow& row,
                    const ChangeSet& set, boost::json::object data);

// The data that every record about a proposal begins with: id, digest, who.
boost::json::object AboutProposal(const Context& context, const ProposalRow& row);

// Writes the execution document into the workspace, as configured. A failure becomes a warning in
// the document: the work it tells of is done.
void WriteExecutionRecord(Context& context, const std::string& id, boost::json::object* document);

// The same in two halves, for a caller with other work meanwhile.
std::optional<Result<Fd>> BeginExecutionRecord(Context& context, const std::string& id,
                                               const boost::json::object& document);
void FinishExecutionRecord(std::optional<Result<Fd>> begun, boost::json::object* document);

}  // namespace bailiff
