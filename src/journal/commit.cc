#include <utility>

#include "base/bytes.h"
#include "base/ids.h"
#include "journal/conflicts.h"
#include "journal/decided_commit.h"
#include "journal/durability.h"
#include "journal/files.h"
#include "journal/format.h"
#include "journal/journal.h"
#include "journal/prepare.h"
#include "journal/quarantine.h"
#include "sys/file.h"

namespace bailiff {
namespace {

// The commit that a set rolls back, by what it brings.
std::string RolledBackBy(const ChangeSet& set, const CommitOptions& options) {
  if (!options.rolls_back.empty()) return options.rolls_back;
  for (const Change& change : set.changes) {
    if (!change.Has(ChangeFlag::kRestored) || change.content.path.empty()) continue;
    const std::string_view rest = std::string_view(change.content.path).substr(5);
    return std::string(rest.substr(0, rest.find('/')));
  }
  return "";
}

// An id may be committed again only after an attempt that left nothing behind.
Status ClearFormerAttempt(const JournalDirs& dirs, const std::string& id) {
  const Result<Journal> former = ReadJournal(dirs.journal, id);
  if (!former.ok()) {
    return former.error().code() == ErrorCode::kNotFound ? Ok() : Status(former.error());
  }
  if (former.value().state == JournalState::kUndone) return RemoveJournal(dirs.journal, id);
  const bool ended = IsFinal(former.value().state);
  return Error(ErrorCode::kConflict,
               "commit " + id + (ended ? " was made already" : " was cut short; recover it first"));
}

Status CheckRoom(const JournalDirs& dirs) {
  const struct stat workspace = TRY(Stat(dirs.workspace));
  const struct stat private_dir = TRY(Stat(dirs.private_dir));
  if (workspace.st_dev != private_dir.st_dev) {
    return Error(ErrorCode::kUnsupported,
                 ".bailiff lies on another file system than the workspace; renames cannot cross");
  }
  return Ok();
}

// All but the steps, for the set that it has.
Status FillBegin(const JournalDirs& dirs, Stability stability, const CommitOptions& options,
                 Begin* begin) {
  begin->rolls_back = RolledBackBy(begin->set, options);
  begin->stability = stability;
  begin->root_ino = TRY(Stat(dirs.workspace)).st_ino;
  begin->digest = Digest(begin->set);
  return Ok();
}

// Everything up to the decision record. An error leaves nothing decided.
Result<JournalFile> Decide(const JournalDirs& dirs, const SetIndex& index,
                           const CommitOptions& options, Begin* begin) {
  const std::string& id = begin->set.id;
  const auto before = [&](std::string_view what) {
    if (options.before_step) options.before_step(what);
  };
  before("make directories");
  const Fd stage = TRY(EnsureDir(dirs.private_dir, "stage/" + id, 0700));
  TRY(RemoveIfEmpty(dirs.private_dir, UndoDir(id)));
  const Fd undo = TRY(EnsureDir(dirs.private_dir, NewUndoDir(id), 0700));
  begin->steps = PlanSteps(begin->set, index, begin->stability);
  TRY(Prepare(dirs, begin->set, index, options, &begin->steps));
  before("sync staged content");
  TRY(SyncStagedContent(dirs.private_dir, begin->set, begin->stability, begin->steps));
  before("decide");
  return JournalFile::Create(dirs.journal, *begin);
}

}  // namespace

Result<CommitReport> Commit(const JournalDirs& dirs, ChangeSet changes, std::string_view digest,
                            const CommitOptions& options) {
  Begin begin;
  begin.set = std::move(changes);  // A large one is in memory once.
  const ChangeSet& set = begin.set;
  TRY(ValidateSet(set));
  if (Digest(set) != digest) {
    return Error(ErrorCode::kInvalidArgument,
                 "commit " + set.id + ": digest is not that of the change set that was decided");
  }
  TRY(CheckNoQuarantine(dirs.journal));
  TRY(CheckRoom(dirs));
  Status cleared = ClearFormerAttempt(dirs, set.id);
  if (!cleared.ok()) return QuarantineIfLost(dirs.journal, std::move(cleared).error());
  TRY(RemovePrepared(dirs, set.id));
  const SetIndex index(set);
  const Stability stability =
      options.assume_weak ? Stability::kWeak : TRY(StabilityOf(dirs.workspace));
  TRY(VerifyStaged(dirs, set, index, stability));
  Problems conflicts = TRY(CheckConflicts(dirs.workspace, set, index, stability));
  if (!conflicts.empty()) {
    return CommitReport{set.id, CommitOutcome::kConflict, std::move(conflicts)};
  }
  TRY(FillBegin(dirs, stability, options, &begin));
  Result<JournalFile> file = Decide(dirs, index, options, &begin);
  if (!file.ok() && IsGoneParent(file.error())) {
    // Others removed what was there when it was looked at.
    conflicts = TRY(CheckConflicts(dirs.workspace, set, index, stability));
    TRY(DropUndecided(dirs, set.id));
    if (!conflicts.empty()) {
      return CommitReport{set.id, CommitOutcome::kConflict, std::move(conflicts)};
    }
  }
  if (!file.ok()) {
    // The first error is what matters; what stays is dropped by the next attempt or Recover().
    (void)DropUndecided(dirs, set.id);
    return QuarantineIfLost(dirs.journal, std::move(file).error().WithContext("commit " + set.id));
  }
  DecidedCommit decided(dirs, begin, index, std::move(file).value(), options);
  Result<CommitReport> report = decided.Forward(Pass::kFirst);
  if (!report.ok()) return QuarantineIfLost(dirs.journal, std::move(report).error());
  const bool undone = report.ok() && report.value().outcome == CommitOutcome::kConflict;
  if (undone && decided.cause().has_value()) {
    return Error(*decided.cause()).WithContext("commit " + set.id);
  }
  return report;
}

}  // namespace bailiff
