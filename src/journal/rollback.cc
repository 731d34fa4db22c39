#include <fcntl.h>

#include <cerrno>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "base/bytes.h"
#include "base/ids.h"
#include "journal/conflicts.h"
#include "journal/format.h"
#include "journal/inspect.h"
#include "journal/journal.h"
#include "sys/file.h"
#include "workspace/tree.h"

namespace bailiff {
namespace {

// Builds the inverse: what the commit left becomes the base, what it put aside becomes the content.
// Large ones are why each part of the journal is dropped when it has been used.
class Inverter {
 public:
  Inverter(const JournalDirs& dirs, Journal journal, const std::string& rollback_id)
      : dirs_(dirs), journal_(std::move(journal)), set_(journal_.begin.set), index_(set_) {
    rollback_.set.id = rollback_id;
  }

  Result<Rollback> Run() {
    aside_.resize(set_.changes.size());
    for (const Step& step : journal_.begin.steps) {
      if (step.kind == StepKind::kDetach) aside_[step.change] = step.store;
      const bool replaces = step.kind == StepKind::kExchange || step.kind == StepKind::kReplace;
      if (replaces) aside_[step.change] = step.slot;
      if (step.kind == StepKind::kDetach) detached_.emplace(step.path, step.store);
    }
    journal_.begin.steps = std::vector<Step>();
    for (const Change& change : set_.changes) {
      if (!change.sha256.empty()) written_.emplace(change.path, change.sha256);
    }
    for (std::size_t i = 0; i < set_.changes.size(); ++i) TRY(Invert(i));
    DropOriginal();
    SortCanonically(&rollback_.set);
    if (rollback_.conflicts.empty()) TRY(CheckAsCommitWould());
    SortProblems(&rollback_.conflicts);
    if (!rollback_.conflicts.empty()) rollback_.set.changes.clear();
    return std::move(rollback_);
  }

 private:
  void DropOriginal() {
    written_.clear();
    detached_.clear();
    index_.reset();
    aside_ = std::vector<std::string>();
    journal_.left = std::vector<Left>();
    journal_.begin.set.changes = std::vector<Change>();
  }

  void Conflict(const std::string& path, std::string reason) {
    rollback_.conflicts.push_back({path, std::move(reason)});
  }

  Status CheckAsCommitWould() {
    TRY(ValidateSet(rollback_.set));
    const SetIndex index(rollback_.set);
    Problems problems =
        TRY(CheckConflicts(dirs_.workspace, rollback_.set, index, journal_.begin.stability));
    rollback_.conflicts = std::move(problems);
    return Ok();
  }

  Status Invert(std::size_t i) {
    const Change& done = set_.changes[i];
    if (done.op == ChangeOp::kDelete) return InvertDelete(i);
    std::optional<Identity> now = TRY(AsLeft(i));
    if (!now.has_value()) return Ok();
    Change change;
    change.type = done.type;
    change.path = done.base_path();
    // A move may end at the path it came from, in a directory that took the place of the old one.
    if (done.op == ChangeOp::kMove || done.path != change.path) change.from = done.path;
    change.base = *std::move(now);
    switch (done.op) {
      case ChangeOp::kDelete:
        break;
      case ChangeOp::kMove:
        change.op = ChangeOp::kMove;
        if (done.type == EntryType::kDir) TRY(CheckMovedTree(i, &change));
        break;
      case ChangeOp::kCreate:
        change.op = ChangeOp::kDelete;
        break;
      case ChangeOp::kModify:
        change.op = ChangeOp::kModify;
        TRY(Bring(*done.base, AsideOf(i), done.base_path(), &change));
        break;
      case ChangeOp::kMetadata:
        change.op = ChangeOp::kMetadata;
        change.size = done.base->size;
        change.mode = done.base->mode;
        change.mtime_ns = done.base->mtime_ns;
        change.sets_mtime = done.sets_mtime;
        break;
    }
    rollback_.set.changes.push_back(std::move(change));
    return Ok();
  }

  // Where the base of a modify lies. A file that also moved was detached by its move.
  const std::string& AsideOf(std::size_t i) const {
    if (!aside_[i].empty()) return aside_[i];
    const auto moved = detached_.find(set_.changes[i].base_path());
    return moved == detached_.end() ? aside_[i] : moved->second;
  }

  Status InvertDelete(std::size_t i) {
    if (index_->IsCarried(i)) return Ok();  // With its unit.
    TRY(Restore(set_.changes[i], aside_[i]));
    for (const std::size_t below : index_->CarriedBy(i)) {
      const Change& change = set_.changes[below];
      const std::string relative = change.path.substr(set_.changes[i].path.size() + 1);
      TRY(Restore(change, JoinPath(aside_[i], relative)));
    }
    return Ok();
  }

  Status Restore(const Change& deleted, const std::string& aside) {
    Change change;
    change.op = ChangeOp::kCreate;
    change.type = deleted.type;
    change.path = deleted.path;
    TRY(Bring(*deleted.base, aside, deleted.path, &change));
    rollback_.set.changes.push_back(std::move(change));
    return Ok();
  }

  // Points `change` at what was put aside, after making sure that it still is what it was: a file
  // with another name in the workspace can be written to there.
  Status Bring(const Identity& base, const std::string& aside, const std::string& path,
               Change* change) {
    const Seen seen = TRY(Look(dirs_.private_dir, aside));
    if (!seen.known || seen.identity.type != base.type) {
      Conflict(path, "what was there is no longer kept");
      return Ok();
    }
    const Identity& kept = seen.identity;
    change->content.path = aside;
    change->content.identity = kept;
    change->Set(ChangeFlag::kRestored);
    change->mode = base.mode;
    change->mtime_ns = base.mtime_ns;
    change->link_target = base.link_target;
    if (base.type != EntryType::kFile) return Ok();
    change->size = base.size;
    change->sha256 = base.sha256;
    const bool touched =
        kept.size != base.size || kept.mtime_ns != base.mtime_ns || kept.mode != base.mode;
    if (touched || kept.nlink > 1 || base.sha256.empty()) {
      change->sha256 = TRY(HashBeneath(dirs_.private_dir, aside));
      change->content.identity.sha256 = change->sha256;
    }
    const bool differs = !base.sha256.empty() && change->sha256 != base.sha256;
    if (touched || differs) Conflict(path, "what was there was written to by its other name");
    return Ok();
  }

  // The content that the commit left at a change's path, as far as it is known.
  std::string DigestOf(const Change& done) const {
    const auto written = written_.find(done.path);
    if (written != written_.end()) return std::string(written->second);
    return done.base.has_value() ? done.base->sha256.str() : "";
  }

  // What is at a change's path now, if that is what the commit left there.
  Result<std::optional<Identity>> AsLeft(std::size_t i) {
    const Change& done = set_.changes[i];
    const Left& left = journal_.left[i];
    const Seen seen = TRY(Look(dirs_.workspace, done.path));
    std::optional<Identity> nothing;
    if (!seen.present || !left.present) {
      Conflict(done.path, "is gone");
      return nothing;
    }
    const bool same = TRY(IsAsLeft(done, left.identity, seen));
    if (!same) {
      Conflict(done.path, "changed since");
      return nothing;
    }
    Identity now = seen.identity;
    if (done.type == EntryType::kFile) now.sha256 = DigestOf(done);
    return std::optional(std::move(now));
  }

  Result<bool> IsAsLeft(const Change& done, const Identity& left, const Seen& seen) {
    const Identity& now = seen.identity;
    if (!seen.known || now.type != left.type) return false;
    if (now.type == EntryType::kSymlink) return now.link_target == left.link_target;
    if (now.mode != left.mode) return false;
    if (now.type == EntryType::kDir) return true;
    if (now.size != left.size) return false;
    const bool strong = journal_.begin.stability == Stability::kStrong;
    const bool same_file = strong && now.ino == left.ino && now.mtime_ns == left.mtime_ns;
    if (same_file && now.ctime_ns == left.ctime_ns) return true;
    const std::string digest = DigestOf(done);
    // Never read, so its times are all there is.
    if (digest.empty()) return same_file || (!strong && now.mtime_ns == left.mtime_ns);
    const std::string found = TRY(HashBeneath(dirs_.workspace, done.path));
    return found == digest;
  }

  // A directory goes back with what it has; entries that it got since are told instead.
  Status CheckMovedTree(std::size_t i, Change* change) {
    const std::string& path = set_.changes[i].path;
    const Result<std::vector<TreeEntry>> entries = ListTree(dirs_.workspace, path);
    if (!entries.ok()) {
      if (entries.error().code() != ErrorCode::kUnsupported) return entries.error();
      Conflict(path, entries.error().message());
      return Ok();
    }
    std::unordered_set<std::string_view> known(journal_.left[i].below.begin(),
                                               journal_.left[i].below.end());
    for (const TreeEntry& entry : entries.value()) {
      if (known.contains(entry.path)) continue;
      Conflict(JoinPath(path, entry.path), "is new in a directory that goes or moves");
    }
    change->base->tree_sha256 = TreeDigest(entries.value(), journal_.begin.stability);
    return Ok();
  }

  const JournalDirs& dirs_;
  Journal journal_;
  const ChangeSet& set_;  // Of the journal.
  std::optional<SetIndex> index_;
  std::vector<std::string> aside_;                                  // By change.
  std::unordered_map<std::string_view, std::string_view> written_;  // Final path to digest.
  std::unordered_map<std::string, std::string> detached_;           // Base path to private path.
  Rollback rollback_;
};

Error Unknown(const std::string& id, std::string_view why) {
  return Error(ErrorCode::kNotFound, "roll back " + id + ": " + std::string(why));
}

}  // namespace

Result<Rollback> BuildRollback(const JournalDirs& dirs, const std::string& id,
                               const std::string& rollback_id) {
  if (!IsId(id)) return Unknown(EscapeForTerminal(id, Lines::kSingle), "not an id");
  Result<Journal> journal = ReadJournal(dirs.journal, id);
  if (!journal.ok() && journal.error().code() == ErrorCode::kNotFound) {
    return Unknown(id, "no such commit is known");
  }
  if (!journal.ok()) return journal.error();
  switch (journal.value().state) {
    case JournalState::kApplied:
      break;
    case JournalState::kRolledBack:
      return Unknown(id, "already rolled back");
    case JournalState::kUndecided:
    case JournalState::kDecided:
    case JournalState::kUndoing:
    case JournalState::kUndone:
    case JournalState::kNeedsAttention:
      return Unknown(id, "it was not committed");
  }
  const Seen undo = TRY(Look(dirs.private_dir, "undo/" + id));
  if (!undo.present) return Unknown(id, "what it replaced is no longer kept");
  return Inverter(dirs, std::move(journal).value(), rollback_id).Run();
}

}  // namespace bailiff
