#include "tests/crash/sim_fs.h"

#include <linux/fs.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/bytes.h"
#include "base/check.h"

namespace bailiff {
namespace {

constexpr std::int64_t kStartNs = 1'700'000'100'000'000'000;
constexpr std::int64_t kTickNs = 1'000'000;
constexpr std::size_t kSectorBytes = 512;

bool IsSync(const SimOp& op) {
  return op.kind == SimOpKind::kSync || op.kind == SimOpKind::kSyncDisk;
}

bool IsData(const SimOp& op) {
  return op.kind == SimOpKind::kWrite || op.kind == SimOpKind::kTruncate;
}

bool IsAttribute(const SimOp& op) {
  switch (op.kind) {
    case SimOpKind::kMode:
    case SimOpKind::kOwner:
    case SimOpKind::kTime:
    case SimOpKind::kXattr:
      return true;
    default:
      return false;
  }
}

void SetName(SimDisk* disk, SimIno dir, const std::string& name, SimIno ino) {
  const auto found = disk->find(dir);
  if (found == disk->end()) return;  // A directory that never was: its names went with it.
  if (ino == 0) {
    found->second.entries.erase(name);
  } else {
    found->second.entries[name] = ino;
  }
}

void ApplyToInode(const SimOp& op, SimInode* inode) {
  inode->ctime_ns = op.time_ns;
  switch (op.kind) {
    case SimOpKind::kWrite: {
      const auto offset = static_cast<std::size_t>(op.offset);
      if (inode->data.size() < offset + op.bytes.size()) {
        inode->data.resize(offset + op.bytes.size());
      }
      inode->data.replace(offset, op.bytes.size(), op.bytes);
      inode->mtime_ns = op.time_ns;
      return;
    }
    case SimOpKind::kTruncate:
      inode->data.resize(static_cast<std::size_t>(op.offset));
      inode->mtime_ns = op.time_ns;
      return;
    case SimOpKind::kMode:
      inode->mode = op.made.mode;
      return;
    case SimOpKind::kOwner:
      inode->uid = op.made.uid;
      inode->gid = op.made.gid;
      return;
    case SimOpKind::kTime:
      inode->mtime_ns = op.made.mtime_ns;
      return;
    case SimOpKind::kXattr:
      inode->xattrs[op.name] = op.bytes;
      return;
    default:
      return;
  }
}

void Apply(const SimOp& op, SimDisk* disk) {
  if (op.kind == SimOpKind::kMake) (*disk)[op.ino] = op.made;
  const auto inode = disk->find(op.ino);
  if (inode == disk->end()) return;
  ApplyToInode(op, &inode->second);
  switch (op.kind) {
    case SimOpKind::kMake:
    case SimOpKind::kLink:
      SetName(disk, op.dir, op.name, op.ino);
      return;
    case SimOpKind::kRemove:
      SetName(disk, op.dir, op.name, 0);
      return;
    case SimOpKind::kRename:
      SetName(disk, op.dir, op.name, 0);
      SetName(disk, op.to_dir, op.to_name, op.ino);
      return;
    case SimOpKind::kExchange:
      SetName(disk, op.dir, op.name, op.other);
      SetName(disk, op.to_dir, op.to_name, op.ino);
      return;
    default:
      return;
  }
}

void DropUnreachable(SimDisk* disk) {
  std::set<SimIno> reached = {kSimRoot};
  std::vector<SimIno> open = {kSimRoot};
  while (!open.empty()) {
    const SimIno ino = open.back();
    open.pop_back();
    for (const auto& [name, below] : disk->at(ino).entries) {
      if (reached.insert(below).second) open.push_back(below);
    }
  }
  std::erase_if(*disk, [&](const auto& entry) { return !reached.contains(entry.first); });
}

std::size_t Below(std::size_t end, std::mt19937_64* random) {
  return std::uniform_int_distribution<std::size_t>(0, end)(*random);
}

}  // namespace

SimDisk EmptySimDisk() {
  SimDisk disk;
  SimInode dir;
  dir.type = S_IFDIR;
  dir.mode = 0755;
  dir.mtime_ns = dir.ctime_ns = kStartNs;
  disk[kSimRoot] = dir;
  SimIno ino = kSimRoot;
  for (const char* name : {"tree", "state"}) {
    disk[kSimRoot].entries[name] = ++ino;
    dir.dev = ino;
    disk[ino] = dir;
  }
  return disk;
}

std::string Describe(const SimOp& op) {
  const std::string ino = std::to_string(op.ino);
  const std::string name =
      std::to_string(op.dir) + "/" + EscapeForTerminal(op.name, Lines::kSingle);
  const std::string to =
      std::to_string(op.to_dir) + "/" + EscapeForTerminal(op.to_name, Lines::kSingle);
  switch (op.kind) {
    case SimOpKind::kMake:
      return "make " + ino + " " + name;
    case SimOpKind::kLink:
      return "link " + ino + " " + name;
    case SimOpKind::kRemove:
      return "remove " + ino + " " + name;
    case SimOpKind::kRename:
      return "rename " + ino + " " + name + " " + to;
    case SimOpKind::kExchange:
      return "exchange " + ino + " " + name + " " + to;
    case SimOpKind::kWrite:
      return "write " + ino + " " + std::to_string(op.bytes.size()) + " bytes";
    case SimOpKind::kTruncate:
      return "truncate " + ino + " to " + std::to_string(op.offset);
    case SimOpKind::kMode:
      return "mode " + ino;
    case SimOpKind::kOwner:
      return "owner " + ino;
    case SimOpKind::kTime:
      return "time " + ino;
    case SimOpKind::kXattr:
      return "xattr " + ino;
    case SimOpKind::kSync:
      return "sync " + ino;
    case SimOpKind::kSyncDisk:
      return "sync disk " + ino;
  }
  CheckFailed("SimOpKind out of range", __FILE__, __LINE__);
}

SimFs::SimFs(SimDisk disk) : base_(std::move(disk)), live_(base_), now_ns_(kStartNs) {
  for (const auto& [ino, inode] : base_) {
    next_ = std::max(next_, ino + 1);
    now_ns_ = std::max(now_ns_, inode.ctime_ns);
  }
}

long SimFs::Lookup(SimIno dir, std::string_view name) const {
  const SimInode& inode = live_.at(dir);
  if (inode.type != S_IFDIR) return -ENOTDIR;
  if (name.size() > 255) return -ENAMETOOLONG;
  if (name == ".") return static_cast<long>(dir);
  const auto found = inode.entries.find(std::string(name));
  return found == inode.entries.end() ? -ENOENT : static_cast<long>(found->second);
}

SimInode SimFs::NewInode(SimIno dir, mode_t type, mode_t mode) const {
  const SimInode& parent = live_.at(dir);
  SimInode inode;
  inode.type = type;
  inode.dev = parent.dev;
  inode.mode = mode & 07777;
  if ((parent.mode & S_ISGID) != 0) {
    inode.gid = parent.gid;
    if (type == S_IFDIR) inode.mode |= S_ISGID;
  }
  return inode;
}

long SimFs::Make(SimIno dir, const std::string& name, mode_t type, mode_t mode,
                 std::string target) {
  const long there = Lookup(dir, name);
  if (there >= 0) return -EEXIST;
  if (there != -ENOENT) return there;
  SimOp op{.kind = SimOpKind::kMake, .ino = next_++, .dir = dir, .name = name};
  op.made = NewInode(dir, type, mode);
  op.made.data = std::move(target);
  op.made.mtime_ns = now_ns_ + kTickNs;
  const auto ino = static_cast<long>(op.ino);
  Record(std::move(op));
  return ino;
}

long SimFs::Link(SimIno ino, SimIno dir, const std::string& name) {
  const long there = Lookup(dir, name);
  if (there >= 0) return -EEXIST;
  if (there != -ENOENT) return there;
  if (live_.at(ino).dev != live_.at(dir).dev) return -EXDEV;
  if (live_.at(ino).type == S_IFDIR) return -EPERM;
  Record({.kind = SimOpKind::kLink, .ino = ino, .dir = dir, .name = name});
  return 0;
}

long SimFs::Remove(SimIno dir, const std::string& name, bool is_dir) {
  const long there = Lookup(dir, name);
  if (there < 0) return there;
  const SimInode& inode = live_.at(static_cast<SimIno>(there));
  if (is_dir && inode.type != S_IFDIR) return -ENOTDIR;
  if (!is_dir && inode.type == S_IFDIR) return -EISDIR;
  if (is_dir && !inode.entries.empty()) return -ENOTEMPTY;
  Record({.kind = SimOpKind::kRemove, .ino = static_cast<SimIno>(there), .dir = dir, .name = name});
  return 0;
}

SimIno SimFs::ParentDir(SimIno ino) const {
  for (const auto& [dir, inode] : live_) {
    for (const auto& [name, below] : inode.entries) {
      if (below == ino) return dir;
    }
  }
  return 0;
}

// Whether `ino` is `dir` or lies below it.
bool SimFs::IsWithin(SimIno ino, SimIno dir) const {
  while (ino != 0 && ino != dir) ino = ParentDir(ino);
  return ino == dir;
}

long SimFs::Rename(SimIno dir, const std::string& name, SimIno to_dir, const std::string& to_name,
                   unsigned flags) {
  const long from = Lookup(dir, name);
  if (from < 0) return from;
  const long to = Lookup(to_dir, to_name);
  if (to < 0 && to != -ENOENT) return to;
  const auto ino = static_cast<SimIno>(from);
  const SimIno other = to < 0 ? 0 : static_cast<SimIno>(to);
  if (live_.at(ino).dev != live_.at(to_dir).dev) return -EXDEV;
  if (live_.at(ino).type == S_IFDIR && IsWithin(to_dir, ino)) return -EINVAL;
  SimOp op{.kind = SimOpKind::kRename,
           .ino = ino,
           .dir = dir,
           .name = name,
           .to_dir = to_dir,
           .to_name = to_name,
           .other = other};
  if (flags == RENAME_EXCHANGE) {
    if (other == 0) return -ENOENT;
    if (live_.at(other).type == S_IFDIR && IsWithin(dir, other)) return -EINVAL;
    op.kind = SimOpKind::kExchange;
  } else if (other != 0) {
    if (flags == RENAME_NOREPLACE) return -EEXIST;
    if (other == ino) return 0;
    const bool is_dir = live_.at(ino).type == S_IFDIR;
    if (live_.at(other).type == S_IFDIR) {
      if (!is_dir) return -EISDIR;
      if (!live_.at(other).entries.empty()) return -ENOTEMPTY;
    } else if (is_dir) {
      return -ENOTDIR;
    }
  }
  Record(std::move(op));
  return 0;
}

long SimFs::Write(SimIno ino, std::int64_t offset, std::string bytes) {
  const auto size = static_cast<long>(bytes.size());
  Record({.kind = SimOpKind::kWrite, .ino = ino, .offset = offset, .bytes = std::move(bytes)});
  return size;
}

long SimFs::Truncate(SimIno ino, std::int64_t size) {
  Record({.kind = SimOpKind::kTruncate, .ino = ino, .offset = size});
  return 0;
}

long SimFs::SetMode(SimIno ino, mode_t mode) {
  SimOp op{.kind = SimOpKind::kMode, .ino = ino};
  op.made.mode = mode & 07777;
  Record(std::move(op));
  return 0;
}

long SimFs::SetOwner(SimIno ino, uid_t uid, gid_t gid) {
  SimOp op{.kind = SimOpKind::kOwner, .ino = ino};
  op.made.uid = uid == static_cast<uid_t>(-1) ? live_.at(ino).uid : uid;
  op.made.gid = gid == static_cast<gid_t>(-1) ? live_.at(ino).gid : gid;
  Record(std::move(op));
  return 0;
}

long SimFs::SetTime(SimIno ino, std::int64_t mtime_ns) {
  SimOp op{.kind = SimOpKind::kTime, .ino = ino};
  op.made.mtime_ns = mtime_ns;
  Record(std::move(op));
  return 0;
}

long SimFs::SetXattr(SimIno ino, const std::string& name, std::string value) {
  Record({.kind = SimOpKind::kXattr, .ino = ino, .name = name, .bytes = std::move(value)});
  return 0;
}

long SimFs::Sync(SimIno ino) {
  Record({.kind = SimOpKind::kSync, .ino = ino});
  return 0;
}

long SimFs::SyncDisk(SimIno ino) {
  Record({.kind = SimOpKind::kSyncDisk, .ino = ino});
  return 0;
}

void SimFs::Stat(SimIno ino, struct stat* st) const {
  const SimInode& inode = live_.at(ino);
  *st = {};
  st->st_dev = inode.dev;
  st->st_ino = ino;
  st->st_mode = inode.type | inode.mode;
  st->st_uid = inode.uid;
  st->st_gid = inode.gid;
  st->st_size = static_cast<off_t>(inode.data.size());
  for (const auto& [dir, other] : live_) {
    for (const auto& [name, below] : other.entries) {
      if (below == ino) ++st->st_nlink;
    }
  }
  const auto time = [](std::int64_t ns) {
    return timespec{ns / 1'000'000'000, ns % 1'000'000'000};
  };
  st->st_mtim = time(inode.mtime_ns);
  st->st_ctim = time(inode.ctime_ns);
}

void SimFs::BuildUpon(std::size_t i, const Slot& slot) {
  const auto [last, first] = slots_.try_emplace(slot, i);
  if (!first) needs_[i].push_back(last->second);
  last->second = i;
  names_[slot.first].insert(i);
  touched_[slot.first] = i;
}

void SimFs::NoteNames(std::size_t i) {
  const SimOp& op = log_[i];
  if (op.to_dir != 0) {
    // A directory moves below others: they are where they are, or it would lie within itself.
    for (SimIno above = op.to_dir; above != 0; above = ParentDir(above)) {
      const auto moved = moved_.find(above);
      if (moved != moved_.end()) needs_[i].push_back(moved->second);
    }
    BuildUpon(i, {op.to_dir, op.to_name});
    moved_[op.ino] = i;
    if (op.kind == SimOpKind::kExchange) moved_[op.other] = i;
  }
  BuildUpon(i, {op.dir, op.name});
  if (op.kind == SimOpKind::kRemove) {  // A directory goes when nothing is in it.
    for (const std::size_t within : names_[op.ino]) needs_[i].push_back(within);
  }
  if (op.kind == SimOpKind::kMake) made_[op.ino] = i;
}

void SimFs::NoteSync(std::size_t i) {
  const SimOp& op = log_[i];
  std::vector<std::size_t>& synced = syncs_[i];
  const auto add = [&](const std::map<SimIno, std::size_t>& last, SimIno ino) {
    const auto found = last.find(ino);
    if (found != last.end()) synced.push_back(found->second);
  };
  if (op.kind == SimOpKind::kSyncDisk) {
    for (std::size_t j = 0; j < i; ++j) {
      if (live_.at(log_[j].ino).dev != live_.at(op.ino).dev) continue;
      synced.push_back(j);
      last_[i] = j;
    }
    return;
  }
  const auto force = [&](SimIno ino) {
    const auto touched = touched_.find(ino);
    if (touched != touched_.end()) last_[i] = std::max(last_[i].value_or(0), touched->second);
  };
  force(op.ino);
  add(attributes_, op.ino);
  add(data_, op.ino);
  for (const std::size_t name : names_[op.ino]) synced.push_back(name);
  // Nothing else could sync a symbolic link.
  for (const auto& [name, below] : live_.at(op.ino).entries) {
    if (live_.at(below).type != S_IFLNK) continue;
    force(below);
    add(attributes_, below);
  }
}

void SimFs::Record(SimOp op) {
  now_ns_ += kTickNs;
  op.time_ns = now_ns_;
  const std::size_t i = log_.size();
  log_.push_back(std::move(op));
  needs_.emplace_back();
  syncs_.emplace_back();
  last_.emplace_back();
  const SimOp& done = log_[i];
  if (IsSync(done)) {
    NoteSync(i);
    return;
  }
  const auto follow = [&](std::map<SimIno, std::size_t>* last) {
    const auto [found, first] = last->try_emplace(done.ino, i);
    if (!first) needs_[i].push_back(found->second);
    found->second = i;
  };
  if (done.dir != 0) NoteNames(i);
  if (IsAttribute(done)) follow(&attributes_);
  if (IsData(done)) follow(&data_);
  touched_[done.ino] = i;
  Apply(done, &live_);
}

void SimFs::CloseOver(std::vector<bool>* kept) const {
  for (std::size_t i = kept->size(); i-- > 0;) {
    if (!(*kept)[i]) continue;
    for (const std::size_t needed : needs_[i]) (*kept)[needed] = true;
  }
}

// What no power cut can take any more.
std::vector<bool> SimFs::Durable(std::size_t at) const {
  std::vector<bool> kept(at);
  for (std::size_t i = 0; i < at; ++i) {
    for (const std::size_t synced : syncs_[i]) kept[synced] = true;
  }
  CloseOver(&kept);
  return kept;
}

// Of each file system, everything up to some point; of data, what was synced.
std::vector<bool> SimFs::ChooseOrdered(std::size_t at, std::vector<bool> kept,
                                       std::mt19937_64* random) const {
  std::map<std::uint64_t, std::size_t> ends;
  for (const auto& [ino, inode] : base_) ends.emplace(inode.dev, 0);
  for (std::size_t i = 0; i < at; ++i) {
    if (!last_[i].has_value()) continue;
    std::size_t& end = ends[live_.at(log_[i].ino).dev];
    end = std::max(end, *last_[i] + 1);
  }
  for (auto& [dev, end] : ends) end += Below(at - end, random);
  for (std::size_t i = 0; i < at; ++i) {
    if (IsData(log_[i]) || IsSync(log_[i])) continue;
    kept[i] = i < ends[live_.at(log_[i].ino).dev];
  }
  return kept;
}

std::vector<bool> SimFs::ChooseAny(std::size_t at, std::vector<bool> kept,
                                   std::mt19937_64* random) const {
  const std::vector<bool> durable = kept;
  // From almost nothing to almost all: single operations that got ahead, or were left behind.
  constexpr std::array<double, 7> kShares = {0, 0.03, 0.2, 0.5, 0.8, 0.97, 1};
  const double share = kShares[Below(kShares.size() - 1, random)];
  std::bernoulli_distribution got_there(share);
  for (std::size_t i = 0; i < at; ++i) {
    if (!IsData(log_[i]) && got_there(*random)) kept[i] = true;
  }
  if (at > 0 && share == 0) kept[Below(at - 1, random)] = true;
  std::optional<std::size_t> behind;
  if (at > 0 && share == 1) behind = Below(at - 1, random);
  if (behind.has_value() && !durable[*behind]) kept[*behind] = false;
  if (share < 0.5) CloseOver(&kept);
  for (std::size_t i = 0; i < at; ++i) {
    if (durable[i] || !kept[i]) continue;
    const auto is_there = [&](SimIno dir) {
      const auto made = made_.find(dir);
      return made == made_.end() || made->second >= at || kept[made->second];
    };
    const bool complete = std::all_of(needs_[i].begin(), needs_[i].end(),
                                      [&](std::size_t needed) { return kept[needed]; });
    kept[i] = complete && is_there(log_[i].dir) && is_there(log_[i].to_dir);
  }
  return kept;
}

// A file that was not synced: what it was, or more of what was written; at the end perhaps a part
// of one write, or zeros where the size got to the disk and the bytes did not.
void SimFs::ApplyData(std::size_t at, SimModel model, const std::vector<bool>& kept,
                      std::mt19937_64* random, SimDisk* disk) const {
  std::map<SimIno, std::vector<std::size_t>> unsynced;
  for (std::size_t i = 0; i < at; ++i) {
    if (IsData(log_[i]) && !kept[i]) unsynced[log_[i].ino].push_back(i);
  }
  for (const auto& [ino, ops] : unsynced) {
    const auto inode = disk->find(ino);
    if (inode == disk->end()) continue;
    const std::size_t whole = Below(ops.size(), random);
    for (std::size_t i = 0; i < whole; ++i) ApplyToInode(log_[ops[i]], &inode->second);
    if (whole == ops.size() || log_[ops[whole]].kind != SimOpKind::kWrite) continue;
    SimOp torn = log_[ops[whole]];
    const std::size_t size = torn.bytes.size();
    std::size_t written = Below(size, random);
    const bool zeros = model == SimModel::kAny && Below(1, random) == 1;
    if (zeros) {
      const auto offset = static_cast<std::size_t>(torn.offset);
      const std::size_t sector = (offset + written) / kSectorBytes * kSectorBytes;
      written = sector > offset ? sector - offset : 0;
    }
    torn.bytes.resize(written);
    if (zeros) torn.bytes.resize(size);
    if (!torn.bytes.empty()) ApplyToInode(torn, &inode->second);
  }
}

SimDisk SimFs::Cut(std::size_t at, SimModel model, std::mt19937_64* random) const {
  std::vector<bool> kept = Durable(at);
  kept = model == SimModel::kOrdered ? ChooseOrdered(at, std::move(kept), random)
                                     : ChooseAny(at, std::move(kept), random);
  SimDisk disk = base_;
  for (std::size_t i = 0; i < at; ++i) {
    if (kept[i]) Apply(log_[i], &disk);
  }
  ApplyData(at, model, kept, random, &disk);
  DropUnreachable(&disk);
  return disk;
}

}  // namespace bailiff
