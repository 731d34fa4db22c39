#include "journal/prepare.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <set>
#include <utility>

#include "base/bytes.h"
#include "changeset/capture_attributes.h"
#include "changeset/copy_content.h"
#include "journal/attributes.h"
#include "journal/conflicts.h"
#include "sys/file.h"
#include "workspace/tree.h"

namespace bailiff {
namespace {

constexpr std::size_t kStagedNamesMax = 10'000'000;

Error NotAsDecided(const Change& change, std::string_view why) {
  return Error(ErrorCode::kInvalidArgument,
               EscapeForTerminal(change.path, Lines::kSingle) +
                   ": staged content changed after it was decided: " + std::string(why));
}

// Exactly what was recorded, the time of the last change of anything included.
bool IsUntouched(const Identity& then, const Identity& now) {
  return then.type == now.type && then.ino == now.ino && then.dev == now.dev &&
         then.size == now.size && then.mode == now.mode && then.mtime_ns == now.mtime_ns &&
         then.ctime_ns == now.ctime_ns && then.link_target == now.link_target;
}

// `parents`: of what is restored, or of what is held, as `change` is.
Status VerifyContent(const JournalDirs& dirs, ParentCache* parents, const Change& change,
                     Stability stability) {
  const std::string& path = change.content.path;
  const bool restored = change.Has(ChangeFlag::kRestored);
  const Fd& root = restored ? dirs.private_dir : dirs.held;
  const Seen seen = TRY(Look(parents, path));
  if (!seen.known) return NotAsDecided(change, "it is gone");
  const Identity& now = seen.identity;
  if (now.type != change.type)
    return NotAsDecided(change, "it is a " + std::string(Name(now.type)));
  if (now.type == EntryType::kDir) return Ok();
  if (now.type == EntryType::kSymlink) {
    return now.link_target == change.link_target ? Ok() : NotAsDecided(change, "another target");
  }
  // Another name would let its holder write to the file after it was committed.
  if (!restored && now.nlink != 1) return NotAsDecided(change, "it has another name");
  const bool as_it_was = now.mode == change.mode && now.mtime_ns == change.mtime_ns;
  if (restored && !as_it_was) return NotAsDecided(change, "another mode or time");
  const bool told = !restored || stability == Stability::kStrong;
  if (told && IsUntouched(change.content.identity, now)) return Ok();
  const std::string digest = TRY(HashBeneath(root, path));
  return digest == change.sha256 ? Ok() : NotAsDecided(change, "other bytes");
}

class Preparer {
 public:
  Preparer(const JournalDirs& dirs, const ChangeSet& set, const SetIndex& index,
           const CommitOptions& options, std::vector<Step>* steps)
      : dirs_(dirs),
        private_(dirs.private_dir, O_PATH),
        set_(set),
        index_(index),
        options_(options),
        steps_(*steps) {}

  Status Run() {
    const struct stat root = TRY(Stat(dirs_.workspace));
    owner_ = root.st_uid;
    group_ = root.st_gid;
    held_elsewhere_ = TRY(IsHeldElsewhere(dirs_));
    for (std::size_t i = 0; i < set_.changes.size(); ++i) {
      const bool made = set_.changes[i].op == ChangeOp::kCreate;
      if (made && set_.changes[i].type == EntryType::kDir)
        made_dirs_.emplace(set_.changes[i].path, i);
    }
    for (Step& step : steps_) {
      if (step.kind == StepKind::kMark) continue;
      const Change& change = set_.changes[step.change];
      switch (step.kind) {
        case StepKind::kDetach:
        case StepKind::kLink:
        case StepKind::kMark:
          break;
        case StepKind::kAttach:
          if (change.op != ChangeOp::kMove) TRY(PrepareArrival(change, &step));
          break;
        case StepKind::kExchange:
          TRY(PrepareArrival(change, &step));
          break;
        case StepKind::kReplace:
          if (change.Has(ChangeFlag::kRestored)) TRY(CopyRestored(change, step));
          TRY(PrepareArrival(change, &step));
          TRY(KeepBase(change, &step));
          break;
        case StepKind::kMetadata:
          CompleteMetadata(change, &step);
          break;
      }
    }
    std::erase_if(steps_, [](const Step& step) {
      return step.kind == StepKind::kMetadata && !step.sets_mtime &&
             step.before.mode == step.after.mode;
    });
    return Unlock();
  }

 private:
  void Before(std::string_view what, const std::string& path) {
    if (options_.before_step) options_.before_step(std::string(what) + " " + path);
  }

  Status PrepareArrival(const Change& change, Step* step) {
    const bool restored = change.Has(ChangeFlag::kRestored);
    if (change.content.path.empty()) TRY(Make(change, *step));
    const bool waits = held_elsewhere_ && !restored && !change.content.path.empty();
    if (waits) TRY(BringIn(change, *step));
    if (restored && change.type == EntryType::kDir) TRY(UnlockStored(*step));
    if (!restored && change.type == EntryType::kFile) TRY(AdjustFile(change, *step));
    const std::optional<Identity> now = TRY(IdentityBeneath(&private_, step->store));
    if (!now.has_value()) return NotAsDecided(change, "it is gone");
    step->after = *now;
    step->after.sha256 = change.sha256;
    if (change.type == EntryType::kDir) prepared_dirs_.emplace(change.path, *now);
    return Ok();
  }

  // A directory, or a symbolic link. What an earlier attempt left is made anew.
  Status Make(const Change& change, const Step& step) {
    const Entry entry = TRY(OpenParent(dirs_.private_dir, step.store));
    Before("make", change.path);
    TRY(RemoveTree(entry.dir, entry.name));
    if (change.type == EntryType::kSymlink) {
      TRY(MakeSymlink(entry.dir, entry.name, change.link_target.str()));
      TRY(GiveToOwner(entry, change));
      const Fd link = TRY(OpenEntry(entry, O_PATH));
      return SetMtime(link, change.mtime_ns);
    }
    TRY(MakeDir(entry.dir, entry.name, 0700));
    TRY(GiveToOwner(entry, change));
    const Fd dir = TRY(OpenEntry(entry, O_RDONLY | O_DIRECTORY));
    Inheritance from = TRY(InheritanceAt(ParentOf(change.path)));
    const std::uint32_t mode = TRY(Inherit(dir, from, change.mode));
    made_modes_[change.path] = mode;
    if (!from.setgid) from.gid = group_;
    inherited_.insert_or_assign(change.path, std::move(from));
    return SetMode(dir, 0700);
  }

  // A rename cannot bring what lies on another file system. What arrived is read back: errors of a
  // network file system may show only then.
  Status BringIn(const Change& change, const Step& step) {
    const Entry from = TRY(OpenParent(dirs_.held, step.store));
    const Fd held = TRY(OpenEntry(from, O_RDONLY | O_NONBLOCK));
    const Entry to = TRY(OpenParent(dirs_.private_dir, step.store));
    Result<Fd> base = BaseOf(change);
    if (!base.ok() && !IsReplacedFile(base.error())) return std::move(base).error();
    const Fd attributes = base.ok() ? std::move(base).value() : Fd();
    Before("bring in", change.path);
    const std::string digest = TRY(CopyVerified(held, attributes, to));
    if (digest != change.sha256) return NotAsDecided(change, "other bytes");
    return GiveToOwner(to, change);
  }

  // A second name for what is going to be replaced, or a copy where there are no links. What has
  // changed meanwhile is the step's to tell.
  Status KeepBase(const Change& change, Step* step) {
    const std::string slot = NewUndoDir(set_.id) + "/" + std::string(NameOf(step->slot));
    const Entry to = TRY(OpenParent(dirs_.private_dir, slot));
    Before("keep a copy of", change.path);
    TRY(RemoveTree(to.dir, to.name));
    if (change.type == EntryType::kSymlink) {
      TRY(MakeSymlink(to.dir, to.name, change.base->link_target.str()));
    } else {
      bool linked = false;
      Result<std::string> digest = LinkOrCopyBase(change, to, &linked);
      if (!digest.ok() && IsReplacedFile(digest.error())) return RemoveTree(to.dir, to.name);
      if (!digest.ok()) return std::move(digest).error();
      if (step->before.sha256.empty()) step->before.sha256 = digest.value();
      if (linked) return Ok();
    }
    TRY(GiveToOwner(to, change));
    return Complete(to, change.type, change.base->mode, change.base->mtime_ns);
  }

  // What was kept stays there, so that a rollback which is undone can be tried again.
  Status CopyRestored(const Change& change, const Step& step) {
    const Entry from = TRY(OpenParent(dirs_.private_dir, change.content.path));
    const Entry to = TRY(OpenParent(dirs_.private_dir, step.store));
    const std::optional<struct stat> kept = TRY(StatAt(from.dir, from.name));
    if (!kept.has_value()) return NotAsDecided(change, "it is gone");
    Before("copy", change.path);
    if (change.type == EntryType::kSymlink) {
      TRY(RemoveTree(to.dir, to.name));
      TRY(MakeSymlink(to.dir, to.name, change.link_target.str()));
    } else {
      TRY(RemoveTree(to.dir, to.name));
      const bool linked = TRY(LinkWhereItCan(from, to));
      if (linked) return Ok();  // So that it is, again, a name of what it was a name of.
      const Fd file = TRY(OpenEntry(from, O_RDONLY | O_NONBLOCK));
      const std::string digest = TRY(CopyVerified(file, file, to));
      if (digest != change.sha256) return NotAsDecided(change, "other bytes");
    }
    if (::geteuid() == 0) TRY(SetOwner(to, kept->st_uid, kept->st_gid));
    return Complete(to, change.type, change.mode, change.mtime_ns);
  }

  // Mode and time of a copy, which reaches the disk with them.
  static Status Complete(const Entry& copy, EntryType type, std::uint32_t mode,
                         std::int64_t mtime_ns) {
    const bool is_link = type == EntryType::kSymlink;
    const Fd file = TRY(OpenEntry(copy, is_link ? O_PATH : O_RDONLY | O_NONBLOCK));
    if (!is_link) TRY(SetMode(file, mode));
    TRY(SetMtime(file, mtime_ns));
    return is_link ? Ok() : Fsync(file);
  }

  Result<std::string> LinkOrCopyBase(const Change& change, const Entry& to, bool* linked) const {
    const Fd base = TRY(BaseOf(change));
    if (!base.valid()) return Error(ErrorCode::kNotFound, "is gone");
    const Entry from = TRY(OpenParent(dirs_.workspace, change.base_path()));
    *linked = TRY(LinkWhereItCan(from, to));
    return *linked ? HashFile(base) : CopyVerified(base, base, to);
  }

  // False where the file system has no links.
  Result<bool> LinkWhereItCan(const Entry& from, const Entry& to) const {
    if (options_.assume_weak) return false;
    const Status linked = Link(from.dir, from.name, to.dir, to.name);
    if (linked.ok()) return true;
    constexpr std::array<int, 5> kNoLinks = {ENOSYS, EPERM, EOPNOTSUPP, EMLINK, ENOENT};
    const int sys_errno = linked.error().sys_errno();
    if (std::find(kNoLinks.begin(), kNoLinks.end(), sys_errno) != kNoLinks.end()) return false;
    return linked.error();
  }

  // The file that a change replaces, open for reading. Invalid: there is none.
  Result<Fd> BaseOf(const Change& change) const {
    if (!change.base.has_value()) return Fd();
    const Seen seen = TRY(Look(dirs_.workspace, change.base_path()));
    if (!seen.known || seen.identity.type != EntryType::kFile) return Fd();
    const Entry entry = TRY(OpenParent(dirs_.workspace, change.base_path()));
    return OpenEntry(entry, O_RDONLY | O_NONBLOCK);
  }

  // Returns the digest of the copy as it was read back.
  static Result<std::string> CopyVerified(const Fd& from, const Fd& attributes, const Entry& to) {
    TRY(RemoveTree(to.dir, to.name));
    Fd file = TRY(OpenEntry(to, O_CREAT | O_EXCL | O_WRONLY, 0600));
    const std::string digest = TRY(CopyContent(from, file));
    if (attributes.valid()) TRY(CopyBaseXattrs(attributes, file));
    TRY(Fsync(file));
    TRY(file.Close());
    const Fd again = TRY(OpenEntry(to, O_RDONLY | O_NONBLOCK));
    const std::string found = TRY(HashFile(again));
    if (found == digest) return digest;
    return Error(ErrorCode::kIo, to.name + ": what was written to .bailiff reads back otherwise");
  }

  Status GiveToOwner(const Entry& entry, const Change& change) {
    if (::geteuid() != 0) return Ok();
    if (change.base.has_value()) return SetOwner(entry, change.base->uid, change.base->gid);
    const Inheritance from = TRY(InheritanceAt(ParentOf(change.path)));
    return SetOwner(entry, owner_, from.setgid ? from.gid : group_);
  }

  // Mode and mtime are part of what was decided; a create also inherits.
  Status AdjustFile(const Change& change, const Step& step) {
    const Entry& entry = *TRY(private_.Open(step.store));
    const std::optional<Identity> now = TRY(IdentityAt(entry.dir, entry.name));
    if (!now.has_value()) return NotAsDecided(change, "it is gone");
    Inheritance from;
    if (change.op == ChangeOp::kCreate) from = TRY(InheritanceAt(ParentOf(change.path)));
    const bool inherits = (from.setgid && from.gid != now->gid) || !from.default_acl.empty();
    const bool as_decided = now->mode == change.mode && now->mtime_ns == change.mtime_ns;
    if (!inherits && as_decided) return Ok();
    Before("adjust", change.path);
    const Fd file = TRY(OpenEntry(entry, inherits ? O_RDONLY | O_NONBLOCK : O_PATH));
    std::uint32_t mode = change.mode;
    if (inherits) mode = TRY(Inherit(file, from, mode));
    TRY(SetMode(file, mode));
    return SetMtime(file, change.mtime_ns);
  }

  // What an entry that arrives in the final directory `path` inherits.
  Result<Inheritance> InheritanceAt(std::string_view path) {
    const std::string key(path);
    const auto known = inherited_.find(key);
    if (known != inherited_.end()) return known->second;
    const auto made = made_dirs_.find(key);
    Inheritance inheritance;
    if (made != made_dirs_.end()) {  // A restored one: others are known by now.
      const Fd dir =
          TRY(OpenDirBeneath(dirs_.private_dir, set_.changes[made->second].content.path, O_PATH));
      inheritance = TRY(InheritanceOf(dir));
    } else {
      const Fd dir = TRY(OpenDirBeneath(dirs_.workspace, index_.ToBase(path).value_or(""), O_PATH));
      inheritance = TRY(InheritanceOf(dir));
    }
    inherited_.emplace(key, inheritance);
    return inheritance;
  }

  void CompleteMetadata(const Change& change, Step* step) {
    if (change.op != ChangeOp::kCreate) return;
    const auto prepared = prepared_dirs_.find(change.path);
    if (prepared == prepared_dirs_.end()) return;
    step->before = prepared->second;
    step->after = prepared->second;
    const auto mode = made_modes_.find(change.path);
    step->after.mode = mode == made_modes_.end() ? change.mode : mode->second;
    step->after.mtime_ns = change.mtime_ns;
  }

  // Renaming a directory writes to it. What is put aside may keep the wider mode: the change says
  // which one it gets.
  Status UnlockStored(const Step& step) {
    const Fd dir = TRY(OpenDirBeneath(dirs_.private_dir, step.store, O_PATH));
    if (MayChange(dir)) return Ok();
    const struct stat st = TRY(Stat(dir));
    return SetMode(dir, (st.st_mode & 07777) | 0700);
  }

  // A script may write in a directory that was 0500 before and is 0500 after. This process cannot,
  // unless it is privileged: such directories are opened first, and end with their own mode.
  Status Unlock() {
    std::set<std::string> dirs;  // Base paths, shallowest first.
    for (const Step& step : steps_) {
      const bool in_base = step.kind == StepKind::kDetach;
      if (in_base) dirs.emplace(ParentOf(step.path));
      if (in_base && step.before.type == EntryType::kDir) dirs.insert(step.path);
      const bool in_final = step.kind == StepKind::kAttach || step.kind == StepKind::kExchange ||
                            step.kind == StepKind::kReplace || step.kind == StepKind::kLink;
      if (!in_final) continue;
      const std::optional<std::string> base = index_.ToBase(ParentOf(step.path));
      if (base.has_value()) dirs.insert(*base);
    }
    std::unordered_map<std::string, std::size_t> metadata;  // Steps by path.
    for (std::size_t i = 0; i < steps_.size(); ++i) {
      if (steps_[i].kind == StepKind::kMetadata) metadata.emplace(steps_[i].path, i);
    }
    std::vector<Step> unlocks;
    for (const std::string& path : dirs) {
      const Fd dir = TRY(OpenDirBeneath(dirs_.workspace, path, O_PATH));
      if (path.empty() || MayChange(dir)) continue;
      const std::optional<Identity> now = TRY(IdentityBeneath(dirs_.workspace, path));
      if (!now.has_value()) continue;
      Step unlock;
      unlock.kind = StepKind::kMetadata;
      unlock.path = path;
      unlock.unlocks = true;
      unlock.before = *now;
      unlock.after = *now;
      unlock.after.mode |= 0700;
      Relock(unlock, metadata);
      unlocks.push_back(std::move(unlock));
    }
    steps_.insert(steps_.begin(), unlocks.begin(), unlocks.end());
    OrderMetadata(&steps_);
    return Ok();
  }

  // `metadata`: which steps of that kind there are, by path.
  void Relock(const Step& unlock, const std::unordered_map<std::string, std::size_t>& metadata) {
    std::optional<std::string> path = index_.ToFinal(unlock.path);
    if (!path.has_value()) return;
    const auto known = metadata.find(*path);
    if (known != metadata.end()) {
      steps_[known->second].before.mode = unlock.after.mode;
      return;
    }
    Step relock = unlock;
    relock.path = *std::move(path);
    relock.unlocks = false;
    std::swap(relock.before, relock.after);
    steps_.push_back(std::move(relock));
  }

  const JournalDirs& dirs_;
  ParentCache private_;  // Nothing there is moved while a commit is prepared.
  const ChangeSet& set_;
  const SetIndex& index_;
  const CommitOptions& options_;
  std::vector<Step>& steps_;
  bool held_elsewhere_ = false;
  uid_t owner_ = 0;
  gid_t group_ = 0;
  std::unordered_map<std::string, std::size_t> made_dirs_;
  std::unordered_map<std::string, Inheritance> inherited_;     // By final path of the directory.
  std::unordered_map<std::string, Identity> prepared_dirs_;    // By final path.
  std::unordered_map<std::string, std::uint32_t> made_modes_;  // By final path.
};

}  // namespace

std::string NewUndoDir(const std::string& id) {
  return "undo/" + id + ".new";
}

Result<bool> IsHeldElsewhere(const JournalDirs& dirs) {
  const struct stat held = TRY(Stat(dirs.held));
  const struct stat private_dir = TRY(Stat(dirs.private_dir));
  return held.st_dev != private_dir.st_dev || held.st_ino != private_dir.st_ino;
}

Status VerifyStaged(const JournalDirs& dirs, const ChangeSet& set, const SetIndex& index,
                    Stability stability) {
  const Recognizer recognizer(stability);
  ParentCache held(dirs.held, O_PATH);
  ParentCache kept(dirs.private_dir, O_PATH);
  for (std::size_t i = 0; i < set.changes.size(); ++i) {
    const Change& change = set.changes[i];
    if (change.content.path.empty()) continue;
    ParentCache* parents = change.Has(ChangeFlag::kRestored) ? &kept : &held;
    TRY(VerifyContent(dirs, parents, change, stability));
    const bool is_unit = change.type == EntryType::kDir && !index.IsCarried(i);
    if (!is_unit) continue;
    const Problems problems = TRY(
        CheckUnit(dirs.private_dir, change.content.path, index, i, recognizer, Below::kRestored));
    if (problems.empty()) continue;
    return NotAsDecided(change, problems.front().path + " " + problems.front().reason);
  }
  return Ok();
}

Status Prepare(const JournalDirs& dirs, const ChangeSet& set, const SetIndex& index,
               const CommitOptions& options, std::vector<Step>* steps) {
  return Preparer(dirs, set, index, options, steps).Run();
}

Status RemovePrepared(const JournalDirs& dirs, const std::string& id) {
  const bool all = TRY(IsHeldElsewhere(dirs));
  const Result<Fd> stage = OpenDirBeneath(dirs.private_dir, "stage/" + id);
  if (!stage.ok()) return IsGoneParent(stage.error()) ? Ok() : Status(stage.error());
  const std::vector<std::string> names = TRY(ListDir(stage.value(), kStagedNamesMax));
  for (const std::string& name : names) {
    const bool prepared = all || name.starts_with("new-") || name.starts_with("link-");
    if (prepared) TRY(RemoveTree(stage.value(), name));
  }
  return Ok();
}

Status DistrustStaged(const Fd& holder, const std::string& folder) {
  const Result<Fd> stage = OpenDirBeneath(holder, folder);
  if (!stage.ok()) return IsGoneParent(stage.error()) ? Ok() : Status(stage.error());
  for (const TreeEntry& found : TRY(ListTree(holder, folder))) {
    if (found.identity.type != EntryType::kFile) continue;
    const Entry entry = TRY(OpenParent(stage.value(), found.path));
    const Fd file = TRY(OpenEntry(entry, O_PATH));
    TRY(SetMode(file, found.identity.mode));
  }
  return Ok();
}

Result<Fd> EnsureDir(const Fd& root, std::string_view path, mode_t mode) {
  Fd dir = TRY(OpenDirBeneath(root, "."));
  while (!path.empty()) {
    const std::string name(path.substr(0, path.find('/')));
    path.remove_prefix(std::min(path.size(), name.size() + 1));
    const Status made = MakeDir(dir, name, mode);
    if (!made.ok() && made.error().sys_errno() != EEXIST) return made.error();
    dir = TRY(OpenDirBeneath(dir, name));
  }
  return dir;
}

}  // namespace bailiff
