#include "workspace/identity.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "base/sha256.h"
#include "tests/support/matchers.h"

namespace bailiff {
namespace {

class IdentityTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = ::testing::TempDir() + "identity-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    dir_ = pattern + "/";
    Result<Fd> root = OpenPath(dir_, O_RDONLY | O_DIRECTORY);
    ASSERT_THAT(root, IsOk());
    root_ = std::move(root).value();
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }

  void Write(const std::string& name, std::string_view content) const {
    std::ofstream(dir_ + name, std::ios::binary) << content;
  }

  Identity Of(const std::string& path) const {
    Result<std::optional<Identity>> identity = IdentityBeneath(root_, path);
    EXPECT_THAT(identity, IsOk());
    EXPECT_TRUE(identity.ok() && identity.value().has_value()) << path;
    return *std::move(identity).value();
  }

  std::string dir_;
  Fd root_;
};

TEST_F(IdentityTest, TellsFilesDirectoriesAndLinksApart) {
  Write("f", "12345");
  ASSERT_EQ(::chmod((dir_ + "f").c_str(), 04751), 0);
  ASSERT_EQ(::link((dir_ + "f").c_str(), (dir_ + "g").c_str()), 0);
  ASSERT_EQ(::mkdir((dir_ + "d").c_str(), 0700), 0);
  ASSERT_EQ(::symlink("nowhere", (dir_ + "l").c_str()), 0);
  const Identity file = Of("f");
  EXPECT_EQ(file.type, EntryType::kFile);
  EXPECT_EQ(file.size, 5);
  EXPECT_EQ(file.mode, 04751U);
  EXPECT_EQ(file.nlink, 2U);
  EXPECT_EQ(file.sha256, "") << "content is not read";
  EXPECT_EQ(file.ino, Of("g").ino);
  EXPECT_EQ(Of("d").type, EntryType::kDir);
  EXPECT_EQ(Of("d").size, 0);
  EXPECT_EQ(Of("d").nlink, 1U);
  EXPECT_EQ(Of("l").type, EntryType::kSymlink);
  EXPECT_EQ(Of("l").link_target, "nowhere");
}

TEST_F(IdentityTest, FindsNothingBehindALinkOrAMissingDirectory) {
  ASSERT_EQ(::mkdir((dir_ + "d").c_str(), 0700), 0);
  Write("d/f", "x");
  Write("file", "x");
  ASSERT_EQ(::symlink("d", (dir_ + "l").c_str()), 0);
  for (const char* path : {"none", "d/none", "none/f", "l/f", "file/f"}) {
    Result<std::optional<Identity>> identity = IdentityBeneath(root_, path);
    ASSERT_THAT(identity, IsOk());
    EXPECT_FALSE(identity.value().has_value()) << path;
  }
  EXPECT_EQ(Of("d/f").size, 1);
}

TEST_F(IdentityTest, RefusesAFifo) {
  ASSERT_EQ(::mkfifo((dir_ + "p").c_str(), 0600), 0);
  EXPECT_THAT(IdentityAt(root_, "p"), FailsWith(ErrorCode::kUnsupported));
  EXPECT_THAT(HashBeneath(root_, "p"), FailsWith(ErrorCode::kConflict));
}

TEST_F(IdentityTest, HashesContentWithItsHoles) {
  Write("f", "begin");
  ASSERT_EQ(::truncate((dir_ + "f").c_str(), 1 << 20), 0);
  Result<std::string> digest = HashBeneath(root_, "f");
  ASSERT_THAT(digest, IsOk());
  EXPECT_EQ(digest.value(), Sha256::Of("begin" + std::string((1 << 20) - 5, '\0')));
}

TEST_F(IdentityTest, HashesFromTheBeginningWhereverTheOffsetIs) {
  Write("f", "content");
  Result<Fd> file = OpenBeneath(root_, "f", O_RDONLY);
  ASSERT_THAT(file, IsOk());
  ASSERT_EQ(::lseek(file.value().get(), 3, SEEK_SET), 3);
  Result<std::string> digest = HashFile(file.value());
  ASSERT_THAT(digest, IsOk());
  EXPECT_EQ(digest.value(), Sha256::Of("content"));
}

TEST_F(IdentityTest, CallsALocalFileSystemStrong) {
  Result<Stability> stability = StabilityOf(root_);
  ASSERT_THAT(stability, IsOk());
  EXPECT_EQ(stability.value(), Stability::kStrong);
}

Identity File() {
  Identity identity;
  identity.dev = 1;
  identity.ino = 2;
  identity.size = 3;
  identity.mode = 0644;
  identity.mtime_ns = 4;
  identity.ctime_ns = 5;
  return identity;
}

TEST(CompareTest, LooksAtWhatTheFileSystemKeepsStable) {
  using Edit = void (*)(Identity*);
  const struct {
    const char* what;
    Edit edit;
    Same strong;
    Same weak;
  } cases[] = {
      {"nothing", [](Identity*) {}, Same::kYes, Same::kReadContent},
      {"type", [](Identity* i) { i->type = EntryType::kSymlink; }, Same::kNo, Same::kNo},
      {"mode", [](Identity* i) { i->mode = 0600; }, Same::kNo, Same::kNo},
      {"inode", [](Identity* i) { i->ino = 9; }, Same::kNo, Same::kReadContent},
      {"device", [](Identity* i) { i->dev = 9; }, Same::kNo, Same::kReadContent},
      {"size", [](Identity* i) { i->size = 9; }, Same::kNo, Same::kNo},
      {"mtime", [](Identity* i) { i->mtime_ns = 9; }, Same::kNo, Same::kNo},
      {"ctime", [](Identity* i) { i->ctime_ns = 9; }, Same::kReadContent, Same::kReadContent},
      {"names", [](Identity* i) { i->nlink = 9; }, Same::kYes, Same::kReadContent},
  };
  for (const auto& test : cases) {
    Identity now = File();
    test.edit(&now);
    EXPECT_EQ(Compare(File(), now, Stability::kStrong), test.strong) << test.what;
    EXPECT_EQ(Compare(File(), now, Stability::kWeak), test.weak) << test.what;
  }
}

TEST(CompareTest, KnowsADirectoryByItsInodeWhateverIsInIt) {
  Identity then = File();
  then.type = EntryType::kDir;
  Identity now = then;
  now.mtime_ns = now.ctime_ns = now.size = 99;
  EXPECT_EQ(Compare(then, now, Stability::kStrong), Same::kYes);
  now.ino = 99;
  EXPECT_EQ(Compare(then, now, Stability::kStrong), Same::kNo);
  EXPECT_EQ(Compare(then, now, Stability::kWeak), Same::kYes);
}

TEST(CompareTest, KnowsALinkByItsTarget) {
  Identity then = File();
  then.type = EntryType::kSymlink;
  then.link_target = "a";
  Identity now = then;
  EXPECT_EQ(Compare(then, now, Stability::kWeak), Same::kYes);
  now.link_target = "b";
  EXPECT_EQ(Compare(then, now, Stability::kStrong), Same::kNo);
}

}  // namespace
}  // namespace bailiff
