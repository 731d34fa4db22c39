#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include "store/store.h"
#include "tests/support/matchers.h"

namespace bailiff {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

class HistoryTest : public ::testing::Test {
 protected:
  HistoryTest() : root_(::testing::TempDir() + "history." + std::to_string(::getpid())) {
    fs::remove_all(root_);
    fs::create_directories(root_);
    store_.emplace(Store::Open(root_ + "/bailiff.db").value());
  }
  ~HistoryTest() override {
    store_.reset();
    fs::remove_all(root_);
  }

  static HistoryRow Row(std::string op, std::string type, std::string path, std::string from = "") {
    return {.op = std::move(op),
            .type = std::move(type),
            .path = std::move(path),
            .from_path = std::move(from)};
  }

  void Commit(const std::vector<HistoryRow>& rows) {
    ProposalRow proposal;
    proposal.id = "exec_" + std::to_string(++commits_);
    proposal.state = ProposalState::kCommitting;
    ASSERT_THAT(store_->InsertProposal(proposal), IsOk());
    ASSERT_THAT(store_->RecordCommit(proposal.id, ProposalState::kCommitting, rows, commits_),
                IsOk());
  }

  static std::string Told(const HistoryRow& row) {
    const std::string from = row.from_path.empty() ? "" : " from " + row.from_path;
    return std::to_string(row.epoch) + " " + row.op + " " + row.path + from;
  }

  // "<epoch> <op> <path> [from <from>] as <name then>", newest first.
  std::vector<std::string> Of(const std::string& path, std::int64_t limit = 100) {
    std::vector<std::string> told;
    for (const PathEvent& event : store_->PathHistory(path, limit).value()) {
      told.push_back(Told(event.row) + " as " + event.path_then);
    }
    return told;
  }

  std::vector<std::string> Below(const std::string& folder) {
    std::vector<std::string> told;
    for (const HistoryRow& row : store_->FolderHistory(folder).value()) told.push_back(Told(row));
    return told;
  }

  const std::string root_;
  std::optional<Store> store_;
  int commits_ = 0;
};

TEST_F(HistoryTest, FollowsAFileBackThroughItsMoves) {
  Commit({Row("create", "file", "a")});
  Commit({Row("modify", "file", "a"), Row("create", "file", "other")});
  Commit({Row("move", "file", "b", "a")});
  Commit({Row("create", "file", "a")});  // Another file, under the old name.
  Commit({Row("move", "file", "dir/c", "b"), Row("create", "dir", "dir")});
  Commit({Row("metadata", "file", "dir/c")});
  EXPECT_THAT(Of("dir/c"),
              ElementsAre("6 metadata dir/c as dir/c", "5 move dir/c from b as dir/c",
                          "3 move b from a as b", "2 modify a as a", "1 create a as a"));
  EXPECT_THAT(Of("other"), ElementsAre("2 create other as other"));
  EXPECT_THAT(Of("never"), IsEmpty());
  EXPECT_THAT(Of("dir/c", 2),
              ElementsAre("6 metadata dir/c as dir/c", "5 move dir/c from b as dir/c"));
}

TEST_F(HistoryTest, FollowsAFileThroughTheMovesOfDirectoriesAboveIt) {
  Commit({Row("create", "file", "x/y/f")});
  Commit({Row("move", "dir", "x/z", "x/y")});
  Commit({Row("modify", "file", "x/z/f")});
  Commit({Row("move", "dir", "w", "x"), Row("modify", "file", "w/z/g", "x/z/g")});
  Commit({Row("create", "file", "x/z/f")});  // Not this file.
  EXPECT_THAT(Of("w/z/f"), ElementsAre("4 move w from x as w/z/f", "3 modify x/z/f as x/z/f",
                                       "2 move x/z from x/y as x/z/f", "1 create x/y/f as x/y/f"));
}

TEST_F(HistoryTest, AFileThatChangesWhileItsDirectoryMovesTellsSoItself) {
  Commit({Row("create", "file", "a/f"), Row("create", "file", "a/k")});
  Commit({Row("move", "dir", "b", "a"), Row("modify", "file", "b/f", "a/f"),
          Row("move", "file", "k", "a/k")});
  EXPECT_THAT(Of("b/f"), ElementsAre("2 modify b/f from a/f as b/f", "1 create a/f as a/f"));
  EXPECT_THAT(Of("k"), ElementsAre("2 move k from a/k as k", "1 create a/k as a/k"));
}

TEST_F(HistoryTest, ASwapIsFollowedToTheOtherName) {
  Commit({Row("create", "file", "p")});
  Commit({Row("create", "file", "q")});
  Commit({Row("move", "file", "p", "q"), Row("move", "file", "q", "p")});
  EXPECT_THAT(Of("p"), ElementsAre("3 move p from q as p", "2 create q as q"));
  EXPECT_THAT(Of("q"), ElementsAre("3 move q from p as q", "1 create p as p"));
}

TEST_F(HistoryTest, TellsWhatBecameOfAPathThatIsGone) {
  Commit({Row("create", "file", "d/f"), Row("create", "file", "d/g"), Row("create", "file", "h")});
  Commit({Row("move", "file", "e", "d/f")});
  Commit({Row("move", "dir", "n", "d")});
  Commit({Row("delete", "file", "h")});
  Commit({Row("delete", "dir", "n")});
  EXPECT_THAT(Of("d/f"), ElementsAre("3 move n from d as d/f", "2 move e from d/f as d/f",
                                     "1 create d/f as d/f"));
  EXPECT_THAT(Of("n/g"),
              ElementsAre("5 delete n as n/g", "3 move n from d as n/g", "1 create d/g as d/g"));
  EXPECT_THAT(Of("h"), ElementsAre("4 delete h as h", "1 create h as h"));
}

TEST_F(HistoryTest, GoesOnBehindADeletionThatWasRolledBack) {
  Commit({Row("create", "file", "f")});
  Commit({Row("delete", "file", "f")});
  Commit({Row("create", "file", "f")});
  EXPECT_THAT(Of("f"), ElementsAre("3 create f as f", "2 delete f as f", "1 create f as f"));
}

TEST_F(HistoryTest, AReplacementOfAnotherKindIsBothADeletionAndACreation) {
  Commit({Row("create", "file", "f")});
  Commit({Row("delete", "file", "f"), Row("create", "symlink", "f")});
  EXPECT_THAT(Of("f"), ElementsAre("2 create f as f", "2 delete f as f", "1 create f as f"));
}

TEST_F(HistoryTest, PathsAreBytes) {
  const std::string odd = "caf\xe9/\xff\n'%_";
  Commit({Row("create", "file", odd)});
  EXPECT_THAT(Of(odd), ElementsAre("1 create " + odd + " as " + odd));
  EXPECT_THAT(Below("caf\xe9"), ElementsAre("1 create " + odd));
}

TEST_F(HistoryTest, AFolderTellsWhatHappenedInIt) {
  Commit({Row("create", "file", "a/f"), Row("create", "file", "a.txt"),
          Row("create", "file", "ab/f")});
  Commit({Row("move", "file", "out", "a/f")});
  Commit({Row("move", "dir", "b", "a")});
  EXPECT_THAT(Below("a"), ElementsAre("3 move b from a", "2 move out from a/f", "1 create a/f"));
  EXPECT_EQ(Below("").size(), 5U);
}

TEST_F(HistoryTest, ListsByPage) {
  for (const char* path : {"a/1", "a/2", "a/3"}) Commit({Row("create", "file", path)});
  const auto page = store_->FolderHistory("a", 2).value();
  ASSERT_EQ(page.size(), 2U);
  EXPECT_EQ(page[0].path, "a/3");
  const auto rest = store_->FolderHistory("a", 2, page.back().row).value();
  ASSERT_EQ(rest.size(), 1U);
  EXPECT_EQ(rest[0].path, "a/1");
  EXPECT_EQ(store_->AllHistory(2).value().size(), 2U);
  EXPECT_EQ(store_->AllHistory(2, page.back().row).value().size(), 1U);
}

}  // namespace
}  // namespace bailiff
