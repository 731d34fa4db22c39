#include "changeset/capture_world_test.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <sstream>

#include "base/bytes.h"
#include "base/sha256.h"
#include "sys/file.h"
#include "tests/support/matchers.h"
#include "tests/support/requires.h"
#include "workspace/tree.h"

namespace bailiff {
namespace {

namespace fs = std::filesystem;

std::int64_t Now(clockid_t clock) {
  timespec now{};
  ::clock_gettime(clock, &now);
  return ToNanos(now);
}

std::string ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

Seen See(const std::string& path) {
  struct stat st {};
  EXPECT_EQ(::lstat(path.c_str(), &st), 0) << path << ": " << errno;
  Seen seen;
  seen.mode = S_ISLNK(st.st_mode) ? 0777 : st.st_mode & 07777;
  seen.mtime_ns = ToNanos(st.st_mtim);
  seen.ino = st.st_ino;
  if (S_ISDIR(st.st_mode)) {
    seen.type = 'd';
  } else if (S_ISLNK(st.st_mode)) {
    seen.type = 'l';
    seen.content = fs::read_symlink(path).string();
  } else if (S_ISREG(st.st_mode)) {
    seen.content = ReadFile(path);
  } else {
    seen.type = '?';
  }
  return seen;
}

// A change set made real in the plainest way: detach in base coordinates, deepest first; then
// attach in final coordinates, from the top; then hard links, then directory times.
class Applier {
 public:
  Applier(std::string tree, std::string holding, std::string staging)
      : tree_(std::move(tree)), holding_(std::move(holding)), staging_(std::move(staging)) {}

  void Apply(const std::vector<Change>& changes) {
    std::vector<const Change*> detached;
    for (const Change& change : changes) {
      if (change.op == ChangeOp::kDelete || change.op == ChangeOp::kMove)
        detached.push_back(&change);
    }
    std::sort(detached.begin(), detached.end(), [](const Change* left, const Change* right) {
      return PathLess(right->base_path(), left->base_path());
    });
    for (const Change* change : detached) Detach(*change);
    for (const Change& change : changes) {
      SCOPED_TRACE(Describe(change));
      if (change.op != ChangeOp::kDelete && change.link_to.empty()) Attach(change);
    }
    for (const Change& change : changes) {
      if (!change.link_to.empty()) HardLink(At(change.link_to.str()), At(change.path));
    }
    for (const Change& change : changes) {
      if (change.type == EntryType::kDir && change.sets_mtime)
        SetTime(At(change.path), change.mtime_ns);
    }
  }

 private:
  std::string At(const std::string& path) const { return tree_ + "/" + path; }
  std::string Held(const Change& change) const {
    return holding_ + "/" + ToHex(Sha256::Of(change.from)).substr(0, 32);
  }

  void Detach(const Change& change) {
    SCOPED_TRACE(Describe(change));
    if (change.op == ChangeOp::kMove) {
      Move(At(change.from), Held(change));
      return;
    }
    const int flags = change.type == EntryType::kDir ? AT_REMOVEDIR : 0;
    EXPECT_EQ(::unlinkat(AT_FDCWD, At(change.path).c_str(), flags), 0) << std::strerror(errno);
  }

  void Attach(const Change& change) {
    const std::string path = At(change.path);
    switch (change.op) {
      case ChangeOp::kDelete:
        return;
      case ChangeOp::kMove:
        return Move(Held(change), path, RENAME_NOREPLACE);
      case ChangeOp::kMetadata:
        if (change.type != EntryType::kSymlink) Chmod(path, change.mode);
        if (change.type != EntryType::kDir && change.sets_mtime) SetTime(path, change.mtime_ns);
        return;
      case ChangeOp::kModify:
        EXPECT_EQ(::unlink(path.c_str()), 0) << std::strerror(errno);
        break;
      case ChangeOp::kCreate:
        EXPECT_NE(::access(path.c_str(), F_OK), 0) << "exists already";
        break;
    }
    switch (change.type) {
      case EntryType::kDir:
        EXPECT_EQ(::mkdir(path.c_str(), 0700), 0) << std::strerror(errno);
        return Chmod(path, change.mode);
      case EntryType::kSymlink:
        Symlink(change.link_target.str(), path);
        return SetTime(path, change.mtime_ns);
      case EntryType::kFile:
        return Copy(change, path);
    }
  }

  // By a plain read and write of the staged file, which must be what the change says.
  void Copy(const Change& change, const std::string& path) {
    const std::string staged = staging_ + "/" + change.content.path;
    const Seen seen = See(staged);
    EXPECT_EQ(seen.type, 'f');
    EXPECT_EQ(seen.mode, change.mode);
    EXPECT_EQ(seen.mtime_ns, change.mtime_ns);
    EXPECT_EQ(static_cast<std::int64_t>(seen.content.size()), change.size);
    EXPECT_EQ(Sha256::Of(seen.content), change.sha256);
    EXPECT_EQ(change.content.identity.ino, seen.ino);
    EXPECT_EQ(change.content.identity.sha256, change.sha256);
    Write(path, seen.content);
    Chmod(path, change.mode);
    SetTime(path, change.mtime_ns);
  }

  std::string tree_;
  std::string holding_;
  std::string staging_;
};

// Copies a tree with modes, times and hard links. Returns the inodes of files with several names.
std::set<std::uint64_t> CopyTree(const std::string& from, const std::string& to) {
  std::map<std::uint64_t, std::string> copied;
  std::set<std::uint64_t> linked;
  for (const auto& [path, seen] : ReadTree(from)) {
    const std::string target = to + "/" + path;
    if (seen.type == 'd') {
      MakeDirs(target);
    } else if (seen.type == 'l') {
      Symlink(seen.content, target);
    } else if (const auto known = copied.find(seen.ino); known != copied.end()) {
      HardLink(known->second, target);
      linked.insert(See(target).ino);
      continue;
    } else {
      copied.emplace(seen.ino, target);
      Write(target, seen.content);
    }
    if (seen.type != 'l') Chmod(target, seen.mode);
    SetTime(target, seen.mtime_ns);
  }
  return linked;
}

std::map<std::uint64_t, std::set<std::string>> NamesByInode(const Tree& tree) {
  std::map<std::uint64_t, std::set<std::string>> names;
  for (const auto& [path, seen] : tree) {
    if (seen.type == 'f') names[seen.ino].insert(path);
  }
  return names;
}

// Names of one file in the merged tree are names of one file in the applied one. The other way
// round too, but for what the base linked: there the overlay breaks more links than a commit does.
void ExpectSameHardLinks(const Tree& merged, const Tree& applied,
                         const std::set<std::uint64_t>& linked_in_base) {
  for (const auto& [ino, names] : NamesByInode(merged)) {
    for (const std::string& name : names) {
      EXPECT_EQ(applied.at(name).ino, applied.at(*names.begin()).ino)
          << name << " is another name of " << *names.begin();
    }
  }
  for (const auto& [ino, names] : NamesByInode(applied)) {
    if (linked_in_base.contains(ino)) continue;
    for (const std::string& name : names) {
      EXPECT_EQ(merged.at(name).ino, merged.at(*names.begin()).ino)
          << name << " is no other name of " << *names.begin();
    }
  }
}

}  // namespace

Tree ReadTree(const std::string& dir) {
  Tree tree;
  for (auto it = fs::recursive_directory_iterator(dir); it != fs::end(it); ++it) {
    const std::string path = it->path().string().substr(dir.size() + (dir.ends_with('/') ? 0 : 1));
    if (path == ".bailiff") {
      it.disable_recursion_pending();
      continue;
    }
    tree.emplace(path, See(it->path().string()));
  }
  return tree;
}

void PrintTo(const Seen& seen, std::ostream* os) {
  *os << seen.type << ' ' << std::oct << seen.mode << std::dec << ' ' << seen.mtime_ns << " '"
      << seen.content.substr(0, 40) << "'";
}

std::int64_t WallNow() {
  return Now(CLOCK_REALTIME);
}

void AwaitFileClock(std::int64_t nanos) {
  while (Now(CLOCK_REALTIME_COARSE) <= nanos) {
  }
}

std::string World::At(std::string_view top, std::string_view path) const {
  return dir_ + "/" + JoinPath(top, path);
}

std::string World::Make(OverlayAttributes attributes) {
  attributes_ = attributes;
  options.attributes = attributes;
  options.id = "exec_20260102_030405_0123abcd";
  if (::geteuid() != 0) return "needs root, to mount an overlay";
  // Once for the whole process: no mount of ours is seen outside.
  static const bool alone =
      ::unshare(CLONE_NEWNS) == 0 && ::mount("", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
  if (!alone) return "needs a mount namespace of its own";
  std::string pattern = fs::temp_directory_path().string() + "/capture-XXXXXX";
  if (::mkdtemp(pattern.data()) == nullptr) return "needs a temporary directory";
  dir_ = pattern;
  if (::mount("tmpfs", dir_.c_str(), "tmpfs", 0, "size=256m") != 0) return "cannot mount a tmpfs";
  for (const char* name :
       {"base/.bailiff", "mask", "upper", "work", "merged", "applied", "holding"}) {
    MakeDirs(At(name, ""));
  }
  if (::mknod(At("mask", ".bailiff").c_str(), S_IFCHR, makedev(0, 0)) != 0) return "cannot mknod";
  return "";
}

World::~World() {
  if (dir_.empty()) return;
  ::umount2(At("merged", "").c_str(), MNT_DETACH);
  ::umount2(dir_.c_str(), MNT_DETACH);
  ::rmdir(dir_.c_str());
}

void World::Run(const std::function<void(const std::string&)>& script) {
  before = ReadTree(Base());
  options.started_ns = WallNow();
  const bool trusted = attributes_ == OverlayAttributes::kTrusted;
  const std::string data = "lowerdir=" + dir_ + "/mask:" + dir_ + "/base,upperdir=" + dir_ +
                           "/upper,workdir=" + dir_ + "/work," +
                           (trusted ? "redirect_dir=on,metacopy=on" : "userxattr");
  const std::string merged = dir_ + "/merged";
  ASSERT_EQ(::mount("overlay", merged.c_str(), "overlay", 0, data.c_str()), 0)
      << std::strerror(errno);
  script(merged + "/");
  if (!cannot_be_read) after = ReadTree(merged);
  ASSERT_EQ(::umount(merged.c_str()), 0) << std::strerror(errno);
  options.ended_ns = WallNow();
}

Result<CaptureResult> World::TryCapture() {
  const Fd upper = TRY(OpenPath(Upper(), O_RDONLY | O_DIRECTORY));
  const Fd base = TRY(OpenPath(Base(), O_RDONLY | O_DIRECTORY));
  const Fd private_dir = TRY(OpenPath(Base(".bailiff"), O_RDONLY | O_DIRECTORY));
  return Capture(upper, base, private_dir, options);
}

CaptureResult World::CaptureAndProve() {
  Result<CaptureResult> captured = TryCapture();
  EXPECT_THAT(captured, IsOk());
  if (!captured.ok()) return {};
  EXPECT_EQ(Describe(captured.value().refused), std::vector<std::string>());
  EXPECT_EQ(Describe(captured.value().conflicts), std::vector<std::string>());
  Prove(captured.value());
  return std::move(captured).value();
}

Tree World::Apply(const CaptureResult& result) {
  linked_ = CopyTree(Base(), At("applied", ""));
  Applier(At("applied", ""), At("holding", ""), Base(".bailiff")).Apply(result.set.changes);
  EXPECT_TRUE(fs::is_empty(At("holding", "")));
  return ReadTree(dir_ + "/applied");
}

void World::Prove(const CaptureResult& result) {
  const Tree applied = Apply(result);
  EXPECT_EQ(applied, after);
  if (applied == after) ExpectSameHardLinks(after, applied, linked_);
  if (before == after && linked_.empty()) {
    for (const Change& change : result.set.changes) {
      // Only what a snapshot cannot see: a directory's time, equal files that changed places.
      const bool unseen = change.type == EntryType::kDir && change.sets_mtime;
      EXPECT_TRUE(unseen || change.op == ChangeOp::kMove) << Describe(change);
    }
  }
}

std::string Describe(const Change& change) {
  std::string text(Name(change.op));
  text += " " + change.path;
  if (change.type == EntryType::kDir) text += "/";
  if (!change.link_target.empty()) text += " -> " + change.link_target.str();
  if (!change.link_to.empty()) text += " = " + change.link_to.str();
  if (!change.from.empty()) text += " (from " + change.from + ")";
  for (const std::string_view flag : FlagNames(change.flags)) {
    text += " [" + std::string(flag) + "]";
  }
  return text;
}

std::vector<std::string> Describe(const CaptureResult& result) {
  std::vector<std::string> lines;
  for (const Change& change : result.set.changes) lines.push_back(Describe(change));
  return lines;
}

std::vector<std::string> Describe(const std::vector<PathProblem>& problems) {
  std::vector<std::string> lines;
  for (const PathProblem& problem : problems) lines.push_back(problem.path + ": " + problem.reason);
  return lines;
}

void Write(const std::string& path, std::string_view content) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out << content;
  out.close();
  EXPECT_TRUE(out.good()) << "write " << path;
}

void Append(const std::string& path, std::string_view content) {
  std::ofstream out(path, std::ios::binary | std::ios::app);
  out << content;
  out.close();
  EXPECT_TRUE(out.good()) << "append " << path;
}

void MakeDirs(const std::string& path) {
  std::error_code error;
  fs::create_directories(path, error);
  EXPECT_FALSE(error) << "mkdir " << path << ": " << error.message();
}

void Move(const std::string& from, const std::string& to, unsigned flags) {
  EXPECT_EQ(::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), flags), 0)
      << "rename " << from << " " << to << ": " << std::strerror(errno);
}

void HardLink(const std::string& from, const std::string& to) {
  EXPECT_EQ(::link(from.c_str(), to.c_str()), 0) << "link " << to << ": " << std::strerror(errno);
}

void Symlink(const std::string& target, const std::string& path) {
  EXPECT_EQ(::symlink(target.c_str(), path.c_str()), 0) << path << ": " << std::strerror(errno);
}

void Chmod(const std::string& path, unsigned mode) {
  EXPECT_EQ(::chmod(path.c_str(), mode), 0) << "chmod " << path << ": " << std::strerror(errno);
}

void SetTime(const std::string& path, std::int64_t mtime_ns) {
  const timespec times[2] = {ToTimespec(mtime_ns), ToTimespec(mtime_ns)};
  EXPECT_EQ(::utimensat(AT_FDCWD, path.c_str(), times, AT_SYMLINK_NOFOLLOW), 0)
      << "utimens " << path << ": " << std::strerror(errno);
}

void Remove(const std::string& path) {
  std::error_code error;
  EXPECT_GT(fs::remove_all(path, error), 0U) << path;
  EXPECT_FALSE(error) << "remove " << path << ": " << error.message();
}

void CaptureTest::Use(OverlayAttributes attributes) {
  const std::string missing = world_.Make(attributes);
  REQUIRES(missing.empty(), missing);
}

}  // namespace bailiff
