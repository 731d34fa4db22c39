#include "workspace/workspace.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "tests/support/matchers.h"
#include "tests/support/temp_dir.h"

namespace bailiff {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class WorkspaceTest : public ::testing::Test {
 protected:
  InitOptions OptionsFor(const std::string& name) {
    return {
        .path = dir_.Path(name), .state_path = dir_.Path(name + "-state"), .id = NewWorkspaceId()};
  }

  TempDir dir_;
};

TEST_F(WorkspaceTest, InitMakesTheLayoutAndKeepsWhatIsThere) {
  fs::create_directories(dir_.Path("ws/Tools"));
  std::ofstream(dir_.Path("ws/Tools/mine.py")) << "print()";
  const Result<InitResult> made = InitWorkspace(OptionsFor("ws"));
  ASSERT_THAT(made, IsOk());
  EXPECT_TRUE(made.value().created);
  for (const char* name : {"projects", "Tools/mine.py", "Database", "Reports", ".bailiff/stage"}) {
    EXPECT_TRUE(fs::exists(dir_.Path(std::string("ws/") + name))) << name;
  }
  const Result<InitResult> again = InitWorkspace(OptionsFor("ws"));
  ASSERT_THAT(again, IsOk());
  EXPECT_FALSE(again.value().created);
  EXPECT_EQ(again.value().id, made.value().id);
}

TEST_F(WorkspaceTest, ItsStateIsClosedToOthers) {
  ASSERT_THAT(InitWorkspace(OptionsFor("ws")), IsOk());
  struct stat st {};
  ASSERT_EQ(::stat(dir_.Path("ws-state").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0700U);
}

TEST_F(WorkspaceTest, ACopyIsRefusedUntilSomeoneSaysWhatItIs) {
  ASSERT_THAT(InitWorkspace(OptionsFor("ws")), IsOk());
  const std::string id = Workspace::Open(dir_.Path("ws")).value().id();
  fs::copy(dir_.Path("ws"), dir_.Path("copy"), fs::copy_options::recursive);

  const Result<Workspace> opened = Workspace::Open(dir_.Path("copy"));
  ASSERT_THAT(opened, FailsWith(ErrorCode::kConflict));
  EXPECT_THAT(opened.error().message(), HasSubstr("--new-id"));
  EXPECT_THAT(InitWorkspace(OptionsFor("copy")), FailsWith(ErrorCode::kConflict));

  InitOptions options = OptionsFor("copy");
  options.existing = InitOptions::Existing::kNewId;
  ASSERT_THAT(InitWorkspace(options), IsOk());
  const Result<Workspace> copy = Workspace::Open(dir_.Path("copy"));
  ASSERT_THAT(copy, IsOk());
  EXPECT_NE(copy.value().id(), id);
  EXPECT_EQ(copy.value().state_path(), dir_.Path("copy-state"));
}

TEST_F(WorkspaceTest, ACopyMayTakeOverFromItsOriginal) {
  ASSERT_THAT(InitWorkspace(OptionsFor("ws")), IsOk());
  fs::copy(dir_.Path("ws"), dir_.Path("copy"), fs::copy_options::recursive);
  fs::remove_all(dir_.Path("ws"));
  InitOptions options = OptionsFor("copy");
  options.existing = InitOptions::Existing::kAdopt;
  ASSERT_THAT(InitWorkspace(options), IsOk());
  EXPECT_EQ(Workspace::Open(dir_.Path("copy")).value().state_path(), dir_.Path("ws-state"));
}

TEST_F(WorkspaceTest, ARenamedWorkspaceIsStillTheSame) {
  ASSERT_THAT(InitWorkspace(OptionsFor("ws")), IsOk());
  fs::rename(dir_.Path("ws"), dir_.Path("moved"));
  EXPECT_THAT(Workspace::Open(dir_.Path("moved")), IsOk());
}

TEST_F(WorkspaceTest, WorkspacesDoNotNest) {
  ASSERT_THAT(InitWorkspace(OptionsFor("ws")), IsOk());
  EXPECT_THAT(InitWorkspace(OptionsFor("ws/projects/inner")), FailsWith(ErrorCode::kConflict));
  ASSERT_THAT(InitWorkspace(OptionsFor("outer/inner")), IsOk());
  EXPECT_THAT(InitWorkspace(OptionsFor("outer")), FailsWith(ErrorCode::kConflict));
}

TEST_F(WorkspaceTest, PlacesThatCannotBeOneAreRefused) {
  InitOptions options = OptionsFor("ws");
  for (const char* path : {"/", "/etc", "/usr/share/x", "/proc/x"}) {
    options.path = path;
    EXPECT_THAT(InitWorkspace(options), FailsWith(ErrorCode::kInvalidArgument)) << path;
  }
  options.path = dir_.Path("ws");
  options.state_path = dir_.Path("ws/state");
  EXPECT_THAT(InitWorkspace(options), FailsWith(ErrorCode::kInvalidArgument));
  options.path = dir_.Path("state/ws");
  options.state_path = dir_.Path("state");
  EXPECT_THAT(InitWorkspace(options), FailsWith(ErrorCode::kInvalidArgument));
}

TEST_F(WorkspaceTest, ADamagedIdentityFileSaysHowToMendIt) {
  ASSERT_THAT(InitWorkspace(OptionsFor("ws")), IsOk());
  std::ofstream(dir_.Path("ws/.bailiff/workspace.json")) << "{";
  const Result<Workspace> opened = Workspace::Open(dir_.Path("ws"));
  ASSERT_THAT(opened, FailsWith(ErrorCode::kIo));
  EXPECT_THAT(opened.error().message(), HasSubstr("init --new-id"));
  InitOptions options = OptionsFor("ws");
  options.existing = InitOptions::Existing::kNewId;
  ASSERT_THAT(InitWorkspace(options), IsOk());
  EXPECT_THAT(Workspace::Open(dir_.Path("ws")), IsOk());
}

TEST_F(WorkspaceTest, IsFoundFromBelow) {
  ASSERT_THAT(InitWorkspace(OptionsFor("ws")), IsOk());
  EXPECT_EQ(Workspace::Find(dir_.Path("ws/projects")), dir_.Path("ws"));
  EXPECT_EQ(Workspace::Find(dir_.path()), std::nullopt);
}

TEST_F(WorkspaceTest, CasesAreTheFoldersOfProjects) {
  ASSERT_THAT(InitWorkspace(OptionsFor("ws")), IsOk());
  fs::create_directories(dir_.Path("ws/projects/B"));
  fs::create_directories(dir_.Path("ws/projects/A"));
  std::ofstream(dir_.Path("ws/projects/note.txt")) << "";
  const Workspace workspace = Workspace::Open(dir_.Path("ws")).value();
  EXPECT_THAT(ListCases(workspace).value(), ElementsAre("A", "B"));
}

TEST(NearNamesTest, OffersWhatWasProbablyMeant) {
  const std::vector<std::string> known = {"Harlan-Slip-2023", "Wilson-MVA-2024", "Test-Case-001"};
  EXPECT_THAT(NearNames("wilson-mva-2042", known), ElementsAre("Wilson-MVA-2024"));
  EXPECT_THAT(NearNames("wilson", known), ElementsAre("Wilson-MVA-2024"));
  EXPECT_THAT(NearNames("nothing alike here", known), ElementsAre());
}

}  // namespace
}  // namespace bailiff
