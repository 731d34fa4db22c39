#pragma once

#include <dirent.h>
#include <sys/stat.h>

#include <cstdint>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// A file system in memory that remembers the order of what was done to it and of every sync, and
// makes from that what a disk may hold after a power cut. sim_calls.cc puts it behind the system
// calls that the journal makes. What is allowed to be lost: docs/design/0015-simulated-crashes.md.

namespace bailiff {

using SimIno = std::uint64_t;

struct SimInode {
  mode_t type = 0;         // S_IFREG, S_IFDIR or S_IFLNK.
  std::uint64_t dev = 0;   // Of the file system that it lies on.
  std::uint32_t mode = 0;  // 07777.
  uid_t uid = 0;
  gid_t gid = 0;
  std::int64_t mtime_ns = 0;
  std::int64_t ctime_ns = 0;
  std::string data;  // Of a file; of a symbolic link, its target.
  std::map<std::string, SimIno> entries;
  std::map<std::string, std::string> xattrs;
};

using SimDisk = std::map<SimIno, SimInode>;

inline constexpr SimIno kSimRoot = 1;

// A disk with nothing on it but two file systems, /sim/tree and /sim/state.
SimDisk EmptySimDisk();

enum class SimOpKind : std::uint8_t {
  kMake,      // A new inode `ino`, named.
  kLink,      // One more name.
  kRemove,    // One name less.
  kRename,    // `other`: what was replaced.
  kExchange,  // `other`: what was at the other name.
  kWrite,
  kTruncate,  // To `offset` bytes.
  kMode,
  kOwner,
  kTime,
  kXattr,
  kSync,      // Of one file or directory.
  kSyncDisk,  // Of the file system that `ino` lies on.
};

struct SimOp {
  SimOpKind kind = SimOpKind::kSync;
  SimIno ino = 0;
  SimIno dir = 0;
  std::string name;
  SimIno to_dir = 0;
  std::string to_name;
  SimIno other = 0;
  std::int64_t offset = 0;
  std::string bytes;
  SimInode made;  // kMake. kMode, kOwner, kTime: the one attribute that is set.
  std::int64_t time_ns = 0;
};

std::string Describe(const SimOp& op);

// Which orders a file system keeps.
enum class SimModel : std::uint8_t {
  kOrdered,  // As ext4: names and attributes reach the disk in the order in which they were made.
  kAny,      // As little as POSIX promises: any subset, but for what an operation builds upon.
};

class SimFs {
 public:
  // `disk` is durable.
  explicit SimFs(SimDisk disk);

  // What a process sees now.
  const SimDisk& live() const { return live_; }
  const std::vector<SimOp>& log() const { return log_; }

  // What may be found after the power was cut when the first `at` entries of the log were done.
  SimDisk Cut(std::size_t at, SimModel model, std::mt19937_64* random) const;

  // Calls of the kernel. Negative: an errno.
  SimIno Root() const { return kSimRoot; }
  long Lookup(SimIno dir, std::string_view name) const;
  long Make(SimIno dir, const std::string& name, mode_t type, mode_t mode, std::string target);
  long Link(SimIno ino, SimIno dir, const std::string& name);
  long Remove(SimIno dir, const std::string& name, bool is_dir);
  long Rename(SimIno dir, const std::string& name, SimIno to_dir, const std::string& to_name,
              unsigned flags);
  long Write(SimIno ino, std::int64_t offset, std::string bytes);
  long Truncate(SimIno ino, std::int64_t size);
  long SetMode(SimIno ino, mode_t mode);
  long SetOwner(SimIno ino, uid_t uid, gid_t gid);
  long SetTime(SimIno ino, std::int64_t mtime_ns);
  long SetXattr(SimIno ino, const std::string& name, std::string value);
  long Sync(SimIno ino);
  long SyncDisk(SimIno ino);
  void Stat(SimIno ino, struct stat* st) const;
  const SimInode& At(SimIno ino) const { return live_.at(ino); }

 private:
  using Slot = std::pair<SimIno, std::string>;

  SimInode NewInode(SimIno dir, mode_t type, mode_t mode) const;
  bool IsWithin(SimIno ino, SimIno dir) const;
  SimIno ParentDir(SimIno ino) const;
  void Record(SimOp op);
  void NoteNames(std::size_t i);
  void NoteSync(std::size_t i);
  void BuildUpon(std::size_t i, const Slot& slot);
  void CloseOver(std::vector<bool>* kept) const;
  std::vector<bool> Durable(std::size_t at) const;
  std::vector<bool> ChooseOrdered(std::size_t at, std::vector<bool> kept,
                                  std::mt19937_64* random) const;
  std::vector<bool> ChooseAny(std::size_t at, std::vector<bool> kept,
                              std::mt19937_64* random) const;
  void ApplyData(std::size_t at, SimModel model, const std::vector<bool>& kept,
                 std::mt19937_64* random, SimDisk* disk) const;

  const SimDisk base_;
  SimDisk live_;
  std::vector<SimOp> log_;
  std::vector<std::vector<std::size_t>> needs_;   // By entry: the earlier ones it builds upon.
  std::vector<std::vector<std::size_t>> syncs_;   // By entry: what a sync makes durable.
  std::vector<std::optional<std::size_t>> last_;  // By entry: kOrdered, the last one it forces out.
  std::map<Slot, std::size_t> slots_;
  std::map<SimIno, std::size_t> attributes_, data_, made_, moved_, touched_;
  std::map<SimIno, std::set<std::size_t>> names_;  // By directory.
  SimIno next_ = 2;
  std::int64_t now_ns_ = 0;
};

// The one that the wrapped system calls reach below /sim. Nothing: they fail there.
void UseSimFs(SimFs* fs);

}  // namespace bailiff
