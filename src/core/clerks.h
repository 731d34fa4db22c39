#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "changeset/plan.h"
#include "engine/launcher.h"
#include "journal/journal.h"

// The file work of the use cases, each call done by a clerk: a process of its own with few
// capabilities. Callers hold the workspace lock where journal/journal.h asks for it.

namespace bailiff {

class Context;

// What the launcher must know before it is started.
std::map<std::string, ClerkJob> ClerkJobs();

// `change_set`: as Encode() makes it. `rolls_back`: the commit that it undoes; empty for any other.
Result<CommitReport> ClerkCommit(Context& context, std::string change_set, std::string_view digest,
                                 const std::string& rolls_back);
Result<std::vector<CommitReport>> ClerkRecover(Context& context);
Result<Rollback> ClerkBuildRollback(Context& context, const std::string& id,
                                    const std::string& rollback_id);
Result<PlanEffect> ClerkBuildPlan(Context& context, const PlanRequest& request);
Status ClerkSyncStaged(Context& context, const ChangeSet& set, Staged staged);
Status ClerkDiscardStaged(Context& context, const std::string& id);
Status ClerkForget(Context& context, const std::string& id);

// Writes a record: ClerkReadyRecord(), if any, has a clerk wait for it; ClerkBeginRecord() returns
// where AwaitAnswer() tells how it ended.
Status ClerkReadyRecord(Context& context);
Result<Fd> ClerkBeginRecord(Context& context, const std::string& path, std::string_view bytes);

// Removes records "<id>.json" from `folder` of the workspace; returns how many were there.
Result<std::int64_t> ClerkRemoveRecords(Context& context, const std::string& folder,
                                        const std::vector<std::string>& ids);

// The ids of change sets whose content is kept, and of those that have put something aside.
Result<std::vector<std::string>> ListStaged(const Context& context);
Result<std::vector<std::string>> ListPutAside(const Context& context);

}  // namespace bailiff
