#include "workspace/tree.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "sys/file.h"
#include "tests/support/matchers.h"

namespace bailiff {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(PathTest, SortsByComponentsAsBytes) {
  const std::vector<std::string> sorted = {"",    "A",   "a",  "a/b", "a/b/c", "a/\xff",
                                           "a b", "a.b", "ab", "b",   "\xff"};
  for (std::size_t i = 0; i < sorted.size(); ++i) {
    for (std::size_t j = 0; j < sorted.size(); ++j) {
      EXPECT_EQ(PathLess(sorted[i], sorted[j]), i < j) << sorted[i] << " < " << sorted[j];
    }
  }
}

TEST(PathTest, KnowsWhatLiesBelow) {
  EXPECT_TRUE(IsBelow("a/b", "a"));
  EXPECT_TRUE(IsBelow("a/b/c", "a"));
  EXPECT_TRUE(IsBelow("a", ""));
  EXPECT_FALSE(IsBelow("a", "a"));
  EXPECT_FALSE(IsBelow("ab", "a"));
  EXPECT_FALSE(IsBelow("", ""));
  EXPECT_FALSE(IsBelow("a", "a/b"));
  EXPECT_EQ(JoinPath("a", "b"), "a/b");
  EXPECT_EQ(JoinPath("", "b"), "b");
}

class ListTreeTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = ::testing::TempDir() + "tree-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    dir_ = pattern + "/";
    Result<Fd> root = OpenPath(dir_, O_RDONLY | O_DIRECTORY);
    ASSERT_THAT(root, IsOk());
    root_ = std::move(root).value();
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }

  std::string DigestOf(const std::string& path) {
    const auto entries = ListTree(root_, path);
    EXPECT_THAT(entries, IsOk());
    return entries.ok() ? TreeDigest(entries.value(), Stability::kStrong) : "";
  }

  std::string dir_;
  Fd root_;
};

TEST_F(ListTreeTest, ListsAllBelowInOrderAndFollowsNoLink) {
  std::filesystem::create_directories(dir_ + "t/d/e");
  std::filesystem::create_directories(dir_ + "elsewhere/x");
  for (const char* name : {"t/d/e/f", "t/a", "t/d.txt"}) std::ofstream(dir_ + name) << name;
  ASSERT_EQ(::symlink("../elsewhere", (dir_ + "t/link").c_str()), 0);
  const auto entries = ListTree(root_, "t");
  ASSERT_THAT(entries, IsOk());
  std::vector<std::string> paths;
  for (const TreeEntry& entry : entries.value()) paths.push_back(entry.path);
  EXPECT_THAT(paths, ElementsAre("a", "d", "d/e", "d/e/f", "d.txt", "link"));
  EXPECT_TRUE(std::is_sorted(paths.begin(), paths.end(), PathLess));
}

TEST_F(ListTreeTest, NamesTheSpecialFileThatItRefuses) {
  std::filesystem::create_directories(dir_ + "t/d");
  ASSERT_EQ(::mkfifo((dir_ + "t/d/pipe").c_str(), 0600), 0);
  const auto entries = ListTree(root_, "t");
  ASSERT_THAT(entries, FailsWith(ErrorCode::kUnsupported));
  EXPECT_THAT(entries.error().message(), HasSubstr("d/pipe"));
}

TEST_F(ListTreeTest, RefusesATreeThatIsTooDeep) {
  int dir = ::open(dir_.c_str(), O_RDONLY | O_DIRECTORY);
  for (std::size_t i = 0; i <= kTreeDepthMax; ++i) {
    ASSERT_EQ(::mkdirat(dir, "d", 0700), 0);
    const int next = ::openat(dir, "d", O_RDONLY | O_DIRECTORY);
    ::close(dir);
    dir = next;
  }
  ::close(dir);
  EXPECT_THAT(ListTree(root_, ""), FailsWith(ErrorCode::kResourceExhausted));
}

TEST_F(ListTreeTest, FailsForAFileOrALinkAsItsTop) {
  std::ofstream(dir_ + "f") << "x";
  ASSERT_EQ(::symlink(".", (dir_ + "l").c_str()), 0);
  EXPECT_FALSE(ListTree(root_, "f").ok());
  EXPECT_FALSE(ListTree(root_, "l").ok());
  EXPECT_THAT(ListTree(root_, "none"), FailsWith(ErrorCode::kNotFound));
}

TEST_F(ListTreeTest, ChangesItsDigestWithAnythingButATopOrADirectorysTime) {
  std::filesystem::create_directories(dir_ + "t/d");
  std::ofstream(dir_ + "t/d/f") << "1";
  const std::string before = DigestOf("t");
  const timespec old[2] = {{1, 0}, {1, 0}};
  ASSERT_EQ(::utimensat(AT_FDCWD, (dir_ + "t/d").c_str(), old, 0), 0);
  EXPECT_EQ(DigestOf("t"), before);
  std::filesystem::rename(dir_ + "t", dir_ + "u");
  EXPECT_EQ(DigestOf("u"), before) << "where it lies is no part of it";

  ASSERT_EQ(::utimensat(AT_FDCWD, (dir_ + "u/d/f").c_str(), old, 0), 0);
  const std::string retimed = DigestOf("u");
  EXPECT_NE(retimed, before);
  ASSERT_EQ(::chmod((dir_ + "u/d").c_str(), 0700), 0);
  const std::string remoded = DigestOf("u");
  EXPECT_NE(remoded, retimed);
  std::filesystem::rename(dir_ + "u/d/f", dir_ + "u/d/g");
  EXPECT_NE(DigestOf("u"), remoded);
}

TEST(TreeDigestTest, CountsInodesOnlyWhereTheyAreStable) {
  std::vector<TreeEntry> left = {{"a", Identity()}};
  std::vector<TreeEntry> right = left;
  right[0].identity.ino = 7;
  EXPECT_NE(TreeDigest(left, Stability::kStrong), TreeDigest(right, Stability::kStrong));
  EXPECT_EQ(TreeDigest(left, Stability::kWeak), TreeDigest(right, Stability::kWeak));
  right[0].identity.link_target = "x";
  EXPECT_NE(TreeDigest(left, Stability::kWeak), TreeDigest(right, Stability::kWeak));
}

}  // namespace
}  // namespace bailiff
