#pragma once

#include "journal/format.h"
#include "journal/journal.h"

namespace bailiff {

// Up to so many files or directories are synced one by one; beyond, one sync of the file system is
// cheaper. Only where that call works: not on FUSE and the like.
inline constexpr std::size_t kSyncOneByOneMax = 16;

// Makes staged content, what Prepare() made for `steps`, and the names that lead to it durable.
// `holder`: what has stage/.
Status SyncStagedContent(const Fd& holder, const ChangeSet& set, Stability stability,
                         const std::vector<Step>& steps = {});

// Whether paths are those of the final tree or, again, those of the base.
enum class Ended : std::uint8_t { kApplied, kUndone };

// Makes durable what the steps changed, done or undone.
Status SyncSteps(const JournalDirs& dirs, const Begin& begin, const SetIndex& index, Ended ended);

// Makes durable which entries lie in the private directory for the steps.
Status SyncStores(const Fd& private_dir, const Begin& begin);

}  // namespace bailiff
