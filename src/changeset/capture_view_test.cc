#include "changeset/capture_view.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include "changeset/capture_world_test.h"
#include "tests/support/matchers.h"
#include "workspace/tree.h"

// Captures of runs that saw parts of the workspace only. What the script saw is not the whole tree
// here, so that a change set is compared with what it should list.

namespace bailiff {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const std::string kOutsideCases = ": lies outside of the cases that this run may see";
const std::string kOutsideView = ": lies where this run may not look";
const std::string kExists = ": exists already, where this run may not look";

class CaptureViewTest : public CaptureBothTest {
 protected:
  void SetUp() override {
    CaptureBothTest::SetUp();
    world_.options.view = CaptureView{.whole = {"Tools", "projects/Mine"},
                                      .hollow = {"Reports", "projects"},
                                      .closed = {"projects"},
                                      .allowed = {"Tools", "projects/Mine", "projects/Later"}};
    for (const char* dir : {"Hidden", "Reports/2024", "Tools", "projects/Mine", "projects/Other"}) {
      MakeDirs(world_.Base(dir));
      Write(world_.Base(std::string(dir) + "/f"), std::string("of ") + dir);
    }
    Write(world_.Base("top"), "old");
  }

  // As the sandbox mounts it: src/sandbox/plan_mounts.cc.
  void Run(const std::function<void(const std::string&)>& script) {
    const std::string top = world_.Base("..");
    const CaptureView& view = *world_.options.view;
    world_.options.started_ns = WallNow();
    std::vector<std::string> mounts;
    for (const CaptureView::Paths* paths : {&view.hollow, &view.whole}) {
      for (const std::string& path : *paths) MakeDirs(world_.Upper(path));
    }
    for (const std::string& path : view.whole) {
      const std::string name = std::to_string(mounts.size());
      mounts.push_back(JoinPath(top, "part-" + name));
      Overlay(world_.Base(path), world_.Upper(path), JoinPath(top, "work-" + name), mounts.back());
    }
    const std::string root = top + "/merged";
    Overlay(top + "/mask", world_.Upper(), top + "/work", root);
    for (const std::string& path : view.hollow) Bind(JoinPath(root, path), JoinPath(root, path));
    std::size_t part = 0;
    for (const std::string& path : view.whole) Bind(mounts[part++], JoinPath(root, path));
    script(root + "/");
    for (const std::string& point : mounts) ::umount2(point.c_str(), MNT_DETACH);
    ASSERT_EQ(::umount2(root.c_str(), MNT_DETACH), 0) << std::strerror(errno);
    world_.options.ended_ns = WallNow();
  }

  CaptureResult Capture() {
    Result<CaptureResult> captured = world_.TryCapture();
    EXPECT_THAT(captured, IsOk());
    return captured.ok() ? std::move(captured).value() : CaptureResult();
  }

 private:
  void Overlay(const std::string& lower, const std::string& upper, const std::string& work,
               const std::string& point) {
    MakeDirs(work);
    MakeDirs(point);
    const bool trusted = GetParam() == OverlayAttributes::kTrusted;
    const std::string data = "lowerdir=" + lower + ",upperdir=" + upper + ",workdir=" + work + "," +
                             (trusted ? "redirect_dir=on,metacopy=on" : "userxattr");
    ASSERT_EQ(::mount("overlay", point.c_str(), "overlay", 0, data.c_str()), 0)
        << std::strerror(errno);
  }

  static void Bind(const std::string& from, const std::string& to) {
    ASSERT_EQ(::mount(from.c_str(), to.c_str(), "", MS_BIND, nullptr), 0) << std::strerror(errno);
  }
};

INSTANTIATE_TEST_SUITE_P(Overlays, CaptureViewTest,
                         ::testing::Values(OverlayAttributes::kTrusted, OverlayAttributes::kUser),
                         [](const auto& suite) {
                           return suite.param == OverlayAttributes::kTrusted ? "Trusted" : "User";
                         });

TEST_P(CaptureViewTest, ListsNothingForWhatTheSandboxItselfMade) {
  Run([](const std::string& root) { ReadTree(root); });
  const CaptureResult result = Capture();
  EXPECT_THAT(Describe(result), IsEmpty());
  EXPECT_THAT(Describe(result.refused), IsEmpty());
  EXPECT_THAT(Describe(result.conflicts), IsEmpty());
}

TEST_P(CaptureViewTest, ListsWhatWasDoneInWhatIsSeen) {
  MakeDirs(world_.Base("projects/Mine/dir/sub"));
  Write(world_.Base("projects/Mine/dir/sub/f"), "deep");
  SetTime(world_.Base("projects/Mine/dir"), kOldNs);
  Run([](const std::string& root) {
    Append(root + "projects/Mine/f", "more");
    MakeDirs(root + "projects/Mine/to");
    Move(root + "projects/Mine/f", root + "projects/Mine/to/g");
    Remove(root + "Tools/f");
    Write(root + "Tools/g", "new");
    Write(root + "projects/Mine/dir/h", "new");
  });
  const CaptureResult result = Capture();
  EXPECT_THAT(Describe(result.refused), IsEmpty());
  EXPECT_THAT(Describe(result.conflicts), IsEmpty());
  const std::vector<std::string> found = Describe(result);
  EXPECT_THAT(found,
              ::testing::IsSupersetOf({std::string("delete Tools/f"), std::string("create Tools/g"),
                                       std::string("create projects/Mine/dir/h")}));
  EXPECT_THAT(found, ::testing::Contains(HasSubstr("projects/Mine/to/g")));
}

TEST_P(CaptureViewTest, RefusesWhatIsMadeInACaseThatIsNotSeenWhetherItExistsOrNot) {
  Run([](const std::string& root) {
    for (const char* name : {"Other", "New"}) {
      MakeDirs(root + "projects/" + name);
      Write(root + "projects/" + name + "/x", "x");
    }
    MakeDirs(root + "projects/Later");
    Write(root + "projects/Later/x", "x");
    Write(root + "projects/file", "x");
  });
  const CaptureResult result = Capture();
  EXPECT_THAT(Describe(result.refused),
              ElementsAre("projects/New" + kOutsideCases, "projects/New/x" + kOutsideCases,
                          "projects/Other" + kOutsideCases, "projects/Other/x" + kOutsideCases,
                          "projects/file" + kOutsideCases));
  EXPECT_THAT(Describe(result), ElementsAre("create projects/Later/", "create projects/Later/x"));
}

TEST_P(CaptureViewTest, MakesNewPathsOnlyWhereItCannotLook) {
  Write(world_.Base("Reports/file"), "old");
  Run([](const std::string& root) {
    Write(root + "Reports/new", "1");
    Write(root + "Reports/file", "2");
    MakeDirs(root + "Reports/2024/deep");
    Write(root + "Reports/2024/f", "3");
    Write(root + "Reports/2024/g", "4");
    Write(root + "top", "5");
    Write(root + "top2", "6");
  });
  const CaptureResult result = Capture();
  EXPECT_THAT(Describe(result.refused),
              ElementsAre("Reports/2024/f" + kExists, "Reports/file" + kExists, "top" + kExists));
  EXPECT_THAT(Describe(result), ElementsAre("create Reports/2024/deep/", "create Reports/2024/g",
                                            "create Reports/new", "create top2"));
}

TEST_P(CaptureViewTest, NeverReplacesAnUnseenEntryByOneOfAnotherType) {
  Symlink("Tools", world_.Base("Reports/link"));
  Write(world_.Base("Reports/file"), "old");
  Run([](const std::string& root) {
    Write(root + "Hidden", "no directory");
    Write(root + "Reports/2024", "no directory");
    MakeDirs(root + "Reports/file");
    Write(root + "Reports/file/x", "x");
    MakeDirs(root + "Reports/link");
  });
  const CaptureResult result = Capture();
  EXPECT_THAT(Describe(result), IsEmpty());
  EXPECT_THAT(Describe(result.refused),
              ElementsAre("Hidden" + kExists, "Reports/2024" + kExists, "Reports/file" + kExists,
                          "Reports/file/x: depends on another change that was refused",
                          "Reports/link" + kExists));
}

TEST_P(CaptureViewTest, AnUnseenDirectoryThatIsMadeAgainKeepsAllThatIsInIt) {
  Run([](const std::string& root) {
    MakeDirs(root + "Hidden");
    Chmod(root + "Hidden", 0700);
    Write(root + "Hidden/g", "new");
    Remove(root + "Hidden");
    MakeDirs(root + "Hidden");
    Chmod(root + "Hidden", 0700);
    Write(root + "Hidden/h", "new");
  });
  const CaptureResult result = Capture();
  EXPECT_THAT(Describe(result), ElementsAre("create Hidden/h"));
  EXPECT_THAT(Describe(result.refused), IsEmpty());
}

TEST_P(CaptureViewTest, RefusesToChangeTheModeOfWhatOnlySeemsEmpty) {
  Run([](const std::string& root) {
    Chmod(root + "Reports", 0700);
    Chmod(root + "projects", 0700);
    Chmod(root + "projects/Mine", 0700);
  });
  const CaptureResult result = Capture();
  EXPECT_THAT(Describe(result.refused),
              ElementsAre("Reports" + kOutsideView, "projects" + kOutsideView));
  EXPECT_THAT(Describe(result), ElementsAre(HasSubstr("projects/Mine")));
}

TEST_P(CaptureViewTest, WhatIsSeenIsAMountThatCannotGo) {
  Run([](const std::string& root) {
    for (const char* path : {"Reports", "projects", "projects/Mine", "Tools"}) {
      EXPECT_NE(::rename((root + path).c_str(), (root + path + "-away").c_str()), 0) << path;
      EXPECT_EQ(errno, EBUSY) << path;
      EXPECT_NE(::rmdir((root + path).c_str()), 0) << path;
    }
  });
  EXPECT_THAT(Describe(Capture()), IsEmpty());
}

TEST_P(CaptureViewTest, RefusesAnUpperLayerThatLacksWhatTheRunWasGiven) {
  Run([](const std::string& /*root*/) {});
  ASSERT_EQ(::rmdir(world_.Upper("Reports").c_str()), 0);
  EXPECT_THAT(world_.TryCapture(), FailsWith(ErrorCode::kInternal));
}

TEST_P(CaptureViewTest, WhatLooksLikeAWhiteoutWhereNothingLiesBelowIsADevice) {
  Run([](const std::string& /*root*/) {});
  ASSERT_EQ(::mknod(world_.Upper("Reports/f").c_str(), S_IFCHR, 0), 0);
  ASSERT_EQ(::mknod(world_.Upper("projects/Other").c_str(), S_IFCHR, 0), 0);
  const CaptureResult result = Capture();
  EXPECT_THAT(Describe(result), IsEmpty());
  EXPECT_THAT(Describe(result.refused),
              ElementsAre("Reports/f: is a device", "projects/Other: is a device"));
}

TEST_P(CaptureViewTest, ACaseThatGoesMeanwhileIsNoConflictWhereTheRunDidNothingInIt) {
  Run([&](const std::string& root) {
    Write(root + "Tools/x", "x");
    Remove(world_.Base("projects/Mine"));
  });
  const CaptureResult result = Capture();
  EXPECT_THAT(Describe(result.conflicts), IsEmpty());
  EXPECT_THAT(Describe(result), ElementsAre("create Tools/x"));
}

TEST_P(CaptureViewTest, ACaseThatGoesMeanwhileIsAConflictForAChangeInIt) {
  Run([&](const std::string& root) {
    Write(root + "projects/Mine/x", "x");
    AwaitFileClock(world_.options.started_ns);
    Remove(world_.Base("projects/Mine"));
  });
  EXPECT_THAT(Describe(Capture().conflicts),
              ElementsAre("projects/Mine: was deleted in the workspace while the script ran"));
}

TEST(CaptureViewRulesTest, KnowWhatIsSeenAndWhatMayBeMade) {
  const CaptureView view{.whole = {"Tools", "projects/A"},
                         .hollow = {"Reports", "projects"},
                         .closed = {"projects"},
                         .allowed = {"Tools", "projects/A", "projects/B"}};
  EXPECT_EQ(WholeFolderOf(view, "projects/A/x/y"), "projects/A");
  EXPECT_EQ(WholeFolderOf(view, "projects/A"), "projects/A");
  EXPECT_EQ(WholeFolderOf(view, "projects/AB"), "");
  EXPECT_EQ(WholeFolderOf(view, "projects"), "");
  EXPECT_TRUE(Shows(view, "Reports"));
  EXPECT_FALSE(Shows(view, "Reports/x"));
  EXPECT_FALSE(Shows(view, "projects/B"));
  EXPECT_TRUE(MayMake(view, "projects"));
  EXPECT_TRUE(MayMake(view, "projects/B/x"));
  EXPECT_TRUE(MayMake(view, "Reports/x"));
  EXPECT_FALSE(MayMake(view, "projects/C"));
  EXPECT_FALSE(MayMake(view, "projects/BC/x"));
}

}  // namespace
}  // namespace bailiff
