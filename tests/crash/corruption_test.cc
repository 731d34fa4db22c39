#include <array>

#include "tests/crash/everything.h"
#include "tests/support/sample.h"

// A damaged journal: whatever byte is wrong and wherever the file ends, nothing wrong is ever
// applied. Recovery says which file it is and touches nothing, or the tree is one of the two that
// the change set knows.

namespace bailiff {
namespace {

enum class Moment : std::uint8_t {
  kHalfApplied,  // Killed in the middle of the steps: recovery has to finish.
  kHalfUndone,   // Killed in the middle of an undo: recovery has to go back.
  kApplied,      // Ended: nothing to recover, and a rollback reads it.
};

class JournalCorruptionTest : public ::testing::TestWithParam<Moment> {
 protected:
  JournalCorruptionTest() : tree_(ScratchDir("crash_corruption")) { Arrange(); }

  // The tree and a whole journal, as they were at that moment.
  void Arrange() {
    for (const std::string& name : ListDir(tree_.workspace(), 1000).value()) {
      if (name == ".bailiff") continue;
      ASSERT_THAT(RemoveTree(tree_.workspace(), name), IsOk());
    }
    for (const char* name : {"undo", "stage"}) {
      ASSERT_THAT(RemoveTree(tree_.private_dir(), name), IsOk());
    }
    std::filesystem::remove(tree_.JournalPath(kCommitId));
    MakeEverythingTree(tree_);
    before_ = tree_.Snapshot();
    const ChangeSet set = EverythingSet(tree_);
    const bool undone = GetParam() == Moment::kHalfUndone;
    const char* dies_at = undone ? "put back swap1" : "exchange hard1";
    SurvivesStep(tree_, 0, [&](const CommitOptions&) {
      CommitOptions options;
      options.before_step = [&](std::string_view step) {
        if (undone && step == "exchange hard1") tree_.File("script.sh", "theirs", 0644, kOldTime);
        if (GetParam() != Moment::kApplied && step == dies_at) ::kill(::getpid(), SIGKILL);
      };
      (void)CommitAll(tree_, set, options);
    });
    now_ = tree_.Snapshot();
    bytes_ = Read();
  }

  std::string Read() const {
    std::ifstream file(tree_.JournalPath(kCommitId), std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  // Where Recover() looks: what a crash cut short was not put aside.
  void Write(const std::string& bytes) const {
    std::filesystem::remove(tree_.JournalPath(kCommitId));
    std::ofstream(tree_.JournalPath(kCommitId), std::ios::binary | std::ios::trunc) << bytes;
  }

  static void ExpectNamed(const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kIo) << error.message();
    EXPECT_THAT(error.message(), ::testing::HasSubstr(std::string(kCommitId) + ".journal"));
  }

  // The tree of before (but for what the other writer did), or the one of after.
  void ExpectOneOfTheTwo() {
    const std::string found = tree_.Snapshot();
    const auto report = ReportOf(tree_.journal(), kCommitId);
    ASSERT_THAT(report, IsOk());
    const bool committed =
        report.value().has_value() && report.value()->outcome == CommitOutcome::kCommitted;
    if (committed) {
      EXPECT_EQ(found, after_);
      return;
    }
    // The order to undo is lost while it is carried out, which no crash does: told with its paths.
    const bool told = GetParam() == Moment::kHalfUndone && report.value().has_value() &&
                      report.value()->outcome == CommitOutcome::kNeedsAttention;
    if (told) {
      EXPECT_FALSE(report.value()->problems.empty());
      return;
    }
    if (GetParam() == Moment::kHalfUndone) tree_.File("script.sh", "#!", 0644, kOldTime);
    EXPECT_EQ(tree_.Snapshot(), before_);
  }

  // Recovers from a journal with these bytes. True when it was refused with its name.
  bool IsRefused(const std::string& bytes) {
    Write(bytes);
    const auto recovered = Recover(tree_.dirs());
    if (!recovered.ok()) {
      ExpectNamed(recovered.error());
      EXPECT_EQ(tree_.Snapshot(), now_);
      EXPECT_EQ(NeedsRecovery(tree_.journal()).value(), true);
      return true;
    }
    ExpectOneOfTheTwo();
    Arrange();
    return false;
  }

  // A journal that has nothing to recover is not read by Recover(), but by all who use it.
  bool IsRefusedByItsUsers(const std::string& bytes) {
    Write(bytes);
    const Result<Rollback> rollback = BuildRollback(tree_.dirs(), kCommitId, kRollbackId);
    const auto report = ReportOf(tree_.journal(), kCommitId);
    EXPECT_EQ(rollback.ok(), report.ok());
    if (rollback.ok()) return false;
    ExpectNamed(rollback.error());
    ExpectNamed(report.error());
    EXPECT_EQ(tree_.Snapshot(), now_);
    return true;
  }

  bool IsReported(const std::string& bytes) {
    return GetParam() == Moment::kApplied ? IsRefusedByItsUsers(bytes) : IsRefused(bytes);
  }

  void FindAfter() {
    const Tree tree(ScratchDir("crash_corruption_after"));
    MakeEverythingTree(tree);
    ASSERT_THAT(CommitAll(tree, EverythingSet(tree)), IsOk());
    after_ = tree.Snapshot();
  }

  Tree tree_;
  std::string bytes_;
  std::string before_;
  std::string now_;
  std::string after_;
};
INSTANTIATE_TEST_SUITE_P(Moments, JournalCorruptionTest,
                         ::testing::Values(Moment::kHalfApplied, Moment::kHalfUndone,
                                           Moment::kApplied));

TEST_P(JournalCorruptionTest, EveryFlippedByteIsReportedAndNothingIsDone) {
  ASSERT_NO_FATAL_FAILURE(FindAfter());
  ASSERT_NE(before_, after_);
  const Sample sample("flipped bytes", bytes_.size(), 500);
  for (std::size_t at = 0; at < bytes_.size(); ++at) {
    if (!sample.Has(at)) continue;
    SCOPED_TRACE("byte " + std::to_string(at) + " of " + std::to_string(bytes_.size()));
    std::string wrong = bytes_;
    wrong[at] = static_cast<char>(wrong[at] ^ (1 << (at % 8)));
    ASSERT_TRUE(IsReported(wrong));
    ASSERT_FALSE(HasFailure());
  }
  Write(bytes_);
  ASSERT_THAT(Recover(tree_.dirs()), IsOk());
  ASSERT_NO_FATAL_FAILURE(ExpectOneOfTheTwo());
}

// A file that ends early is what a crash leaves of its last record; that much is cut off. The steps
// are looked for on disk, so that doing without the record comes to the same. Only a decision that
// is gone while its steps are being done cannot come from a crash.
TEST_P(JournalCorruptionTest, WhereverItEndsTheTreeIsOneOfTheTwo) {
  ASSERT_NO_FATAL_FAILURE(FindAfter());
  const Sample sample("lengths", bytes_.size(), 150);
  std::size_t refused = 0;
  for (std::size_t size = 0; size < bytes_.size(); ++size) {
    if (!sample.Has(size)) continue;
    SCOPED_TRACE(std::to_string(size) + " of " + std::to_string(bytes_.size()) + " bytes");
    if (IsRefused(bytes_.substr(0, size))) ++refused;
    ASSERT_FALSE(HasFailure());
  }
  EXPECT_GT(refused, 0U);
}

// Bytes that no writer of ours left there, after the last record.
TEST_P(JournalCorruptionTest, WhatFollowsTheLastRecordIsReportedUnlessACrashLeavesIt) {
  ASSERT_NO_FATAL_FAILURE(FindAfter());
  EXPECT_TRUE(IsReported(bytes_ + std::string(64, 'x')));
  EXPECT_TRUE(IsReported(bytes_ + bytes_));
  EXPECT_FALSE(IsRefused(bytes_ + std::string(4096, '\0')));
}

}  // namespace
}  // namespace bailiff
