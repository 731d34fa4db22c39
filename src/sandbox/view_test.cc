#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sandbox/sandbox.h"
#include "tests/escape/harness.h"
#include "tests/support/matchers.h"

// Sandboxes that see parts of the workspace only.

namespace bailiff {
namespace {

using testing::HasSubstr;

class ViewTest : public TierTest {};

View OnlyCaseA() {
  return View{.whole = {"Tools", "projects/A", "projects/None"},
              .hollow = {"projects", "Reports", "Database"},
              .closed = {"projects"}};
}

TEST_P(ViewTest, ShowsOfTheWorkspaceOnlyWhatItsViewNames) {
  InTier([](World& world) {
    world.Write("projects/B/f", "secret");
    world.Write("Reports/f", "secret");
    world.Write("top", "secret");
    world.spec().view = OnlyCaseA();
    const Result<Finished> run = world.Bash(
        "find . -mindepth 1 | sort; cat projects/A/f; cat projects/B/f 2>&1; ls "
        "projects/../.bailiff "
        "2>&1; rmdir projects 2>&1; mv projects/A projects/C 2>&1; mv projects/A/f projects/A/g");
    ASSERT_THAT(run, IsOk());
    EXPECT_EQ(
        run.value().out,
        "./Reports\n./Tools\n./Tools/run.sh\n./projects\n./projects/A\n./projects/A/f\nhello\n"
        "cat: projects/B/f: No such file or directory\n"
        "ls: cannot access 'projects/../.bailiff': No such file or directory\n"
        "rmdir: failed to remove 'projects': Device or resource busy\n"
        "mv: cannot move 'projects/A' to 'projects/C': Device or resource busy\n");
    EXPECT_EQ(run.value().ending.exit_code, 0) << run.value().err;
  });
}

TEST_P(ViewTest, DoesNotShowWhatIsMadeOutsideOfItsViewWhileItRuns) {
  InTier([](World& world) {
    world.spec().view = OnlyCaseA();
    const Fd out = MemoryFile();
    int ends[2];
    ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    Fd in(ends[0]);
    Fd let_go(ends[1]);
    Result<Sandbox> sandbox = world.LaunchWithInput(
        {"bash", "-c",
         "ls -d * projects/*; read; ls -d * projects/*; cat projects/New/f projects/A/h"},
        in, out, MemoryFile());
    ASSERT_THAT(sandbox, IsOk());
    while (Contents(out).find("projects/A\n") == std::string::npos) {
    }
    world.Write("projects/New/f", "secret");
    world.Write("New/f", "secret");
    world.Write("projects/A/h", "of the case\n");
    ASSERT_EQ(::write(let_go.get(), "\n", 1), 1);
    const Never never;
    ASSERT_THAT(sandbox.value().Wait(never.read_end), IsOk());
    const std::string names = "Tools\nprojects\nprojects/A\n";
    EXPECT_EQ(Contents(out), names + names + "of the case\n");
  });
}

TEST_P(ViewTest, SeesNothingWhereNothingOfItsViewExists) {
  InTier([](World& world) {
    world.spec().view = View{.whole = {"None"}, .hollow = {}, .closed = {}};
    const Result<Finished> run = world.Bash("ls -A; echo x > f; ls -A");
    ASSERT_THAT(run, IsOk());
    EXPECT_EQ(run.value().out, "f\n");
  });
}

TEST_P(ViewTest, ShowsAPartWithTheModeThatItHas) {
  InTier([](World& world) {
    ASSERT_EQ(::chmod((world.root() + "/Tools").c_str(), 0750), 0);
    world.spec().view = OnlyCaseA();
    const Result<Finished> run = world.Bash("stat -c '%a %U' Tools");
    ASSERT_THAT(run, IsOk());
    EXPECT_EQ(run.value().out, "750 bailiff\n");
  });
}

TEST_P(ViewTest, PartsOfTheWorkspaceCanHaveTheirChangesOnDisk) {
  if (GetParam() == Tier::kPrivileged) return;  // It refuses.
  InTier([](World& world) {
    world.spec().scratch_on_disk = true;
    world.spec().view = OnlyCaseA();
    const Result<Finished> run =
        world.Bash("echo more >> projects/A/f; rm Tools/run.sh; mkdir Reports; grep -c " +
                   world.scratch() + " /proc/self/mountinfo; find . -mindepth 1 | sort");
    ASSERT_THAT(run, IsOk());
    EXPECT_EQ(run.value().out, "0\n./Reports\n./Tools\n./projects\n./projects/A\n./projects/A/f\n");
    EXPECT_GT(run.value().ending.usage.scratch_bytes, 0);
    EXPECT_TRUE(std::filesystem::is_empty(world.scratch()));
  });
}

TEST_P(ViewTest, APartThatBelongsToSomeoneElseStaysTheirs) {
  if (GetParam() == Tier::kRootless) return;  // Whose commits have no more rights than its user.
  InTier([](World& world) {
    world.GiveTo(4242);
    ASSERT_EQ(::chown((world.root() + "/Tools").c_str(), 0, 0), 0);
    world.spec().view = OnlyCaseA();
    const Result<Finished> run = world.Bash("stat -c %U Tools projects/A; echo x > Tools/x");
    ASSERT_THAT(run, IsOk());
    EXPECT_EQ(run.value().out, "nobody\nbailiff\n");
    EXPECT_THAT(run.value().err, HasSubstr("Permission denied"));
  });
}

INSTANTIATE_TEST_SUITE_P(Tiers, ViewTest, testing::Values(Tier::kPrivileged, Tier::kRootless),
                         TierName);

}  // namespace
}  // namespace bailiff
