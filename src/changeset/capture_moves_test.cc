#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <string>

#include "base/sha256.h"
#include "changeset/capture_world_test.h"
#include "sys/file.h"
#include "tests/support/matchers.h"
#include "workspace/tree.h"

namespace bailiff {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

void OldFile(const std::string& path, std::string_view content) {
  Write(path, content);
  SetTime(path, kOldNs);
}

TEST_F(CaptureTrustedTest, ListsARenameAsOneMoveThatReadsNothing) {
  MakeDirs(world_.Base("d"));
  OldFile(world_.Base("a"), "content");
  world_.Run([](const std::string& root) { Move(root + "a", root + "d/b"); });
  const CaptureResult result = world_.CaptureAndProve();
  ASSERT_THAT(Describe(result), ElementsAre("move d/b (from a)"));
  EXPECT_EQ(result.set.changes[0].base->size, 7);
  EXPECT_EQ(result.set.changes[0].base->sha256, "");
  EXPECT_EQ(result.set.changes[0].content.path, "");
}

TEST_F(CaptureTrustedTest, ListsADirectoryThatMovedAsOneMove) {
  MakeDirs(world_.Base("a/sub"));
  OldFile(world_.Base("a/f"), "1");
  OldFile(world_.Base("a/sub/g"), "2");
  MakeDirs(world_.Base("to"));
  world_.Run([](const std::string& root) { Move(root + "a", root + "to/b"); });
  const CaptureResult result = world_.CaptureAndProve();
  ASSERT_THAT(Describe(result), ElementsAre("move to/b/ (from a)"));
  Result<Fd> base = OpenPath(world_.Base(), O_RDONLY | O_DIRECTORY);
  ASSERT_THAT(base, IsOk());
  const auto entries = ListTree(base.value(), "a");
  ASSERT_THAT(entries, IsOk());
  EXPECT_EQ(result.set.changes[0].base->tree_sha256,
            TreeDigest(entries.value(), Stability::kStrong));
}

TEST_F(CaptureTrustedTest, ListsDifferencesInsideADirectoryThatMoved) {
  MakeDirs(world_.Base("a/opaque/kept"));
  OldFile(world_.Base("a/f"), "old");
  OldFile(world_.Base("a/g"), "g");
  OldFile(world_.Base("a/opaque/lost"), "l");
  world_.Run([](const std::string& root) {
    Move(root + "a", root + "b");
    Write(root + "b/f", "new!");
    Remove(root + "b/g");
    Write(root + "b/h", "made");
    Remove(root + "b/opaque");
    MakeDirs(root + "b/opaque/kept");
    Chmod(root + "b", 0700);
  });
  EXPECT_THAT(Describe(world_.CaptureAndProve()),
              ElementsAre("delete a/g", "delete a/opaque/lost", "move b/ (from a)",
                          "metadata b/ (from a)", "modify b/f (from a/f)", "create b/h"));
}

TEST_F(CaptureTrustedTest, ListsASwapAndACycleAsMoves) {
  MakeDirs(world_.Base("d"));
  MakeDirs(world_.Base("e"));
  OldFile(world_.Base("d/in"), "d");
  for (const char* name : {"a", "b", "x", "y", "z"}) OldFile(world_.Base(name), name);
  world_.Run([](const std::string& root) {
    Move(root + "a", root + "b", RENAME_EXCHANGE);
    Move(root + "d", root + "e", RENAME_EXCHANGE);
    Move(root + "x", root + "t");
    Move(root + "y", root + "x");
    Move(root + "z", root + "y");
    Move(root + "t", root + "z");
  });
  EXPECT_THAT(
      Describe(world_.CaptureAndProve()),
      ElementsAre("move a (from b)", "move b (from a)", "move d/ (from e)", "move e/ (from d)",
                  "move x (from y)", "move y (from z)", "move z (from x)"));
}

TEST_F(CaptureTrustedTest, ListsWhatWasMovedAndModifiedInEitherOrder) {
  OldFile(world_.Base("a"), "a content");
  OldFile(world_.Base("b"), "b content");
  OldFile(world_.Base("c"), "c content");
  OldFile(world_.Base("d"), "d content");
  Symlink("t", world_.Base("s"));
  world_.Run([](const std::string& root) {
    Move(root + "a", root + "a2");
    Append(root + "a2", "+");
    Append(root + "b", "+");
    Move(root + "b", root + "b2");
    Chmod(root + "c", 0600);
    Move(root + "c", root + "c2");
    Append(root + "d", "");
    SetTime(root + "d", kOldNs);
    Move(root + "d", root + "d2");
    Move(root + "s", root + "s2");
  });
  EXPECT_THAT(Describe(world_.CaptureAndProve()),
              ElementsAre("move a2 (from a)", "modify a2 (from a)", "move b2 (from b)",
                          "modify b2 (from b)", "move c2 (from c)", "metadata c2 (from c)",
                          "move d2 (from d)", "move s2 (from s)"));
}

TEST_F(CaptureTrustedTest, FollowsMovesOutOfDirectoriesThatMovedOrWent) {
  MakeDirs(world_.Base("a/sub"));
  OldFile(world_.Base("a/f"), "f");
  OldFile(world_.Base("a/sub/g"), "g");
  MakeDirs(world_.Base("gone/sub"));
  OldFile(world_.Base("gone/keep"), "k");
  OldFile(world_.Base("gone/sub/h"), "h");
  OldFile(world_.Base("gone/lost"), "l");
  world_.Run([](const std::string& root) {
    Move(root + "a", root + "b");
    Move(root + "b/f", root + "f");
    Move(root + "b/sub", root + "sub");
    Move(root + "sub/g", root + "b/g");
    Move(root + "gone/keep", root + "keep");
    MakeDirs(root + "new/er");
    Move(root + "gone/sub", root + "new/er/sub");
    Remove(root + "gone");
  });
  EXPECT_THAT(
      Describe(world_.CaptureAndProve()),
      ElementsAre("move b/ (from a)", "move b/g (from a/sub/g)", "move f (from a/f)",
                  "delete gone/", "delete gone/lost", "move keep (from gone/keep)", "create new/",
                  "create new/er/", "move new/er/sub/ (from gone/sub)", "move sub/ (from a/sub)"));
}

TEST_F(CaptureTrustedTest, TellsAMoveFromWhatIsMadeAgainAtItsSource) {
  OldFile(world_.Base("f"), "f");
  OldFile(world_.Base("g"), "g");
  MakeDirs(world_.Base("d/s"));
  OldFile(world_.Base("d/s/x"), "x");
  world_.Run([](const std::string& root) {
    Move(root + "f", root + "f2");
    Write(root + "f", "another");
    Move(root + "g", root + "g2");
    MakeDirs(root + "g");
    Move(root + "d", root + "d2");
    MakeDirs(root + "d/s");
    Write(root + "d/s/x", "x");
  });
  EXPECT_THAT(Describe(world_.CaptureAndProve()),
              ElementsAre("create d/", "create d/s/", "create d/s/x", "move d2/ (from d)",
                          "create f", "move f2 (from f)", "create g/", "move g2 (from g)"));
}

TEST_F(CaptureTrustedTest, ListsNothingForWhatMovedThereAndBack) {
  MakeDirs(world_.Base("d/s"));
  OldFile(world_.Base("f"), "f");
  OldFile(world_.Base("d/s/x"), "x");
  world_.Run([](const std::string& root) {
    Move(root + "d", root + "t");
    Move(root + "f", root + "t/f");
    Move(root + "t/f", root + "f");
    Move(root + "t/s", root + "s");
    Move(root + "s", root + "t/s");
    Move(root + "t", root + "d");
  });
  EXPECT_THAT(Describe(world_.CaptureAndProve()), IsEmpty());
}

TEST_F(CaptureTrustedTest, MovesAFileToItsOwnPathInADirectoryThatReplacesItsOwn) {
  MakeDirs(world_.Base("d"));
  OldFile(world_.Base("d/f"), "f");
  OldFile(world_.Base("d/g"), "g");
  world_.Run([](const std::string& root) {
    Move(root + "d", root + "e");
    MakeDirs(root + "d");
    Move(root + "e/f", root + "d/f");
  });
  EXPECT_THAT(Describe(world_.CaptureAndProve()),
              ElementsAre("create d/", "move d/f (from d/f)", "move e/ (from d)"));
}

TEST_F(CaptureTrustedTest, DeletesWhatAMoveOverwrites) {
  OldFile(world_.Base("a"), "a");
  OldFile(world_.Base("b"), "b");
  MakeDirs(world_.Base("d"));
  OldFile(world_.Base("d/x"), "x");
  MakeDirs(world_.Base("e"));
  world_.Run([](const std::string& root) {
    Move(root + "a", root + "b");
    Move(root + "d", root + "e");
  });
  EXPECT_THAT(Describe(world_.CaptureAndProve()),
              ElementsAre("delete b", "move b (from a)", "delete e/", "move e/ (from d)"));
}

TEST_F(CaptureTrustedTest, MovesOneNameOfAFileThatWasLinkedAndUnlinked) {
  OldFile(world_.Base("a"), "a");
  world_.Run([](const std::string& root) {
    HardLink(root + "a", root + "c");
    HardLink(root + "a", root + "b");
    Remove(root + "a");
  });
  EXPECT_THAT(Describe(world_.CaptureAndProve()), ElementsAre("move b (from a)", "create c = b"));
}

TEST_F(CaptureTrustedTest, FlagsABaseHardLinkThatMovesAndChanges) {
  OldFile(world_.Base("a"), "a");
  HardLink(world_.Base("a"), world_.Base("other"));
  world_.Run([](const std::string& root) {
    Move(root + "a", root + "b");
    Chmod(root + "b", 0600);
  });
  EXPECT_THAT(Describe(world_.CaptureAndProve()),
              ElementsAre("move b (from a)", "modify b (from a) [breaks_hard_link]"));
}

TEST_F(CaptureTrustedTest, FlagsALinkThatEscapesFromItsNewPlace) {
  MakeDirs(world_.Base("d"));
  Symlink("../x", world_.Base("d/l"));
  world_.Run([](const std::string& root) { Move(root + "d/l", root + "l"); });
  EXPECT_THAT(Describe(world_.CaptureAndProve()),
              ElementsAre("move l (from d/l) [escaping_symlink]"));
}

TEST_F(CaptureTrustedTest, NeverTakesZerosForTheContentOfAFileThatOnlyMoved) {
  OldFile(world_.Base("big"), std::string(1 << 20, 'x'));
  world_.Run([](const std::string& root) {
    Move(root + "big", root + "moved");
    Chmod(root + "moved", 0600);
    HardLink(root + "moved", root + "second");
  });
  EXPECT_THAT(
      Describe(world_.CaptureAndProve()),
      ElementsAre("move moved (from big)", "metadata moved (from big)", "create second = moved"));
}

TEST_F(CaptureTrustedTest, RefusesAnUpperLayerThatNoKernelMakes) {
  OldFile(world_.Base("f"), "f");
  MakeDirs(world_.Base("d"));
  world_.Run([](const std::string& root) { Move(root + "d", root + "e"); });
  EXPECT_EQ(std::rename(world_.Upper("e").c_str(), world_.Upper("d2").c_str()), 0);
  EXPECT_THAT(world_.TryCapture(), IsOk()) << "the name is not part of the bond";
  Remove(world_.Upper("d"));
  EXPECT_THAT(world_.TryCapture(), FailsWith(ErrorCode::kInternal)) << "d is at two places";
}

TEST_F(CaptureTrustedTest, RefusesAWhiteoutOfNothing) {
  world_.Run([](const std::string&) {});
  ASSERT_EQ(::mknod(world_.Upper("w").c_str(), S_IFCHR, 0), 0);
  SetTime(world_.Base(), kOldNs);
  EXPECT_THAT(world_.TryCapture(), FailsWith(ErrorCode::kInternal));
}

TEST_F(CaptureUserTest, FindsMovesByContent) {
  MakeDirs(world_.Base("d"));
  OldFile(world_.Base("d/a"), "same content");
  OldFile(world_.Base("d/twin"), "same content");
  OldFile(world_.Base("e"), "four");
  OldFile(world_.Base("none"), "");
  OldFile(world_.Base("size"), "12345");
  world_.Run([](const std::string& root) {
    Move(root + "d/a", root + "b");
    Move(root + "e", root + "d/e");
    Chmod(root + "d/e", 0600);
    Move(root + "none", root + "empty");
    Remove(root + "size");
    Write(root + "equal-size", "54321");
  });
  EXPECT_THAT(Describe(world_.CaptureAndProve()),
              ElementsAre("move b (from d/a)", "move d/e (from e)", "metadata d/e (from e)",
                          "move empty (from none)", "create equal-size", "delete size"));
}

// As pid 1 of a sandbox leaves a directory that it moved: new, with the times that it had.
TEST_F(CaptureUserTest, FindsDirectoriesThatMovedByWhatIsInThem) {
  for (const char* dir : {"d/in", "e", "gone"}) MakeDirs(world_.Base(dir));
  for (const char* file : {"d/a", "d/b", "d/in/c", "e/x", "e/y", "gone/z"}) {
    OldFile(world_.Base(file), file);
  }
  world_.Run([](const std::string& root) {
    MakeDirs(root + "moved/in");
    for (const char* name : {"a", "b", "in/c"}) {
      Move(root + "d/" + name, root + "moved/" + name);
    }
    Remove(root + "d/in");
    Remove(root + "d");
    Write(root + "moved/b", "changed");
    MakeDirs(root + "mixed");
    for (const char* name : {"1", "2", "3"}) Write(root + "mixed/" + name, name);
    Move(root + "e/x", root + "mixed/x");
    Remove(root + "e/y");
    Remove(root + "e");
    Remove(root + "gone/z");
    Remove(root + "gone");
    MakeDirs(root + "new");
  });
  EXPECT_THAT(
      Describe(world_.CaptureAndProve()),
      ElementsAre("delete e/", "delete e/y", "delete gone/", "delete gone/z", "create mixed/",
                  "create mixed/1", "create mixed/2", "create mixed/3", "move mixed/x (from e/x)",
                  "move moved/ (from d)", "modify moved/b (from d/b)", "create new/"));
}

TEST_F(CaptureUserTest, PairsEachFileThatIsGoneOnce) {
  OldFile(world_.Base("a1"), "same");
  OldFile(world_.Base("a2"), "same");
  world_.Run([](const std::string& root) {
    Remove(root + "a1");
    Remove(root + "a2");
    for (const char* name : {"b1", "b2", "b3"}) {
      Write(root + name, "same");
      SetTime(root + name, kOldNs + 1);
    }
  });
  EXPECT_THAT(Describe(world_.CaptureAndProve()),
              ElementsAre("move b1 (from a1)", "metadata b1 (from a1)", "move b2 (from a2)",
                          "metadata b2 (from a2)", "create b3"));
}

TEST_F(CaptureUserTest, ListsASwapAsTwoModifies) {
  OldFile(world_.Base("a"), "A");
  OldFile(world_.Base("b"), "bb");
  world_.Run([](const std::string& root) { Move(root + "a", root + "b", RENAME_EXCHANGE); });
  EXPECT_THAT(Describe(world_.CaptureAndProve()), ElementsAre("modify a", "modify b"));
}

}  // namespace
}  // namespace bailiff
