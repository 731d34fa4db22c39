#include "changeset/plan.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "base/sha256.h"
#include "changeset/capture_world_test.h"
#include "sys/file.h"
#include "tests/support/matchers.h"
#include "tests/support/temp_dir.h"

namespace bailiff {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr const char* kId = "plan_20261121_101500_1f2e3d4c";

PlanOperation Two(PlanOp op, const std::string& source, const std::string& destination) {
  PlanOperation operation;
  operation.op = op;
  operation.source = source;
  operation.destination = destination;
  return operation;
}
PlanOperation DoMove(const std::string& from, const std::string& to) {
  return Two(PlanOp::kMove, from, to);
}
PlanOperation DoCopy(const std::string& from, const std::string& to) {
  return Two(PlanOp::kCopy, from, to);
}
PlanOperation DoDelete(const std::string& path) {
  return Two(PlanOp::kDelete, path, "");
}
PlanOperation DoCreateDir(const std::string& path) {
  return Two(PlanOp::kCreateDir, "", path);
}
PlanOperation DoWrite(const std::string& path, const std::string& content) {
  PlanOperation operation = Two(PlanOp::kWriteFile, "", path);
  operation.content = content;
  operation.sha256 = Sha256::Of(content);
  operation.size = static_cast<std::int64_t>(content.size());
  return operation;
}

class PlanTest : public ::testing::Test {
 protected:
  PlanTest() {
    MakeDirs(At(".bailiff"));
    request_.id = kId;
    request_.now_ns = kOldNs + 5;
    request_.files_max = 1000;
    request_.bytes_max = 1 << 20;
  }

  std::string At(std::string_view path) const { return dir_.Path(path); }

  Result<PlanEffect> Build(std::vector<PlanOperation> operations) {
    request_.operations = std::move(operations);
    const Result<Fd> root = OpenPath(dir_.path(), O_RDONLY | O_DIRECTORY);
    const Result<Fd> holder = OpenPath(At(".bailiff"), O_RDONLY | O_DIRECTORY);
    return BuildPlan(root.value(), holder.value(), request_);
  }

  // The effect of a plan without errors.
  PlanEffect Effect(std::vector<PlanOperation> operations) {
    const Result<PlanEffect> effect = Build(std::move(operations));
    EXPECT_THAT(effect, IsOk());
    if (!effect.ok()) return {};
    EXPECT_THAT(effect.value().errors, IsEmpty());
    return effect.value();
  }

  std::vector<std::string> Changes(std::vector<PlanOperation> operations) {
    std::vector<std::string> lines;
    for (const Change& change : Effect(std::move(operations)).set.changes) {
      lines.push_back(Describe(change));
    }
    return lines;
  }

  std::vector<std::string> Errors(std::vector<PlanOperation> operations) {
    const Result<PlanEffect> effect = Build(std::move(operations));
    EXPECT_THAT(effect, IsOk());
    if (!effect.ok()) return {};
    EXPECT_THAT(effect.value().set.changes, IsEmpty());
    return effect.value().errors;
  }

  bool HasStaged() const { return ::access(At(".bailiff/stage").c_str(), F_OK) == 0; }

  TempDir dir_;
  PlanRequest request_;
};

TEST_F(PlanTest, EachOperationSeesWhatThoseBeforeItDid) {
  Write(At("a"), "1");
  EXPECT_THAT(Changes({DoCreateDir("d"), DoMove("a", "d/b"), DoMove("d/b", "d/c"),
                       DoCopy("d/c", "e"), DoDelete("e")}),
              ElementsAre("create d/", "move d/c (from a)"));
}

TEST_F(PlanTest, NamesSwapThroughAThird) {
  Write(At("a"), "1");
  Write(At("b"), "2");
  EXPECT_THAT(Changes({DoMove("a", "t"), DoMove("b", "a"), DoMove("t", "b")}),
              ElementsAre("move a (from b)", "move b (from a)"));
}

TEST_F(PlanTest, WhatGoesAndComesBackIsNoChange) {
  MakeDirs(At("d"));
  Write(At("d/f"), "1");
  EXPECT_THAT(Changes({DoMove("d", "e"), DoMove("e", "d")}), IsEmpty());
}

TEST_F(PlanTest, AMovedDirectoryIsOneMoveThatReadsNothing) {
  MakeDirs(At("d/sub"));
  Write(At("d/sub/f"), "1");
  const PlanEffect effect = Effect({DoMove("d", "to/e")});
  ASSERT_EQ(effect.set.changes.size(), 2U);
  EXPECT_EQ(Describe(effect.set.changes[0]), "create to/");
  EXPECT_EQ(Describe(effect.set.changes[1]), "move to/e/ (from d)");
  EXPECT_EQ(effect.set.changes[1].base->tree_sha256.view().size(), Sha256::kSize);
  EXPECT_EQ(effect.size_change, 0);
  EXPECT_FALSE(HasStaged());
}

TEST_F(PlanTest, ADirectoryThatMovesMayChangeInside) {
  MakeDirs(At("d/sub"));
  Write(At("d/f"), "old");
  Write(At("d/g"), "g");
  EXPECT_THAT(Changes({DoMove("d", "e"), DoWrite("e/f", "new!"), DoDelete("e/g"),
                       DoWrite("e/h", "h"), DoMove("e/sub", "sub")}),
              ElementsAre("delete d/g", "move e/ (from d)", "modify e/f (from d/f)", "create e/h",
                          "move sub/ (from d/sub)"));
}

TEST_F(PlanTest, AnEntryMayReturnToItsNameInANewDirectory) {
  MakeDirs(At("d"));
  Write(At("d/f"), "1");
  Write(At("d/g"), "2");
  EXPECT_THAT(Changes({DoMove("d/f", "t"), DoDelete("d"), DoMove("t", "d/f")}),
              ElementsAre("delete d/", "create d/", "move d/f (from d/f)", "delete d/g"));
}

TEST_F(PlanTest, ADeletedTreeIsListedEntryByEntryAndWhatLeftItBeforeStays) {
  MakeDirs(At("d/sub"));
  Write(At("d/f"), "1");
  Write(At("d/sub/g"), "22");
  Write(At("d/kept"), "333");
  const PlanEffect effect =
      Effect({DoMove("d/kept", "kept"), DoWrite("d/made", "x"), DoDelete("d")});
  std::vector<std::string> lines;
  for (const Change& change : effect.set.changes) lines.push_back(Describe(change));
  EXPECT_THAT(lines, ElementsAre("delete d/", "delete d/f", "delete d/sub/", "delete d/sub/g",
                                 "move kept (from d/kept)"));
  EXPECT_EQ(effect.size_change, -3);
  EXPECT_THAT(effect.warnings, ElementsAre("Op 2: Deletes a directory with 4 entries: d"));
}

TEST_F(PlanTest, OverwritingIsAWarningAndKeepsTheFile) {
  Write(At("f"), "old");
  Chmod(At("f"), 04750);
  const PlanEffect effect = Effect({DoWrite("f", "newer")});
  ASSERT_EQ(effect.set.changes.size(), 1U);
  const Change& change = effect.set.changes[0];
  EXPECT_EQ(change.op, ChangeOp::kModify);
  EXPECT_EQ(change.mode, 0750U);
  EXPECT_TRUE(change.Has(ChangeFlag::kStrippedSetid));
  EXPECT_EQ(change.mtime_ns, kOldNs + 5);
  EXPECT_EQ(change.sha256, Sha256::Of("newer"));
  EXPECT_EQ(effect.size_change, 2);
  EXPECT_THAT(effect.warnings, ElementsAre("Op 0: File will be overwritten: f"));
}

TEST_F(PlanTest, WritingWhatIsThereAlreadyIsNoChange) {
  Write(At("f"), "same");
  EXPECT_THAT(Changes({DoWrite("f", "same")}), IsEmpty());
}

TEST_F(PlanTest, AMoveOntoAFileDeletesIt) {
  Write(At("a"), "1");
  Write(At("b"), "22");
  const PlanEffect effect = Effect({DoMove("a", "b")});
  ASSERT_EQ(effect.set.changes.size(), 2U);
  EXPECT_EQ(Describe(effect.set.changes[0]), "delete b");
  EXPECT_EQ(Describe(effect.set.changes[1]), "move b (from a)");
  EXPECT_EQ(effect.size_change, -2);
  EXPECT_THAT(effect.warnings, ElementsAre("Op 0: Will be overwritten: b"));
}

TEST_F(PlanTest, AChangedFileThatMovesIsAMoveAndAModification) {
  Write(At("a"), "1");
  EXPECT_THAT(Changes({DoWrite("a", "22"), DoMove("a", "b")}),
              ElementsAre("move b (from a)", "modify b (from a)"));
}

TEST_F(PlanTest, OneOfSeveralNamesGetsAFileOfItsOwn) {
  Write(At("a"), "1");
  HardLink(At("a"), At("b"));
  EXPECT_THAT(Changes({DoWrite("a", "22")}), ElementsAre("modify a [breaks_hard_link]"));
}

TEST_F(PlanTest, ACopyOfATreeHasContentModesAndTimesOfItsSource) {
  MakeDirs(At("d/sub"));
  Write(At("d/f"), "content");
  Chmod(At("d/f"), 0755);
  SetTime(At("d/f"), kOldNs);
  Symlink("f", At("d/l"));
  Write(At("d/gone"), "x");
  const PlanEffect effect = Effect(
      {DoDelete("d/gone"), DoWrite("d/sub/new", "n"), DoCopy("d", "e"), DoWrite("d/f", "later")});
  std::vector<std::string> lines;
  for (const Change& change : effect.set.changes) lines.push_back(Describe(change));
  EXPECT_THAT(lines, ElementsAre("modify d/f [executable]", "delete d/gone", "create d/sub/new",
                                 "create e/", "create e/f [executable]", "create e/l -> f",
                                 "create e/sub/", "create e/sub/new"));
  const Change& copy = effect.set.changes[4];
  EXPECT_EQ(copy.mode, 0755U);
  EXPECT_EQ(copy.mtime_ns, kOldNs);
  EXPECT_EQ(copy.sha256, Sha256::Of("content"));
  EXPECT_EQ(copy.content.identity.size, 7);
  EXPECT_EQ(effect.set.changes[7].sha256, Sha256::Of("n"));
}

TEST_F(PlanTest, WithoutStagingNothingIsWritten) {
  Write(At("a"), "1");
  request_.stage = false;
  EXPECT_THAT(Changes({DoCopy("a", "b"), DoWrite("c", "2")}), ElementsAre("create b", "create c"));
  EXPECT_FALSE(HasStaged());
}

TEST_F(PlanTest, LinksAreNeverFollowed) {
  MakeDirs(At("d"));
  Symlink("d", At("l"));
  Symlink("/etc", At("out"));
  EXPECT_THAT(
      Changes({DoMove("l", "m"), DoCopy("out", "copy"), DoDelete("out")}),
      ElementsAre("create copy -> /etc [escaping_symlink]", "move m (from l)", "delete out"));
  EXPECT_THAT(Changes({DoWrite("out", "x")}), ElementsAre("delete out", "create out"));
  EXPECT_THAT(Errors({DoWrite("l/f", "x"), DoDelete("l/f"), DoMove("out/passwd", "p")}),
              ElementsAre("Op 0: Path leads through a symbolic link: l",
                          "Op 1: Path leads through a symbolic link: l",
                          "Op 2: Path leads through a symbolic link: out"));
}

TEST_F(PlanTest, WhatHasNoEffectIsAWarning) {
  MakeDirs(At("d"));
  const PlanEffect effect =
      Effect({DoDelete("gone"), DoDelete("no/where"), DoCreateDir("d"), DoMove("d", "d")});
  EXPECT_THAT(effect.set.changes, IsEmpty());
  EXPECT_THAT(effect.warnings, ElementsAre("Op 0: File already deleted: gone",
                                           "Op 1: File already deleted: no/where",
                                           "Op 2: Directory already exists: d",
                                           "Op 3: Source and destination are the same: d"));
}

TEST_F(PlanTest, WhatIsImpossibleIsNamed) {
  MakeDirs(At("d/sub"));
  Write(At("f"), "1");
  ASSERT_EQ(::mkfifo(At("fifo").c_str(), 0600), 0);
  ASSERT_EQ(::mkfifo(At("d/fifo").c_str(), 0600), 0);
  EXPECT_THAT(
      Errors({DoMove("x", "y"), DoMove("d", "d/sub/e"), DoCopy("d", "d/e"), DoMove("f", "d"),
              DoCopy("f", "f"), DoWrite("d", "x"), DoCreateDir("f"), DoWrite("f/g", "x"),
              DoCopy("fifo", "g"), DoMove("d", "e"), DoDelete("d"), DoCopy("d", "e")}),
      ElementsAre("Op 0: Source not found: x",
                  "Op 1: Cannot move a directory into itself: d -> d/sub/e",
                  "Op 2: Cannot copy a directory into itself: d -> d/e",
                  "Op 3: Destination is a directory: d (name the whole new path, or delete the "
                  "directory first)",
                  "Op 4: Source and destination are the same: f",
                  "Op 5: Destination is a directory: d (name the whole new path, or delete the "
                  "directory first)",
                  "Op 6: Destination exists and is not a directory: f", "Op 7: Not a directory: f",
                  "Op 8: fifo is a device, socket or FIFO",
                  "Op 9: Cannot move d: fifo: is a device, socket or FIFO",
                  "Op 10: d/fifo is a device, socket or FIFO",
                  "Op 11: d/fifo is a device, socket or FIFO"));
}

TEST_F(PlanTest, AScopeIsNotLeft) {
  MakeDirs(At("projects/c"));
  Write(At("projects/c/f"), "1");
  request_.scope = "projects/c";
  EXPECT_THAT(Changes({DoMove("f", "sub/g")}),
              ElementsAre("create projects/c/sub/", "move projects/c/sub/g (from projects/c/f)"));
  request_.scope = "projects/none";
  EXPECT_THAT(Errors({DoDelete("f")}), ElementsAre("Case directory not found: none"));
  Symlink("c", At("projects/link"));
  request_.scope = "projects/link";
  EXPECT_THAT(Errors({DoDelete("f")}), ElementsAre("Case directory not found: link"));
}

TEST_F(PlanTest, ReservedPathsStayAsTheyAre) {
  MakeDirs(At("Database/logs"));
  request_.reserved = {"Database/logs", "Other/logs"};
  EXPECT_THAT(Errors({DoWrite("Database/logs/x", "x"), DoDelete("Database/logs"),
                      DoWrite(".bailiff/x", "x"), DoWrite("Other", "x")}),
              ElementsAre("Op 0: Path is reserved for Bailiff: Database/logs/x",
                          "Op 1: Path is reserved for Bailiff: Database/logs",
                          "Op 2: Path is reserved for Bailiff: .bailiff/x",
                          "Op 3: Stands where a path belongs that is reserved for Bailiff: Other"));
  EXPECT_THAT(Errors({DoMove("Database", "D")}),
              ElementsAre("Op 0: Concerns a path that is reserved for Bailiff: Database/logs"));
  EXPECT_THAT(Errors({DoDelete("Database")}),
              ElementsAre("Op 0: Concerns a path that is reserved for Bailiff: Database/logs"));
  EXPECT_THAT(Errors({DoCopy("Database", "Other")}),
              ElementsAre("Op 0: Concerns a path that is reserved for Bailiff: Other/logs"));
}

TEST_F(PlanTest, WhatAPlanMayWriteIsBounded) {
  request_.bytes_max = 3;
  EXPECT_THAT(Errors({DoWrite("a", "12"), DoCopy("a", "b")}),
              ElementsAre("The plan writes 4 B and may write 3 B"));
  request_.files_max = 1;
  EXPECT_THAT(Build({DoWrite("a", "1"), DoWrite("b", "1")}),
              FailsWith(ErrorCode::kResourceExhausted));
}

TEST_F(PlanTest, TreesDoNotGetTooDeep) {
  std::string deep = "d";
  for (int i = 0; i < 600; ++i) deep += "/d";
  EXPECT_THAT(Errors({DoCreateDir(deep), DoMove("d", "e/" + deep)}),
              ElementsAre("Op 1: Deeper than 1000 directories: e/" + deep));
}

TEST_F(PlanTest, ARequestAndAnEffectSurviveTheirEncoding) {
  Write(At("a"), "1");
  request_.reserved = {"r"};
  const PlanEffect effect = Effect({DoMove("a", "b"), DoWrite("c", "22"), DoDelete("none")});
  const Result<PlanRequest> request = DecodePlanRequest(EncodePlanRequest(request_));
  ASSERT_THAT(request, IsOk());
  EXPECT_EQ(EncodePlanRequest(request.value()), EncodePlanRequest(request_));
  EXPECT_EQ(request.value().operations[1].content, "22");
  const Result<PlanEffect> decoded = DecodePlanEffect(EncodePlanEffect(effect));
  ASSERT_THAT(decoded, IsOk());
  EXPECT_EQ(Digest(decoded.value().set), Digest(effect.set));
  EXPECT_EQ(decoded.value().warnings, effect.warnings);
  EXPECT_THAT(DecodePlanRequest(EncodePlanRequest(request_) + "x"),
              FailsWith(ErrorCode::kInvalidArgument));
  EXPECT_THAT(DecodePlanEffect("x"), FailsWith(ErrorCode::kInvalidArgument));
}

}  // namespace
}  // namespace bailiff
