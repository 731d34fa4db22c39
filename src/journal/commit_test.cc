#include "tests/crash/everything.h"

namespace bailiff {
namespace {

using ::testing::HasSubstr;
using Problems = std::vector<PathProblem>;

class CommitTest : public CommitFixture {};

TEST_F(CommitTest, MakesEveryKindOfChange) {
  MakeEverythingTree(tree_);
  const ChangeSet set = EverythingSet(tree_);
  Committed(CommitAll(tree_, set));
  EXPECT_EQ(tree_.Content("b/one.txt"), "ONE");
  EXPECT_EQ(tree_.Content("b/new.txt"), "new in moved");
  EXPECT_EQ(tree_.Content("swap1") + tree_.Content("swap2"), "secondfirst");
  EXPECT_EQ(tree_.Content("c1/f") + tree_.Content("c2/f") + tree_.Content("c3/f"), "c3c1c2");
  EXPECT_EQ(tree_.Content("becomes_file"), "now a file");
  EXPECT_EQ(tree_.Content("becomes_dir/in"), "in");
  EXPECT_EQ(tree_.Content("source") + tree_.Content("destination"), "new at the sourcemoves away");
  EXPECT_EQ(tree_.Content("moved"), "new content");
  EXPECT_EQ(tree_.Content("hard1") + tree_.Content("hard2"), "ownshared");
  EXPECT_EQ(tree_.Content("odder \x1b name"), "odd");
  EXPECT_EQ(std::filesystem::read_symlink(tree_.Path("link")), "b/one.txt");
  EXPECT_TRUE(
      std::filesystem::equivalent(tree_.Path("new/other_name"), tree_.Path("new/sub/file")));
  const auto names = [&] {
    std::string all;
    for (const TreeEntry& entry : ListTree(tree_.workspace(), "").value()) {
      if (entry.path.find('/') == std::string::npos) all += entry.path + " ";
    }
    return all;
  };
  EXPECT_EQ(names(),
            ".bailiff b becomes_dir becomes_file c1 c2 c3 destination hard1 hard2 kept.txt link "
            "link_that_moved moved new odder \x1b name pair1 pair_moved read_only script.sh source "
            "swap1 swap2 three.txt ");
  // Modes and times are those that were decided, and a move keeps its own.
  const std::string after = tree_.Snapshot();
  for (const char* line :
       {"b/deep dir 700 ", "b/deep/four.txt file 600 ", "becomes_dir dir 711 ", "new/sub dir 555 ",
        "new/sub/file file 640 0:0 @1700000000000000001 ", "script.sh file 755 ",
        "three.txt file 644 0:0 @1600000000123456789 ", "read_only dir 555 "}) {
    EXPECT_THAT(after, HasSubstr(line));
  }
}

TEST_F(CommitTest, TakesOnlyWhatWasDecided) {
  tree_.File("f", "old");
  struct Case {
    const char* name;
    std::function<void(ChangeSet*)> tamper;
    const char* message;
  };
  const std::string staged = std::string(".bailiff/stage/") + kCommitId + "/0";
  const Case cases[] = {
      {"another set", [](ChangeSet* set) { set->changes[0].mode = 0777; }, "digest"},
      {"other bytes",
       [&](ChangeSet*) {
         std::ofstream(tree_.Path(staged)) << "EVIL";
         tree_.SetTime(staged, kNewTime);
       },
       "other bytes"},
      {"another name",
       [&](ChangeSet*) { std::filesystem::create_hard_link(tree_.Path(staged), tree_.Path("x")); },
       "another name"},
      {"gone", [&](ChangeSet*) { std::filesystem::remove(tree_.Path(staged)); }, "is gone"},
      {"a link instead",
       [&](ChangeSet*) {
         std::filesystem::remove(tree_.Path(staged));
         tree_.Symlink(staged, "/etc/passwd");
       },
       "it is a symlink"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    ChangeSet set = Edits(tree_).Modify("f", "good").Build();
    const std::string digest = Digest(set);
    c.tamper(&set);
    const Result<CommitReport> report = Commit(tree_.dirs(), set, digest);
    ASSERT_THAT(report, FailsWith(ErrorCode::kInvalidArgument));
    EXPECT_THAT(report.error().message(), HasSubstr(c.message));
    EXPECT_EQ(tree_.Content("f"), "old");
    ASSERT_THAT(DiscardStaged(tree_.dirs(), kCommitId), IsOk());
  }
}

TEST_F(CommitTest, RestagedTimesDoNotMatterOnlyBytesDo) {
  const ChangeSet set = Edits(tree_).Create("f", "good", 0640).Build();
  const std::string staged = std::string(".bailiff/stage/") + kCommitId + "/0";
  ASSERT_EQ(::chmod(tree_.Path(staged).c_str(), 0777), 0);
  tree_.SetTime(staged, 1);
  Committed(CommitAll(tree_, set));
  EXPECT_EQ(tree_.Snapshot(),
            "f file 640 0:0 @1700000000000000001 " + ToHex(Sha256::Of("good")).substr(0, 8) + "\n");
}

struct Meddling {
  const char* name;  // Or the step at which it happens.
  std::function<void(const Tree&)> meddle;
  Problems problems;
};
constexpr const char* kNewInside = "is new in a directory that goes or moves";

TEST_F(CommitTest, FindsEveryConflictBeforeItWrites) {
  const Meddling cases[] = {
      {"modified",
       [](const Tree& tree) { tree.File("a/one.txt", "1"); },
       {{"a", "something in it changed since"}, {"a/one.txt", "changed since"}}},
      {"modified, same size and time",
       [](const Tree& tree) { tree.File("hard1", "SHARED"); },
       {{"hard1", "changed since"}}},
      {"replaced by the same bytes",
       [](const Tree& tree) {
         tree.File("copy", "moves away");
         std::filesystem::rename(tree.Path("copy"), tree.Path("source"));
       },
       {{"source", "changed since"}}},
      {"deleted",
       [](const Tree& tree) { std::filesystem::remove(tree.Path("link")); },
       {{"link", "is gone"}}},
      {"created",
       [](const Tree& tree) { tree.File("destination", "x"); },
       {{"destination", "exists already"}}},
      {"created in what moves",
       [](const Tree& tree) { tree.File("a/new.txt", "x"); },
       {{"a", "something in it changed since"}, {"b/new.txt", "exists already"}}},
      {"created in what goes",
       [](const Tree& tree) { tree.File("gone/sub/theirs/f", "x"); },
       {{"gone/sub/theirs", kNewInside}, {"gone/sub/theirs/f", kNewInside}}},
      {"mode",
       [](const Tree& tree) { tree.Dir("gone/sub", 0700); },
       {{"gone/sub", "changed since"}}},
      {"type",
       [](const Tree& tree) {
         std::filesystem::remove(tree.Path("script.sh"));
         tree.Dir("script.sh");
       },
       {{"script.sh", "changed since"}}},
  };
  for (const Meddling& c : cases) {
    SCOPED_TRACE(c.name);
    const Tree tree(Dir());
    MakeEverythingTree(tree);
    const ChangeSet set = EverythingSet(tree);
    c.meddle(tree);
    const std::string before = tree.Snapshot();
    const Result<CommitReport> report = CommitAll(tree, set);
    ASSERT_THAT(report, IsOk());
    EXPECT_EQ(report.value().problems, c.problems);
    EXPECT_EQ(report.value().outcome, CommitOutcome::kConflict);
    EXPECT_EQ(tree.Snapshot(), before);
    EXPECT_EQ(tree.Private("undo"), "");
    EXPECT_FALSE(ReportOf(tree.journal(), kCommitId).value().has_value());
  }
}

TEST_F(CommitTest, APipeInAFilesPlaceIsAConflict) {
  tree_.File("f", "f");
  const ChangeSet set = Edits(tree_).Modify("f", "F").Build();
  std::filesystem::remove(tree_.Path("f"));
  ASSERT_EQ(::mkfifo(tree_.Path("f").c_str(), 0600), 0);
  const Result<CommitReport> report = CommitAll(tree_, set);
  ASSERT_THAT(report, IsOk());
  EXPECT_EQ(report.value().problems, (Problems{{"f", "changed since"}}));
}

TEST_F(CommitTest, ATouchedFileWithTheSameBytesIsNoConflict) {
  tree_.File("f", "f");
  const ChangeSet set = Edits(tree_).Modify("f", "F").Build();
  tree_.File("f", "f");  // A new ctime; all else is as it was.
  Committed(CommitAll(tree_, set));
}

// Somebody writes between the look and the rename: the tree is then the former one with their
// write.
TEST_F(CommitTest, ALateConflictUndoesEverythingAndKeepsTheOthersWrites) {
  const Meddling cases[] = {
      {"exchange hard1",
       [](const Tree& tree) {
         tree.File("theirs", "theirs");
         std::filesystem::rename(tree.Path("theirs"), tree.Path("hard1"));
       },
       {{"hard1", "changed at the same moment"}}},
      {"exchange hard1",
       [](const Tree& tree) { tree.File("hard1", "theirs!"); },
       {{"hard1", "changed at the same moment"}}},
      {"exchange hard1",
       [](const Tree& tree) { std::filesystem::remove(tree.Path("script.sh")); },
       {{"script.sh", "is gone"}}},
      {"attach destination",
       [](const Tree& tree) { tree.File("destination", "theirs"); },
       {{"destination", "something new is there"}}},
      {"attach three.txt",
       [](const Tree& tree) { tree.Dir("three.txt"); },
       {{"three.txt", "something new is there"}}},
      {"detach gone",
       [](const Tree& tree) { tree.File("gone/sub/theirs", "x"); },
       {{"gone/sub/theirs", kNewInside}}},
      {"detach gone",
       [](const Tree& tree) { tree.File("gone/x.txt", "X!", 0400); },
       {{"gone/x.txt", "changed since"}}},
      {"detach swap1",
       [](const Tree& tree) { tree.File("swap1", "other", 0644, kNewTime); },
       {{"swap1", "changed at the same moment"}}},
      {"attach becomes_file",
       [](const Tree& tree) { tree.File("hard2", "unrelated"); },
       {{"hard1", "changed since"}}},
  };
  for (const Meddling& c : cases) {
    SCOPED_TRACE(std::string(c.name) + ": " + c.problems[0].path);
    const Tree tree(Dir());
    MakeEverythingTree(tree);
    const ChangeSet set = EverythingSet(tree);
    bool met = false;
    CommitOptions options;
    options.before_step = [&](std::string_view step) {
      if (step == c.name && !std::exchange(met, true)) c.meddle(tree);
    };
    const Result<CommitReport> report = CommitAll(tree, set, options);
    EXPECT_TRUE(met);
    ASSERT_THAT(report, IsOk());
    EXPECT_EQ(report.value().problems, c.problems);
    EXPECT_EQ(report.value().outcome, CommitOutcome::kConflict);
    EXPECT_EQ(ReportOf(tree.journal(), kCommitId).value()->problems, c.problems);
    EXPECT_EQ(tree.Private("undo"), "");
    const std::string after = tree.Snapshot();
    const Tree expected(Dir() + "_expected");
    MakeEverythingTree(expected);
    c.meddle(expected);
    EXPECT_EQ(after, expected.Snapshot());
  }
}

TEST_F(CommitTest, AnExchangeThatMeetsANewerFileGivesItBack) {
  tree_.File("f", "base");
  tree_.File("g", "base g");
  const std::string g = tree_.Snapshot().substr(tree_.Snapshot().find("g file"));
  const ChangeSet set = Edits(tree_).Modify("f", "ours").Create("a", "ours").Delete("g").Build();
  CommitOptions options;
  options.before_step = [&](std::string_view step) {
    if (step != "exchange f") return;
    tree_.File("theirs", "theirs");
    std::filesystem::rename(tree_.Path("theirs"), tree_.Path("f"));
  };
  const Result<CommitReport> report = CommitAll(tree_, set, options);
  ASSERT_THAT(report, IsOk());
  EXPECT_EQ(report.value().problems, (Problems{{"f", "changed at the same moment"}}));
  EXPECT_EQ(tree_.Content("f"), "theirs");
  EXPECT_FALSE(std::filesystem::exists(tree_.Path("a")));
  EXPECT_EQ(tree_.Snapshot().substr(tree_.Snapshot().find("g file")), g);
  EXPECT_EQ(tree_.Private("stage/" + std::string(kCommitId)), "0\n1\n");
}

TEST_F(CommitTest, WhatTheUndoCannotPutBackNeedsAttention) {
  tree_.File("f", "base");
  tree_.File("gone", "gone");
  const ChangeSet set =
      Edits(tree_).Modify("f", "ours").Create("new", "ours").Delete("gone").Build();
  CommitOptions options;
  options.before_step = [&](std::string_view step) {
    if (step != "exchange f") return;
    tree_.File("f", "theirs");     // Meets the exchange.
    tree_.File("gone", "theirs");  // Meets the undo of the delete.
    tree_.File("new", "theirs");   // Meets the undo of the create: written in place.
  };
  const Result<CommitReport> report = CommitAll(tree_, set, options);
  ASSERT_THAT(report, IsOk());
  EXPECT_EQ(report.value().outcome, CommitOutcome::kNeedsAttention);
  const std::string kept = "something new is there; the former entry is kept at .bailiff/undo/" +
                           std::string(kCommitId) + "/0";
  EXPECT_EQ(report.value().problems,
            (Problems{{"gone", kept},
                      {"new", "was changed after it was written, and is left as it is"}}));
  EXPECT_EQ(tree_.Content("f") + tree_.Content("gone") + tree_.Content("new"),
            "theirstheirstheirs");
  EXPECT_EQ(tree_.Content(".bailiff/undo/" + std::string(kCommitId) + "/0"), "gone");
  EXPECT_EQ(NeedsRecovery(tree_.journal()).value(), false);
  EXPECT_EQ(ReportOf(tree_.journal(), kCommitId).value()->problems, report.value().problems);
  EXPECT_THAT(CommitAll(tree_, set), FailsWith(ErrorCode::kConflict));
}

TEST_F(CommitTest, ANameThatMovedOutOfWhatGoesMayBeTakenByAnother) {
  tree_.File("gone/kept", "kept");
  const ChangeSet set = Edits(tree_).Move("gone/kept", "kept").Delete("gone").Build();
  CommitOptions options;
  options.before_step = [&](std::string_view step) {
    if (step == "detach gone") tree_.File("gone/kept", "theirs");
  };
  const Result<CommitReport> report = CommitAll(tree_, set, options);
  ASSERT_THAT(report, IsOk());
  EXPECT_EQ(report.value().outcome, CommitOutcome::kNeedsAttention);
  EXPECT_EQ(tree_.Content("gone/kept"), "theirs");
  EXPECT_EQ(tree_.Content(".bailiff/undo/" + std::string(kCommitId) + "/0"), "kept");
}

TEST_F(CommitTest, AnUndoneDirectoryKeepsWhatOthersPutInIt) {
  tree_.File("z", "base");
  const ChangeSet set = Edits(tree_).MakeDir("d").Create("d/ours", "x").Modify("z", "zz").Build();
  CommitOptions options;
  options.before_step = [&](std::string_view step) {
    if (step != "exchange z") return;
    tree_.File("d/theirs", "theirs");
    tree_.File("z", "theirs");
  };
  const Result<CommitReport> report = CommitAll(tree_, set, options);
  ASSERT_THAT(report, IsOk());
  EXPECT_EQ(report.value().outcome, CommitOutcome::kNeedsAttention);
  EXPECT_EQ(report.value().problems,
            (Problems{{"d/theirs", "is new in a directory that goes or moves"}}));
  EXPECT_EQ(tree_.Content("d/theirs"), "theirs");
  EXPECT_FALSE(std::filesystem::exists(tree_.Path("d/ours")));
}

TEST_F(CommitTest, NeverFollowsASymbolicLink) {
  tree_.File("outside/canary", "canary");
  tree_.File("d/f", "f");
  const ChangeSet set = Edits(tree_).Modify("d/f", "F").Create("d/canary", "evil").Build();
  const auto swap = [&] {
    std::filesystem::rename(tree_.Path("d"), tree_.Path("d_aside"));
    tree_.Symlink("d", "outside");
  };
  CommitOptions options;
  options.before_step = [&](std::string_view step) {
    if (step == "decide") swap();
  };
  Result<CommitReport> report = CommitAll(tree_, set, options);
  ASSERT_THAT(report, IsOk());
  EXPECT_EQ(report.value().problems, (Problems{{"d/canary", "its directory is gone"}}));
  report = CommitAll(tree_, set);
  ASSERT_THAT(report, IsOk());
  EXPECT_EQ(report.value().problems,
            (Problems{{"d/canary", "its directory is gone"}, {"d/f", "is gone"}}));
  EXPECT_EQ(tree_.Content("outside/canary"), "canary");
  EXPECT_FALSE(std::filesystem::exists(tree_.Path("outside/f")));
}

TEST_F(CommitTest, HandlesPathsLongerThanThePlatformsLimit) {
  std::string deep;
  Fd dir = OpenDirBeneath(tree_.workspace(), ".").value();
  for (int i = 0; i < 30; ++i) {
    const std::string name(200, static_cast<char>('a' + i % 26));
    ASSERT_THAT(bailiff::MakeDir(dir, name, 0755), IsOk());
    dir = OpenDirBeneath(dir, name).value();
    deep = JoinPath(deep, name);
  }
  ASSERT_GT(deep.size(), 4096U);
  const ChangeSet set = Edits(tree_).Create("f", "deep").MakeDir("d").Build();
  ChangeSet deeper = set;
  for (Change& change : deeper.changes) change.path = JoinPath(deep, change.path);
  SortCanonically(&deeper);
  Committed(CommitAll(tree_, deeper));
  EXPECT_EQ(HashBeneath(tree_.workspace(), deep + "/f").value(), Sha256::Of("deep"));
  const Result<Rollback> rollback = BuildRollback(tree_.dirs(), kCommitId, kRollbackId);
  ASSERT_THAT(rollback, IsOk());
  Committed(CommitAll(tree_, rollback.value().set));
  EXPECT_EQ(IdentityBeneath(tree_.workspace(), deep + "/f").value(), std::nullopt);
}

TEST_F(CommitTest, AnIdIsCommittedOnce) {
  Committed(CommitAll(tree_, Edits(tree_).Create("f", "x").Build()));
  EXPECT_THAT(CommitAll(tree_, Edits(tree_).Create("g", "x").Build()),
              FailsWith(ErrorCode::kConflict));
}

TEST_F(CommitTest, AnEmptySetIsCommittedToo) {
  Committed(CommitAll(tree_, Edits(tree_).Build()));
  const Result<Rollback> rollback = BuildRollback(tree_.dirs(), kCommitId, kRollbackId);
  ASSERT_THAT(rollback, IsOk());
  EXPECT_TRUE(rollback.value().set.changes.empty());
}

}  // namespace
}  // namespace bailiff
