#include "tests/crash/everything.h"

// A commit that dies at its n-th step, for every n: after recovery the tree is the one before or
// the one after, and nothing else is ever seen.

namespace bailiff {
namespace {

constexpr int kStepsMax = 500;

// What an undisturbed commit makes of the tree, and a rollback of it.
struct World {
  std::string before;
  std::string after;
};

World Undisturbed() {
  const Tree tree(ScratchDir("crash_undisturbed"));
  MakeEverythingTree(tree);
  World world;
  world.before = tree.Snapshot();
  const Result<CommitReport> report = CommitAll(tree, EverythingSet(tree));
  EXPECT_THAT(report, IsOk());
  EXPECT_EQ(report.value().outcome, CommitOutcome::kCommitted);
  world.after = tree.Snapshot();
  EXPECT_NE(world.before, world.after);
  EXPECT_EQ(tree.Private("stage"), "");
  return world;
}

void RecoverAll(const Tree& tree, bool weak) {
  CommitOptions options;
  options.assume_weak = weak;
  const auto reports = Recover(tree.dirs(), options);
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
    ASSERT_THAT(DiscardStaged(tree.private_dir(), id), IsOk());
  }
  EXPECT_EQ(tree.Private("stage"), "");
}

// On a local file system, and on one without stable inode numbers and rename flags.
class CommitCrashTest : public ::testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(Strong, CommitCrashTest, ::testing::Values(false));
INSTANTIATE_TEST_SUITE_P(Weak, CommitCrashTest, ::testing::Values(true));

TEST_P(CommitCrashTest, IsAllOrNothingWhereverItDies) {
  const World world = Undisturbed();
  bool decided = false;
  int n = 1;
  for (; n < kStepsMax; ++n) {
    SCOPED_TRACE("dies at step " + std::to_string(n));
    const Tree tree(ScratchDir("crash_commit"));
    MakeEverythingTree(tree);
    const ChangeSet set = EverythingSet(tree, GetParam());
    const bool survived = SurvivesStep(n, GetParam(), [&](const CommitOptions& options) {
      if (!CommitAll(tree, set, options).ok()) ::_exit(1);
    });
    ASSERT_NO_FATAL_FAILURE(RecoverAll(tree, GetParam()));
    ASSERT_NO_FATAL_FAILURE(CheckBeforeOrAfter(tree, world, kCommitId, &decided));
    if (survived) break;
  }
  EXPECT_GT(n, 60);  // One step at least for each change.
  EXPECT_LT(n, kStepsMax);
}

TEST_P(CommitCrashTest, RecoveryMayDieAnywhereToo) {
  const World world = Undisturbed();
  bool unused = false;
  for (int n = 2; n < kStepsMax; n += 7) {
    bool committed = false;
    for (int m = 1; m < kStepsMax; m += 5) {
      SCOPED_TRACE("commit dies at " + std::to_string(n) + ", recovery at " + std::to_string(m));
      const Tree tree(ScratchDir("crash_recovery"));
      MakeEverythingTree(tree);
      const ChangeSet set = EverythingSet(tree, GetParam());
      committed = SurvivesStep(n, GetParam(), [&](const CommitOptions& options) {
        (void)CommitAll(tree, set, options);
      });
      const bool recovered = SurvivesStep(m, GetParam(), [&](const CommitOptions& options) {
        (void)Recover(tree.dirs(), options);
      });
      ASSERT_NO_FATAL_FAILURE(RecoverAll(tree, GetParam()));
      unused = false;
      ASSERT_NO_FATAL_FAILURE(CheckBeforeOrAfter(tree, world, kCommitId, &unused));
      if (recovered) break;
    }
    if (committed) break;
  }
}

TEST_P(CommitCrashTest, ARollbackIsAllOrNothingWhereverItDies) {
  const World forward = Undisturbed();
  const World world{forward.after, forward.before};
  bool decided = false;
  int n = 1;
  for (; n < kStepsMax; ++n) {
    SCOPED_TRACE("dies at step " + std::to_string(n));
    const Tree tree(ScratchDir("crash_rollback"));
    MakeEverythingTree(tree);
    CommitOptions forwards;
    forwards.assume_weak = GetParam();
    ASSERT_THAT(CommitAll(tree, EverythingSet(tree, GetParam()), forwards), IsOk());
    const Result<Rollback> rollback = BuildRollback(tree.dirs(), kCommitId, kRollbackId);
    ASSERT_THAT(rollback, IsOk());
    ASSERT_EQ(rollback.value().conflicts, std::vector<PathProblem>());
    const bool survived = SurvivesStep(n, GetParam(), [&](const CommitOptions& options) {
      if (!CommitAll(tree, rollback.value().set, options).ok()) ::_exit(1);
    });
    ASSERT_NO_FATAL_FAILURE(RecoverAll(tree, GetParam()));
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
CommitOptions InterferingAndDying(const Tree& tree, bool weak, int n, int* steps) {
  const std::string moment = weak ? "set aside hard1" : "exchange hard1";
  CommitOptions options;
  options.assume_weak = weak;
  options.before_step = [&tree, moment, n, steps](std::string_view step) {
    if (step == "metadata script.sh") ::_exit(1);  // Theirs by now.
    if (step == moment) tree.File("script.sh", "theirs", 0644, kOldTime);
    if (step == moment) *steps = 0;
    if (*steps >= 0 && ++*steps == n + 1) ::kill(::getpid(), SIGKILL);
  };
  return options;
}

TEST_P(CommitCrashTest, AnUndoIsCompleteWhereverItDies) {
  CommitOptions recovery;
  recovery.assume_weak = GetParam();
  int n = 1;
  for (; n < kStepsMax; ++n) {
    SCOPED_TRACE("dies at step " + std::to_string(n) + " of the undo");
    const Tree tree(ScratchDir("crash_undo"));
    MakeEverythingTree(tree);
    const ChangeSet set = EverythingSet(tree, GetParam());
    // 0: it has its own count.
    const bool survived = SurvivesStep(0, GetParam(), [&](const CommitOptions&) {
      int steps = -1;
      const Result<CommitReport> report =
          CommitAll(tree, set, InterferingAndDying(tree, GetParam(), n, &steps));
      if (!report.ok() || report.value().outcome != CommitOutcome::kConflict) ::_exit(2);
    });
    ASSERT_THAT(Recover(tree.dirs(), recovery), IsOk());
    const auto report = ReportOf(tree.journal(), kCommitId);
    ASSERT_TRUE(report.value().has_value());
    ASSERT_EQ(report.value()->problems, (std::vector<PathProblem>{{"script.sh", "changed since"}}));
    ASSERT_EQ(report.value()->outcome, CommitOutcome::kConflict);
    const std::string now = tree.Snapshot();
    const Tree expected(ScratchDir("crash_undo_expected"));
    MakeEverythingTree(expected);
    expected.File("script.sh", "theirs", 0644, kOldTime);
    ASSERT_EQ(now, expected.Snapshot());
    EXPECT_EQ(tree.Private("undo"), "");
    // What was staged is whole, so that the proposal can be tried again.
    EXPECT_THAT(CommitAll(tree, set, recovery), IsOk());
    if (survived) break;
  }
  EXPECT_GT(n, 40);
  EXPECT_LT(n, kStepsMax);
}

}  // namespace
}  // namespace bailiff
