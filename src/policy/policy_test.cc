#include "policy/policy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "tests/support/effects.h"
#include "tests/support/matchers.h"

namespace bailiff {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

Decision Decide(const ChangeSet& set, const PolicyContext& context) {
  return Policy::Shipped().Decide(set, context);
}

struct RuleCase {
  const char* what;
  std::function<void(Effects*)> make;
  const char* rule;
  const char* reason;  // Part of the first reason; empty where it is committed.
};

void ExpectDecisions(const std::vector<RuleCase>& cases) {
  for (const RuleCase& test : cases) {
    SCOPED_TRACE(test.what);
    Effects run;
    test.make(&run);
    SortCanonically(&run.set);
    const Decision decision = Decide(run.set, run.context);
    EXPECT_EQ(decision.rule, test.rule);
    if (std::string_view(test.rule) == "default-commit") {
      EXPECT_EQ(decision.verdict, Verdict::kCommit);
      EXPECT_THAT(decision.reasons, IsEmpty());
      continue;
    }
    EXPECT_EQ(decision.verdict, Verdict::kReview);
    ASSERT_THAT(decision.reasons, Not(IsEmpty()));
    EXPECT_THAT(decision.reasons[0], HasSubstr(test.reason));
  }
}

TEST(DecideTest, CommitsWhatStaysWithinTheCase) {
  ExpectDecisions({
      {"nothing", [](Effects*) {}, "default-commit", ""},
      {"files in the case and reports",
       [](Effects* run) {
         run->Create("projects/A/notes.md");
         run->Add(ChangeOp::kModify, "projects/A/data.csv");
         run->Move("projects/A/in", "projects/A/out");
         run->context.moved_below = {"projects/A/in/x.pdf"};
         run->Add(ChangeOp::kCreate, "Reports", EntryType::kDir);
         run->Create("Reports/summary.txt");
       },
       "default-commit", ""},
      {"anywhere, without a case",
       [](Effects* run) {
         run->context.case_name = "";
         run->Create("src/tools/Makefile");
         run->Create("ToolsNot/a");
       },
       "default-commit", ""},
      {"many overwritten files",
       [](Effects* run) {
         for (int i = 0; i < 200; ++i) {
           run->Add(ChangeOp::kModify, "projects/A/" + std::to_string(i));
         }
       },
       "default-commit", ""},
  });
}

TEST(DecideTest, HoldsForWhatTheRunWas) {
  ExpectDecisions({
      {"mode review", [](Effects* run) { run->context.mode = Mode::kReview; }, "mode-review",
       "mode review: a person decides"},
      {"refused entries",
       [](Effects* run) {
         run->context.refused = {{"projects/A/s\x1b", "is a socket"},
                                 {"projects/A/p", "is a FIFO"}};
       },
       "refused-entries",
       "2 entries were refused and are not part of the changes: projects/A/s\\x1b (is a socket), "
       "projects/A/p (is a FIFO)"},
      {"failure", [](Effects* run) { run->context.succeeded = false; }, "run-failed",
       "did not succeed"},
      {"host network", [](Effects* run) { run->context.host_network = true; }, "host-network",
       "host's network"},
  });
}

TEST(DecideTest, HoldsForWhatTheChangesTouch) {
  ExpectDecisions({
      {"protected file", [](Effects* run) { run->Create("projects/A/.envrc"); }, "protected-path",
       "1 protected path touched, which something outside of any sandbox runs or obeys later: "
       "projects/A/.envrc"},
      {"protected file deleted",
       [](Effects* run) { run->Add(ChangeOp::kDelete, "projects/A/CLAUDE.md"); }, "protected-path",
       "projects/A/CLAUDE.md"},
      {"harmless tree renamed to .git",
       [](Effects* run) {
         run->Move("projects/A/harmless", "projects/A/.git");
         run->context.moved_below = {"projects/A/harmless/hooks",
                                     "projects/A/harmless/hooks/pre-commit"};
       },
       "protected-path",
       "3 protected paths touched, which something outside of any sandbox runs or obeys later: "
       "projects/A/.git, projects/A/.git/hooks, projects/A/.git/hooks/pre-commit"},
      {"parent of something protected renamed",
       [](Effects* run) {
         run->Move("projects/A/old", "projects/A/new");
         run->context.moved_below = {"projects/A/old/deep", "projects/A/old/deep/.bashrc"};
       },
       "protected-path", "projects/A/new/deep/.bashrc, projects/A/old/deep/.bashrc"},
      {"protected by its new parent only",
       [](Effects* run) {
         run->Move("projects/A/x", "projects/A/.github");
         run->context.moved_below = {"projects/A/x/workflows/ci.yml"};
       },
       "protected-path", "projects/A/.github/workflows/ci.yml"},
      {"moved out of a directory that moves",
       [](Effects* run) {
         run->Move("projects/A/a", "projects/A/b");
         run->Move("projects/A/a/in", "projects/A/.github");
         run->context.moved_below = {"projects/A/a/in", "projects/A/a/in/workflows"};
       },
       "protected-path", "projects/A/.github/workflows"},
      {"changed below a directory that moved from a protected name",
       [](Effects* run) {
         run->Add(ChangeOp::kModify, "projects/A/b/f").from = "projects/A/.claude/f";
       },
       "protected-path", "projects/A/.claude/f"},
      {"link where settings would be",
       [](Effects* run) { run->Link("projects/A/.git/info", "../elsewhere"); }, "protected-path",
       "projects/A/.git/info"},
      {"tool",
       [](Effects* run) {
         run->context.case_name = "";
         run->Create("Tools/x.py");
       },
       "tools", "1 path touched in Tools/, which later runs execute: Tools/x.py"},
      {"tools moved away",
       [](Effects* run) {
         run->context.case_name = "";
         run->Move("Tools", "Old");
       },
       "tools", "Tools"},
      {"a tree moved into Tools",
       [](Effects* run) {
         run->context.case_name = "";
         run->Move("x", "Tools");
         run->context.moved_below = {"x/run.py"};
       },
       "tools", "2 paths touched in Tools/, which later runs execute: Tools, Tools/run.py"},
      {"another case", [](Effects* run) { run->Create("projects/AB/notes.md"); }, "outside-case",
       "1 path touched outside of projects/A/ and Reports/: projects/AB/notes.md"},
      {"taken from another case",
       [](Effects* run) { run->Move("projects/B/f", "projects/A/f", EntryType::kFile); },
       "outside-case", "projects/B/f"},
      {"the case renamed", [](Effects* run) { run->Move("projects/A", "projects/C"); },
       "outside-case", "projects/C"},
      {"hard link",
       [](Effects* run) {
         run->Add(ChangeOp::kModify, "projects/A/f").Set(ChangeFlag::kBreaksHardLink);
       },
       "hard-link", "1 file changed whose other names would keep the old content: projects/A/f"},
      {"escaping link",
       [](Effects* run) {
         run->Link("projects/A/l", "/etc/passwd");
         run->set.changes.back().Set(ChangeFlag::kEscapingSymlink);
       },
       "escaping-symlink",
       "1 symbolic link leads out of the workspace: projects/A/l -> /etc/passwd"},
      {"setuid", [](Effects* run) { run->Create("projects/A/x").Set(ChangeFlag::kStrippedSetid); },
       "setid", "left out: projects/A/x"},
  });
}

TEST(DecideTest, HoldsAboveAQuarterOrAHundredDeletedFiles) {
  struct Case {
    int deleted;
    std::int64_t case_files;
    bool held;
  };
  const Case cases[] = {
      {10, 40, false},  {11, 40, true},      {10, 39, true},     {10, 43, false},
      {1, 1, false},    {1, 3, false},       {2, 3, true},       {2, 7, true},
      {2, 8, false},    {0, 0, false},       {100, 400, false},  {100, 399, true},
      {101, 400, true}, {100, 9'999, false}, {101, 9'999, true},
  };
  for (const Case& test : cases) {
    SCOPED_TRACE(std::to_string(test.deleted) + " of " + std::to_string(test.case_files));
    Effects run;
    run.Delete(test.deleted);
    run.context.case_files = test.case_files;
    EXPECT_EQ(Decide(run.set, run.context).rule, test.held ? "deletes" : "default-commit");
  }
}

TEST(DecideTest, CountsDeletedFilesAndNotDirectories) {
  Effects run;
  run.Delete(10);
  for (int i = 0; i < 50; ++i) {
    run.Add(ChangeOp::kDelete, "projects/A/d" + std::to_string(i), EntryType::kDir);
  }
  EXPECT_EQ(Decide(run.set, run.context).rule, "default-commit");
  run.Add(ChangeOp::kDelete, "projects/A/link", EntryType::kSymlink);
  EXPECT_THAT(Decide(run.set, run.context).reasons,
              ElementsAre("11 of the 40 files of the case deleted, more than a quarter: "
                          "projects/A/1000, projects/A/1001, projects/A/1002, projects/A/1003, "
                          "projects/A/1004 and 6 more"));
  run.Delete(101);
  EXPECT_THAT(Decide(run.set, run.context).reasons,
              ElementsAre(HasSubstr("112 files deleted, more than 100: projects/A/1000")));
}

TEST(DecideTest, LetsARollbackDeleteWhatItsCommitHadMade) {
  Effects run;
  run.Delete(3);
  run.context.case_files = 4;
  EXPECT_EQ(Decide(run.set, run.context).rule, "deletes");
  run.context.source = Source::kRollback;
  EXPECT_EQ(Decide(run.set, run.context).rule, "default-commit");
  run.Create("Tools/x.py");
  EXPECT_EQ(Decide(run.set, run.context).verdict, Verdict::kReview);
}

TEST(DecideTest, IsNamedByTheFirstRuleAndGivesTheReasonsOfAll) {
  Effects run;
  run.context.mode = Mode::kReview;
  run.context.succeeded = false;
  run.Create("Tools/conftest.py");
  const Decision decision = Decide(run.set, run.context);
  EXPECT_EQ(decision.rule, "mode-review");
  EXPECT_THAT(decision.reasons, ElementsAre(HasSubstr("mode review"), HasSubstr("did not succeed"),
                                            HasSubstr("protected path"), HasSubstr("Tools/"),
                                            AllOf(HasSubstr("outside"), HasSubstr("projects/A/"))));
}

TEST(IsProtectedTest, KnowsWhatRunsLaterWhereverItIs) {
  const char* const kProtected[] = {
      ".git",
      ".GIT",
      ".git/hooks",
      ".git/hooks/pre-commit",
      "a/b/.git/hooks/post-merge.d/x",
      ".Git/Config",
      ".git/config.worktree",
      ".git/commondir",
      ".git/info/attributes",
      ".git/modules/lib/config",
      ".git/modules/a/b/hooks/pre-push",
      ".git/modules/lib/info/attributes",
      ".git/worktrees/w/config.worktree",
      ".gitmodules",
      "sub/.gitattributes",
      ".envrc",
      "home/.bashrc",
      ".profile",
      ".zshenv",
      ".vscode/tasks.json",
      "x/.VSCode/Settings.json",
      ".vscode/launch.json",
      ".idea/workspace.xml",
      ".mcp.json",
      "claude.md",
      "docs/CLAUDE.md",
      "AGENTS.md",
      ".cursorrules",
      ".cursor/rules/a.mdc",
      ".claude/settings.json",
      ".github/workflows/ci.yml",
      ".gitlab-ci.yml",
      ".pre-commit-config.yaml",
      "lib/sitecustomize.py",
      "usercustomize.py",
      "site-packages/evil.pth",
      "tests/conftest.py",
      "Desktop/App.desktop",
      ".ssh/config",
      "authorized_keys",
      "crontab",
  };
  for (const char* path : kProtected) EXPECT_TRUE(IsProtected(path)) << path;

  const char* const kFree[] = {
      "a",
      "git/hooks/pre-commit",
      ".git/HEAD",
      ".git/index",
      ".git/objects/ab/cdef",
      ".git/refs/heads/config",
      ".git/logs/HEAD",
      ".git/info/exclude",
      ".git/modules/lib/HEAD",
      ".gitignore",
      ".github/CODEOWNERS",
      ".github",
      ".vscode",
      ".vscode/notes.txt",
      "tasks.json",
      "Makefile",
      "package.json",
      "Dockerfile",
      "projects/A/claude.md.txt",
      "myconftest.py",
      ".pth",
      "Tools/x.py",
      "hooks/pre-commit",
  };
  for (const char* path : kFree) EXPECT_FALSE(IsProtected(path)) << path;
}

TEST(ProtectedPathsInTest, NamesEachPathOnceInOrder) {
  Effects run;
  run.Create("z/.envrc");
  run.Add(ChangeOp::kDelete, "z/.envrc");
  run.Move("a/harmless", "a/.idea");
  run.context.moved_below = {"a/harmless/x.xml"};
  run.Create("free");
  EXPECT_THAT(ProtectedPathsIn(run.set, run.context),
              ElementsAre("a/.idea", "a/.idea/x.xml", "z/.envrc"));
}

TEST(ParseModeTest, KnowsThreeNames) {
  for (const Mode mode : {Mode::kCommit, Mode::kReview, Mode::kDiscard}) {
    EXPECT_EQ(ParseMode(Name(mode)).value(), mode);
  }
  const Result<Mode> bad = ParseMode("commti");
  ASSERT_THAT(bad, FailsWith(ErrorCode::kInvalidArgument));
  EXPECT_EQ(bad.error().message(), "'commti' is not a mode; use commit, review or discard");
}

}  // namespace
}  // namespace bailiff
