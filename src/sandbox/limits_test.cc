#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <filesystem>

#include "tests/escape/harness.h"
#include "tests/support/matchers.h"

namespace bailiff {
namespace {

using testing::HasSubstr;

class SandboxLimitsTest : public TierTest {};

TEST_P(SandboxLimitsTest, StopsAtTheTimeout) {
  InTier([](World& world) {
    world.spec().limits.timeout = std::chrono::milliseconds(200);
    const Result<Finished> run = world.Bash("trap '' TERM INT; while :; do :; done");
    ASSERT_THAT(run, IsOk());
    EXPECT_EQ(run.value().ending.reason, EndReason::kTimedOut);
    EXPECT_GE(run.value().ending.duration, std::chrono::milliseconds(200));
    EXPECT_GT(run.value().ending.usage.cpu_seconds, 0);
  });
}

TEST_P(SandboxLimitsTest, KillsForMemory) {
  InTier([](World& world) {
    world.spec().limits.memory_bytes = 96LL << 20;
    world.spec().limits.scratch_bytes = 4LL << 20;
    const Result<Finished> run = world.Python("x=[]\nwhile 1: x.append(b'x'*(1<<20))");
    ASSERT_THAT(run, IsOk());
    EXPECT_EQ(run.value().ending.reason, EndReason::kOutOfMemory);
    EXPECT_TRUE(run.value().ending.oom_killed);
    EXPECT_GT(run.value().ending.usage.memory_peak_bytes, 64LL << 20);
  });
}

TEST_P(SandboxLimitsTest, LimitsProcesses) {
  const Tier tier = GetParam();
  InTier([tier](World& world) {
    world.spec().limits.pids = 12;
    const Result<Finished> run = world.Python(R"(
import os, time
made = 0
try:
    while made < 100:
        if os.fork() == 0:
            time.sleep(60)
        made += 1
except OSError as error:
    print(made, error.errno)
)");
    ASSERT_THAT(run, IsOk());
    EXPECT_EQ(run.value().out, "11 11\n");  // EAGAIN; the twelfth is Python itself.
    EXPECT_EQ(run.value().ending.pids_reached,
              tier == Tier::kPrivileged && run.value().guarantees.limits != "rlimits");
  });
}

TEST_P(SandboxLimitsTest, LimitsBytesOfScratch) {
  InTier([](World& world) {
    world.spec().limits.scratch_bytes = 2LL << 20;
    const Result<Finished> run =
        world.Bash("head -c 4000000 /dev/zero > big; echo $?; wc -c < big");
    ASSERT_THAT(run, IsOk());
    EXPECT_THAT(run.value().err, HasSubstr("No space left on device"));
    EXPECT_TRUE(run.value().ending.scratch_full);
    EXPECT_FALSE(run.value().ending.inodes_full);
    EXPECT_LE(run.value().ending.usage.scratch_bytes, 2LL << 20);
    EXPECT_GT(run.value().ending.usage.scratch_bytes, 1LL << 20);
  });
}

TEST_P(SandboxLimitsTest, CountsTmpAndSharedMemoryAsScratch) {
  InTier([](World& world) {
    world.spec().limits.scratch_bytes = 2LL << 20;
    const Result<Finished> run = world.Bash(
        "head -c 1500000 /dev/zero > /tmp/a && ! head -c 1500000 /dev/zero > /dev/shm/b");
    ASSERT_THAT(run, IsOk());
    EXPECT_EQ(run.value().ending.exit_code, 0);
  });
}

TEST_P(SandboxLimitsTest, LimitsNumberOfFiles) {
  InTier([](World& world) {
    world.spec().limits.files = 100;
    const Result<Finished> run =
        world.Python("import os\nfor i in range(10000): open(f'f{i}','w').close()");
    ASSERT_THAT(run, IsOk());
    EXPECT_EQ(run.value().ending.exit_code, 1);
    EXPECT_TRUE(run.value().ending.inodes_full);
    EXPECT_FALSE(run.value().ending.scratch_full);
  });
}

TEST_P(SandboxLimitsTest, ChangesCanBeOnDisk) {
  const Tier tier = GetParam();
  InTier([tier](World& world) {
    world.spec().scratch_on_disk = true;
    const Result<Finished> run =
        world.Bash("echo more >> projects/A/f && rm -r Tools && mkdir -p a/b && chmod 0 a && ls");
    if (tier == Tier::kPrivileged) {
      EXPECT_THAT(run, FailsWith(ErrorCode::kUnsupported));
      return;
    }
    ASSERT_THAT(run, IsOk());
    EXPECT_EQ(run.value().out, "a\nprojects\n") << run.value().err;
    EXPECT_EQ(run.value().guarantees.scratch, "polled");
    EXPECT_FALSE(run.value().ending.scratch_full);
    EXPECT_GT(run.value().ending.usage.scratch_bytes, 0);
    EXPECT_TRUE(std::filesystem::is_empty(world.scratch()));
  });
}

// Endless loops: each ends because it is counted, and ended.
TEST_P(SandboxLimitsTest, WhatIsOnDiskIsCountedWhereverItIsPut) {
  if (GetParam() == Tier::kPrivileged) return;  // It refuses: see above.
  const char* scripts[] = {
      "n = 0\nwhile True:\n  n += 1\n  open(f'{n}', 'wb').write(bytes(100_000))",
      "import os\nos.mkdir('d')\nfiles = [open(f'd/{n}', 'ab') for n in range(100)]\n"
      "os.chmod('d', 0)\nwhile True:\n  for f in files: f.write(bytes(10_000)); f.flush()",
      "import os\nos.makedirs('a/b')\nos.chdir('a/b')\nopen('f', 'wb').write(bytes(100_000))\n"
      "os.chmod('..', 0o100)\nn = 0\nwhile True:\n  n += 1\n  open(f'{n}', "
      "'wb').write(bytes(100_000))",
  };
  for (const char* script : scripts) {
    InTier([script](World& world) {
      world.spec().scratch_on_disk = true;
      world.spec().limits.scratch_bytes = 4LL << 20;
      const Result<Finished> run = world.Python(script);
      ASSERT_THAT(run, IsOk());
      EXPECT_EQ(run.value().ending.signal, SIGKILL) << run.value().err;
      EXPECT_EQ(run.value().ending.reason, EndReason::kExited);
      EXPECT_TRUE(run.value().ending.scratch_full);
      EXPECT_TRUE(std::filesystem::is_empty(world.scratch()));
    });
  }
}

TEST_P(SandboxLimitsTest, FilesOnDiskAreCountedAndNoneIsLargerThanAllMayBe) {
  if (GetParam() == Tier::kPrivileged) return;
  InTier([](World& world) {
    world.spec().scratch_on_disk = true;
    world.spec().limits.files = 100;
    const Result<Finished> run = world.Python("n = 0\nwhile True:\n  n += 1\n  open(f'{n}', 'w')");
    ASSERT_THAT(run, IsOk());
    EXPECT_TRUE(run.value().ending.inodes_full);
    EXPECT_EQ(run.value().ending.signal, SIGKILL);
  });
  InTier([](World& world) {
    world.spec().scratch_on_disk = true;
    world.spec().limits.scratch_bytes = 2LL << 20;
    const Result<Finished> run = world.Python(
        "f = open('big', 'wb')\nf.write(bytes((1 << 21) + "
        "4096))\nf.flush()\nf.write(b'x')\nf.flush()");
    ASSERT_THAT(run, IsOk());
    EXPECT_THAT(run.value().err, HasSubstr("File too large"));
    EXPECT_TRUE(run.value().ending.scratch_full);
  });
}

INSTANTIATE_TEST_SUITE_P(Tiers, SandboxLimitsTest,
                         testing::Values(Tier::kPrivileged, Tier::kRootless), TierName);

}  // namespace
}  // namespace bailiff
