#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "journal/decided_commit.h"
#include "journal/files.h"
#include "journal/format.h"
#include "journal/inspect.h"
#include "journal/journal.h"
#include "journal/prepare.h"
#include "journal/quarantine.h"
#include "sys/file.h"

namespace bailiff {
namespace {

// Ends a commit that was decided and cut short.
Result<CommitReport> Finish(const JournalDirs& dirs, const std::string& id, Journal journal,
                            const CommitOptions& options) {
  const struct stat root = TRY(Stat(dirs.workspace));
  const bool strong = journal.begin.stability == Stability::kStrong;
  if (strong && root.st_ino != journal.begin.root_ino) {
    return Error(ErrorCode::kConflict, "recover " + id + ": it belongs to another workspace");
  }
  JournalFile file = TRY(JournalFile::Open(dirs.journal, id, journal.size));
  const SetIndex index(journal.begin.set);
  DecidedCommit decided(dirs, journal.begin, index, std::move(file), options);
  if (journal.state == JournalState::kUndoing) {
    return decided.Backward(journal.undo_from, std::move(journal.problems), Pass::kResuming);
  }
  return decided.Forward(Pass::kResuming);
}

// Commits that ended, but died before they removed what lies in this stage/, or what they had
// prepared.
Status SweepStages(const JournalDirs& dirs, const Fd& holder) {
  constexpr std::size_t kStagesMax = 1'000'000;
  const Result<Fd> stage = OpenDirBeneath(holder, "stage");
  if (!stage.ok()) return IsGoneParent(stage.error()) ? Ok() : Status(stage.error());
  const std::vector<std::string> ids = TRY(ListDir(stage.value(), kStagesMax));
  for (const std::string& id : ids) {
    if (!IsId(id)) continue;
    const Result<JournalEnd> end = PeekJournal(dirs.journal, id);
    if (!end.ok()) continue;  // Without a journal it is a proposal's, not ours.
    const bool applied = end.value().state == JournalState::kApplied ||
                         end.value().state == JournalState::kRolledBack;
    if (applied) {
      const Journal journal = TRY(ReadJournal(dirs.journal, id));
      TRY(EndApplied(dirs, journal.begin));
    }
    if (end.value().state == JournalState::kUndone) TRY(RemovePrepared(dirs, id));
  }
  return Ok();
}

// An attempt that died before it had a journal.
Status SweepUndoDirs(const JournalDirs& dirs) {
  constexpr std::size_t kUndoDirsMax = 1'000'000;
  constexpr std::string_view kNew = ".new";
  const Result<Fd> undo = OpenDirBeneath(dirs.private_dir, "undo");
  if (!undo.ok()) return IsGoneParent(undo.error()) ? Ok() : Status(undo.error());
  const std::vector<std::string> names = TRY(ListDir(undo.value(), kUndoDirsMax));
  for (const std::string& name : names) {
    if (!name.ends_with(kNew)) continue;
    const std::string id = name.substr(0, name.size() - kNew.size());
    if (IsId(id)) TRY(DropUndecided(dirs, id));
  }
  return Ok();
}

Result<bool> HasUndoDir(const Fd& private_dir, const std::string& id) {
  const Seen seen = TRY(Look(private_dir, UndoDir(id)));
  return seen.present;
}

// All that Recover() does while no quarantine is in force.
Result<std::vector<CommitReport>> RecoverAll(const JournalDirs& dirs,
                                             const CommitOptions& options) {
  std::vector<std::pair<std::string, Journal>> open;
  std::vector<std::string> ended;
  const std::vector<std::string> ids = TRY(ListJournals(dirs.journal));
  for (const std::string& id : ids) {
    const JournalState state = TRY(PeekJournal(dirs.journal, id)).state;
    if (IsFinal(state)) {
      ended.push_back(id);
      continue;
    }
    Journal journal = TRY(ReadJournal(dirs.journal, id));
    const bool undecided = journal.state == JournalState::kUndecided;
    const bool applied_to = undecided && TRY(HasUndoDir(dirs.private_dir, id));
    if (applied_to) {
      return Error(ErrorCode::kIo, id + ".journal: its decision is lost, but it was being applied. "
                                        "Nothing was done for it; it needs inspection");
    }
    open.emplace_back(id, std::move(journal));
  }
  std::vector<CommitReport> reports;
  for (auto& [id, journal] : open) {
    if (journal.state == JournalState::kUndecided) {
      TRY(DropUndecided(dirs, id));
      continue;
    }
    CommitReport report = TRY(Finish(dirs, id, std::move(journal), options));
    const bool was_undone = report.outcome == CommitOutcome::kConflict;
    if (was_undone && report.problems.empty()) continue;  // It may be tried again.
    reports.push_back(std::move(report));
  }
  TRY(SweepUndoDirs(dirs));
  TRY(SweepStages(dirs, dirs.private_dir));
  TRY(SweepStages(dirs, dirs.held));
  TRY(SweepRecords(dirs.workspace));
  // Last: what died before it put its journal aside may have left more than that.
  for (const std::string& id : ended) (void)PutAside(dirs.journal, id);
  return reports;
}

}  // namespace

Result<std::vector<CommitReport>> Recover(const JournalDirs& dirs, const CommitOptions& options) {
  TRY(CheckNoQuarantine(dirs.journal));
  const bool restarted = TRY(QuarantineOf(dirs.journal)) == Quarantine::kOver;
  if (restarted) TRY(DistrustStaged(dirs.held, "stage"));
  Result<std::vector<CommitReport>> reports = RecoverAll(dirs, options);
  if (!reports.ok()) return QuarantineIfLost(dirs.journal, std::move(reports).error());
  if (restarted) {
    // Else a power cut could take back the distrust and leave no mark.
    TRY(SyncFilesystem(dirs.held));
    TRY(LiftQuarantine(dirs.journal));
  }
  return reports;
}

Result<bool> NeedsRecovery(const Fd& journal) {
  if (TRY(QuarantineOf(journal)) != Quarantine::kNone) return true;
  const std::vector<std::string> ids = TRY(ListJournals(journal));
  for (const std::string& id : ids) {
    const Result<JournalEnd> end = PeekJournal(journal, id);
    // A damaged one is Recover()'s to tell.
    if (!end.ok() || !IsFinal(end.value().state)) return true;
  }
  return false;
}

Result<std::optional<CommitReport>> ReportOf(const Fd& journal, const std::string& id) {
  Result<Journal> read = ReadJournal(journal, id);
  if (!read.ok()) {
    if (read.error().code() == ErrorCode::kNotFound) return std::optional<CommitReport>();
    return std::move(read).error();
  }
  CommitReport report;
  report.id = id;
  report.problems = std::move(read.value().problems);
  switch (read.value().state) {
    case JournalState::kUndecided:
    case JournalState::kDecided:
    case JournalState::kUndoing:
      return std::optional<CommitReport>();
    case JournalState::kApplied:
    case JournalState::kRolledBack:
      report.outcome = CommitOutcome::kCommitted;
      break;
    case JournalState::kUndone:
      report.outcome = CommitOutcome::kConflict;
      break;
    case JournalState::kNeedsAttention:
      report.outcome = CommitOutcome::kNeedsAttention;
      break;
  }
  return std::optional(std::move(report));
}

}  // namespace bailiff
