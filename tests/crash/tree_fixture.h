#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/sha256.h"
#include "changeset/model.h"
#include "journal/journal.h"
#include "sys/file.h"
#include "tests/support/matchers.h"
#include "workspace/tree.h"

// A workspace to commit to, and change sets written by hand.

namespace bailiff {

inline void PrintTo(const PathProblem& problem, std::ostream* out) {
  *out << EscapeForTerminal(problem.path, Lines::kSingle) << ": " << problem.reason;
}

inline constexpr std::int64_t kOldTime = 1'600'000'000'123'456'789;
inline constexpr std::int64_t kNewTime = 1'700'000'000'000'000'001;

inline constexpr const char* kCommitId = "exec_20260101_000000_00000001";
inline constexpr const char* kRollbackId = "roll_20260101_000000_00000002";

// In memory where possible: what a process wrote it does not lose by dying, so that syncing makes
// no difference here but for the time that it takes.
inline std::string ScratchDir(const std::string& name) {
  const std::string dir = ::access("/dev/shm", W_OK) == 0 ? "/dev/shm/" : ::testing::TempDir();
  return dir + "bailiff_" + name + "_" + std::to_string(::getpid());
}

// <dir>/ws, its .bailiff, and <dir>/journal. Gone with the object.
class Tree {
 public:
  explicit Tree(const std::string& dir) : dir_(dir) {
    Clear();
    std::filesystem::create_directories(dir_ + "/ws/.bailiff");
    std::filesystem::create_directories(dir_ + "/journal");
    Open();
  }
  ~Tree() { Clear(); }
  Tree(const Tree&) = delete;
  Tree& operator=(const Tree&) = delete;

  void Open() {
    workspace_ = OpenPath(dir_ + "/ws", O_RDONLY | O_DIRECTORY).value();
    private_ = OpenPath(dir_ + "/ws/.bailiff", O_RDONLY | O_DIRECTORY).value();
    journal_ = OpenPath(dir_ + "/journal", O_RDONLY | O_DIRECTORY).value();
  }

  JournalDirs dirs() const { return {workspace_, private_, journal_}; }
  const Fd& workspace() const { return workspace_; }
  const Fd& private_dir() const { return private_; }
  const Fd& journal() const { return journal_; }
  std::string Path(const std::string& path) const { return dir_ + "/ws/" + path; }
  std::string JournalPath(const std::string& id) const {
    return dir_ + "/journal/" + id + ".journal";
  }

  void File(const std::string& path, const std::string& content, mode_t mode = 0644,
            std::int64_t mtime = kOldTime) const {
    std::filesystem::create_directories(std::filesystem::path(Path(path)).parent_path());
    std::ofstream(Path(path), std::ios::binary) << content;
    ASSERT_EQ(::chmod(Path(path).c_str(), mode), 0);
    SetTime(path, mtime);
  }
  void Dir(const std::string& path, mode_t mode = 0755) const {
    std::filesystem::create_directories(Path(path));
    ASSERT_EQ(::chmod(Path(path).c_str(), mode), 0);
  }
  void Symlink(const std::string& path, const std::string& target) const {
    std::filesystem::create_symlink(target, Path(path));
    SetTime(path, kOldTime);
  }
  void SetTime(const std::string& path, std::int64_t mtime) const {
    const timespec times[2] = {{0, UTIME_OMIT}, ToTimespec(mtime)};
    ASSERT_EQ(::utimensat(AT_FDCWD, Path(path).c_str(), times, AT_SYMLINK_NOFOLLOW), 0);
  }

  // Everything there is to see of the workspace, .bailiff and times of directories left out: one
  // line per entry.
  std::string Snapshot() const {
    const std::vector<TreeEntry> entries = ListTree(workspace_, "").value();
    std::map<std::uint64_t, std::string> first_name;
    std::ostringstream out;
    for (const TreeEntry& entry : entries) {
      const Identity& identity = entry.identity;
      if (entry.path == ".bailiff" || IsBelow(entry.path, ".bailiff")) continue;
      out << EscapeForTerminal(entry.path, Lines::kSingle) << " " << Name(identity.type);
      if (identity.type != EntryType::kSymlink) out << " " << std::oct << identity.mode << std::dec;
      out << " " << identity.uid << ":" << identity.gid;
      if (identity.type != EntryType::kDir) out << " @" << identity.mtime_ns;
      if (identity.type == EntryType::kSymlink) out << " -> " << identity.link_target;
      if (identity.type == EntryType::kFile) {
        out << " " << ToHex(HashBeneath(workspace_, entry.path).value()).substr(0, 8);
        const std::string& first = first_name.emplace(identity.ino, entry.path).first->second;
        if (first != entry.path) out << " = " << first;
      }
      out << "\n";
    }
    return out.str();
  }

  // Names below .bailiff/<sub>, one per line.
  std::string Private(const std::string& sub) const {
    std::ostringstream out;
    if (!std::filesystem::exists(Path(".bailiff/" + sub))) return "";
    const std::vector<TreeEntry> entries = ListTree(private_, sub).value();
    for (const TreeEntry& entry : entries) out << entry.path << "\n";
    return out.str();
  }

  std::string Content(const std::string& path) const {
    std::ifstream file(Path(path), std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), {});
  }

 private:
  void Clear() const {
    const Result<Fd> parent = OpenPath(std::filesystem::path(dir_).parent_path(), O_RDONLY);
    if (parent.ok()) (void)RemoveTree(parent.value(), std::filesystem::path(dir_).filename());
  }

  const std::string dir_;
  Fd workspace_;
  Fd private_;
  Fd journal_;
};

// A change set against the tree as it is, told by what a script did. Stages content as it goes.
class Edits {
 public:
  explicit Edits(const Tree& tree, std::string id = kCommitId,
                 Stability stability = Stability::kStrong)
      : tree_(tree), stability_(stability) {
    set_.id = std::move(id);
    std::filesystem::create_directories(tree_.Path(".bailiff/stage/" + set_.id));
  }

  Edits& Create(const std::string& path, const std::string& content, mode_t mode = 0644) {
    Change change = Make(ChangeOp::kCreate, EntryType::kFile, path);
    change.mode = mode;
    Stage(content, &change);
    return Add(std::move(change));
  }
  Edits& MakeDir(const std::string& path, mode_t mode = 0755) {
    Change change = Make(ChangeOp::kCreate, EntryType::kDir, path);
    change.mode = mode;
    return Add(std::move(change));
  }
  Edits& Symlink(const std::string& path, const std::string& target) {
    Change change = Make(ChangeOp::kCreate, EntryType::kSymlink, path);
    change.link_target = target;
    change.mode = 0777;
    change.size = static_cast<std::int64_t>(target.size());
    return Add(std::move(change));
  }
  Edits& Link(const std::string& path, const std::string& link_to) {
    Change change = Make(ChangeOp::kCreate, EntryType::kFile, path);
    change.link_to = link_to;
    change.mode = 0644;
    return Add(std::move(change));
  }
  Edits& Modify(const std::string& path, const std::string& content, const std::string& from = "") {
    Change change = Make(ChangeOp::kModify, EntryType::kFile, path);
    change.from = from;
    change.base = Base(change.base_path());
    change.mode = change.base->mode;
    Stage(content, &change);
    return Add(std::move(change));
  }
  Edits& Retarget(const std::string& path, const std::string& target) {
    Change change = Make(ChangeOp::kModify, EntryType::kSymlink, path);
    change.base = Base(path);
    change.link_target = target;
    return Add(std::move(change));
  }
  Edits& Metadata(const std::string& path, mode_t mode, const std::string& from = "") {
    Change change = Make(ChangeOp::kMetadata, EntryType::kFile, path);
    change.from = from;
    change.base = Base(change.base_path());
    change.type = change.base->type;
    change.size = change.base->size;
    change.mode = mode;
    change.sets_mtime = change.type != EntryType::kDir;
    return Add(std::move(change));
  }
  Edits& Move(const std::string& from, const std::string& to) {
    Change change = Make(ChangeOp::kMove, EntryType::kFile, to);
    change.from = from;
    change.base = Base(from);
    change.type = change.base->type;
    if (change.type == EntryType::kDir) {
      change.base->tree_sha256 = TreeDigest(ListTree(tree_.workspace(), from).value(), stability_);
    }
    moved_.insert(from);
    return Add(std::move(change));
  }
  // With everything below it that did not move away. Say the moves first.
  Edits& Delete(const std::string& path) {
    const std::optional<Identity> base = Base(path);
    if (base->type == EntryType::kDir) {
      for (const TreeEntry& entry : ListTree(tree_.workspace(), path).value()) {
        AddDelete(JoinPath(path, entry.path));
      }
    }
    AddDelete(path);
    return *this;
  }

  ChangeSet Build() {
    SortCanonically(&set_);
    return set_;
  }

 private:
  Change Make(ChangeOp op, EntryType type, const std::string& path) const {
    Change change;
    change.op = op;
    change.type = type;
    change.path = path;
    change.mtime_ns = kNewTime;
    return change;
  }
  Edits& Add(Change change) {
    set_.changes.push_back(std::move(change));
    return *this;
  }
  std::optional<Identity> Base(const std::string& path) const {
    std::optional<Identity> base = IdentityBeneath(tree_.workspace(), path).value();
    EXPECT_TRUE(base.has_value()) << path;
    if (base->type == EntryType::kFile) {
      base->sha256 = HashBeneath(tree_.workspace(), path).value();
    }
    return base;
  }
  void AddDelete(const std::string& path) {
    const bool goes_elsewhere = std::any_of(moved_.begin(), moved_.end(), [&](const auto& moved) {
      return path == moved || IsBelow(path, moved);
    });
    if (goes_elsewhere) return;
    Change change = Make(ChangeOp::kDelete, EntryType::kFile, path);
    change.base = Base(path);
    change.type = change.base->type;
    change.mtime_ns = 0;
    Add(std::move(change));
  }
  void Stage(const std::string& content, Change* change) {
    const std::string path = "stage/" + set_.id + "/" + std::to_string(staged_++);
    tree_.File(".bailiff/" + path, content, change->mode, change->mtime_ns);
    const struct stat root = Stat(tree_.workspace()).value();
    ASSERT_EQ(::chown(tree_.Path(".bailiff/" + path).c_str(), root.st_uid, root.st_gid), 0);
    ASSERT_EQ(::chmod(tree_.Path(".bailiff/" + path).c_str(), change->mode), 0);
    change->content.path = path;
    change->content.identity = *IdentityBeneath(tree_.private_dir(), path).value();
    change->sha256 = Sha256::Of(content);
    change->size = static_cast<std::int64_t>(content.size());
  }

  const Tree& tree_;
  const Stability stability_;
  ChangeSet set_;
  std::set<std::string> moved_;
  int staged_ = 0;
};

inline Result<CommitReport> CommitAll(const Tree& tree, const ChangeSet& set,
                                      const CommitOptions& options = {}) {
  return Commit(tree.dirs(), set, Digest(set), options);
}

}  // namespace bailiff
