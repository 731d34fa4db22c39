#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "changeset/capture_world_test.h"
#include "sys/file.h"
#include "tests/support/matchers.h"
#include "workspace/tree.h"

// Random scripts against random bases. World::CaptureAndProve() is the oracle: it knows nothing of
// overlays, it applies the change set to a copy of the base and compares with what the script saw.

namespace bailiff {
namespace {

constexpr std::uint32_t kProgramsPerKind = 200;

// Names meet by chance: a call that fails is a script's call that failed.
void Try(int /*result*/) {}

// Few names and few contents, so that operations meet.
class RandomScript {
 public:
  RandomScript(std::string root, std::uint32_t seed) : root_(std::move(root)), random_(seed) {}

  void Populate(int steps) {
    for (int i = 0; i < steps; ++i) {
      switch (Pick(6)) {
        case 0:
        case 1:
          (void)::mkdir(AnyNew().c_str(), 0755);
          break;
        case 2:
          Try(::link(AnyOld().c_str(), AnyNew().c_str()));
          break;
        case 3:
          Try(::symlink(AnyTarget(), AnyNew().c_str()));
          break;
        default:
          Fill(AnyNew(), O_EXCL);
          break;
      }
    }
    for (const auto& [path, seen] : ReadTree(root_)) {
      if (seen.type != 'd') SetTime(root_ + path, kOldNs + Pick(2));
    }
  }

  void MakeFifo() { (void)::mkfifo(AnyNew().c_str(), 0600); }

  // One operation of a script; one that fails is as good as none.
  void Step() {
    const std::string old_path = AnyOld();
    switch (Pick(20)) {
      case 0:
        return Fill(AnyNew(), 0);
      case 1:
        return Fill(old_path, O_TRUNC);
      case 2:
        return Fill(old_path, O_APPEND);
      case 3:
        Try(::truncate(old_path.c_str(), Pick(20)));
        return;
      case 4:
        (void)::unlink(old_path.c_str());
        return;
      case 5:
        return RemoveAll(old_path);
      case 6:
        RemoveAll(old_path);
        (void)::mkdir(old_path.c_str(), 0755);
        return;
      case 7:
        (void)::mkdir(AnyNew().c_str(), Pick(2) == 0 ? 0755 : 0700);
        return;
      case 8:
      case 9:
      case 10:
        (void)std::rename(old_path.c_str(), AnyNew().c_str());
        return;
      case 11:
        (void)std::rename(old_path.c_str(), AnyOld().c_str());
        return;
      case 12:
        (void)::renameat2(AT_FDCWD, old_path.c_str(), AT_FDCWD, AnyOld().c_str(), RENAME_EXCHANGE);
        return;
      case 13:
        Try(::link(old_path.c_str(), AnyNew().c_str()));
        return;
      case 14:
        Try(::symlink(AnyTarget(), AnyNew().c_str()));
        return;
      case 15:
        (void)::chmod(old_path.c_str(), Pick(2) == 0 ? 0700 : 0755);
        return;
      case 16:
        return Touch(old_path);
      case 17:
        return Fill(old_path, O_RDWR);
      default:
        return SaveLikeAnEditor(old_path);
    }
  }

 private:
  int Pick(int below) { return static_cast<int>(random_() % static_cast<std::uint32_t>(below)); }

  const char* AnyTarget() {
    constexpr const char* kTargets[] = {"a", "../b", "nowhere"};
    return kTargets[Pick(3)];
  }

  std::string AnyOld() {
    const Tree tree = ReadTree(root_);
    if (tree.empty()) return root_ + "a";
    return root_ + std::next(tree.begin(), Pick(static_cast<int>(tree.size())))->first;
  }

  // One of a few names in a random directory; it may exist.
  std::string AnyNew() {
    std::vector<std::string> dirs = {root_};
    for (const auto& [path, seen] : ReadTree(root_)) {
      if (seen.type == 'd') dirs.push_back(root_ + path + "/");
    }
    return dirs[static_cast<std::size_t>(Pick(static_cast<int>(dirs.size())))] +
           std::string(1, static_cast<char>('a' + Pick(5)));
  }

  void Fill(const std::string& path, int flags) {
    constexpr const char* kContents[] = {"", "one", "two", "longer content"};
    const int write_flags = (flags & O_RDWR) != 0 ? O_RDWR : O_WRONLY | O_CREAT | flags;
    const int fd = ::open(path.c_str(), write_flags | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (fd < 0) return;
    const std::string_view content = kContents[Pick(4)];
    if ((flags & O_RDWR) == 0) (void)!::write(fd, content.data(), content.size());
    ::close(fd);
  }

  void Touch(const std::string& path) {
    const timespec time = ToTimespec(kOldNs + Pick(3));
    const timespec times[2] = {time, time};
    (void)::utimensat(AT_FDCWD, path.c_str(), times, AT_SYMLINK_NOFOLLOW);
  }

  static void RemoveAll(const std::string& path) {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }

  void SaveLikeAnEditor(const std::string& path) {
    const std::string temporary = path + "~";
    Fill(temporary, O_TRUNC);
    if (Pick(3) == 0) (void)std::rename(path.c_str(), (path + ".bak").c_str());
    (void)std::rename(temporary.c_str(), path.c_str());
  }

  std::string root_;
  std::mt19937 random_;
};

Tree Below(const Tree& tree, const std::string& top) {
  Tree part;
  for (const auto& [path, seen] : tree) {
    if (path == top || IsBelow(path, top)) part.emplace(path, seen);
  }
  return part;
}

class CaptureRandomTest : public CaptureTest,
                          public ::testing::WithParamInterface<OverlayAttributes> {};

INSTANTIATE_TEST_SUITE_P(Overlays, CaptureRandomTest,
                         ::testing::Values(OverlayAttributes::kTrusted, OverlayAttributes::kUser),
                         [](const auto& suite) {
                           return suite.param == OverlayAttributes::kTrusted ? "Trusted" : "User";
                         });

void RunProgram(World* world, std::uint32_t seed, bool with_fifos) {
  RandomScript(world->Base() + "/", seed).Populate(14);
  world->Run([&](const std::string& root) {
    RandomScript script(root, seed + 1'000'000);
    const int steps = 1 + static_cast<int>(seed % 30);
    for (int i = 0; i < steps; ++i) {
      script.Step();
      if (with_fifos && i % 8 == 0) script.MakeFifo();
    }
  });
}

TEST_P(CaptureRandomTest, GivesWhatTheScriptSaw) {
  Use(GetParam());
  if (IsSkipped() || HasFailure()) return;
  for (std::uint32_t seed = 0; seed < kProgramsPerKind && !HasFailure(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    World world;
    ASSERT_EQ(world.Make(GetParam()), "");
    RunProgram(&world, seed, false);
    (void)world.CaptureAndProve();
  }
}

// What is left when FIFOs and reserved paths are taken out must still apply without a failure, and
// leave the reserved paths alone.
TEST_P(CaptureRandomTest, StaysConsistentWithoutWhatIsRefused) {
  Use(GetParam());
  if (IsSkipped() || HasFailure()) return;
  const std::vector<std::string> reserved = {"a/b", "c/d/e", "d"};
  for (std::uint32_t seed = 0; seed < kProgramsPerKind && !HasFailure(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    World world;
    ASSERT_EQ(world.Make(GetParam()), "");
    world.options.reserved = reserved;
    RunProgram(&world, seed, true);
    Result<CaptureResult> captured = world.TryCapture();
    ASSERT_THAT(captured, IsOk());
    const Tree applied = world.Apply(captured.value());
    for (const std::string& path : reserved) {
      EXPECT_EQ(Below(applied, path), Below(world.before, path)) << path;
    }
    if (captured.value().refused.empty()) {
      EXPECT_EQ(applied, world.after);
    }
  }
}

}  // namespace
}  // namespace bailiff
