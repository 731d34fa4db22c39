#include <sys/mount.h>
#include <sys/wait.h>

#include "journal/files.h"
#include "tests/crash/tree_fixture.h"
#include "tests/support/requires.h"

namespace bailiff {
namespace {

// A workspace, or a journal, on a file system of a few pages.
class FullDiskTest : public ::testing::Test {
 protected:
  FullDiskTest() : dir_(::testing::TempDir() + "full_disk_" + std::to_string(::getpid())) {
    std::filesystem::create_directories(dir_ + "/tree");
  }
  ~FullDiskTest() override {
    tree_.reset();
    for (const char* sub : {"/tree/ws", "/tree/journal"})
      ::umount2((dir_ + sub).c_str(), MNT_DETACH);
    std::filesystem::remove_all(dir_);
  }
  void MountAt(const char* sub, const char* options) {
    tree_ = std::make_unique<Tree>(dir_ + "/tree");
    const std::string where = dir_ + "/tree" + sub;
    mounted_ = ::mount("none", where.c_str(), "tmpfs", 0, options) == 0;
    std::filesystem::create_directories(dir_ + "/tree/ws/.bailiff");
    tree_->Open();
  }

  const std::string dir_;
  std::unique_ptr<Tree> tree_;
  bool mounted_ = false;
};

TEST_F(FullDiskTest, AFullJournalRefusesAndLeavesNothing) {
  MountAt("/journal", "size=16k");
  REQUIRES(mounted_, "cannot mount a tmpfs");
  Edits edits(*tree_);
  for (int i = 0; i < 200; ++i) edits.Create("f" + std::to_string(i), "x");
  const ChangeSet set = edits.Build();
  EXPECT_THAT(CommitAll(*tree_, set), FailsWith(ErrorCode::kResourceExhausted));
  EXPECT_EQ(tree_->Snapshot(), "");
  EXPECT_EQ(tree_->Private("undo"), "");
  EXPECT_EQ(NeedsRecovery(tree_->journal()).value(), false);
  EXPECT_THAT(ListJournals(tree_->journal()).value(), ::testing::IsEmpty());
}

TEST_F(FullDiskTest, AFullWorkspaceUndoesWhatWasApplied) {
  MountAt("/ws", "size=1m,nr_inodes=15");
  REQUIRES(mounted_, "cannot mount a tmpfs");
  tree_->File("base", "base");
  Edits edits(*tree_);
  edits.Create("f", "f").Modify("base", "BASE");
  // On a tmpfs each further name takes one of its inodes.
  for (int i = 0; i < 10; ++i) edits.Link("link" + std::to_string(i), "f");
  const ChangeSet set = edits.Build();
  const std::string before = tree_->Snapshot();
  EXPECT_THAT(CommitAll(*tree_, set), FailsWith(ErrorCode::kResourceExhausted));
  EXPECT_EQ(tree_->Snapshot(), before);
  EXPECT_EQ(tree_->Private("undo"), "");
  // No conflict, and no end: with more room it succeeds.
  EXPECT_FALSE(ReportOf(tree_->journal(), kCommitId).value().has_value());
  ASSERT_EQ(::mount("none", tree_->Path("").c_str(), "tmpfs", MS_REMOUNT, "size=1m,nr_inodes=40"),
            0);
  EXPECT_EQ(CommitAll(*tree_, set).value().outcome, CommitOutcome::kCommitted);
  EXPECT_EQ(tree_->Content("link9"), "f");
}

// Also where the command died in the middle of the undo.
TEST_F(FullDiskTest, AnUndoForWantOfRoomThatIsResumedIsNoConflictEither) {
  MountAt("/ws", "size=1m,nr_inodes=15");
  REQUIRES(mounted_, "cannot mount a tmpfs");
  Edits edits(*tree_);
  edits.Create("f", "f");
  for (int i = 0; i < 10; ++i) edits.Link("link" + std::to_string(i), "f");
  const ChangeSet set = edits.Build();
  const pid_t child = ::fork();
  if (child == 0) {
    CommitOptions options;
    options.before_step = [](std::string_view now) {
      if (now == "write undone record") ::_exit(7);
    };
    (void)CommitAll(*tree_, set, options);
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_EQ(WEXITSTATUS(status), 7);
  EXPECT_EQ(Recover(tree_->dirs()).value().size(), 0U);
  EXPECT_EQ(tree_->Snapshot(), "");
  EXPECT_FALSE(ReportOf(tree_->journal(), kCommitId).value().has_value());
  EXPECT_EQ(NeedsRecovery(tree_->journal()).value(), false);
}

TEST_F(FullDiskTest, AFullWorkspaceMayRefuseBeforeItDecides) {
  MountAt("/ws", "size=1m,nr_inodes=12");
  REQUIRES(mounted_, "cannot mount a tmpfs");
  Edits edits(*tree_);
  for (int i = 0; i < 10; ++i) edits.MakeDir("d" + std::to_string(i));
  EXPECT_THAT(CommitAll(*tree_, edits.Build()), FailsWith(ErrorCode::kResourceExhausted));
  EXPECT_EQ(tree_->Snapshot(), "");
  EXPECT_EQ(tree_->Private("stage"), std::string(kCommitId) + "\n");
  EXPECT_FALSE(ReportOf(tree_->journal(), kCommitId).value().has_value());
}

// The room is reserved with the decision, and kept for whoever resumes it.
TEST_F(FullDiskTest, ARecoveryHasTheRoomThatWasReservedForIt) {
  MountAt("/journal", "size=512k");
  REQUIRES(mounted_, "cannot mount a tmpfs");
  for (const bool torn : {false, true}) {
    SCOPED_TRACE(torn);
    const std::string prefix = torn ? "torn" : "whole";
    Edits edits(*tree_);
    for (int i = 0; i < 200; ++i) edits.Create(prefix + std::to_string(i), "x");
    const ChangeSet set = edits.Build();
    const pid_t child = ::fork();
    if (child == 0) {
      CommitOptions options;
      options.before_step = [&](std::string_view now) {
        if (now == "open undo directory") ::_exit(7);
      };
      (void)CommitAll(*tree_, set, options);
      ::_exit(0);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_EQ(WEXITSTATUS(status), 7);
    if (torn) {
      std::ofstream(tree_->JournalPath(kCommitId), std::ios::app) << std::string(20'000, '\0');
    }
    const std::string filler = dir_ + "/tree/journal/filler";
    CommitOptions options;
    options.before_step = [&](std::string_view now) {
      if (now == "sync") std::ofstream(filler) << std::string(1UL << 20, 'x');
    };
    const auto reports = Recover(tree_->dirs(), options);
    ASSERT_THAT(reports, IsOk());
    EXPECT_TRUE(std::filesystem::exists(filler));
    EXPECT_EQ(reports.value().at(0).outcome, CommitOutcome::kCommitted);
    std::filesystem::remove(filler);
    ASSERT_THAT(Forget(tree_->dirs(), kCommitId), IsOk());
  }
}

}  // namespace
}  // namespace bailiff
