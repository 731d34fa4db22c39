#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <string>

#include "base/sha256.h"
#include "changeset/capture_world_test.h"
#include "tests/support/matchers.h"

// What capture refuses, what it calls a conflict, and what it stages.

namespace bailiff {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr const char* kMeanwhile = ": changed in the workspace while the script ran";

void OldFile(const std::string& path, std::string_view content) {
  Write(path, content);
  SetTime(path, kOldNs);
}

void MakeSocket(const std::string& dir, const std::string& name) {
  const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
  ASSERT_GE(fd, 0);
  ASSERT_EQ(::chdir(dir.c_str()), 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::copy(name.begin(), name.end(), address.sun_path);
  EXPECT_EQ(::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  ::close(fd);
  ASSERT_EQ(::chdir("/"), 0);
}

class CaptureLimitsTest : public CaptureTrustedTest {
 protected:
  // Captures and keeps the result; an error fails the test.
  const CaptureResult& Captured() {
    Result<CaptureResult> captured = world_.TryCapture();
    EXPECT_THAT(captured, IsOk());
    if (captured.ok()) result_ = std::move(captured).value();
    return result_;
  }
  CaptureResult result_;
};

TEST_F(CaptureLimitsTest, RefusesSpecialFilesAndKeepsWhatTheyReplaced) {
  OldFile(world_.Base("f"), "f");
  MakeDirs(world_.Base("d"));
  OldFile(world_.Base("d/x"), "x");
  world_.Run([](const std::string& root) {
    Remove(root + "f");
    ASSERT_EQ(::mkfifo((root + "f").c_str(), 0600), 0);
    MakeSocket(root, "s");
    ASSERT_EQ(::mknod((root + "dev").c_str(), S_IFCHR, makedev(1, 3)), 0);
    Remove(root + "d");
    ASSERT_EQ(::mkfifo((root + "d").c_str(), 0600), 0);
    Write(root + "ok", "ok");
  });
  EXPECT_THAT(Describe(Captured()), ElementsAre("create ok"));
  EXPECT_THAT(Describe(result_.refused),
              ElementsAre("d: is a FIFO", "d/x: depends on another change that was refused",
                          "dev: is a device", "f: is a FIFO", "s: is a socket"));
}

TEST_F(CaptureLimitsTest, RefusesAPrivateDirectoryOfTheScriptsOwn) {
  OldFile(world_.Base(".bailiff/secret"), "s");
  MakeDirs(world_.Base("d"));
  OldFile(world_.Base("d/x"), "x");
  world_.Run([](const std::string& root) {
    EXPECT_NE(::access((root + ".bailiff").c_str(), F_OK), 0);
    MakeDirs(root + ".bailiff/stage");
    Write(root + ".bailiff/stage/evil", "e");
    Move(root + "d", root + ".bailiff/d");
  });
  EXPECT_THAT(Describe(Captured()), IsEmpty()) << "d stays where it was";
  EXPECT_EQ(result_.refused.size(), 4U);
  EXPECT_THAT(Describe(result_.refused),
              Contains(".bailiff/d: is the private directory of the workspace"));
}

// What pid 1 leaves that is killed while it makes a directory movable.
TEST_F(CaptureLimitsTest, RefusesWhatARenameLeftUnfinishedAndKeepsWhatWentIntoIt) {
  MakeDirs(world_.Base("d/e"));
  OldFile(world_.Base("d/e/gone"), "gone");
  OldFile(world_.Base("d/stays"), "stays");
  world_.Run([](const std::string& root) {
    MakeDirs(root + "d/.bailiff-moving-0000/tree/e");
    Move(root + "d/e/gone", root + "d/.bailiff-moving-0000/tree/e/gone");
    Write(root + "d/.bailiff-moving-0000/tree/e/new", "new");
    Remove(root + "d/e");
    Write(root + "ok", "ok");
  });
  EXPECT_THAT(Describe(Captured()), ElementsAre("create ok"));
  EXPECT_THAT(Describe(result_.refused),
              Contains("d/.bailiff-moving-0000: is a tree that a rename left unfinished"));
}

TEST_F(CaptureLimitsTest, RefusesReservedPathsAndWhatHoldsThem) {
  world_.options.reserved = {"Database/logs", "Reports/final"};
  MakeDirs(world_.Base("Database/logs"));
  OldFile(world_.Base("Database/logs/1.json"), "{}");
  OldFile(world_.Base("Database/data"), "d");
  MakeDirs(world_.Base("fake/final"));
  world_.Run([](const std::string& root) {
    Write(root + "Database/logs/2.json", "forged");
    Append(root + "Database/logs/1.json", "forged");
    Write(root + "Database/other", "fine");
    Move(root + "Database", root + "Db");
    Move(root + "fake", root + "Reports");
    Write(root + "fine", "fine");
  });
  EXPECT_THAT(Describe(Captured()), ElementsAre("create fine"));
  EXPECT_THAT(Describe(result_.refused),
              ElementsAre("Db: holds a reserved path, which scripts may not move",
                          "Db/logs/1.json: is reserved: scripts may not change it",
                          "Db/logs/2.json: depends on another change that was refused",
                          "Db/other: depends on another change that was refused",
                          "Reports: is reserved: scripts may not change it"));
}

TEST_F(CaptureLimitsTest, DeletesAroundAReservedPath) {
  world_.options.reserved = {"Database/logs"};
  MakeDirs(world_.Base("Database/logs"));
  OldFile(world_.Base("Database/logs/1.json"), "{}");
  OldFile(world_.Base("Database/data"), "d");
  world_.Run([](const std::string& root) { Remove(root + "Database"); });
  EXPECT_THAT(Describe(Captured()), ElementsAre("delete Database/data"));
  EXPECT_EQ(result_.refused.size(), 3U);
  EXPECT_TRUE(world_.Apply(result_).contains("Database/logs/1.json"));
}

TEST_F(CaptureLimitsTest, KeepsAllThatAFileInTheWayOfAReservedPathReplaced) {
  world_.options.reserved = {"Database/logs"};
  MakeDirs(world_.Base("Database"));
  OldFile(world_.Base("Database/data"), "d");
  world_.Run([](const std::string& root) {
    Remove(root + "Database");
    Write(root + "Database", "a file now");
  });
  EXPECT_THAT(Describe(Captured()), IsEmpty());
  EXPECT_THAT(Describe(result_.refused),
              Contains("Database: stands where a reserved path belongs"));
}

TEST_F(CaptureLimitsTest, RefusesChangesOfMountPoints) {
  MakeDirs(world_.Base("mnt/in"));
  MakeDirs(world_.Base("dir/mnt"));
  OldFile(world_.Base("dir/f"), "f");
  ASSERT_EQ(::mount("tmpfs", world_.Base("mnt").c_str(), "tmpfs", 0, nullptr), 0);
  ASSERT_EQ(::mount("tmpfs", world_.Base("dir/mnt").c_str(), "tmpfs", 0, nullptr), 0);
  world_.Run([](const std::string& root) {
    Write(root + "mnt/in/f", "hidden by the mount");
    Move(root + "dir", root + "moved");
    Write(root + "ok", "");
  });
  EXPECT_THAT(Describe(Captured()), ElementsAre("create ok"));
  EXPECT_THAT(Describe(result_.refused), Contains("mnt: is a mount point"));
  EXPECT_THAT(Describe(result_.refused), Contains("moved: cannot move: mnt: is a mount point"));
}

TEST_F(CaptureLimitsTest, RefusesAWhiteoutOfAMountPoint) {
  MakeDirs(world_.Base("a/mnt"));
  OldFile(world_.Base("a/f"), "f");
  ASSERT_EQ(::mount("tmpfs", world_.Base("a/mnt").c_str(), "tmpfs", 0, nullptr), 0);
  world_.Run([](const std::string& root) { Remove(root + "a"); });
  EXPECT_THAT(Describe(Captured()), ElementsAre("delete a/f"));
  EXPECT_THAT(
      Describe(result_.refused),
      ElementsAre("a: depends on another change that was refused", "a/mnt: is a mount point"));
}

TEST_F(CaptureLimitsTest, RefusesHolesWithoutEnd) {
  world_.cannot_be_read = true;
  world_.Run([](const std::string& root) {
    Write(root + "huge", "");
    ASSERT_EQ(::truncate((root + "huge").c_str(), 1LL << 42), 0);
    Write(root + "ok", "");
  });
  EXPECT_THAT(Describe(Captured()), ElementsAre("create ok"));
  EXPECT_THAT(Describe(result_.refused), ElementsAre("huge: has more than 16.0 GiB of holes"));
}

TEST_F(CaptureLimitsTest, RefusesMoreChangesThanAllowed) {
  MakeDirs(world_.Base("d"));
  for (int i = 0; i < 20; ++i) Write(world_.Base("d/" + std::to_string(i)), "");
  world_.Run([](const std::string& root) { Remove(root + "d"); });
  world_.options.files_max = 20;
  EXPECT_THAT(world_.TryCapture(), FailsWith(ErrorCode::kResourceExhausted));
  world_.options.files_max = 21;
  EXPECT_THAT(world_.TryCapture(), IsOk());
}

// Where each directory that is gone is compared with the new ones: before, not after that was done.
TEST_F(CaptureUserTest, CountsWhatIsInTheDirectoriesThatAreGone) {
  for (const char* dir : {"a", "b"}) {
    MakeDirs(world_.Base(dir));
    for (int i = 0; i < 20; ++i) Write(world_.Base(dir + ("/" + std::to_string(i))), "");
  }
  world_.Run([](const std::string& root) {
    Remove(root + "a");
    Remove(root + "b");
  });
  world_.options.files_max = 36;  // Beside the root and two whiteouts.
  const Result<CaptureResult> refused = world_.TryCapture();
  ASSERT_THAT(refused, FailsWith(ErrorCode::kResourceExhausted));
  EXPECT_THAT(refused.error().message(), HasSubstr("39 entries are gone or have moved"));
  world_.options.files_max = 42;
  EXPECT_THAT(world_.TryCapture(), IsOk());
}

TEST_F(CaptureLimitsTest, CallsItAConflictWhenATouchedEntryChangedMeanwhile) {
  for (const char* name : {"edit", "remove", "move", "chmod", "other", "link"}) {
    OldFile(world_.Base(name), name);
  }
  world_.Run([this](const std::string& root) {
    AwaitFileClock(world_.options.started_ns);
    for (const char* name : {"edit", "remove", "move", "chmod", "other", "link"}) {
      Chmod(world_.Base(name), 0640);
    }
    Write(world_.Base("both"), "theirs");
    Append(root + "edit", "+");
    Remove(root + "remove");
    Move(root + "move", root + "moved");
    Chmod(root + "chmod", 0600);
    HardLink(root + "link", root + "link2");
    Write(root + "both", "ours");
    Write(root + "mine", "");
  });
  (void)Captured();
  EXPECT_THAT(Describe(result_.conflicts),
              ElementsAre(std::string("both") + kMeanwhile, std::string("chmod") + kMeanwhile,
                          std::string("edit") + kMeanwhile, std::string("link") + kMeanwhile,
                          std::string("move") + kMeanwhile, std::string("remove") + kMeanwhile));
}

TEST_F(CaptureLimitsTest, CallsItAConflictWhenSomethingChangedInADirectoryThatMoved) {
  MakeDirs(world_.Base("d/sub"));
  OldFile(world_.Base("d/sub/f"), "f");
  world_.Run([this](const std::string& root) {
    Move(root + "d", root + "e");
    AwaitFileClock(world_.options.started_ns);
    Append(world_.Base("d/sub/f"), "theirs");
  });
  (void)Captured();
  EXPECT_THAT(Describe(result_.conflicts), ElementsAre(std::string("d/sub/f") + kMeanwhile));
}

TEST_F(CaptureLimitsTest, IgnoresWhatOthersDoElsewhere) {
  MakeDirs(world_.Base("d"));
  OldFile(world_.Base("d/f"), "f");
  OldFile(world_.Base("g"), "g");
  world_.Run([this](const std::string& root) {
    Append(root + "d/f", "+");
    AwaitFileClock(world_.options.started_ns);
    Append(world_.Base("g"), "theirs");
    Write(world_.Base("d/new"), "theirs");
    Write(world_.Base("new"), "theirs");
  });
  EXPECT_THAT(Describe(Captured()), ElementsAre("modify d/f"));
  EXPECT_THAT(Describe(result_.conflicts), IsEmpty());
}

TEST_F(CaptureLimitsTest, CallsItAConflictWhenADirectoryOnTheWayWasReplaced) {
  MakeDirs(world_.Base("renamed/sub"));
  MakeDirs(world_.Base("elsewhere"));
  MakeDirs(world_.Base("replaced"));
  OldFile(world_.Base("replaced/f"), "f");
  world_.cannot_be_read = true;
  world_.Run([this](const std::string& root) {
    Write(root + "renamed/sub/f", "ours");
    Append(root + "replaced/f", "ours");
    AwaitFileClock(world_.options.started_ns);
    Move(world_.Base("renamed"), world_.Base("t"));
    Move(world_.Base("t"), world_.Base("renamed"));
    Move(world_.Base("replaced"), world_.Base("t"));
    MakeDirs(world_.Base("replaced"));
    Move(world_.Base("t/f"), world_.Base("replaced/f"));
  });
  (void)Captured();
  EXPECT_THAT(Describe(result_.conflicts), Contains(std::string("renamed") + kMeanwhile));
  EXPECT_THAT(Describe(result_.conflicts), Contains(std::string("replaced") + kMeanwhile));
}

TEST_F(CaptureLimitsTest, KnowsADirectoryByItsHandleWhereItsTimesTellNothing) {
  MakeDirs(world_.Base("d"));
  MakeDirs(world_.Base("e"));
  world_.cannot_be_read = true;
  world_.Run([this](const std::string& root) {
    Write(root + "d/f", "ours");
    AwaitFileClock(world_.options.started_ns);
    Move(world_.Base("d"), world_.Base("t"));
    Move(world_.Base("e"), world_.Base("d"));
    Write(world_.Base("d/new"), "theirs");
  });
  (void)Captured();
  EXPECT_THAT(Describe(result_.conflicts), ElementsAre(std::string("d") + kMeanwhile));
}

TEST_F(CaptureLimitsTest, NeverStagesAFileWhoseContentWasDeletedMeanwhile) {
  OldFile(world_.Base("f"), "content");
  world_.Run([this](const std::string& root) {
    Move(root + "f", root + "g");
    AwaitFileClock(world_.options.started_ns);
    Remove(world_.Base("f"));
    Chmod(root + "g", 0600);
    world_.cannot_be_read = true;
  });
  EXPECT_THAT(Describe(Captured()), IsEmpty());
  EXPECT_EQ(result_.conflicts.size(), 1U);
  EXPECT_FALSE(std::filesystem::exists(world_.Staged("stage")));
}

TEST_F(CaptureLimitsTest, StagesBytesThatNoLaterWriteReaches) {
  world_.Run([](const std::string& root) {
    Write(root + "a", "approved");
    HardLink(root + "a", root + "b");
  });
  (void)Captured();
  Write(world_.Upper("b"), "tampered");
  const Change& a = result_.set.changes.at(0);
  EXPECT_EQ(a.content.path, "stage/" + world_.options.id + "/0");
  EXPECT_EQ(ReadTree(world_.Staged("stage/" + world_.options.id)).at("0").content, "approved");
  EXPECT_EQ(a.sha256, Sha256::Of("approved"));
}

TEST_F(CaptureLimitsTest, StagesAReplacementWithOwnerAndAttributesOfItsBase) {
  OldFile(world_.Base("f"), "old");
  ASSERT_EQ(::chown(world_.Base().c_str(), 1234, 1235), 0);
  ASSERT_EQ(::chown(world_.Base("f").c_str(), 4321, 4322), 0);
  world_.Run([](const std::string& root) {
    Append(root + "f", "+");
    Write(root + "new", "n");
  });
  (void)Captured();
  ASSERT_EQ(result_.set.changes.size(), 2U);
  const Identity& modified = result_.set.changes[0].content.identity;
  const Identity& created = result_.set.changes[1].content.identity;
  EXPECT_EQ(modified.uid, 4321U);
  EXPECT_EQ(modified.gid, 4322U);
  EXPECT_EQ(created.uid, 1234U);
  EXPECT_EQ(created.gid, 1235U);
}

TEST_F(CaptureLimitsTest, KeepsHolesAndHashesThemAsZeros) {
  world_.Run([](const std::string& root) {
    Write(root + "sparse", "begin");
    ASSERT_EQ(::truncate((root + "sparse").c_str(), 8 << 20), 0);
    Append(root + "sparse", "end");
    ASSERT_EQ(::truncate((root + "sparse").c_str(), 10 << 20), 0);
  });
  const CaptureResult result = world_.CaptureAndProve();
  ASSERT_EQ(result.set.changes.size(), 1U);
  struct stat st {};
  ASSERT_EQ(::stat(world_.Staged(result.set.changes[0].content.path).c_str(), &st), 0);
  EXPECT_EQ(st.st_size, 10 << 20);
  EXPECT_LT(st.st_blocks * 512, 1 << 20);
}

TEST_F(CaptureLimitsTest, OnlyListsAndHashesWithoutStaging) {
  OldFile(world_.Base("f"), "old");
  world_.Run([](const std::string& root) {
    Append(root + "f", "+");
    Write(root + "new", "n");
  });
  world_.options.stage = false;
  EXPECT_THAT(Describe(Captured()), ElementsAre("modify f", "create new"));
  EXPECT_EQ(result_.set.changes[0].sha256, Sha256::Of("old+"));
  EXPECT_EQ(result_.set.changes[1].sha256, Sha256::Of("n"));
  EXPECT_FALSE(std::filesystem::exists(world_.Staged("stage")));
}

TEST_F(CaptureLimitsTest, RemovesItsStagingWhenTheDiskIsFull) {
  ASSERT_EQ(::mount("tmpfs", world_.Staged("").c_str(), "tmpfs", 0, "size=64k"), 0);
  world_.Run([](const std::string& root) {
    Write(root + "a", "fits");
    Write(root + "b", std::string(1 << 20, 'x'));
  });
  EXPECT_THAT(world_.TryCapture(), FailsWith(ErrorCode::kResourceExhausted));
  EXPECT_TRUE(std::filesystem::is_empty(world_.Staged("stage")));
}

TEST_F(CaptureLimitsTest, RefusesToStageTwiceUnderOneName) {
  world_.Run([](const std::string& root) { Write(root + "a", "a"); });
  EXPECT_THAT(world_.TryCapture(), IsOk());
  EXPECT_THAT(world_.TryCapture(), FailsWith(ErrorCode::kConflict));
  EXPECT_TRUE(std::filesystem::exists(world_.Staged("stage/" + world_.options.id + "/0")))
      << "the first one's bytes stay";
}

TEST_F(CaptureLimitsTest, RefusesAnIdThatIsNoName) {
  world_.Run([](const std::string&) {});
  for (const char* id : {"", "..", "a/b"}) {
    world_.options.id = id;
    EXPECT_THAT(world_.TryCapture(), FailsWith(ErrorCode::kInvalidArgument)) << id;
  }
}

TEST_F(CaptureUserTest, RefusesTrustedFeaturesInAUserOverlay) {
  OldFile(world_.Base("f"), "f");
  world_.Run([](const std::string& root) { Chmod(root + "f", 0600); });
  ASSERT_EQ(::setxattr(world_.Upper("f").c_str(), "user.overlay.metacopy", "", 0, 0), 0);
  EXPECT_THAT(world_.TryCapture(), FailsWith(ErrorCode::kInternal));
}

TEST_F(CaptureLimitsTest, TravelsAsBytes) {
  OldFile(world_.Base("a"), "a");
  world_.Run([](const std::string& root) {
    Move(root + "a", root + "b");
    Write(root + "c", "c");
    ASSERT_EQ(::mkfifo((root + "p").c_str(), 0600), 0);
  });
  CaptureResult result = Captured();
  result.conflicts.push_back({"x", "y"});
  const std::string bytes = EncodeCapture(result);
  Result<CaptureResult> decoded = DecodeCapture(bytes);
  ASSERT_THAT(decoded, IsOk());
  EXPECT_EQ(EncodeCapture(decoded.value()), bytes);
  EXPECT_EQ(decoded.value().refused, result.refused);
  EXPECT_EQ(decoded.value().conflicts, result.conflicts);
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_THAT(DecodeCapture(std::string_view(bytes).substr(0, size)),
                FailsWith(ErrorCode::kInvalidArgument));
  }
  EXPECT_THAT(DecodeCapture(bytes + "x"), FailsWith(ErrorCode::kInvalidArgument));
}

}  // namespace
}  // namespace bailiff
