#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "journal/attributes.h"
#include "journal/journal.h"
#include "journal/prepare.h"
#include "sys/file.h"
#include "tests/support/matchers.h"
#include "workspace/tree.h"

// A workspace to commit to.

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

// What a workspace lies on. Where it is not local, content waits in a directory that is.
enum class Ground : std::uint8_t {
  kLocal,
  kWeak,  // Local, and treated as if it had no stable inode numbers and rename flags.
  kFuse,  // Below the mount that BAILIFF_TEST_FUSE names: see fuse_ground.h.
};
inline void PrintTo(Ground ground, std::ostream* out) {
  *out << (ground == Ground::kLocal ? "Local" : ground == Ground::kWeak ? "Weak" : "Fuse");
}

// <dir>/ws (or one on FUSE), its .bailiff, <dir>/journal and <dir>/held. Gone with the object.
class Tree {
 public:
  explicit Tree(const std::string& dir, Ground ground = Ground::kLocal) : Tree(dir, dir, ground) {}

  // The journal, and what is held, lie in another directory.
  Tree(const std::string& dir, const std::string& state, Ground ground = Ground::kLocal)
      : dir_(dir), state_(state), root_(RootFor(dir, ground)), ground_(ground) {
    Clear();
    ground == Ground::kFuse ? MakeDirs(root_, "/.bailiff") : MakeDirs(dir_, "/ws/.bailiff");
    MakeDirs(state_, "/journal");
    MakeDirs(state_, "/held");
    Open();
  }
  // One that was made before, and stays.
  enum class AlreadyThere { kYes };
  Tree(const std::string& dir, const std::string& state, Ground ground, AlreadyThere)
      : dir_(dir), state_(state), root_(RootFor(dir, ground)), ground_(ground), stays_(true) {
    Open();
  }
  ~Tree() {
    if (!stays_) Clear();
  }
  Tree(const Tree&) = delete;
  Tree& operator=(const Tree&) = delete;

  void Open() {
    workspace_ = OpenPath(root_, O_RDONLY | O_DIRECTORY).value();
    private_ = OpenPath(root_ + "/.bailiff", O_RDONLY | O_DIRECTORY).value();
    held_ = OpenPath(state_ + "/held", O_RDONLY | O_DIRECTORY).value();
    journal_ = OpenPath(state_ + "/journal", O_RDONLY | O_DIRECTORY).value();
  }

  JournalDirs dirs() const { return {workspace_, private_, journal_, held()}; }
  const Fd& held() const { return ground_ == Ground::kLocal ? private_ : held_; }
  Ground ground() const { return ground_; }
  const Fd& workspace() const { return workspace_; }
  const Fd& private_dir() const { return private_; }
  const Fd& journal() const { return journal_; }
  std::string Path(const std::string& path) const { return root_ + "/" + path; }
  std::string JournalPath(const std::string& id) const {
    const std::string ended = state_ + "/journal/ended/" + id + ".journal";
    return std::filesystem::exists(ended) ? ended : state_ + "/journal/" + id + ".journal";
  }

  void File(const std::string& path, const std::string& content, mode_t mode = 0644,
            std::int64_t mtime = kOldTime) const {
    FileIn(workspace_, path, content, mode, mtime);
  }
  static void FileIn(const Fd& root, const std::string& path, const std::string& content,
                     mode_t mode, std::int64_t mtime) {
    const Entry entry{EnsureDir(root, ParentOf(path), 0755).value(), std::string(NameOf(path))};
    const Fd file = OpenEntry(entry, O_CREAT | O_TRUNC | O_WRONLY, 0644).value();
    ASSERT_THAT(WriteAll(file, content), IsOk());
    ASSERT_THAT(SetMode(file, mode), IsOk());
    ASSERT_THAT(SetMtime(file, mtime), IsOk());
  }
  void Dir(const std::string& path, mode_t mode = 0755) const {
    ASSERT_THAT(SetMode(EnsureDir(workspace_, path, 0755).value(), mode), IsOk());
  }
  void Symlink(const std::string& path, const std::string& target) const {
    const Entry entry = OpenParent(workspace_, path).value();
    ASSERT_THAT(MakeSymlink(entry.dir, entry.name, target), IsOk());
    SetTime(path, kOldTime);
  }
  void HardLink(const std::string& target, const std::string& path) const {
    const Entry from = OpenParent(workspace_, target).value();
    const Entry to = OpenParent(workspace_, path).value();
    ASSERT_THAT(Link(from.dir, from.name, to.dir, to.name), IsOk());
  }
  void SetTime(const std::string& path, std::int64_t mtime) const {
    const Entry entry = OpenParent(workspace_, path).value();
    ASSERT_THAT(SetMtime(OpenEntry(entry, O_PATH).value(), mtime), IsOk());
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
      if (identity.type == EntryType::kSymlink) out << " -> " << identity.link_target.view();
      if (identity.type == EntryType::kFile) {
        out << " " << ToHex(HashBeneath(workspace_, entry.path).value()).substr(0, 8);
        const std::string& first = first_name.emplace(identity.ino, entry.path).first->second;
        if (first != entry.path) out << " = " << first;
      }
      out << "\n";
    }
    return out.str();
  }

  // Names below .bailiff/<sub>, one per line, and below <sub> of what holds content elsewhere.
  std::string Private(const std::string& sub) const {
    std::ostringstream out;
    for (const Fd* holder : {&private_, &held_}) {
      if (!OpenDirBeneath(*holder, sub).ok()) continue;
      for (const TreeEntry& entry : ListTree(*holder, sub).value()) out << entry.path << "\n";
    }
    return out.str();
  }

  std::string Content(const std::string& path) const {
    std::ifstream file(Path(path), std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), {});
  }

 private:
  static std::string RootFor(const std::string& dir, Ground ground) {
    if (ground != Ground::kFuse) return dir + "/ws";
    const char* mount = std::getenv("BAILIFF_TEST_FUSE");  // NOLINT(concurrency-mt-unsafe)
    EXPECT_NE(mount, nullptr);
    return std::string(mount) + "/" + std::filesystem::path(dir).filename().string();
  }
  static void MakeDirs(const std::string& dir, const std::string& below) {
    const std::filesystem::path path = dir;
    const Fd parent = OpenPath(path.parent_path(), O_RDONLY).value();
    EXPECT_THAT(EnsureDir(parent, path.filename().string() + below, 0755), IsOk());
  }
  void Clear() const {
    for (const std::string& dir : {dir_, state_, root_}) {
      const std::filesystem::path path = dir;
      const Result<Fd> parent = OpenPath(path.parent_path(), O_RDONLY);
      if (parent.ok()) (void)RemoveTree(parent.value(), path.filename());
    }
  }

  const std::string dir_;
  const std::string state_;
  const std::string root_;
  const Ground ground_;
  const bool stays_ = false;
  Fd workspace_;
  Fd private_;
  Fd held_;
  Fd journal_;
};

}  // namespace bailiff
