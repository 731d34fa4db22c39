#include "changeset/capture.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <string>

#include "base/sha256.h"
#include "changeset/capture_compare.h"
#include "changeset/capture_world_test.h"
#include "tests/support/matchers.h"

// Every capture here is also proved: applied to a copy of the base it must give the tree that the
// script saw (World::CaptureAndProve).

namespace bailiff {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

INSTANTIATE_TEST_SUITE_P(Overlays, CaptureBothTest,
                         ::testing::Values(OverlayAttributes::kTrusted, OverlayAttributes::kUser),
                         [](const auto& suite) {
                           return suite.param == OverlayAttributes::kTrusted ? "Trusted" : "User";
                         });

TEST_P(CaptureBothTest, ListsNothingForAScriptThatOnlyReads) {
  Write(world_.Base("a"), "1");
  world_.Run([](const std::string& root) { ReadTree(root); });
  EXPECT_THAT(Describe(world_.CaptureAndProve()), IsEmpty());
}

TEST_P(CaptureBothTest, ListsCreatesModifiesAndDeletes) {
  Write(world_.Base("keep"), "same");
  Write(world_.Base("edit"), "old");
  MakeDirs(world_.Base("dir/sub"));
  Write(world_.Base("dir/sub/f"), "x");
  world_.Run([](const std::string& root) {
    Write(root + "edit", "new content");
    Write(root + "made", "fresh");
    MakeDirs(root + "new/deep");
    Write(root + "new/deep/f", "");
    Remove(root + "dir");
  });
  const CaptureResult result = world_.CaptureAndProve();
  EXPECT_THAT(Describe(result),
              ElementsAre("delete dir/", "delete dir/sub/", "delete dir/sub/f", "modify edit",
                          "create made", "create new/", "create new/deep/", "create new/deep/f"));
  const Change& edit = result.set.changes[3];
  EXPECT_EQ(edit.base->size, 3);
  EXPECT_EQ(edit.size, 11);
  EXPECT_EQ(edit.sha256, Sha256::Of("new content"));
  EXPECT_EQ(edit.base->sha256, "") << "a size that differs says enough";
  EXPECT_TRUE(edit.sets_mtime);
  EXPECT_EQ(result.set.changes[0].base->type, EntryType::kDir);
}

TEST_P(CaptureBothTest, ReadsBothContentsWhenTheSizesAreEqual) {
  Write(world_.Base("f"), "aaa");
  world_.Run([](const std::string& root) { Write(root + "f", "bbb"); });
  const CaptureResult result = world_.CaptureAndProve();
  ASSERT_THAT(Describe(result), ElementsAre("modify f"));
  EXPECT_EQ(result.set.changes[0].base->sha256, Sha256::Of("aaa"));
}

TEST_P(CaptureBothTest, DropsCopiesThatChangedNothing) {
  Write(world_.Base("f"), "abc");
  SetTime(world_.Base("f"), kOldNs);
  MakeDirs(world_.Base("d"));
  world_.Run([](const std::string& root) {
    const int fd = ::open((root + "f").c_str(), O_RDWR);
    ASSERT_GE(fd, 0);
    ::close(fd);
    Chmod(root + "d", 0700);
    Chmod(root + "d", 0755);
    Write(root + "d/passing", "");
    Remove(root + "d/passing");
  });
  EXPECT_THAT(Describe(world_.CaptureAndProve()), IsEmpty());
}

TEST_P(CaptureBothTest, TellsAFileMadeAgainByItsTimeOnly) {
  Write(world_.Base("f"), "abc");
  Write(world_.Base("g"), "abc");
  SetTime(world_.Base("f"), kOldNs);
  SetTime(world_.Base("g"), kOldNs);
  world_.Run([](const std::string& root) {
    for (const char* name : {"f", "g"}) {
      Remove(root + name);
      Write(root + name, "abc");
    }
    SetTime(root + "f", kOldNs);
  });
  EXPECT_THAT(Describe(world_.CaptureAndProve()), ElementsAre("metadata g"));
}

TEST_P(CaptureBothTest, ListsModesAndTimesAsMetadata) {
  for (const char* name : {"mode", "time", "both"}) {
    Write(world_.Base(name), "abc");
    SetTime(world_.Base(name), kOldNs);
  }
  MakeDirs(world_.Base("dir"));
  world_.Run([](const std::string& root) {
    Chmod(root + "mode", 0755);
    SetTime(root + "time", -5);
    Chmod(root + "both", 0600);
    SetTime(root + "both", kOldNs + 1);
    Chmod(root + "dir", 01700);
  });
  const CaptureResult result = world_.CaptureAndProve();
  ASSERT_THAT(Describe(result), ElementsAre("metadata both", "metadata dir/",
                                            "metadata mode [executable]", "metadata time"));
  EXPECT_TRUE(result.set.changes[0].sets_mtime);
  EXPECT_FALSE(result.set.changes[1].sets_mtime);
  EXPECT_EQ(result.set.changes[1].mode, 01700U);
  EXPECT_FALSE(result.set.changes[2].sets_mtime);
  EXPECT_EQ(result.set.changes[3].mtime_ns, -5);
  EXPECT_EQ(result.set.changes[3].mode, result.set.changes[3].base->mode);
}

TEST_P(CaptureBothTest, TakesADirectorysTimeOnlyFromTheScript) {
  MakeDirs(world_.Base("set"));
  MakeDirs(world_.Base("filled"));
  SetTime(world_.Base("filled"), kOldNs);
  world_.Run([](const std::string& root) {
    Write(root + "filled/f", "");
    SetTime(root + "set", kOldNs + 7);
    MakeDirs(root + "new");
    MakeDirs(root + "old");
    SetTime(root + "old", kOldNs);
  });
  const CaptureResult result = world_.CaptureAndProve();
  ASSERT_THAT(Describe(result),
              ElementsAre("create filled/f", "create new/", "create old/", "metadata set/"));
  EXPECT_FALSE(result.set.changes[1].sets_mtime);
  EXPECT_TRUE(result.set.changes[2].sets_mtime);
  EXPECT_EQ(result.set.changes[3].mtime_ns, kOldNs + 7);
}

TEST_P(CaptureBothTest, IgnoresADirectorysTimeThatAnotherWriterChanged) {
  MakeDirs(world_.Base("d"));
  SetTime(world_.Base("d"), kOldNs);
  world_.Run([this](const std::string& root) {
    Chmod(root + "d", 0700);
    Chmod(root + "d", 0755);
    AwaitFileClock(world_.options.started_ns);
    Write(world_.Base("d/theirs"), "");
  });
  EXPECT_THAT(Describe(world_.TryCapture().value()), IsEmpty());
}

TEST_P(CaptureBothTest, ListsSymbolicLinks) {
  Symlink("old", world_.Base("dir-link"));
  Symlink("here", world_.Base("timed"));
  SetTime(world_.Base("timed"), kOldNs);
  Write(world_.Base("was-file"), "x");
  world_.Run([](const std::string& root) {
    Remove(root + "dir-link");
    Symlink("new", root + "dir-link");
    SetTime(root + "timed", kOldNs + 3);
    Remove(root + "was-file");
    Symlink("../out", root + "was-file");
    MakeDirs(root + "d");
    Symlink("/etc/passwd", root + "d/abs");
    Symlink("/workspace/d/../x", root + "d/ours");
    Symlink("../dir-link", root + "d/up");
  });
  EXPECT_THAT(Describe(world_.CaptureAndProve()),
              ElementsAre("create d/", "create d/abs -> /etc/passwd [escaping_symlink]",
                          "create d/ours -> /workspace/d/../x", "create d/up -> ../dir-link",
                          "modify dir-link -> new", "metadata timed", "delete was-file",
                          "create was-file -> ../out [escaping_symlink]"));
}

TEST(LeavesWorkspaceTest, CountsComponentsAndKnowsTheMountPoint) {
  const struct {
    const char* path;
    const char* target;
    bool leaves;
  } kCases[] = {
      {"l", "a", false},
      {"l", "..", true},
      {"d/l", "..", false},
      {"d/l", "../..", true},
      {"d/l", "../x/../..", true},
      {"d/l", "./.././x", false},
      {"l", "/workspace", false},
      {"l", "/workspace/a", false},
      {"l", "/workspaces", true},
      {"l", "/workspace/../x", true},
      {"l", "/", true},
      {"d/l", "x/../../../a", true},
  };
  for (const auto& test : kCases) {
    EXPECT_EQ(LeavesWorkspace(test.path, test.target), test.leaves)
        << test.path << " -> " << test.target;
  }
}

TEST_P(CaptureBothTest, ListsAChangeOfTypeAsDeleteAndCreate) {
  Write(world_.Base("file"), "x");
  MakeDirs(world_.Base("dir/sub"));
  Write(world_.Base("dir/f"), "x");
  MakeDirs(world_.Base("back"));
  Write(world_.Base("back/f"), "same");
  SetTime(world_.Base("back/f"), kOldNs);
  world_.Run([](const std::string& root) {
    Remove(root + "file");
    MakeDirs(root + "file");
    Write(root + "file/in", "");
    Remove(root + "dir");
    Write(root + "dir", "now a file");
    Remove(root + "back");
    Write(root + "back", "for a moment");
    Remove(root + "back");
    MakeDirs(root + "back");
    Write(root + "back/f", "same");
    SetTime(root + "back/f", kOldNs);
  });
  EXPECT_THAT(Describe(world_.CaptureAndProve()),
              ElementsAre("delete dir/", "create dir", "delete dir/f", "delete dir/sub/",
                          "delete file", "create file/", "create file/in"));
}

TEST_P(CaptureBothTest, ListsWhatADirectoryMadeAgainLost) {
  MakeDirs(world_.Base("d/sub/deep"));
  Write(world_.Base("d/same"), "s");
  Write(world_.Base("d/lost"), "l");
  Write(world_.Base("d/sub/same"), "s");
  Write(world_.Base("d/sub/deep/lost"), "l");
  SetTime(world_.Base("d/same"), kOldNs);
  SetTime(world_.Base("d/sub/same"), kOldNs);
  world_.Run([](const std::string& root) {
    Remove(root + "d");
    MakeDirs(root + "d/sub");
    for (const char* name : {"d/same", "d/sub/same"}) {
      Write(root + name, "s");
      SetTime(root + name, kOldNs);
    }
    Write(root + "d/sub/new", "brand new");
  });
  EXPECT_THAT(Describe(world_.CaptureAndProve()),
              ElementsAre("delete d/lost", "delete d/sub/deep/", "delete d/sub/deep/lost",
                          "create d/sub/new"));
}

TEST_P(CaptureBothTest, ListsNewHardLinks) {
  Write(world_.Base("a"), "base");
  Write(world_.Base("b"), "base b");
  Write(world_.Base("over"), "overwritten");
  world_.Run([](const std::string& root) {
    HardLink(root + "a", root + "a2");
    HardLink(root + "b", root + "b2");
    Append(root + "b", "+");
    Write(root + "n", "new");
    HardLink(root + "n", root + "m");
    Remove(root + "over");
    HardLink(root + "a", root + "over");
  });
  const CaptureResult result = world_.CaptureAndProve();
  EXPECT_THAT(Describe(result),
              ElementsAre("create a2 = a", "modify b", "create b2 = b", "create m", "create n = m",
                          "delete over", "create over = a"));
  EXPECT_EQ(result.set.changes[4].sha256, Sha256::Of("new"));
  EXPECT_EQ(result.set.changes[4].content.path, "");
}

TEST_P(CaptureBothTest, MakesOneNameOfABaseHardLinkItsOwnFile) {
  Write(world_.Base("a"), "shared");
  HardLink(world_.Base("a"), world_.Base("b"));
  HardLink(world_.Base("a"), world_.Base("c"));
  SetTime(world_.Base("a"), kOldNs);
  world_.Run([](const std::string& root) {
    Append(root + "a", "+");
    Chmod(root + "b", 0600);
  });
  EXPECT_THAT(Describe(world_.CaptureAndProve()),
              ElementsAre("modify a [breaks_hard_link]", "modify b [breaks_hard_link]"));
  EXPECT_EQ(ReadTree(world_.Staged("stage/" + world_.options.id)).at("1").content, "shared");
}

TEST_P(CaptureBothTest, StripsSetidBitsAndSaysSo) {
  Write(world_.Base("old"), "x");
  SetTime(world_.Base("old"), kOldNs);
  world_.Run([](const std::string& root) {
    Write(root + "new", "x");
    Chmod(root + "new", 06755);
    Chmod(root + "old", 04644);
  });
  Result<CaptureResult> captured = world_.TryCapture();
  ASSERT_THAT(captured, IsOk());
  EXPECT_THAT(Describe(captured.value()), ElementsAre("create new [executable] [stripped_setid]",
                                                      "metadata old [stripped_setid]"));
  EXPECT_EQ(captured.value().set.changes[0].mode, 0755U);
  EXPECT_EQ(captured.value().set.changes[1].mode, 0644U);
}

TEST_P(CaptureBothTest, KeepsASetgidDirectoryAsItIs) {
  MakeDirs(world_.Base("shared"));
  Chmod(world_.Base("shared"), 02775);
  world_.Run([](const std::string& root) {
    Write(root + "shared/f", "x");
    MakeDirs(root + "shared/new");
    Chmod(root + "shared", 02700);
    MakeDirs(root + "sets");
    Chmod(root + "sets", 02755);
  });
  world_.after["sets"].mode = 0755;
  const CaptureResult result = world_.CaptureAndProve();
  EXPECT_THAT(Describe(result), ElementsAre("create sets/ [stripped_setid]", "metadata shared/",
                                            "create shared/f", "create shared/new/"));
  EXPECT_EQ(result.set.changes[1].mode, 02700U);
  EXPECT_EQ(result.set.changes[3].mode, 02755U);
}

TEST_P(CaptureBothTest, SaysThatAttributesAreDropped) {
  Write(world_.Base("had"), "x");
  ::setxattr(world_.Base("had").c_str(), "user.note", "1", 1, 0);
  Write(world_.Base("gets"), "x");
  world_.Run([](const std::string& root) {
    Append(root + "had", "more");
    EXPECT_EQ(::setxattr((root + "gets").c_str(), "user.note", "2", 1, 0), 0);
    Write(root + "new", "x");
    EXPECT_EQ(
        ::setxattr((root + "new").c_str(), "user.big", std::string(9000, 'x').c_str(), 9000, 0), 0);
  });
  EXPECT_THAT(
      Describe(world_.CaptureAndProve()),
      ElementsAre("metadata gets [dropped_xattrs]", "modify had", "create new [dropped_xattrs]"));
  const std::string staged = world_.Staged("stage/" + world_.options.id + "/0");
  char value = 0;
  EXPECT_EQ(::getxattr(staged.c_str(), "user.note", &value, 1), 1) << "a replacement keeps them";
  EXPECT_EQ(value, '1');
}

TEST_P(CaptureBothTest, IgnoresOverlayAttributesThatTheScriptSets) {
  Write(world_.Base("f"), "content");
  MakeDirs(world_.Base("d"));
  Write(world_.Base("d/f"), "stays");
  world_.Run([](const std::string& root) {
    Append(root + "f", "+");
    Chmod(root + "d", 0700);
    for (const char* name : {"opaque", "redirect", "metacopy", "whiteout", "origin", "nlink",
                             "upper", "protattr", "uuid"}) {
      const std::string attribute = std::string("user.overlay.") + name;
      (void)::setxattr((root + "f").c_str(), attribute.c_str(), "y", 1, 0);
      (void)::setxattr((root + "d").c_str(), attribute.c_str(), "y", 1, 0);
    }
  });
  EXPECT_THAT(Describe(world_.CaptureAndProve()),
              ElementsAre("metadata d/ [dropped_xattrs]", "modify f [dropped_xattrs]"));
}

TEST_P(CaptureBothTest, TakesNamesAsBytes) {
  const std::string kNames[] = {"a b ",     "-rf",      "new\nline",
                                "\x1b[31m", "\xff\xfe", std::string("\xe2\x80\xae") + "x",
                                "Case",     "case",     std::string(255, 'n')};
  world_.Run([&](const std::string& root) {
    for (const std::string& name : kNames) Write(root + name, name);
  });
  EXPECT_EQ(world_.CaptureAndProve().set.changes.size(), std::size(kNames));
}

TEST_P(CaptureBothTest, ReadsWhatTheScriptMadeUnreadable) {
  Write(world_.Base("f"), "x");
  world_.Run([](const std::string& root) {
    Write(root + "f", "secret");
    Chmod(root + "f", 0);
    MakeDirs(root + "d/e");
    Write(root + "d/e/f", "y");
    Chmod(root + "d/e", 0);
    Chmod(root + "d", 0111);
  });
  const CaptureResult result = world_.CaptureAndProve();
  EXPECT_THAT(Describe(result),
              ElementsAre("create d/", "create d/e/", "create d/e/f", "modify f"));
}

TEST_P(CaptureBothTest, CallsItAConflictWhenWhatItNeedsWasDeletedMeanwhile) {
  MakeDirs(world_.Base("d/sub"));
  Write(world_.Base("f"), "f");
  world_.Run([this](const std::string& root) {
    Write(root + "d/sub/f", "ours");
    Remove(root + "f");
    AwaitFileClock(world_.options.started_ns);
    Remove(world_.Base("d"));
    Remove(world_.Base("f"));
  });
  Result<CaptureResult> captured = world_.TryCapture();
  ASSERT_THAT(captured, IsOk());
  constexpr const char* kDeleted = ": was deleted in the workspace while the script ran";
  EXPECT_THAT(Describe(captured.value().conflicts),
              ElementsAre(std::string("d") + kDeleted, std::string("f") + kDeleted));
}

// Makes `levels` directories with long names in each other, and a file in the last.
void MakeDeep(const std::string& top, int levels) {
  const std::string name(200, 'd');
  int dir = ::open(top.c_str(), O_RDONLY | O_DIRECTORY);
  for (int i = 0; i < levels; ++i) {
    ASSERT_EQ(::mkdirat(dir, name.c_str(), 0755), 0);
    const int next = ::openat(dir, name.c_str(), O_RDONLY | O_DIRECTORY);
    ASSERT_GE(next, 0);
    ::close(dir);
    dir = next;
  }
  const int file = ::openat(dir, "f", O_CREAT | O_WRONLY, 0600);
  ASSERT_GE(file, 0);
  ::close(file);
  ::close(dir);
}

TEST_P(CaptureBothTest, FollowsATreeDeeperThanAnyPathMayBeLong) {
  world_.cannot_be_read = true;
  world_.Run([](const std::string& root) { MakeDeep(root, 100); });
  Result<CaptureResult> captured = world_.TryCapture();
  ASSERT_THAT(captured, IsOk());
  ASSERT_EQ(captured.value().set.changes.size(), 101U);
  EXPECT_EQ(captured.value().set.changes.back().path.size(), 100U * 201 + 1);
}

TEST_P(CaptureBothTest, RefusesATreeBeyondItsOwnLimit) {
  world_.Run([](const std::string&) {});
  MakeDeep(world_.Upper(), 1001);
  EXPECT_THAT(world_.TryCapture(), FailsWith(ErrorCode::kResourceExhausted));
}

}  // namespace
}  // namespace bailiff
