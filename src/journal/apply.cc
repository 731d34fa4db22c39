#include "journal/apply.h"

#include <fcntl.h>

#include <cerrno>

#include "journal/attributes.h"
#include "journal/conflicts.h"
#include "journal/durability.h"
#include "sys/file.h"
#include "workspace/tree.h"

namespace bailiff {
namespace {

Problems One(const std::string& path, std::string reason) {
  return {{path, std::move(reason)}};
}

bool IsOneOf(std::int64_t value, std::int64_t one, std::int64_t other) {
  return value == one || value == other;
}

bool HasMetadata(const Identity& now, const Identity& want, bool with_mtime) {
  const bool mode = now.type == EntryType::kSymlink || now.mode == want.mode;
  return mode && (!with_mtime || now.mtime_ns == want.mtime_ns);
}

// Each attribute old or new: a crash can come between them.
bool IsBetween(const Identity& now, const Step& step) {
  const bool is_dir = now.type == EntryType::kDir;
  if (!is_dir && now.size != step.before.size) return false;
  const bool mode =
      now.type == EntryType::kSymlink || IsOneOf(now.mode, step.before.mode, step.after.mode);
  return mode && (is_dir || IsOneOf(now.mtime_ns, step.before.mtime_ns, step.after.mtime_ns));
}

}  // namespace

Applier::Applier(const JournalDirs& dirs, const Begin& begin, const SetIndex& index,
                 const CommitOptions& options)
    : dirs_(dirs),
      begin_(begin),
      index_(index),
      options_(options),
      stage_dir_("stage/" + begin.set.id),
      staged_(dirs.private_dir, O_PATH),
      recognizer_(begin.stability),
      flags_(begin.stability == Stability::kWeak ? RenameFlags::kAvoid : RenameFlags::kUsable) {}

void Applier::Before(std::string_view what, const std::string& path) const {
  if (options_.before_step) options_.before_step(std::string(what) + " " + path);
}

Result<bool> Applier::IsSame(const Place& place, const Seen& seen, const Identity& want) const {
  return recognizer_.IsSame(place.root, place.path, seen, want);
}

Result<bool> Applier::IsUnchanged(const Place& place, const Seen& seen,
                                  const Identity& want) const {
  return recognizer_.IsUnchanged(place.root, place.path, seen, want);
}

Result<std::string> Applier::Move(std::string_view what, const Place& from, const Place& to) {
  Before(what, &from.root == &dirs_.workspace ? from.path : to.path);
  return MoveToNothing(from, to, flags_);
}

Result<bool> Applier::Swap(std::string_view what, const Place& one, const Place& other) {
  Before(what, other.path);
  return Exchange(one, other, flags_);
}

Result<Problems> Applier::Do(const Step& step, Pass pass) {
  switch (step.kind) {
    case StepKind::kDetach:
      return DoDetach(step, pass);
    case StepKind::kAttach:
      return DoAttach(step);
    case StepKind::kExchange:
      return DoExchange(step);
    case StepKind::kReplace:
      return DoReplace(step);
    case StepKind::kLink:
      return DoLink(step);
    case StepKind::kMetadata:
      return DoMetadata(step, pass);
    case StepKind::kMark:
      return DoMark(step);
  }
  CheckFailed("StepKind out of range", __FILE__, __LINE__);
}

Result<Problems> Applier::Undo(const Step& step, bool reached) {
  switch (step.kind) {
    case StepKind::kDetach:
      return UndoDetach(step);
    case StepKind::kAttach:
      return UndoAttach(step, reached);
    case StepKind::kExchange:
      return UndoExchange(step);
    case StepKind::kReplace:
      return UndoReplace(step);
    case StepKind::kLink:
      return UndoLink(step, reached);
    case StepKind::kMetadata:
      return UndoMetadata(step, reached);
    case StepKind::kMark:
      return UndoMark(step);
  }
  CheckFailed("StepKind out of range", __FILE__, __LINE__);
}

Result<Problems> Applier::DoDetach(const Step& step, Pass pass) {
  const Place path = InWorkspace(step.path);
  const Place store = InPrivate(step.store);
  Seen aside = TRY(Look(store.root, store.path));
  if (aside.present) return CheckDetached(step, aside);
  if (pass == Pass::kResuming && !step.mark.empty()) {
    const Seen mark = TRY(Look(dirs_.private_dir, step.mark));
    if (mark.present) return Problems();  // Detached, and attached since.
  }
  const Seen seen = TRY(Look(path.root, path.path));
  const bool overtaken = !seen.present && pass == Pass::kResuming;
  const std::string within = overtaken ? TRY(FindWithin(step)) : "";
  const Place from = within.empty() ? path : InPrivate(within);
  if (within.empty()) {
    const bool unchanged = TRY(IsUnchanged(path, seen, step.before));
    if (!unchanged) return One(step.path, seen.present ? "changed since" : "is gone");
  }
  const std::string why = TRY(Move("detach", from, store));
  if (!why.empty()) return One(step.path, why);
  aside = TRY(Look(store.root, store.path));
  return CheckDetached(step, aside);
}

// Where an entry lies whose directory was detached after it: a disk that lost the power may have
// the later rename without the earlier one. "" when it is nowhere.
Result<std::string> Applier::FindWithin(const Step& step) const {
  for (const Step& other : begin_.steps) {
    if (other.kind != StepKind::kDetach || !IsBelow(step.path, other.path)) continue;
    const std::string within =
        JoinPath(other.store, std::string_view(step.path).substr(other.path.size() + 1));
    const Seen seen = TRY(Look(dirs_.private_dir, within));
    const bool found = TRY(IsUnchanged(InPrivate(within), seen, step.before));
    if (found) return within;
  }
  return std::string();
}

Result<Problems> Applier::CheckDetached(const Step& step, const Seen& aside) {
  const Place store = InPrivate(step.store);
  const bool unchanged = TRY(IsUnchanged(store, aside, step.before));
  if (!unchanged) return One(step.path, "changed at the same moment");
  const Change& change = begin_.set.changes[step.change];
  if (change.op != ChangeOp::kDelete || change.type != EntryType::kDir) return Problems();
  return CheckUnit(store.root, store.path, index_, step.change, recognizer_, Below::kAside);
}

Result<Problems> Applier::UndoDetach(const Step& step) {
  const Place store = InPrivate(step.store);
  const Seen aside = TRY(Look(store.root, store.path));
  if (!aside.present) return Problems();
  const std::string why = TRY(Move("put back", store, InWorkspace(step.path)));
  if (why.empty()) return Problems();
  return One(step.path, why + "; the former entry is kept at .bailiff/" + step.store);
}

Result<Problems> Applier::DoAttach(const Step& step) {
  const Place path = InWorkspace(step.path);
  const Place store = InPrivate(step.store);
  // The staging directory itself never moves, what lies in it does.
  ParentCache fresh(store.root, O_PATH);
  ParentCache* parents = ParentOf(step.store) == stage_dir_ ? &staged_ : &fresh;
  const Seen source = TRY(Look(parents, store.path));
  if (source.present) {
    const bool ours = TRY(IsSame(store, source, step.after));
    if (!ours) return One(step.path, "what was staged for it is something else now");
    Before("attach", step.path);
    const std::string why = TRY(MoveToNothing(parents, store.path, path, flags_));
    return why.empty() ? Problems() : One(step.path, why);
  }
  const Seen seen = TRY(Look(path.root, path.path));
  const bool arrived = TRY(IsSame(path, seen, step.after));
  return arrived ? Problems() : One(step.path, "changed at the same moment");
}

Result<Problems> Applier::UndoAttach(const Step& step, bool reached) {
  const Place path = InWorkspace(step.path);
  const Place store = InPrivate(step.store);
  const Seen source = TRY(Look(store.root, store.path));
  if (source.present) return reached ? CheckTakenBack(step) : Problems();
  if (!step.mark.empty()) {
    const Seen mark = TRY(Look(dirs_.private_dir, step.mark));
    if (!mark.present) return Problems();  // Taken back, and put back since.
  }
  const Seen seen = TRY(Look(path.root, path.path));
  const bool ours = TRY(IsUnchanged(path, seen, step.after));
  if (!ours) return One(step.path, "was changed after it was written, and is left as it is");
  const std::string why = TRY(Move("take back", path, store));
  if (!why.empty()) return One(step.path, why);
  return CheckTakenBack(step);
}

// Another writer's entry may have come to the path just before it was taken back; and a directory
// that this commit made, or restored, may have got entries from others. Neither must go with it.
Result<Problems> Applier::CheckTakenBack(const Step& step) {
  const Change& change = begin_.set.changes[step.change];
  const Place store = InPrivate(step.store);
  Problems problems;
  const Seen back = TRY(Look(store.root, store.path));
  const bool ours = TRY(IsUnchanged(store, back, step.after));
  if (!ours) {
    problems = One(step.path, "changed at the same moment, and is left as it is");
  } else if (change.op == ChangeOp::kCreate && change.type == EntryType::kDir) {
    problems =
        TRY(CheckUnit(store.root, store.path, index_, step.change, recognizer_, Below::kRestored));
  }
  if (problems.empty()) return problems;
  const std::string why = TRY(Move("return", store, InWorkspace(step.path)));
  const std::string kept = why.empty() ? "" : "; it is kept at .bailiff/" + step.store;
  for (PathProblem& problem : problems) problem.reason += kept;
  return problems;
}

Result<Problems> Applier::DoExchange(const Step& step) {
  const Place path = InWorkspace(step.path);
  const Place store = InPrivate(step.store);
  const Seen kept = TRY(Look(dirs_.private_dir, step.slot));
  if (kept.present) return FinishExchange(step);
  const Seen source = TRY(Look(store.root, store.path));
  const Seen target = TRY(Look(path.root, path.path));
  if (!source.present) return One(step.path, "what was staged for it is gone");
  const bool fresh = TRY(IsSame(store, source, step.after));
  if (fresh) {
    const bool unchanged = TRY(IsUnchanged(path, target, step.before));
    if (!unchanged) return One(step.path, target.present ? "changed since" : "is gone");
    const bool exchanged = TRY(Swap("exchange", store, path));
    if (!exchanged) return ExchangeByTwoRenames(step);
  } else {
    const bool arrived = TRY(IsSame(path, target, step.after));
    if (!arrived) return One(step.path, "changed at the same moment");
  }
  const Seen displaced = TRY(Look(store.root, store.path));
  const bool expected = TRY(IsUnchanged(store, displaced, step.before));
  if (!expected) return One(step.path, "changed at the same moment");
  const std::string why = TRY(Move("keep", store, InPrivate(step.slot)));
  return why.empty() ? Problems() : One(step.path, why);
}

Result<Problems> Applier::ExchangeByTwoRenames(const Step& step) {
  const std::string why = TRY(Move("set aside", InWorkspace(step.path), InPrivate(step.slot)));
  if (!why.empty()) return One(step.path, why);
  return FinishExchange(step);
}

// The base's entry is in its slot; the new one may still have to arrive.
Result<Problems> Applier::FinishExchange(const Step& step) {
  const Place path = InWorkspace(step.path);
  const Place store = InPrivate(step.store);
  const Place slot = InPrivate(step.slot);
  const Seen kept = TRY(Look(slot.root, slot.path));
  const bool expected = TRY(IsUnchanged(slot, kept, step.before));
  if (!expected) return One(step.path, "changed at the same moment");
  const Seen source = TRY(Look(store.root, store.path));
  if (source.present) {
    const std::string why = TRY(Move("replace", store, path));
    return why.empty() ? Problems() : One(step.path, why);
  }
  const Seen target = TRY(Look(path.root, path.path));
  const bool arrived = TRY(IsSame(path, target, step.after));
  return arrived ? Problems() : One(step.path, "changed at the same moment");
}

Result<Problems> Applier::UndoExchange(const Step& step) {
  const Place store = InPrivate(step.store);
  const Seen kept = TRY(Look(dirs_.private_dir, step.slot));
  if (kept.present) return UndoKept(step);
  const Seen source = TRY(Look(store.root, store.path));
  if (!source.present) return One(step.path, "what was staged for it is gone");
  const bool fresh = TRY(IsSame(store, source, step.after));
  return fresh ? Problems() : UndoDisplaced(step);
}

// What was at the path lies where the new entry was staged: the base's, or a newer one by somebody
// who wrote at the moment of the exchange.
Result<Problems> Applier::UndoDisplaced(const Step& step) {
  const Place path = InWorkspace(step.path);
  const Place store = InPrivate(step.store);
  const Seen target = TRY(Look(path.root, path.path));
  const bool ours = TRY(IsUnchanged(path, target, step.after));
  const std::string kept = "; what it replaced is kept at .bailiff/" + step.store;
  if (!ours) return One(step.path, "was changed after it was written" + kept);
  const bool exchanged = TRY(Swap("exchange back", store, path));
  if (!exchanged) return One(step.path, "cannot be exchanged here" + kept);
  const Seen back = TRY(Look(store.root, store.path));
  const bool fresh = TRY(IsUnchanged(store, back, step.after));
  return fresh ? Problems() : One(step.path, "changed at the same moment" + kept);
}

Result<Problems> Applier::UndoKept(const Step& step) {
  const Place path = InWorkspace(step.path);
  const Place store = InPrivate(step.store);
  const Place slot = InPrivate(step.slot);
  const std::string kept = "; the former entry is kept at .bailiff/" + step.slot;
  const Seen in_slot = TRY(Look(slot.root, slot.path));
  const Seen source = TRY(Look(store.root, store.path));
  const Seen target = TRY(Look(path.root, path.path));
  const bool returned = TRY(IsSame(slot, in_slot, step.after));
  std::string why;
  if (returned && !source.present) {  // Exchanged back, and cut short there.
    why = TRY(Move("stage again", slot, store));
    return why.empty() ? Problems() : One(step.path, why);
  }
  if (!source.present) {
    const bool ours = TRY(IsUnchanged(path, target, step.after));
    if (!ours)
      return One(step.path, "was changed after it was written, and is left as it is" + kept);
    const bool exchanged = TRY(Swap("exchange back", slot, path));
    if (exchanged) {
      const Seen back = TRY(Look(slot.root, slot.path));
      const bool fresh = TRY(IsUnchanged(slot, back, step.after));
      if (!fresh) return One(step.path, "changed at the same moment" + kept);
      why = TRY(Move("stage again", slot, store));
      return why.empty() ? Problems() : One(step.path, why);
    }
    why = TRY(Move("take back", path, store));
    if (!why.empty()) return One(step.path, why + kept);
  }
  why = TRY(Move("put back", slot, path));
  return why.empty() ? Problems() : One(step.path, why + kept);
}

// The new entry takes the place of the old one in one rename, so that the name is never missing. An
// update by another writer between the last look and that rename is lost: the window of file
// systems without rename flags.
Result<Problems> Applier::DoReplace(const Step& step) {
  const Place path = InWorkspace(step.path);
  const Place store = InPrivate(step.store);
  const Seen source = TRY(Look(store.root, store.path));
  if (source.present) {
    const bool ours = TRY(IsSame(store, source, step.after));
    if (!ours) return One(step.path, "what was staged for it is something else now");
    const Seen target = TRY(Look(path.root, path.path));
    const bool unchanged = TRY(IsUnchanged(path, target, step.before));
    if (!unchanged) return One(step.path, target.present ? "changed since" : "is gone");
    const Seen copy = TRY(Look(dirs_.private_dir, step.slot));
    if (!copy.present) return One(step.path, "changed since");  // It was gone for a while.
    Before("replace", step.path);
    const std::string why = TRY(MoveOver(store, path, target));
    if (!why.empty()) return One(step.path, why);
  }
  const Seen now = TRY(Look(path.root, path.path));
  const bool arrived = TRY(IsSame(path, now, step.after));
  return arrived ? Problems() : One(step.path, "changed at the same moment");
}

Result<Problems> Applier::UndoReplace(const Step& step) {
  const Place path = InWorkspace(step.path);
  const Place slot = InPrivate(step.slot);
  const Seen source = TRY(Look(dirs_.private_dir, step.store));
  if (source.present) return Problems();  // It was never replaced.
  const Seen now = TRY(Look(path.root, path.path));
  const Seen copy = TRY(Look(slot.root, slot.path));
  if (!copy.present) return Problems();  // It was put back already.
  const bool ours = TRY(IsUnchanged(path, now, step.after));
  if (!ours) {
    return One(step.path,
               "was changed after it was written, and is left as it is; the former entry is kept "
               "at .bailiff/" +
                   step.slot);
  }
  Before("put back", step.path);
  const std::string why = TRY(MoveOver(slot, path, now));
  return why.empty() ? Problems() : One(step.path, why + "; it is kept at .bailiff/" + step.slot);
}

// Whether `seen` at the link's path is a name of the file that the link's target names now.
Result<bool> Applier::IsOtherName(const Step& step, const Seen& seen) {
  const Seen target = TRY(Look(dirs_.workspace, step.target));
  return seen.known && target.known && seen.identity.ino == target.identity.ino &&
         seen.identity.dev == target.identity.dev;
}

Result<Problems> Applier::DoLink(const Step& step) {
  const Seen seen = TRY(Look(dirs_.workspace, step.path));
  if (seen.present) {
    const bool done = TRY(IsOtherName(step, seen));
    return done ? Problems() : One(step.path, "something new is there");
  }
  Result<Entry> from = OpenParent(dirs_.workspace, step.target);
  Result<Entry> to = OpenParent(dirs_.workspace, step.path);
  for (const Result<Entry>* end : {&from, &to}) {
    if (end->ok()) continue;
    if (IsGoneParent(end->error())) return One(step.path, "its directory is gone");
    return end->error();
  }
  Before("link", step.path);
  const Status linked = Link(from.value().dir, from.value().name, to.value().dir, to.value().name);
  if (linked.ok()) return Problems();
  const int sys_errno = linked.error().sys_errno();
  if (sys_errno == EEXIST) return One(step.path, "something new is there");
  if (sys_errno == ENOENT) return One(step.path, "the file that it names is gone");
  return linked.error();
}

Result<Problems> Applier::UndoLink(const Step& step, bool reached) {
  const Seen undone = TRY(Look(dirs_.private_dir, step.store));
  if (undone.present) return Problems();
  const Seen seen = TRY(Look(dirs_.workspace, step.path));
  if (!seen.present) return Problems();
  const bool ours = TRY(IsOtherName(step, seen));
  if (!ours) {
    return reached ? One(step.path, "was changed after it was written, and is left as it is")
                   : Problems();
  }
  const std::string why = TRY(Move("take back", InWorkspace(step.path), InPrivate(step.store)));
  return why.empty() ? Problems() : One(step.path, why);
}

Status Applier::SetMetadata(const Step& step, const Identity& to) {
  const Entry entry = TRY(OpenParent(dirs_.workspace, step.path, O_PATH));
  const Fd fd = TRY(OpenEntry(entry, O_PATH));
  Before("metadata", step.path);
  if (to.type != EntryType::kSymlink) TRY(SetMode(fd, to.mode));
  if (!step.sets_mtime) return Ok();
  return SetMtime(fd, to.mtime_ns);
}

// The mark tells what was done before it from what is done after it, so a disk must not get them in
// another order.
Result<Problems> Applier::DoMark(const Step& step) {
  const Seen mark = TRY(Look(dirs_.private_dir, step.store));
  if (mark.present) return Problems();
  const Entry entry = TRY(OpenParent(dirs_.private_dir, step.store));
  Before("sync what is detached", step.store);
  TRY(Fsync(entry.dir));
  Before("mark", step.store);
  const Fd file = TRY(OpenEntry(entry, O_CREAT | O_WRONLY, 0600));
  TRY(Fsync(entry.dir));
  return Problems();
}

Result<Problems> Applier::UndoMark(const Step& step) {
  const Seen mark = TRY(Look(dirs_.private_dir, step.store));
  if (!mark.present) return Problems();
  const Entry entry = TRY(OpenParent(dirs_.private_dir, step.store));
  Before("sync what is taken back", step.store);
  TRY(SyncStores(dirs_.private_dir, begin_));
  Before("unmark", step.store);
  TRY(Unlink(entry.dir, entry.name));
  TRY(Fsync(entry.dir));
  return Problems();
}

Status Applier::Reattach(std::size_t from) {
  for (std::size_t i = 0; i <= from; ++i) {
    const Step& step = begin_.steps[i];
    if (step.kind == StepKind::kMark) {
      const Seen mark = TRY(Look(dirs_.private_dir, step.store));
      if (!mark.present) return Ok();  // All was taken back.
    }
    if (step.kind != StepKind::kAttach) continue;
    const Place store = InPrivate(step.store);
    const Seen source = TRY(Look(store.root, store.path));
    const bool ours = TRY(IsSame(store, source, step.after));
    // Where it cannot be now, nothing is left to undo in it.
    if (ours) (void)TRY(Move("attach again", store, InWorkspace(step.path)));
  }
  return Ok();
}

Result<Problems> Applier::DoMetadata(const Step& step, Pass pass) {
  const Place path = InWorkspace(step.path);
  const Seen seen = TRY(Look(path.root, path.path));
  const bool same = TRY(IsSame(path, seen, step.before));
  // While resuming, a directory that was opened may have moved on already.
  if (!same && step.unlocks && pass == Pass::kResuming) return Problems();
  if (!same) return One(step.path, seen.present ? "changed since" : "is gone");
  if (!IsBetween(seen.identity, step)) return One(step.path, "changed since");
  if (HasMetadata(seen.identity, step.after, step.sets_mtime)) return Problems();
  TRY(SetMetadata(step, step.after));
  return Problems();
}

Result<Problems> Applier::UndoMetadata(const Step& step, bool reached) {
  const Place path = InWorkspace(step.path);
  const Seen seen = TRY(Look(path.root, path.path));
  const bool same = TRY(IsSame(path, seen, step.before));
  if (!same) return Problems();  // Not here any more: nothing of ours to undo.
  if (HasMetadata(seen.identity, step.before, step.sets_mtime)) return Problems();
  if (!IsBetween(seen.identity, step)) {
    return reached ? One(step.path, "was changed after it was written, and is left as it is")
                   : Problems();
  }
  TRY(SetMetadata(step, step.before));
  return Problems();
}

}  // namespace bailiff
