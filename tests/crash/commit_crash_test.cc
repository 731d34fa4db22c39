#include <cstdlib>
#include <iostream>

#include "tests/crash/everything.h"
#include "tests/crash/fuse_ground.h"
#include "tests/support/sample.h"

// A commit that dies at its n-th step, for every n: after recovery the tree is the one before or
// the one after, and nothing else is ever seen.

namespace bailiff {
namespace {

constexpr int kStepsMax = 500;
constexpr int kFuseStride = 11;

// What an undisturbed commit makes of the tree, and a rollback of it.
struct World {
  std::string before;
  std::string after;
};

World Undisturbed(Ground ground) {
  const Tree tree(ScratchDir("crash_undisturbed"), ground);
  MakeEverythingTree(tree);
  World world;
  world.before = tree.Snapshot();
  const Result<CommitReport> report = CommitAll(tree, EverythingSet(tree), OptionsFor(tree));
  EXPECT_THAT(report, IsOk());
  EXPECT_EQ(report.value().outcome, CommitOutcome::kCommitted);
  world.after = tree.Snapshot();
  EXPECT_NE(world.before, world.after);
  EXPECT_EQ(tree.Private("stage"), "");
  return world;
}

void RecoverAll(const Tree& tree) {
  const auto reports = Recover(tree.dirs());
  ASSERT_THAT(reports, IsOk());
  for (const CommitReport& report : reports.value()) {
    EXPECT_EQ(report.outcome, CommitOutcome::kCommitted)
        << report.problems.front().path << " " << report.problems.front().reason;
  }
  EXPECT_EQ(NeedsRecovery(tree.journal()).value(), false);
  const std::string once = tree.Snapshot();
  ASSERT_THAT(Recover(tree.dirs()), IsOk());
  EXPECT_EQ(tree.Snapshot(), once);
}

// Before or after, and which. Whatever was not decided may be committed again.
void CheckBeforeOrAfter(const Tree& tree, const World& world, const std::string& id,
                        bool* decided) {
  const std::string now = tree.Snapshot();
  const auto report = ReportOf(tree.journal(), id);
  ASSERT_THAT(report, IsOk());
  const bool is_after = report.value().has_value();
  EXPECT_TRUE(is_after || !*decided) << "undecided after an earlier step was decided";
  *decided = is_after;
  ASSERT_EQ(now, is_after ? world.after : world.before);
  if (!is_after) {
    EXPECT_THAT(tree.Private("undo"), ::testing::Not(::testing::HasSubstr(id)));
    ASSERT_THAT(DiscardStaged(tree.dirs(), id), IsOk());
  }
  EXPECT_EQ(tree.Private("stage"), "");
}

// On a local file system, on one that is treated as having no stable inode numbers and rename
// flags, and on one that has none.
class CommitCrashTest : public ::testing::TestWithParam<Ground> {
 protected:
  void SetUp() override {
    if (GetParam() != Ground::kFuse) return;
    REQUIRES(std::getenv("BAILIFF_TEST_FUSE") != nullptr, "needs FUSE and bindfs");
    if (RunsWhole()) return;
    stride_ = kFuseStride;
    first_ = 1 + static_cast<int>(SampleSeed() % kFuseStride);
    std::cout << "every " << stride_ << "th step from " << first_ << "\n";
  }

  // The steps at which to die. Each costs a tree through FUSE, so that a sample is taken there.
  int first_ = 1;
  int stride_ = 1;
};
INSTANTIATE_TEST_SUITE_P(Ground, CommitCrashTest,
                         ::testing::Values(Ground::kLocal, Ground::kWeak, Ground::kFuse),
                         ::testing::PrintToStringParamName());

TEST_P(CommitCrashTest, IsAllOrNothingWhereverItDies) {
  const World world = Undisturbed(GetParam());
  bool decided = false;
  int n = first_;
  for (; n < kStepsMax; n += stride_) {
    SCOPED_TRACE("dies at step " + std::to_string(n));
    const Tree tree(ScratchDir("crash_commit"), GetParam());
    MakeEverythingTree(tree);
    const ChangeSet set = EverythingSet(tree);
    const bool survived = SurvivesStep(tree, n, [&](const CommitOptions& options) {
      if (!CommitAll(tree, set, options).ok()) ::_exit(1);
    });
    ASSERT_NO_FATAL_FAILURE(RecoverAll(tree));
    ASSERT_NO_FATAL_FAILURE(CheckBeforeOrAfter(tree, world, kCommitId, &decided));
    if (survived) break;
  }
  EXPECT_GT(n, 60);  // One step at least for each change.
  EXPECT_LT(n, kStepsMax);
}

TEST_P(CommitCrashTest, RecoveryMayDieAnywhereToo) {
  const World world = Undisturbed(GetParam());
  bool unused = false;
  for (int n = 1 + first_; n < kStepsMax; n += 7 * stride_) {
    bool committed = false;
    for (int m = first_; m < kStepsMax; m += 5 * stride_) {
      SCOPED_TRACE("commit dies at " + std::to_string(n) + ", recovery at " + std::to_string(m));
      const Tree tree(ScratchDir("crash_recovery"), GetParam());
      MakeEverythingTree(tree);
      const ChangeSet set = EverythingSet(tree);
      committed = SurvivesStep(
          tree, n, [&](const CommitOptions& options) { (void)CommitAll(tree, set, options); });
      const bool recovered = SurvivesStep(
          tree, m, [&](const CommitOptions& options) { (void)Recover(tree.dirs(), options); });
      ASSERT_NO_FATAL_FAILURE(RecoverAll(tree));
      unused = false;
      ASSERT_NO_FATAL_FAILURE(CheckBeforeOrAfter(tree, world, kCommitId, &unused));
      if (recovered) break;
    }
    if (committed) break;
  }
}

TEST_P(CommitCrashTest, ARollbackIsAllOrNothingWhereverItDies) {
  const World forward = Undisturbed(GetParam());
  const World world{forward.after, forward.before};
  bool decided = false;
  int n = first_;
  for (; n < kStepsMax; n += stride_) {
    SCOPED_TRACE("dies at step " + std::to_string(n));
    const Tree tree(ScratchDir("crash_rollback"), GetParam());
    MakeEverythingTree(tree);
    ASSERT_THAT(CommitAll(tree, EverythingSet(tree), OptionsFor(tree)), IsOk());
    const Result<Rollback> rollback = BuildRollback(tree.dirs(), kCommitId, kRollbackId);
    ASSERT_THAT(rollback, IsOk());
    ASSERT_EQ(rollback.value().conflicts, std::vector<PathProblem>());
    const bool survived = SurvivesStep(tree, n, [&](const CommitOptions& options) {
      if (!CommitAll(tree, rollback.value().set, options).ok()) ::_exit(1);
    });
    ASSERT_NO_FATAL_FAILURE(RecoverAll(tree));
    ASSERT_NO_FATAL_FAILURE(CheckBeforeOrAfter(tree, world, kRollbackId, &decided));
    const Result<Rollback> again = BuildRollback(tree.dirs(), kCommitId, kRollbackId);
    if (decided) {
      EXPECT_THAT(again, FailsWith(ErrorCode::kNotFound));
    } else {
      ASSERT_THAT(again, IsOk());
      EXPECT_TRUE(again.value().conflicts.empty());
    }
    if (survived) break;
  }
  EXPECT_GT(n, 45);
  EXPECT_LT(n, kStepsMax);
}

// Another writer changes a file at the last moment, and the process dies n steps later.
CommitOptions InterferingAndDying(const Tree& tree, int n, int* steps) {
  const bool local = tree.ground() == Ground::kLocal;
  const std::string moment = local ? "exchange hard1" : "replace hard1";
  CommitOptions options = OptionsFor(tree);
  options.before_step = [&tree, moment, n, steps](std::string_view step) {
    if (step == "metadata script.sh") ::_exit(1);  // Theirs by now.
    if (step == moment) tree.File("script.sh", "theirs", 0644, kOldTime);
    if (step == moment) *steps = 0;
    if (*steps >= 0 && ++*steps == n + 1) ::kill(::getpid(), SIGKILL);
  };
  return options;
}

TEST_P(CommitCrashTest, AnUndoIsCompleteWhereverItDies) {
  int n = first_;
  for (; n < kStepsMax; n += stride_) {
    SCOPED_TRACE("dies at step " + std::to_string(n) + " of the undo");
    const Tree tree(ScratchDir("crash_undo"), GetParam());
    MakeEverythingTree(tree);
    const ChangeSet set = EverythingSet(tree);
    // 0: it has its own count.
    const bool survived = SurvivesStep(tree, 0, [&](const CommitOptions&) {
      int steps = -1;
      const Result<CommitReport> report =
          CommitAll(tree, set, InterferingAndDying(tree, n, &steps));
      if (!report.ok() || report.value().outcome != CommitOutcome::kConflict) ::_exit(2);
    });
    ASSERT_THAT(Recover(tree.dirs()), IsOk());
    const auto report = ReportOf(tree.journal(), kCommitId);
    ASSERT_TRUE(report.value().has_value());
    ASSERT_EQ(report.value()->problems, (std::vector<PathProblem>{{"script.sh", "changed since"}}));
    ASSERT_EQ(report.value()->outcome, CommitOutcome::kConflict);
    const std::string now = tree.Snapshot();
    const Tree expected(ScratchDir("crash_undo_expected"), GetParam());
    MakeEverythingTree(expected);
    expected.File("script.sh", "theirs", 0644, kOldTime);
    ASSERT_EQ(now, expected.Snapshot());
    EXPECT_EQ(tree.Private("undo"), "");
    // What was staged is whole, so that the proposal can be tried again.
    EXPECT_THAT(CommitAll(tree, set, OptionsFor(tree)), IsOk());
    if (survived) break;
  }
  EXPECT_GT(n, 40);
  EXPECT_LT(n, kStepsMax);
}

}  // namespace
}  // namespace bailiff
