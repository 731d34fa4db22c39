#include "journal/decided_commit.h"

#include <fcntl.h>

#include <unordered_map>
#include <utility>

#include "base/bytes.h"
#include "base/ids.h"
#include "journal/conflicts.h"
#include "journal/files.h"
#include "journal/prepare.h"
#include "sys/file.h"
#include "workspace/tree.h"
#include "workspace/workspace.h"

namespace bailiff {
namespace {

Status RemoveNewUndoDir(const Fd& private_dir, const std::string& id) {
  const Result<Entry> entry = OpenParent(private_dir, NewUndoDir(id));
  if (!entry.ok()) return IsGoneParent(entry.error()) ? Ok() : Status(entry.error());
  return RemoveTree(entry.value().dir, entry.value().name);
}

// Some step has no path in the workspace; a problem has to have one.
std::string PathOf(const Step& step) {
  return step.path.empty() ? JoinPath(kPrivateDir, step.store) : step.path;
}

Status MarkRolledBack(const Fd& journal, const std::string& id) {
  const Result<JournalEnd> original = PeekJournal(journal, id);
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

}  // namespace

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

Status DropUndecided(const JournalDirs& dirs, const std::string& id) {
  TRY(RemoveJournal(dirs.journal, id));
  TRY(RemovePrepared(dirs, id));
  // Last: it is what SweepUndoDirs() knows such an attempt by.
  return RemoveNewUndoDir(dirs.private_dir, id);
}

Status EndApplied(const JournalDirs& dirs, const Begin& begin) {
  if (IsId(begin.rolls_back)) TRY(MarkRolledBack(dirs.journal, begin.rolls_back));
  TRY(RemoveRestored(dirs.private_dir, begin));
  return DiscardStaged(dirs, begin.set.id);
}

DecidedCommit::DecidedCommit(const JournalDirs& dirs, const Begin& begin, const SetIndex& index,
                             JournalFile file, const CommitOptions& options)
    : dirs_(dirs),
      begin_(begin),
      index_(index),
      file_(std::move(file)),
      options_(options),
      applier_(dirs, begin, index, options) {
  report_.id = begin.set.id;
}

Result<CommitReport> DecidedCommit::Forward(Pass pass) {
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
  PutJournalAside();
  return report_;
}

Result<CommitReport> DecidedCommit::Backward(std::size_t from, Problems problems, Pass pass) {
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
  PutJournalAside();
  report_.outcome = left.empty() ? CommitOutcome::kConflict : CommitOutcome::kNeedsAttention;
  report_.problems = left.empty() ? std::move(problems) : std::move(left);
  SortProblems(&report_.problems);
  return report_;
}

void DecidedCommit::Before(std::string_view what) {
  if (options_.before_step) options_.before_step(what);
}

// Whatever is half done stays for Recover().
Error DecidedCommit::Halted(const Error& error) const {
  return Error(error)
      .WithCode(ErrorCode::kIo)
      .WithContext("commit " + begin_.set.id + " was cut short");
}

Status DecidedCommit::SyncBefore(std::string_view what, Ended ended) {
  Before(what);
  return SyncSteps(dirs_, begin_, index_, ended);
}

// Steps of one kind do not build upon each other, those of another kind may. So that each is
// found done or undone by a second try, what is undone so far is on the disk before `step` is
// undone.
Status DecidedCommit::SyncTurn(const Step& step) {
  const bool is_mark = step.kind == StepKind::kMark || step.kind == StepKind::kDetach;
  if (is_mark) return Ok();  // It syncs by itself.
  return SyncBefore("sync what is undone", step.unlocks ? Ended::kUndone : Ended::kApplied);
}

Status DecidedCommit::OpenUndoDir() {
  const Fd undo = TRY(OpenDirBeneath(dirs_.private_dir, "undo"));
  const std::string& id = begin_.set.id;
  const bool waiting = TRY(StatAt(undo, id + ".new")).has_value();
  if (!waiting) return Ok();
  Before("open undo directory");
  TRY(Rename(undo, id + ".new", undo, id));
  return Fsync(undo);
}

Status DecidedCommit::Finish() {
  TRY(SyncBefore("sync", Ended::kApplied));
  const std::vector<Left> left = TRY(WhatIsLeft());
  Before("write applied record");
  TRY(file_.AppendApplied(left));
  Before("mark as rolled back");
  return EndApplied(dirs_, begin_);
}

void DecidedCommit::PutJournalAside() {
  Before("put the journal aside");
  // Where it cannot be, it stays and is looked at each time. One that may be tried again has none.
  (void)PutAside(dirs_.journal, begin_.set.id);
}

Identity DecidedCommit::Arrival::Is() const {
  Identity identity = step->after;
  if (metadata == nullptr) return identity;
  identity.mode = metadata->after.mode;
  if (metadata->sets_mtime) identity.mtime_ns = metadata->after.mtime_ns;
  return identity;
}

// By change.
std::vector<DecidedCommit::Arrival> DecidedCommit::Arrivals() const {
  std::unordered_map<std::string_view, const Step*> metadata;
  for (const Step& step : begin_.steps) {
    if (step.kind == StepKind::kMetadata) metadata[step.path] = &step;
  }
  std::vector<Arrival> arrivals(begin_.set.changes.size());
  for (const Step& step : begin_.steps) {
    const bool arrives = step.kind == StepKind::kAttach || step.kind == StepKind::kExchange ||
                         step.kind == StepKind::kReplace;
    if (!arrives) continue;
    const auto then = metadata.find(step.path);
    arrivals[step.change] = {&step, then == metadata.end() ? nullptr : then->second};
  }
  return arrivals;
}

Result<std::vector<Left>> DecidedCommit::WhatIsLeft() {
  const Recognizer recognizer(begin_.stability);
  ParentCache parents(dirs_.workspace, O_PATH);
  const std::vector<Arrival> arrivals = Arrivals();
  std::vector<Left> left(begin_.set.changes.size());
  for (std::size_t i = 0; i < left.size(); ++i) {
    const Change& change = begin_.set.changes[i];
    if (change.op == ChangeOp::kDelete) continue;
    const Seen seen = TRY(Look(&parents, change.path));
    if (!seen.known) continue;
    left[i].present = true;
    left[i].identity = seen.identity;
    left[i].identity.sha256 = change.sha256;
    if (arrivals[i].step != nullptr) {
      const bool ours =
          TRY(recognizer.IsUnchanged(dirs_.workspace, change.path, seen, arrivals[i].Is()));
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

Status DecidedCommit::EndUndo(bool may_be_tried_again, Problems* left) {
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
Status DecidedCommit::RemoveCopies() {
  for (const Step& step : begin_.steps) {
    if (step.kind != StepKind::kReplace) continue;
    const Result<Entry> entry = OpenParent(dirs_.private_dir, step.slot);
    if (!entry.ok() && IsGoneParent(entry.error())) continue;
    if (!entry.ok()) return entry.error();
    TRY(RemoveTree(entry.value().dir, entry.value().name));
  }
  return Ok();
}

}  // namespace bailiff
