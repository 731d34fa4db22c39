#pragma once

#include "journal/format.h"
#include "journal/journal.h"

namespace bailiff {

// Up to so many files or directories are synced one by one; beyond, one sync of the file system is
// cheaper. Only where that call works: not on FUSE and the like.
inline constexpr std::size_t kSyncOneByOneMax = 16;

// Makes staged content, and the names that lead to it, durable.
Status SyncStagedContent(const Fd& private_dir, const ChangeSet& set, Stability stability);

// Makes durable what the steps changed, done or undone.
Status SyncSteps(const JournalDirs& dirs, const Begin& begin, const SetIndex& index);

}  // namespace bailiff
