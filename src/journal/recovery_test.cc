#include "journal/files.h"
#include "tests/crash/tree_fixture.h"

namespace bailiff {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class RecoveryTest : public ::testing::Test {
 protected:
  RecoveryTest() { Restart(); }

  // A commit of three changes that died right before `step`.
  void Restart(const char* step = "") {
    tree_ = nullptr;
    tree_ = std::make_unique<Tree>(ScratchDir("recovery_test"));
    tree_->File("f", "old");
    tree_->File("gone", "gone");
    before_ = tree_->Snapshot();
    if (*step == '\0') return;
    set_ = Edits(*tree_).Modify("f", "new").Create("made", "made").Delete("gone").Build();
    const pid_t child = ::fork();
    if (child == 0) {
      CommitOptions options;
      options.before_step = [&](std::string_view now) {
        if (now == step) ::_exit(7);
      };
      (void)CommitAll(*tree_, set_, options);
      ::_exit(0);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_EQ(WEXITSTATUS(status), 7);
  }

  std::string ReadJournalFile() const {
    std::ifstream file(tree_->JournalPath(kCommitId), std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), {});
  }
  // Where a commit that goes on has it: before it was put aside, all of it was durable.
  void WriteJournalFile(const std::string& bytes) const {
    std::filesystem::remove(tree_->JournalPath(kCommitId));
    std::ofstream(tree_->JournalPath(kCommitId), std::ios::binary) << bytes;
  }

  std::unique_ptr<Tree> tree_;
  ChangeSet set_;
  std::string before_;
};

TEST_F(RecoveryTest, FinishesWhatWasDecidedAndDropsWhatWasNot) {
  Restart("decide");
  EXPECT_EQ(NeedsRecovery(tree_->journal()).value(), false);
  EXPECT_EQ(Recover(tree_->dirs()).value().size(), 0U);
  EXPECT_EQ(tree_->Snapshot(), before_);
  EXPECT_EQ(tree_->Private("undo"), "");
  ASSERT_THAT(CommitAll(*tree_, set_), IsOk());  // What was staged is still there.
  EXPECT_EQ(tree_->Content("f"), "new");

  Restart("open undo directory");
  EXPECT_EQ(NeedsRecovery(tree_->journal()).value(), true);
  EXPECT_FALSE(ReportOf(tree_->journal(), kCommitId).value().has_value());
  EXPECT_THAT(CommitAll(*tree_, set_), FailsWith(ErrorCode::kConflict));
  EXPECT_THAT(Forget(tree_->dirs(), kCommitId), FailsWith(ErrorCode::kConflict));
  const auto reports = Recover(tree_->dirs());
  ASSERT_THAT(reports, IsOk());
  ASSERT_EQ(reports.value().size(), 1U);
  EXPECT_EQ(reports.value()[0].id, kCommitId);
  EXPECT_EQ(reports.value()[0].outcome, CommitOutcome::kCommitted);
  EXPECT_EQ(tree_->Content("f") + tree_->Content("made"), "newmade");
  EXPECT_FALSE(std::filesystem::exists(tree_->Path("gone")));
  EXPECT_EQ(NeedsRecovery(tree_->journal()).value(), false);
}

TEST_F(RecoveryTest, UndoesWhatAnotherWriterGotInTheWayOf) {
  Restart("exchange f");  // "gone" is aside and "made" is there.
  tree_->File("f", "theirs");
  const auto reports = Recover(tree_->dirs());
  ASSERT_THAT(reports, IsOk());
  ASSERT_EQ(reports.value().size(), 1U);
  EXPECT_EQ(reports.value()[0].outcome, CommitOutcome::kConflict);
  EXPECT_EQ(reports.value()[0].problems, (std::vector<PathProblem>{{"f", "changed since"}}));
  EXPECT_EQ(tree_->Content("f") + tree_->Content("gone"), "theirsgone");
  EXPECT_FALSE(std::filesystem::exists(tree_->Path("made")));
}

TEST_F(RecoveryTest, AJournalThatIsCutShortWasNeverDecided) {
  Restart("open undo directory");
  const std::string whole = ReadJournalFile();
  for (std::size_t size = 0; size < whole.size(); size += 3) {
    SCOPED_TRACE(size);
    WriteJournalFile(whole.substr(0, size));
    std::filesystem::create_directory(
        tree_->Path(".bailiff/undo/" + std::string(kCommitId) + ".new"));
    ASSERT_THAT(Recover(tree_->dirs()), IsOk());
    ASSERT_EQ(tree_->Snapshot(), before_);
    EXPECT_FALSE(std::filesystem::exists(tree_->JournalPath(kCommitId)));
  }
  WriteJournalFile(whole.substr(0, whole.size() - 32) + std::string(32, '\0'));
  ASSERT_THAT(Recover(tree_->dirs()), IsOk());  // The end was never written.
  EXPECT_EQ(tree_->Snapshot(), before_);
}

TEST_F(RecoveryTest, ADecisionThatIsLostWhileItWasAppliedIsTold) {
  Restart("exchange f");
  WriteJournalFile(ReadJournalFile().substr(0, 100));
  const std::string now = tree_->Snapshot();
  const auto reports = Recover(tree_->dirs());
  ASSERT_THAT(reports, FailsWith(ErrorCode::kIo));
  EXPECT_THAT(reports.error().message(), HasSubstr(std::string(kCommitId) + ".journal"));
  EXPECT_EQ(tree_->Snapshot(), now);
}

// Whichever byte is damaged: an error that names the file, and nothing is done.
TEST_F(RecoveryTest, ADamagedJournalIsNeverApplied) {
  Restart("exchange f");
  const std::string whole = ReadJournalFile();
  const std::string now = tree_->Snapshot();
  for (std::size_t at = 0; at < whole.size(); ++at) {
    SCOPED_TRACE(at);
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ (1 << at % 8));
    WriteJournalFile(damaged);
    const auto reports = Recover(tree_->dirs());
    ASSERT_THAT(reports, FailsWith(ErrorCode::kIo));
    ASSERT_THAT(reports.error().message(), HasSubstr(std::string(kCommitId) + ".journal"));
    ASSERT_EQ(tree_->Snapshot(), now);
    ASSERT_EQ(NeedsRecovery(tree_->journal()).value(), true);
  }
  WriteJournalFile(whole);
  ASSERT_THAT(Recover(tree_->dirs()), IsOk());
  EXPECT_EQ(tree_->Content("f"), "new");
}

TEST_F(RecoveryTest, ADamagedEndDoesNotReviveAnOldCommit) {
  Restart("decide");
  ASSERT_THAT(CommitAll(*tree_, set_), IsOk());
  const std::string whole = ReadJournalFile();
  tree_->File("f", "later work");
  std::string damaged = whole;
  damaged[whole.size() - 40] ^= 1;
  WriteJournalFile(damaged);
  EXPECT_THAT(BuildRollback(tree_->dirs(), kCommitId, kRollbackId), FailsWith(ErrorCode::kIo));
  (void)Recover(tree_->dirs());
  EXPECT_EQ(tree_->Content("f"), "later work");
}

TEST_F(RecoveryTest, AnEndThatWasNeverWrittenIsWrittenAgain) {
  Restart("decide");
  ASSERT_THAT(CommitAll(*tree_, set_), IsOk());
  const std::string whole = ReadJournalFile();
  WriteJournalFile(whole.substr(0, whole.size() - 32) + std::string(32, '\0'));
  EXPECT_EQ(NeedsRecovery(tree_->journal()).value(), true);
  ASSERT_THAT(Recover(tree_->dirs()), IsOk());
  EXPECT_EQ(ReadJournalFile(), whole);
}

TEST_F(RecoveryTest, WhatEndedIsNotLookedThroughAndStillKnown) {
  Restart("put the journal aside");
  EXPECT_EQ(NeedsRecovery(tree_->journal()).value(), false);
  EXPECT_THAT(ListJournals(tree_->journal()).value(), ElementsAre(kCommitId));
  const auto reports = Recover(tree_->dirs());
  ASSERT_THAT(reports, IsOk());
  EXPECT_THAT(reports.value(), IsEmpty());
  EXPECT_THAT(ListJournals(tree_->journal()).value(), IsEmpty());
  EXPECT_THAT(ListCommits(tree_->journal()).value(), ElementsAre(kCommitId));
  EXPECT_EQ(ReportOf(tree_->journal(), kCommitId).value()->outcome, CommitOutcome::kCommitted);
  EXPECT_THAT(CommitAll(*tree_, set_), FailsWith(ErrorCode::kConflict));
  ASSERT_THAT(BuildRollback(tree_->dirs(), kCommitId, kRollbackId), IsOk());
  ASSERT_THAT(Forget(tree_->dirs(), kCommitId), IsOk());
  EXPECT_FALSE(ReportOf(tree_->journal(), kCommitId).value().has_value());
}

TEST_F(RecoveryTest, AnotherWorkspacesJournalIsRefused) {
  Restart("exchange f");
  const std::string copy = tree_->Path("") + "../copy";
  std::filesystem::create_directories(copy);
  const Fd other = OpenPath(copy, O_RDONLY | O_DIRECTORY).value();
  const JournalDirs dirs = {other, tree_->private_dir(), tree_->journal(), tree_->private_dir()};
  EXPECT_THAT(Recover(dirs), FailsWith(ErrorCode::kConflict));
}

class RecordTest : public ::testing::Test {
 protected:
  RecordTest() : tree_(ScratchDir("record_test")) {}
  const Tree tree_;
};

TEST_F(RecordTest, IsReplacedAtomicallyAndBelongsToTheOwner) {
  ASSERT_EQ(::chown(tree_.Path("").c_str(), 1234, 4321), 0);
  ASSERT_THAT(WriteRecord(tree_.workspace(), "Database/logs/x.json", "one"), IsOk());
  ASSERT_THAT(WriteRecord(tree_.workspace(), "Database/logs/x.json", "two"), IsOk());
  EXPECT_EQ(tree_.Content("Database/logs/x.json"), "two");
  const std::string after = tree_.Snapshot();
  for (const char* line : {"Database dir 755 1234:4321\n", "Database/logs dir 755 1234:4321\n",
                           "Database/logs/x.json file 644 1234:4321 "}) {
    EXPECT_THAT(after, HasSubstr(line));
  }
}

TEST_F(RecordTest, FollowsNoLinkAndLeavesNoWorkspace) {
  tree_.File("outside/x.json", "canary");
  tree_.Symlink("Database", "outside");
  EXPECT_THAT(WriteRecord(tree_.workspace(), "Database/x.json", "evil"),
              FailsWith(ErrorCode::kPermissionDenied));
  tree_.Symlink("x.json", "outside/x.json");
  ASSERT_THAT(WriteRecord(tree_.workspace(), "x.json", "own"), IsOk());
  EXPECT_EQ(tree_.Content("outside/x.json"), "canary");
  EXPECT_EQ(tree_.Content("x.json"), "own");
  for (const char* path : {"", "../x", "/etc/x", "a/../b", "a//b"}) {
    EXPECT_THAT(WriteRecord(tree_.workspace(), path, "x"), FailsWith(ErrorCode::kInvalidArgument));
  }
}

TEST_F(RecordTest, ADraftThatADeadWriterLeftIsRemovedAndALivingOnesStays) {
  tree_.File(".bailiff/record-000000000000", "dead");
  tree_.File(".bailiff/record-111111111111", "alive");
  const Entry entry = OpenParent(tree_.private_dir(), "record-111111111111").value();
  const Fd alive = OpenEntry(entry, O_WRONLY).value();
  ASSERT_EQ(TryLock(alive, LockMode::kExclusive).value(), true);
  ASSERT_THAT(Recover(tree_.dirs()), IsOk());
  EXPECT_EQ(tree_.Private(""), "record-111111111111\n");
}

TEST_F(RecordTest, WhatCannotBeExaminedAsADraftDoesNotFailRecovery) {
  tree_.Symlink(".bailiff/record-000000000000", "nowhere");
  tree_.Dir(".bailiff/record-111111111111");
  ASSERT_EQ(::mkfifo(tree_.Path(".bailiff/record-222222222222").c_str(), 0600), 0);
  tree_.File(".bailiff/record-333333333333", "dead");
  ASSERT_THAT(Recover(tree_.dirs()), IsOk());
  EXPECT_FALSE(std::filesystem::exists(tree_.Path(".bailiff/record-333333333333")));
}

TEST_F(RecordTest, StagedContentIsSyncedAndDiscarded) {
  const ChangeSet set = Edits(tree_).Create("f", "f").Build();
  ASSERT_THAT(SyncStaged(tree_.dirs(), set, Staged::kKnown), IsOk());
  EXPECT_NE(tree_.Private("stage"), "");
  ASSERT_THAT(DiscardStaged(tree_.dirs(), kCommitId), IsOk());
  EXPECT_EQ(tree_.Private("stage"), "");
  EXPECT_THAT(DiscardStaged(tree_.dirs(), kCommitId), IsOk());
  EXPECT_THAT(DiscardStaged(tree_.dirs(), "../x"), FailsWith(ErrorCode::kInvalidArgument));
}

}  // namespace
}  // namespace bailiff
