#include "sandbox/sandbox.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>

#include <csignal>

#include "sandbox/stale.h"
#include "sandbox/uid_pool.h"
#include "tests/escape/harness.h"
#include "tests/support/matchers.h"

namespace bailiff {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

class SandboxTest : public TierTest {};

TEST_P(SandboxTest, PassesExitCodeOutputAndInput) {
  InTier([](World& world) {
    const Fd in = MemoryFile();
    ASSERT_EQ(::write(in.get(), "input", 5), 5);
    ::lseek(in.get(), 0, SEEK_SET);
    const Fd out = MemoryFile();
    const Fd err = MemoryFile();
    Result<Sandbox> sandbox =
        world.LaunchWithInput({"sh", "-c", "cat; echo oops >&2; exit 3"}, in, out, err);
    ASSERT_THAT(sandbox, IsOk());
    const Never never;
    const auto ending = sandbox.value().Wait(never.read_end);
    ASSERT_THAT(ending, IsOk());
    EXPECT_EQ(ending.value()->reason, EndReason::kExited);
    EXPECT_EQ(ending.value()->exit_code, 3);
    EXPECT_EQ(ending.value()->signal, 0);
    EXPECT_EQ(Contents(out), "input");
    EXPECT_EQ(Contents(err), "oops\n");
    EXPECT_GT(ending.value()->duration.count(), 0);
    EXPECT_EQ(sandbox.value().Wait(never.read_end).value()->exit_code, 3);
  });
}

TEST_P(SandboxTest, TellsTheSignalThatEndedTheProgram) {
  InTier([](World& world) {
    const Result<Finished> run = world.Bash("kill -SEGV $$");
    ASSERT_THAT(run, IsOk());
    EXPECT_EQ(run.value().ending.reason, EndReason::kExited);
    EXPECT_EQ(run.value().ending.signal, SIGSEGV);
  });
}

TEST_P(SandboxTest, SaysWhichGuaranteesHold) {
  const Tier tier = GetParam();
  InTier([tier](World& world) {
    const Result<Finished> run = world.Run({"true"});
    ASSERT_THAT(run, IsOk());
    EXPECT_EQ(run.value().guarantees.tier, tier);
    EXPECT_EQ(run.value().guarantees.own_uid, tier == Tier::kPrivileged);
    EXPECT_EQ(run.value().guarantees.scratch, "tmpfs");
    EXPECT_EQ(run.value().guarantees.landlock, LandlockAbi());
    EXPECT_TRUE(run.value().guarantees.seccomp);
  });
}

TEST_P(SandboxTest, StartsOnlyWhereWhatIsDemandedHolds) {
  const Tier tier = GetParam();
  InTier([tier](World& world) {
    world.spec().demands.own_uid = true;
    world.spec().demands.landlock = LandlockAbi();
    const Result<Finished> run = world.Run({"echo", "ran"});
    if (tier == Tier::kPrivileged) {
      ASSERT_THAT(run, IsOk());
      EXPECT_EQ(run.value().out, "ran\n");
    } else {
      EXPECT_THAT(run, FailsWith(ErrorCode::kUnsupported));
    }
    world.spec().demands = {.landlock = LandlockAbi() + 1};
    EXPECT_THAT(world.Run({"echo", "ran"}), FailsWith(ErrorCode::kUnsupported));
  });
}

TEST_P(SandboxTest, HasExactlyTheGivenEnvironment) {
  InTier([](World& world) {
    world.spec().environment = {"PATH=/usr/bin", "A=b c"};
    const Result<Finished> run = world.Run({"env"});
    ASSERT_THAT(run, IsOk());
    EXPECT_EQ(run.value().out, "PATH=/usr/bin\nA=b c\n");
  });
}

TEST_P(SandboxTest, HasExactlyThreeDescriptors) {
  InTier([](World& world) {
    // Without close-on-exec, as a careless library would leave them.
    std::vector<Fd> leaks;
    leaks.reserve(50);
    for (int i = 0; i < 50; ++i) leaks.emplace_back(::open("/dev/null", O_RDONLY));
    const Result<Finished> run = world.Python(
        "import os\nprint([n for n in range(4096) if os.path.exists(f'/proc/self/fd/{n}')])");
    ASSERT_THAT(run, IsOk());
    EXPECT_EQ(run.value().out, "[0, 1, 2]\n");
  });
}

TEST_P(SandboxTest, RunsInTheGivenDirectory) {
  InTier([](World& world) {
    world.spec().cwd = "/workspace/projects/A";
    const Result<Finished> run = world.Bash("pwd; cat f");
    ASSERT_THAT(run, IsOk());
    EXPECT_EQ(run.value().out, "/workspace/projects/A\nhello\n");
  });
}

TEST_P(SandboxTest, SaysWhichProgramOrDirectoryIsMissing) {
  InTier([](World& world) {
    const Result<Finished> program = world.Run({"no-such-program"});
    ASSERT_THAT(program, FailsWith(ErrorCode::kNotFound));
    EXPECT_EQ(program.error().message(),
              "start sandbox: run no-such-program: No such file or directory");
    EXPECT_THAT(world.Run({"/workspace/projects/A/f"}), FailsWith(ErrorCode::kPermissionDenied));
    world.spec().cwd = "/workspace/projects/B";
    const Result<Finished> directory = world.Run({"true"});
    ASSERT_THAT(directory, FailsWith(ErrorCode::kNotFound));
    EXPECT_EQ(directory.error().message(),
              "start sandbox: enter /workspace/projects/B: No such file or directory");
  });
}

TEST_P(SandboxTest, RefusesASpecThatCannotBe) {
  InTier([](World& world) {
    const SandboxSpec good = world.spec();
    const auto refuses = [&](ErrorCode code, const std::function<void(SandboxSpec&)>& spoil) {
      world.spec() = good;
      spoil(world.spec());
      EXPECT_THAT(world.Run({"true"}), FailsWith(code));
    };
    const ErrorCode invalid = ErrorCode::kInvalidArgument;
    refuses(invalid, [](SandboxSpec& spec) { spec.id = "../x"; });
    refuses(invalid, [](SandboxSpec& spec) { spec.id = ""; });
    refuses(invalid, [](SandboxSpec& spec) { spec.cwd = "projects"; });
    refuses(invalid, [](SandboxSpec& spec) { spec.limits.pids = 0; });
    refuses(invalid, [](SandboxSpec& spec) { spec.limits.cpus = 0; });
    refuses(invalid, [](SandboxSpec& spec) { spec.limits.files = -1; });
    refuses(invalid, [](SandboxSpec& spec) { spec.limits.timeout = std::chrono::seconds(0); });
    refuses(invalid, [](SandboxSpec& spec) { spec.environment.push_back(std::string("A=\0", 3)); });
    for (const char* path : {"../x", "", "/Tools", "Tools/", "a/./b", "projects/A"}) {
      refuses(invalid, [path](SandboxSpec& spec) { spec.view = View{{path}, {}, {}}; });
      refuses(invalid, [path](SandboxSpec& spec) { spec.view = View{{}, {path}, {}}; });
    }
    refuses(invalid, [](SandboxSpec& spec) { spec.view = View{{"a"}, {"a"}, {}}; });
    refuses(ErrorCode::kResourceExhausted,
            [](SandboxSpec& spec) { spec.limits.memory_bytes = 1LL << 60; });
    world.spec() = good;
    EXPECT_THAT(world.Run({}), FailsWith(invalid));
  });
}

TEST_P(SandboxTest, ReturnsWhenInterruptedAndCanThenBeKilled) {
  InTier([](World& world) {
    const Fd out = MemoryFile();
    Result<Sandbox> sandbox = world.Launch({"sleep", "1000"}, out, out);
    ASSERT_THAT(sandbox, IsOk());
    Never interrupt;
    ASSERT_EQ(::write(interrupt.write_end.get(), "x", 1), 1);
    const auto interrupted = sandbox.value().Wait(interrupt.read_end);
    ASSERT_THAT(interrupted, IsOk());
    EXPECT_FALSE(interrupted.value().has_value());
    ASSERT_THAT(sandbox.value().Kill(), IsOk());
    const Never never;
    const auto ending = sandbox.value().Wait(never.read_end);
    ASSERT_THAT(ending, IsOk());
    EXPECT_EQ(ending.value()->reason, EndReason::kKilled);
    EXPECT_THAT(sandbox.value().Kill(), IsOk());
  });
}

TEST_P(SandboxTest, EndsWithItsProgramWhateverThatLeavesBehind) {
  InTier([](World& world) {
    const std::string marker = "9" + std::to_string(::getpid()) + "1";
    const Result<Finished> run =
        world.Bash("trap '' HUP TERM; setsid sleep " + marker + " & disown; echo started");
    ASSERT_THAT(run, IsOk());
    EXPECT_EQ(run.value().out, "started\n");
    EXPECT_THAT(FindProcesses(marker), IsEmpty());
  });
}

TEST_P(SandboxTest, LeavesTheWorkspaceAloneAndShowsChangesInTheUpperLayer) {
  InTier([](World& world) {
    const Fd out = MemoryFile();
    Result<Sandbox> sandbox = world.Launch(
        {"bash", "-c", "echo new > n; echo more >> projects/A/f; rm Tools/run.sh; mkdir d"}, out,
        out);
    ASSERT_THAT(sandbox, IsOk());
    const Never never;
    ASSERT_THAT(sandbox.value().Wait(never.read_end), IsOk());
    EXPECT_EQ(Contents(out), "");
    // The paths go through the descriptor itself: without privilege its parents are not ours.
    const Fd& upper = sandbox.value().upper();
    const Fd tools = OpenDirBeneath(upper, "Tools").value();
    EXPECT_THAT(ListDir(upper, 100).value(), UnorderedElementsAre("n", "projects", "Tools", "d"));
    EXPECT_THAT(ListDir(OpenDirBeneath(upper, "projects/A").value(), 100).value(),
                ElementsAre("f"));
    EXPECT_EQ(ReadAll(OpenBeneath(upper, "projects/A/f", O_RDONLY).value(), 100).value(),
              "hello\nmore\n");
    const auto whiteout = StatAt(tools, "run.sh");
    ASSERT_THAT(whiteout, IsOk());
    EXPECT_TRUE(S_ISCHR(whiteout.value()->st_mode));
    EXPECT_EQ(whiteout.value()->st_rdev, 0U);
    std::ifstream unchanged(world.root() + "/projects/A/f");
    EXPECT_EQ(std::string((std::istreambuf_iterator<char>(unchanged)), {}), "hello\n");
    EXPECT_FALSE(std::filesystem::exists(world.root() + "/n"));
    EXPECT_TRUE(std::filesystem::exists(world.root() + "/Tools/run.sh"));
  });
}

TEST_P(SandboxTest, LeavesNothingBehind) {
  InTier([](World& world) {
    const auto mounts = [] {
      std::ifstream file("/proc/self/mountinfo");
      return std::string((std::istreambuf_iterator<char>(file)), {});
    };
    const std::string before = mounts();
    std::optional<uid_t> uid;
    {
      const Fd out = MemoryFile();
      Result<Sandbox> sandbox = world.Launch({"sleep", "1000"}, out, out);
      ASSERT_THAT(sandbox, IsOk());
      uid = Stat(sandbox.value().upper()).value().st_uid;
    }
    EXPECT_EQ(mounts(), before);
    EXPECT_THAT(FindCgroupsOf(world.spec().id), IsEmpty());
    EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1);
    if (::geteuid() != 0) return;
    const Fd lock =
        OpenPath(std::string(kUidDirectory) + "/" + std::to_string(*uid), O_RDWR).value();
    EXPECT_TRUE(TryLock(lock, LockMode::kExclusive).value());
  });
}

TEST_P(SandboxTest, LeavesNothingBehindWhenItCannotStart) {
  InTier([](World& world) {
    ASSERT_THAT(world.Run({"no-such-program"}), FailsWith(ErrorCode::kNotFound));
    EXPECT_THAT(FindCgroupsOf(world.spec().id), IsEmpty());
    EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1);
  });
}

// True once `pidfd` says that its process has ended.
bool Ends(const Fd& pidfd) {
  pollfd watched{pidfd.get(), POLLIN, 0};
  return ::poll(&watched, 1, 10'000) == 1;
}

TEST_P(SandboxTest, DiesWithItsMonitor) {
  InTier([](World& world) {
    const std::string marker = "8" + std::to_string(::getpid()) + "2";
    int ready[2];
    ASSERT_EQ(::pipe2(ready, O_CLOEXEC), 0);
    const Fd read_end(ready[0]);
    Fd write_end(ready[1]);
    const pid_t monitor = ::fork();
    if (monitor == 0) {
      const Result<Sandbox> sandbox = world.Launch({"sleep", marker}, write_end, write_end);
      const bool started = sandbox.ok() && ::write(write_end.get(), "r", 1) == 1;
      if (!started) ::_exit(1);
      for (;;) ::pause();
    }
    char byte = 0;
    write_end = Fd();
    ASSERT_EQ(::read(read_end.get(), &byte, 1), 1);
    const std::vector<pid_t> found = FindProcesses(marker);
    ASSERT_EQ(found.size(), 1U);
    const Fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, found.front(), 0)));
    ::kill(monitor, SIGKILL);
    ::waitpid(monitor, nullptr, 0);
    EXPECT_TRUE(Ends(pidfd));
    EXPECT_EQ(FindCgroupsOf(world.spec().id).empty(), ::geteuid() != 0);
    EXPECT_THAT(CleanStale(), IsOk());
    EXPECT_THAT(FindCgroupsOf(world.spec().id), IsEmpty());
  });
}

TEST_P(SandboxTest, RunsWhatScriptsUse) {
  InTier([](World& world) {
    const Result<Finished> python = world.Python(R"(
import multiprocessing, subprocess, threading, tempfile, sqlite3, ssl, asyncio, ctypes
with multiprocessing.Pool(2) as pool: print(pool.map(abs, [-1, 2]))
print(subprocess.run(['git', '--version'], capture_output=True).returncode)
thread = threading.Thread(target=print, args=('thread',)); thread.start(); thread.join()
with tempfile.TemporaryFile() as file: file.write(b'x')
db = sqlite3.connect('/workspace/x.db'); db.execute('create table a(b)'); db.commit()
asyncio.run(asyncio.sleep(0))
print(ssl.create_default_context() is not None)
)");
    ASSERT_THAT(python, IsOk());
    EXPECT_EQ(python.value().out, "[1, 2]\n0\nthread\nTrue\n") << python.value().err;
    const Result<Finished> shell = world.Bash(
        "set -e; git init -q .; git add projects; git -c user.name=a -c user.email=b commit -qm x;"
        "git log --oneline | wc -l; perl -e 'print 1+1, \"\\n\"'; cp -r projects copy;"
        "tar cf - copy | gzip | tar tzf - | sort | head -1; cat <(echo sub); whoami; hostname");
    ASSERT_THAT(shell, IsOk());
    EXPECT_EQ(shell.value().out, "1\n2\ncopy/\nsub\nbailiff\nbailiff\n") << shell.value().err;
  });
}

INSTANTIATE_TEST_SUITE_P(Tiers, SandboxTest, testing::Values(Tier::kPrivileged, Tier::kRootless),
                         TierName);

class PrivilegedSandboxTest : public testing::Test {
 protected:
  void SetUp() override { REQUIRES(IsPrivileged().value(), "needs CAP_SYS_ADMIN"); }
  World world_;
};

TEST_F(PrivilegedSandboxTest, MovesWithoutCopying) {
  world_.Write("projects/big", std::string(8UL << 20, 'x'));
  const Fd out = MemoryFile();
  Result<Sandbox> sandbox =
      world_.Launch({"bash", "-c", "mv projects/big Tools/big && mv projects moved"}, out, out);
  ASSERT_THAT(sandbox, IsOk());
  const Never never;
  const auto ending = sandbox.value().Wait(never.read_end);
  ASSERT_THAT(ending, IsOk());
  EXPECT_EQ(Contents(out), "");
  EXPECT_LT(ending.value()->usage.scratch_bytes, 1LL << 20);
  const Fd big = OpenBeneath(sandbox.value().upper(), "Tools/big", O_RDONLY).value();
  EXPECT_EQ(GetXattr(big, "trusted.overlay.redirect").value(), "/projects/big");
  EXPECT_TRUE(GetXattr(big, "trusted.overlay.metacopy").value().has_value());
  const Fd moved = OpenDirBeneath(sandbox.value().upper(), "moved").value();
  EXPECT_EQ(GetXattr(moved, "trusted.overlay.redirect").value(), "projects");
}

TEST_F(PrivilegedSandboxTest, GivesEachSandboxItsOwnUid) {
  World other;
  const Fd out = MemoryFile();
  Result<Sandbox> first = world_.Launch({"sleep", "1000"}, out, out);
  Result<Sandbox> second = other.Launch({"sleep", "1000"}, out, out);
  ASSERT_THAT(first, IsOk());
  ASSERT_THAT(second, IsOk());
  const uid_t first_uid = Stat(first.value().upper()).value().st_uid;
  EXPECT_GE(first_uid, UidRange{}.first);
  EXPECT_NE(first_uid, Stat(second.value().upper()).value().st_uid);
}

// Its /proc files belong to root: nobody of the sandbox's own uid may look into it.
TEST_F(PrivilegedSandboxTest, HidesPidOneFromItsOwnUid) {
  const std::string marker = "7" + std::to_string(::getpid()) + "3";
  const Fd out = MemoryFile();
  const Result<Sandbox> sandbox = world_.Launch({"sleep", marker}, out, out);
  ASSERT_THAT(sandbox, IsOk());
  const std::vector<pid_t> program = FindProcesses(marker);
  ASSERT_EQ(program.size(), 1U);
  std::ifstream status("/proc/" + std::to_string(program.front()) + "/status");
  std::string init;
  for (std::string word; status >> word && word != "PPid:";) {
  }
  status >> init;
  const uid_t uid = Stat(sandbox.value().upper()).value().st_uid;
  const auto owner = [](const std::string& pid) {
    return Stat(OpenPath("/proc/" + pid + "/environ", O_RDONLY).value()).value().st_uid;
  };
  EXPECT_EQ(owner(std::to_string(program.front())), uid);
  EXPECT_EQ(owner(init), 0U);
}

TEST_F(PrivilegedSandboxTest, LetsTheOwnersFilesBeChangedButNotThoseOfOthers) {
  world_.GiveTo(4242);
  world_.Write("projects/foreign", "of root");  // Made by this process, whose uid is 0.
  const Result<Finished> run = world_.Bash(
      "stat -c %U projects/A/f projects/foreign; echo x >> projects/A/f && echo changed;"
      "echo x 2>/dev/null >> projects/foreign || echo refused");
  ASSERT_THAT(run, IsOk());
  EXPECT_EQ(run.value().out, "bailiff\nnobody\nchanged\nrefused\n");
}

TEST_F(PrivilegedSandboxTest, RefusesRootsWorkspaceWhereIdsCannotBeMapped) {
  const Fd workspace = OpenPath("/sys/kernel", O_RDONLY | O_DIRECTORY).value();
  const Fd null = OpenPath("/dev/null", O_RDWR).value();
  world_.spec().argv = {"true"};
  const Result<Sandbox> sandbox =
      Sandbox::Launch(world_.spec(), SandboxFds{workspace, null, null, null});
  ASSERT_THAT(sandbox, FailsWith(ErrorCode::kUnsupported));
  EXPECT_THAT(sandbox.error().message(), HasSubstr("cannot map ids"));
}

}  // namespace
}  // namespace bailiff
