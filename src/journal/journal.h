#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "changeset/capture.h"
#include "changeset/model.h"
#include "sys/fd.h"

// The only code that writes to a workspace. Every caller holds the workspace's lock (exclusive) and
// is a process with one thread. Format and protocol: docs/formats/journal.md.

namespace bailiff {

// Where a commit happens. Borrowed.
struct JournalDirs {
  const Fd& workspace;    // The root of the tree.
  const Fd& private_dir;  // Its .bailiff: stage/, undo/.
  const Fd& journal;      // On local disk: one <id>.journal per commit.
  // Has stage/<id>/ with the content of change sets that are not committed: `private_dir` itself on
  // a local file system, else a directory on local disk, from where a commit copies it.
  const Fd& held;
};

struct CommitOptions {
  // Called before each step that changes a disk, with its name. For tests that die there.
  std::function<void(std::string_view step)> before_step;

  // The commit that `set` rolls back. Empty: none, or told by where the set's content lies.
  std::string rolls_back;

  // For tests: behave as on a file system without stable inode numbers, rename flags and links.
  bool assume_weak = false;
};

enum class CommitOutcome : std::uint8_t {
  kCommitted,
  kConflict,        // Nothing is applied (or all of it is undone): `problems` says which paths.
  kNeedsAttention,  // Undoing met another writer: `problems` says which paths are left as they are.
};

struct CommitReport {
  std::string id;
  CommitOutcome outcome = CommitOutcome::kCommitted;
  std::vector<PathProblem> problems;
};

// Makes `changes` real: all of it or none, also across a crash (Recover() then finishes).
//
// `digest` (raw) is what was decided; a set with another one is refused, as is staged content that
// is no longer what the set says. On kCommitted everything is durable, the staging directory is
// gone, and what was replaced or deleted lies in undo/<id>/ until Forget().
//
// Errors: kInvalidArgument for a wrong digest; kResourceExhausted when the disk is full; kIo, after
//         which Recover() must run before another commit. After any other than kIo nothing is
//         applied, no journal is left, and the same set may be committed again. That is a conflict
//         where a file was put aside and back, has another ctime for it, and nobody read its base.
Result<CommitReport> Commit(const JournalDirs& dirs, ChangeSet changes, std::string_view digest,
                            const CommitOptions& options = {});

// Finishes or undoes every commit that was cut short. Safe to run at any time under the lock, and
// again after it was itself cut short. Damaged journals are reported as errors, never applied.
// Those that were undone for want of room, and may be tried again, are not among the reports.
Result<std::vector<CommitReport>> Recover(const JournalDirs& dirs,
                                          const CommitOptions& options = {});

// How the commit `id` ended, for a caller that died before it could note it: nothing when no such
// commit was decided, or when Recover() has yet to end it. Takes no lock.
Result<std::optional<CommitReport>> ReportOf(const Fd& journal, const std::string& id);

// The ids of all commits that were decided and not forgotten, sorted. Takes no lock.
Result<std::vector<std::string>> ListCommits(const Fd& journal);

// Whether Recover() has something to do. Takes no lock and changes nothing.
Result<bool> NeedsRecovery(const Fd& journal);

struct Rollback {
  ChangeSet set;                       // Undoes the commit; to be committed under its own id.
  std::vector<PathProblem> conflicts;  // What is no longer as the commit left it. If any, no set.
};

// The change set that undoes commit `id`. Changes nothing.
// Errors: kNotFound when no such commit is known or its undo data is gone (Forget()).
Result<Rollback> BuildRollback(const JournalDirs& dirs, const std::string& id,
                               const std::string& rollback_id);

enum class Staged {
  kKnown,
  // The commit was not decided when its process, or the machine, died: what it had not synced may
  // be other than it looks, and is read again when the set is committed.
  kDoubtful,
};

// Makes staged content durable, so that a held change set survives a crash of the machine.
Status SyncStaged(const JournalDirs& dirs, const ChangeSet& set, Staged staged);

// Drops what is staged of a change set that will not be committed. No error when none. Errors:
// kConflict while a commit of it waits for Recover().
Status DiscardStaged(const JournalDirs& dirs, const std::string& id);

// Drops what a rollback of commit `id` would need, and the journal with it.
Status Forget(const JournalDirs& dirs, const std::string& id);

// Writes one of Bailiff's own records into the workspace, outside change sets: atomically, with
// directories made as needed, owned by the workspace's owner. Refuses to follow links.
Status WriteRecord(const Fd& workspace, std::string_view path, std::string_view bytes);

// Removes from `folder` of the workspace the records "<id>.json", durably. What is not there, or is
// no regular file, is skipped; links are not followed. Returns how many were removed.
// Errors: kInvalidArgument for what is no id.
Result<std::int64_t> RemoveRecords(const Fd& workspace, std::string_view folder,
                                   const std::vector<std::string>& ids);

// Removes what WriteRecord() leaves in .bailiff when it is killed. Those that others are writing
// stay.
Status SweepRecords(const Fd& workspace);

}  // namespace bailiff
