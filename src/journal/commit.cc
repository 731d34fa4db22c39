#include <fcntl.h>
#include <sys/statvfs.h>

#include <cerrno>
#include <optional>
#include <unordered_map>

#include "base/bytes.h"
#include "base/ids.h"
#include "journal/apply.h"
#include "journal/conflicts.h"
#include "journal/durability.h"
#include "journal/format.h"
#include "journal/journal.h"
#include "journal/prepare.h"
#include "journal/quarantine.h"
#include "sys/file.h"
#include "workspace/tree.h"
#include "workspace/workspace.h"

namespace bailiff {
namespace {

std::string UndoDir(const std::string& id) {
  return "undo/" + id;
}

Status RemoveIfEmpty(const Fd& private_dir, const std::string& path) {
  const Result<Entry> entry = OpenParent(private_dir, path);
  if (!entry.ok()) return IsGoneParent(entry.error()) ? Ok() : Status(entry.error());
  const Status removed = RemoveDir(entry.value().dir, entry.value().name);
  if (removed.ok() || removed.error().sys_errno() == ENOENT) return Ok();
  return removed;
}

Status RemoveNewUndoDir(const Fd& private_dir, const std::string& id) {
  const Result<Entry> entry = OpenParent(private_dir, NewUndoDir(id));
  if (!entry.ok()) return IsGoneParent(entry.error()) ? Ok() : Status(entry.error());
  return RemoveTree(entry.value().dir, entry.value().name);
}

// What an attempt that was not decided leaves behind. Staged content stays: it may be tried again.
Status DropUndecided(const JournalDirs& dirs, const std::string& id) {
  TRY(RemoveJournal(dirs.journal, id));
  TRY(RemovePrepared(dirs, id));
  // Last: it is what SweepUndoDirs() knows such an attempt by.
  return RemoveNewUndoDir(dirs.private_dir, id);
}

// Some step has no path in the workspace; a problem has to have one.
std::string PathOf(const Step& step) {
  return step.path.empty() ? JoinPath(kPrivateDir, step.store) : step.path;
}

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

Status MarkRolledBack(const Fd& journal, const std::string& id) {
  const Result<Journal> original = ReadJournal(journal, id);
  // Forgotten since, or marked before a crash.
  if (!original.ok() && original.error().code() == ErrorCode::kNotFound) return Ok();
  if (!original.ok()) return original.error();
  if (original.value().state != JournalState::kApplied) return Ok();
  JournalFile file = TRY(JournalFile::Open(journal, id, original.value().size));
  return file.AppendRolledBack();
}

// What was restored by another name or a copy of it, and need not be kept any longer.
Status RemoveRestored(const Fd& private_dir, const Begin& begin) {
  for (const Step& step : begin.steps) {
    if (step.kind != StepKind::kReplace) continue;
    const Change& change = begin.set.changes[step.change];
    if (!change.Has(ChangeFlag::kRestored)) continue;
    const Result<Entry> kept = OpenParent(private_dir, change.content.path);
    if (!kept.ok() && IsGoneParent(kept.error())) continue;
    if (!kept.ok()) return kept.error();
    TRY(RemoveTree(kept.value().dir, kept.value().name));
  }
  return Ok();
}

// What remains to be done for a commit that is applied. Its staging directory goes last: while it
// is there, Recover() does this again.
Status EndApplied(const JournalDirs& dirs, const Begin& begin) {
  if (IsId(begin.rolls_back)) TRY(MarkRolledBack(dirs.journal, begin.rolls_back));
  TRY(RemoveRestored(dirs.private_dir, begin));
  return DiscardStaged(dirs, begin.set.id);
}

// Does what was decided, or undoes it: the part that Commit() and Recover() share.
class Execution {
 public:
  Execution(const JournalDirs& dirs, const Begin& begin, JournalFile file,
            const CommitOptions& options)
      : dirs_(dirs),
        begin_(begin),
        index_(begin.set),
        file_(std::move(file)),
        options_(options),
        applier_(dirs, begin, index_, options) {
    report_.id = begin.set.id;
  }

  Result<CommitReport> Forward(Pass pass) {
    TRY(OpenUndoDir());
    for (std::size_t i = 0; i < begin_.steps.size(); ++i) {
      const bool opened = i > 0 && begin_.steps[i - 1].unlocks && !begin_.steps[i].unlocks;
      const Status synced = opened ? SyncBefore("sync what is opened", Ended::kUndone) : Ok();
      if (!synced.ok()) return Halted(synced.error());
      Result<Problems> problems = applier_.Do(begin_.steps[i], pass);
      if (problems.ok() && problems.value().empty()) continue;
      if (!problems.ok()) {
        if (IsMachineFailure(problems.error())) return Halted(problems.error());
        // A directory on the way that others removed is a conflict like any other.
        const bool is_conflict = IsGoneParent(problems.error());
        if (!is_conflict) cause_ = problems.error();
        Problems met;
        if (is_conflict) met.push_back({PathOf(begin_.steps[i]), problems.error().message()});
        problems = std::move(met);
      }
      Status noted = SyncBefore("sync what is done", Ended::kApplied);
      if (!noted.ok()) return Halted(noted.error());
      Before("write undo record");
      noted = file_.AppendUndo(i, problems.value());
      if (!noted.ok()) return Halted(noted.error());
      return Backward(i, std::move(problems).value(), pass);
    }
    const Status finished = Finish();
    if (!finished.ok()) return Halted(finished.error());
    return report_;
  }

  // No problems: something else than a conflict was in the way.
  Result<CommitReport> Backward(std::size_t from, Problems problems, Pass pass) {
    if (pass == Pass::kResuming) {
      const Status attached = applier_.Reattach(from);
      if (!attached.ok()) return Halted(attached.error());
    }
    Problems left;
    // Later ones too: who resumes may fail at a step before some that were done already.
    for (std::size_t i = begin_.steps.size(); i-- > 0;) {
      const Step& step = begin_.steps[i];
      const bool turns = i < from && step.kind != begin_.steps[i + 1].kind;
      const Status synced = turns ? SyncTurn(step) : Ok();
      if (!synced.ok()) return Halted(synced.error());
      Result<Problems> met = applier_.Undo(step, i < from);
      if (!met.ok()) {
        // A full disk gets room again; until then the rest of the undo waits for Recover().
        const bool full = met.error().code() == ErrorCode::kResourceExhausted;
        if (full || IsMachineFailure(met.error())) return Halted(met.error());
        met = Problems{{PathOf(step), "cannot be undone: " + met.error().message()}};
      }
      left.insert(left.end(), met.value().begin(), met.value().end());
    }
    const Status ended = EndUndo(problems.empty(), &left);
    if (!ended.ok()) return Halted(ended.error());
    report_.outcome = left.empty() ? CommitOutcome::kConflict : CommitOutcome::kNeedsAttention;
    report_.problems = left.empty() ? std::move(problems) : std::move(left);
    SortProblems(&report_.problems);
    return report_;
  }

  // Why it was undone, where that was no conflict: it may be tried again.
  const std::optional<Error>& cause() const { return cause_; }

 private:
  void Before(std::string_view what) {
    if (options_.before_step) options_.before_step(what);
  }

  // Whatever is half done stays for Recover().
  Error Halted(const Error& error) const {
    return Error(error)
        .WithCode(ErrorCode::kIo)
        .WithContext("commit " + begin_.set.id + " was cut short");
  }

  Status SyncBefore(std::string_view what, Ended ended) {
    Before(what);
    return SyncSteps(dirs_, begin_, index_, ended);
  }

  // Steps of one kind do not build upon each other, those of another kind may. So that each is
  // found done or undone by a second try, what is undone so far is on the disk before `step` is
  // undone.
  Status SyncTurn(const Step& step) {
    const bool is_mark = step.kind == StepKind::kMark || step.kind == StepKind::kDetach;
    if (is_mark) return Ok();  // It syncs by itself.
    return SyncBefore("sync what is undone", step.unlocks ? Ended::kUndone : Ended::kApplied);
  }

  Status OpenUndoDir() {
    const Fd undo = TRY(OpenDirBeneath(dirs_.private_dir, "undo"));
    const std::string& id = begin_.set.id;
    const bool waiting = TRY(StatAt(undo, id + ".new")).has_value();
    if (!waiting) return Ok();
    Before("open undo directory");
    TRY(Rename(undo, id + ".new", undo, id));
    return Fsync(undo);
  }

  Status Finish() {
    TRY(SyncBefore("sync", Ended::kApplied));
    const std::vector<Left> left = TRY(WhatIsLeft());
    Before("write applied record");
    TRY(file_.AppendApplied(left));
    Before("mark as rolled back");
    return EndApplied(dirs_, begin_);
  }

  // By change: what has come to its path, if anything has.
  std::vector<std::optional<Identity>> Arrivals() const {
    std::unordered_map<std::string_view, const Step*> metadata;
    for (const Step& step : begin_.steps) {
      if (step.kind == StepKind::kMetadata) metadata[step.path] = &step;
    }
    std::vector<std::optional<Identity>> arrivals(begin_.set.changes.size());
    for (const Step& step : begin_.steps) {
      const bool arrives = step.kind == StepKind::kAttach || step.kind == StepKind::kExchange ||
                           step.kind == StepKind::kReplace;
      if (!arrives) continue;
      Identity& arrived = arrivals[step.change].emplace(step.after);
      const auto then = metadata.find(step.path);
      if (then == metadata.end()) continue;
      arrived.mode = then->second->after.mode;
      if (then->second->sets_mtime) arrived.mtime_ns = then->second->after.mtime_ns;
    }
    return arrivals;
  }

  Result<std::vector<Left>> WhatIsLeft() {
    const Recognizer recognizer(begin_.stability);
    const std::vector<std::optional<Identity>> arrivals = Arrivals();
    std::vector<Left> left(begin_.set.changes.size());
    for (std::size_t i = 0; i < left.size(); ++i) {
      const Change& change = begin_.set.changes[i];
      if (change.op == ChangeOp::kDelete) continue;
      const Seen seen = TRY(Look(dirs_.workspace, change.path));
      if (!seen.known) continue;
      left[i].present = true;
      left[i].identity = seen.identity;
      left[i].identity.sha256 = change.sha256;
      if (arrivals[i].has_value()) {
        const bool ours =
            TRY(recognizer.IsUnchanged(dirs_.workspace, change.path, seen, *arrivals[i]));
        if (!ours) left[i].identity.ino = 0;  // Somebody's since: only content can tell.
      }
      const bool moved_tree = change.op == ChangeOp::kMove && change.type == EntryType::kDir;
      if (!moved_tree) continue;
      const Result<std::vector<TreeEntry>> entries = ListTree(dirs_.workspace, change.path);
      if (!entries.ok()) continue;  // Another writer's doing: a rollback will meet it.
      for (const TreeEntry& entry : entries.value()) left[i].below.push_back(entry.path);
    }
    return left;
  }

  Status EndUndo(bool may_be_tried_again, Problems* left) {
    if (left->empty()) {
      Before("remove undo directory");
      TRY(RemoveCopies());
      TRY(RemoveIfEmpty(dirs_.private_dir, UndoDir(begin_.set.id)));
    }
    TRY(SyncBefore("sync", Ended::kUndone));
    if (left->empty()) {
      Before("write undone record");
      TRY(may_be_tried_again ? RemoveJournal(dirs_.journal, begin_.set.id) : file_.AppendUndone());
      // Only now: until then a second try at the undo looks for them.
      Before("remove what was prepared");
      return RemovePrepared(dirs_, begin_.set.id);
    }
    SortProblems(left);
    Before("write attention record");
    return file_.AppendAttention(*left);
  }

  // Copies of what was not replaced in the end.
  Status RemoveCopies() {
    for (const Step& step : begin_.steps) {
      if (step.kind != StepKind::kReplace) continue;
      const Result<Entry> entry = OpenParent(dirs_.private_dir, step.slot);
      if (!entry.ok() && IsGoneParent(entry.error())) continue;
      if (!entry.ok()) return entry.error();
      TRY(RemoveTree(entry.value().dir, entry.value().name));
    }
    return Ok();
  }

  const JournalDirs& dirs_;
  const Begin& begin_;
  SetIndex index_;
  JournalFile file_;
  const CommitOptions& options_;
  Applier applier_;
  CommitReport report_;
  std::optional<Error> cause_;
};

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

// Ends a commit that was decided and cut short.
Result<CommitReport> Finish(const JournalDirs& dirs, const std::string& id, Journal journal,
                            const CommitOptions& options) {
  const struct stat root = TRY(Stat(dirs.workspace));
  const bool strong = journal.begin.stability == Stability::kStrong;
  if (strong && root.st_ino != journal.begin.root_ino) {
    return Error(ErrorCode::kConflict, "recover " + id + ": it belongs to another workspace");
  }
  JournalFile file = TRY(JournalFile::Open(dirs.journal, id, journal.size));
  Execution execution(dirs, journal.begin, std::move(file), options);
  if (journal.state == JournalState::kUndoing) {
    return execution.Backward(journal.undo_from, std::move(journal.problems), Pass::kResuming);
  }
  return execution.Forward(Pass::kResuming);
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
    const Result<JournalState> state = PeekJournal(dirs.journal, id);
    if (!state.ok()) continue;  // Without a journal it is a proposal's, not ours.
    const bool applied =
        state.value() == JournalState::kApplied || state.value() == JournalState::kRolledBack;
    if (applied) {
      const Journal journal = TRY(ReadJournal(dirs.journal, id));
      TRY(EndApplied(dirs, journal.begin));
    }
    if (state.value() == JournalState::kUndone) TRY(RemovePrepared(dirs, id));
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
  const std::vector<std::string> ids = TRY(ListJournals(dirs.journal));
  for (const std::string& id : ids) {
    const JournalState state = TRY(PeekJournal(dirs.journal, id));
    if (IsFinal(state)) continue;
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
  return reports;
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
  Execution execution(dirs, begin, std::move(file).value(), options);
  Result<CommitReport> report = execution.Forward(Pass::kFirst);
  if (!report.ok()) return QuarantineIfLost(dirs.journal, std::move(report).error());
  const bool undone = report.ok() && report.value().outcome == CommitOutcome::kConflict;
  if (undone && execution.cause().has_value()) {
    return Error(*execution.cause()).WithContext("commit " + set.id);
  }
  return report;
}

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
    const Result<JournalState> state = PeekJournal(journal, id);
    // A damaged one is Recover()'s to tell.
    if (!state.ok() || !IsFinal(state.value())) return true;
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
