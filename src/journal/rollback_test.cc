#include "tests/crash/everything.h"

namespace bailiff {
namespace {

using ::testing::HasSubstr;
using Problems = std::vector<PathProblem>;

constexpr const char* kSecondRollbackId = "roll_20260101_000000_00000003";

class RollbackTest : public ::testing::Test {
 protected:
  RollbackTest() : tree_(::testing::TempDir() + "rollback_test_" + std::to_string(::getpid())) {}

  void CommitSet(const ChangeSet& set, const CommitOptions& options = {}) {
    const Result<CommitReport> report = CommitAll(tree_, set, options);
    ASSERT_THAT(report, IsOk());
    ASSERT_EQ(report.value().problems, Problems());
  }

  ChangeSet Inverse(const std::string& id, const std::string& rollback_id) {
    const Result<Rollback> rollback = BuildRollback(tree_.dirs(), id, rollback_id);
    EXPECT_THAT(rollback, IsOk());
    if (!rollback.ok()) return {};
    EXPECT_EQ(rollback.value().conflicts, Problems());
    return rollback.value().set;
  }

  const Tree tree_;
};

TEST_F(RollbackTest, RestoresTheTreeAndTheRollbackOfThatTheResult) {
  MakeEverythingTree(tree_);
  const std::string before = tree_.Snapshot();
  CommitSet(EverythingSet(tree_));
  const std::string after = tree_.Snapshot();

  const ChangeSet back = Inverse(kCommitId, kRollbackId);
  EXPECT_EQ(tree_.Snapshot(), after);  // Building it changes nothing.
  CommitSet(back);
  EXPECT_EQ(tree_.Snapshot(), before);

  CommitSet(Inverse(kRollbackId, kSecondRollbackId));
  EXPECT_EQ(tree_.Snapshot(), after);
  EXPECT_EQ(tree_.Private("stage"), "");
}

TEST_F(RollbackTest, WorksWithoutStableInodesToo) {
  const Tree tree(ScratchDir("rollback_weak"), Ground::kWeak);
  MakeEverythingTree(tree);
  const std::string before = tree.Snapshot();
  ASSERT_THAT(CommitAll(tree, EverythingSet(tree), OptionsFor(tree)), IsOk());
  EXPECT_NE(tree.Snapshot(), before);
  const Result<Rollback> back = BuildRollback(tree.dirs(), kCommitId, kRollbackId);
  ASSERT_THAT(back, IsOk());
  ASSERT_THAT(CommitAll(tree, back.value().set, OptionsFor(tree)), IsOk());
  EXPECT_EQ(tree.Snapshot(), before);
}

TEST_F(RollbackTest, SaysWhatItBringsBack) {
  tree_.File("gone/f", "f");
  tree_.File("edited", "old");
  CommitSet(Edits(tree_).Delete("gone").Modify("edited", "new").Create("made", "x").Build());
  const ChangeSet back = Inverse(kCommitId, kRollbackId);
  std::string told;
  for (const Change& change : back.changes) {
    told += std::string(Name(change.op)) + " " + change.path + " " + change.content.path + " " +
            ToHex(change.sha256).substr(0, 4) +
            (change.Has(ChangeFlag::kRestored) ? " restored\n" : "\n");
  }
  const std::string undo = std::string("undo/") + kCommitId;
  EXPECT_EQ(told, "modify edited " + undo + "/1 " + ToHex(Sha256::Of("old")).substr(0, 4) +
                      " restored\n" + "create gone " + undo + "/0  restored\n" + "create gone/f " +
                      undo + "/0/f " + ToHex(Sha256::Of("f")).substr(0, 4) + " restored\n" +
                      "delete made  \n");
  EXPECT_EQ(back.id, kRollbackId);
}

TEST_F(RollbackTest, HashesWhatNobodyHashedYet) {
  tree_.File("f", "content");
  ChangeSet set = Edits(tree_).Delete("f").Build();
  set.changes[0].base->sha256.clear();
  CommitSet(set);
  EXPECT_EQ(Inverse(kCommitId, kRollbackId).changes[0].sha256, Sha256::Of("content"));
}

TEST_F(RollbackTest, ListsWhatIsNoLongerAsTheCommitLeftIt) {
  struct Case {
    const char* name;
    std::function<void(const Tree&)> meddle;
    Problems conflicts;
  };
  constexpr const char* kNewInside = "is new in a directory that goes or moves";
  const Case cases[] = {
      {"edited",
       [](const Tree& tree) { tree.File("b/one.txt", "edited"); },
       {{"b/one.txt", "changed since"}}},
      {"edited, same size and time",
       [](const Tree& tree) { tree.File("b/one.txt", "one", 0644, kNewTime); },
       {{"b/one.txt", "changed since"}}},
      {"mode",
       [](const Tree& tree) { tree.File("script.sh", "#!", 0700, kNewTime); },
       {{"script.sh", "changed since"}}},
      {"gone",
       [](const Tree& tree) { std::filesystem::remove(tree.Path("moved")); },
       {{"moved", "is gone"}}},
      {"retargeted",
       [](const Tree& tree) {
         std::filesystem::remove(tree.Path("link"));
         tree.Symlink("link", "elsewhere");
       },
       {{"link", "changed since"}}},
      {"new in a created directory",
       [](const Tree& tree) { tree.File("new/theirs", "x"); },
       {{"new/theirs", kNewInside}}},
      {"new in a moved directory",
       [](const Tree& tree) { tree.File("b/deep/theirs/f", "x"); },
       {{"b/deep/theirs", kNewInside}, {"b/deep/theirs/f", kNewInside}}},
      {"recreated", [](const Tree& tree) { tree.Dir("gone"); }, {{"gone", "exists already"}}},
      {"the old content edited through its other name",
       [](const Tree& tree) { tree.File("hard2", "edited"); },
       {{"hard1", "what was there was written to by its other name"}}},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    const Tree tree(::testing::TempDir() + "rollback_case_" + std::to_string(::getpid()));
    MakeEverythingTree(tree);
    ASSERT_THAT(CommitAll(tree, EverythingSet(tree)), IsOk());
    c.meddle(tree);
    const std::string before = tree.Snapshot();
    const Result<Rollback> rollback = BuildRollback(tree.dirs(), kCommitId, kRollbackId);
    ASSERT_THAT(rollback, IsOk());
    EXPECT_EQ(rollback.value().conflicts, c.conflicts);
    EXPECT_TRUE(rollback.value().set.changes.empty());
    EXPECT_EQ(tree.Snapshot(), before);
  }
}

TEST_F(RollbackTest, RewritingTheSameBytesIsNoConflict) {
  tree_.File("f", "old");
  CommitSet(Edits(tree_).Modify("f", "new").Create("g", "g").Build());
  std::filesystem::remove(tree_.Path("f"));
  tree_.File("f", "new", 0644, 5);
  tree_.File("g", "g", 0644, 5);
  CommitSet(Inverse(kCommitId, kRollbackId));
  EXPECT_EQ(tree_.Content("f"), "old");
  EXPECT_FALSE(std::filesystem::exists(tree_.Path("g")));
}

TEST_F(RollbackTest, AConflictDuringItPutsWhatItTookBack) {
  tree_.File("a", "a");
  tree_.File("z", "z");
  CommitSet(Edits(tree_).Delete("a").Modify("z", "Z").Build());
  const ChangeSet back = Inverse(kCommitId, kRollbackId);
  const std::string kept = tree_.Private("undo");
  CommitOptions options;
  options.before_step = [&](std::string_view step) {
    if (step == "exchange z") tree_.File("z", "theirs");
  };
  const Result<CommitReport> report = CommitAll(tree_, back, options);
  ASSERT_THAT(report, IsOk());
  EXPECT_EQ(report.value().problems, (Problems{{"z", "changed at the same moment"}}));
  EXPECT_FALSE(std::filesystem::exists(tree_.Path("a")));
  EXPECT_EQ(tree_.Private("undo"), kept);
  tree_.File("z", "Z", 0644, kNewTime);
  CommitSet(Inverse(kCommitId, kRollbackId));
  EXPECT_EQ(tree_.Content("a") + tree_.Content("z"), "az");
}

TEST_F(RollbackTest, TakesOnlyTheOldContentThatWasDecided) {
  MakeEverythingTree(tree_);
  CommitSet(EverythingSet(tree_));
  const ChangeSet back = Inverse(kCommitId, kRollbackId);
  const std::string after = tree_.Snapshot();
  ASSERT_EQ(::chmod(tree_.Path("hard2").c_str(), 0666), 0);
  EXPECT_THAT(CommitAll(tree_, back), FailsWith(ErrorCode::kInvalidArgument));
  ASSERT_EQ(::chmod(tree_.Path("hard2").c_str(), 0644), 0);
  EXPECT_EQ(tree_.Snapshot(), after);
  const std::string kept = ".bailiff/undo/" + std::string(kCommitId) + "/10/sub/theirs";
  tree_.File(kept, "not there when it was decided");
  EXPECT_THAT(CommitAll(tree_, back), FailsWith(ErrorCode::kInvalidArgument));
  std::filesystem::remove(tree_.Path(kept));
  CommitSet(back);
}

TEST_F(RollbackTest, SaysWhyThereIsNothingToRollBack) {
  const auto why = [&](const char* id) {
    const Result<Rollback> rollback = BuildRollback(tree_.dirs(), id, kRollbackId);
    EXPECT_THAT(rollback, FailsWith(ErrorCode::kNotFound));
    return rollback.ok() ? "" : rollback.error().message();
  };
  EXPECT_THAT(why(kCommitId), HasSubstr("no such commit"));
  EXPECT_THAT(why("../../etc"), HasSubstr("not an id"));
  CommitSet(Edits(tree_).Create("f", "f").Build());
  CommitOptions options;  // A set that brings nothing back does not tell which commit it undoes.
  options.rolls_back = kCommitId;
  CommitSet(Inverse(kCommitId, kRollbackId), options);
  EXPECT_THAT(why(kCommitId), HasSubstr("already rolled back"));
  ASSERT_THAT(Forget(tree_.dirs(), kRollbackId), IsOk());
  EXPECT_THAT(why(kRollbackId), HasSubstr("no such commit"));
  ASSERT_THAT(Forget(tree_.dirs(), kCommitId), IsOk());
  EXPECT_EQ(tree_.Private("undo"), "");
}

TEST_F(RollbackTest, IsItsOwnErrorOnceTheOldContentIsGone) {
  tree_.File("f", "f");
  CommitSet(Edits(tree_).Delete("f").Build());
  ASSERT_THAT(RemoveTree(tree_.private_dir(), "undo"), IsOk());
  const Result<Rollback> rollback = BuildRollback(tree_.dirs(), kCommitId, kRollbackId);
  ASSERT_THAT(rollback, FailsWith(ErrorCode::kNotFound));
  EXPECT_THAT(rollback.error().message(), HasSubstr("no longer kept"));
}

}  // namespace
}  // namespace bailiff
