// Each attack is first shown to work outside, so that no test can pass by being broken; then it
// must fail inside a real sandbox, in both tiers.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>

#include <csignal>
#include <tuple>

#include "tests/escape/attacks.h"
#include "tests/escape/canaries.h"
#include "tests/escape/harness.h"
#include "tests/support/matchers.h"

namespace bailiff {
namespace {

using testing::HasSubstr;

constexpr const char* kPython = "/usr/bin/python3";
constexpr uid_t kSetuidOwner = 7777;

struct Outcome {
  int status = 0;
  std::string out;
};

// What the program prints when nothing confines it.
Outcome RunOutside(std::vector<std::string> argv) {
  const Fd out = MemoryFile();
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_adddup2(&actions, out.get(), 1);
  std::vector<char*> pointers;
  for (std::string& word : argv) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  pid_t pid = 0;
  EXPECT_EQ(::posix_spawn(&pid, pointers[0], &actions, nullptr, pointers.data(), environ), 0);
  ::posix_spawn_file_actions_destroy(&actions);
  Outcome outcome;
  EXPECT_EQ(::waitpid(pid, &outcome.status, 0), pid);
  outcome.out = Contents(out);
  return outcome;
}

// A program that runs as another uid when it is started outside.
void AddSetuidProgram(const World& world) {
  const std::string path = world.root() + "/setuid-id";
  std::filesystem::copy_file("/usr/bin/id", path);
  ASSERT_EQ(::chown(path.c_str(), kSetuidOwner, kSetuidOwner), 0);
  ASSERT_EQ(::chmod(path.c_str(), 04755), 0);
}

class EscapeTest : public testing::TestWithParam<std::tuple<Attack, Tier>> {
 protected:
  void SetUp() override {
    REQUIRES(IsPrivileged().value(), "showing that the attacks work takes root");
    if (std::get<Tier>(GetParam()) == Tier::kRootless) world_.GiveTo(kUnprivilegedUid);
    ::chmod(world_.root().c_str(), 0755);
    AddSetuidProgram(world_);
  }

  void InTier(const std::function<void()>& body) const {
    if (std::get<Tier>(GetParam()) == Tier::kPrivileged) {
      body();
    } else {
      AsUser(kUnprivilegedUid, body);
    }
  }

  World world_;
  Canaries canaries_;
};

TEST_P(EscapeTest, WorksOutsideAndFailsInside) {
  const Attack& attack = std::get<Attack>(GetParam());
  const std::string script = std::string(kPrologue) + attack.script;
  const Outcome outside =
      RunOutside({kPython, "-c", canaries_.Fill(script, world_.root(), canaries_.pid())});
  ASSERT_EQ(outside.out, std::string(attack.outside) + "\n") << "outside";
  canaries_.WasReached();
  InTier([&] {
    const Result<Finished> inside =
        world_.Run({kPython, "-c", canaries_.Fill(script, "/workspace", 1)});
    ASSERT_THAT(inside, IsOk());
    EXPECT_EQ(inside.value().out, std::string(attack.inside) + "\n")
        << attack.layer << ": " << inside.value().err;
  });
  EXPECT_FALSE(canaries_.WasReached());
  EXPECT_TRUE(canaries_.ProcessIsAlive());
}

std::string AttackName(const testing::TestParamInfo<std::tuple<Attack, Tier>>& info) {
  const bool privileged = std::get<Tier>(info.param) == Tier::kPrivileged;
  return std::string(std::get<Attack>(info.param).name) + (privileged ? "" : "Rootless");
}

INSTANTIATE_TEST_SUITE_P(Attacks, EscapeTest,
                         testing::Combine(testing::ValuesIn(kAttacks),
                                          testing::Values(Tier::kPrivileged, Tier::kRootless)),
                         AttackName);

class ConfinementTest : public TierTest {};

TEST_P(ConfinementTest, HasNoPrivilegeAndNoRootId) {
  InTier([](World& world) {
    const Result<Finished> run = world.Bash(
        "grep -hE '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status; cat /proc/self/uid_map "
        "/proc/self/gid_map /proc/self/setgroups; ulimit -c");
    ASSERT_THAT(run, IsOk());
    const std::string none = ":\t0000000000000000\n";
    EXPECT_EQ(run.value().out, "CapInh" + none + "CapPrm" + none + "CapEff" + none + "CapBnd" +
                                   none + "CapAmb" + none + "NoNewPrivs:\t1\nSeccomp:\t2\n" +
                                   "      1000       1000          1\n" +
                                   "      1000       1000          1\ndeny\n0\n");
  });
}

TEST_P(ConfinementTest, SeesNoPathOfTheHost) {
  InTier([](World& world) {
    const Result<Finished> run = world.Bash("cat /proc/self/mountinfo; ls -la /proc/self/fd");
    ASSERT_THAT(run, IsOk());
    EXPECT_THAT(run.value().out, testing::Not(HasSubstr(world.root())));
    EXPECT_THAT(run.value().out, testing::Not(HasSubstr("/tmp/bailiff")));
  });
}

TEST_P(ConfinementTest, HasOnlyTheseDevicesAndNoSetuidMount) {
  InTier([](World& world) {
    const Result<Finished> run = world.Python(R"(
import os
print(' '.join(sorted(os.listdir('/dev'))))
points = [line.split()[4] for line in open('/proc/self/mountinfo')]
print(all(os.statvfs(point).f_flag & os.ST_NOSUID for point in points))
print(sorted(p for p in points if not os.statvfs(p).f_flag & os.ST_RDONLY))
)");
    ASSERT_THAT(run, IsOk());
    EXPECT_EQ(run.value().out,
              "fd full null random shm stderr stdin stdout urandom zero\nTrue\n"
              "['/dev/shm', '/proc', '/tmp', '/workspace']\n");
  });
}

TEST_P(ConfinementTest, KillsOnlyItselfWhenItKillsEverything) {
  InTier([](World& world) {
    const Canaries canaries;
    const Result<Finished> run = world.Python("import os\nos.kill(-1, 9)\nprint('alive')");
    ASSERT_THAT(run, IsOk());
    EXPECT_EQ(run.value().ending.reason, EndReason::kExited);
    EXPECT_TRUE(canaries.ProcessIsAlive());
  });
}

// UDP has no connection that Landlock could refuse: here the network namespace is alone.
TEST_P(ConfinementTest, SendsNothingToTheHost) {
  InTier([](World& world) {
    const Canaries canaries;
    const std::string script = canaries.Fill(
        "import socket\nsocket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', @UDP@))",
        "", 1);
    RunOutside({kPython, "-c", script});
    ASSERT_TRUE(canaries.WasReached());
    ASSERT_THAT(world.Python(script), IsOk());
    EXPECT_FALSE(canaries.WasReached());
  });
}

TEST_P(ConfinementTest, ReachesPortsButNoAbstractSocketsWithTheHostsNetwork) {
  InTier([](World& world) {
    REQUIRES(LandlockAbi() >= 6, "needs Landlock ABI 6");
    const Canaries canaries;
    world.spec().network = Network::kHost;
    const std::string tcp = canaries.Fill(
        "import socket\nsocket.create_connection(('127.0.0.1', @TCP@))\nprint('done')", "", 1);
    const Result<Finished> port = world.Python(tcp);
    ASSERT_THAT(port, IsOk());
    EXPECT_EQ(port.value().out, "done\n") << port.value().err;
    EXPECT_TRUE(canaries.WasReached());
    const std::string abstract = canaries.Fill(
        "import socket\nsocket.socket(socket.AF_UNIX).connect('\\0@ABSTRACT@')", "", 1);
    const Result<Finished> refused = world.Python(abstract);
    ASSERT_THAT(refused, IsOk());
    EXPECT_THAT(refused.value().err, HasSubstr("PermissionError"));
    EXPECT_FALSE(canaries.WasReached());
  });
}

// A call by another architecture's table would pass a filter that looks at numbers only.
TEST_P(ConfinementTest, DiesOfACallByAnotherArchitecture) {
  InTier([](World& world) {
    const std::string code = R"(
import ctypes, mmap
page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(bytes.fromhex('b814000000cd80c3'))  # mov eax, 20; int 0x80; ret
ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()
print('done')
)";
    const std::string x32 = R"(
import ctypes
ctypes.CDLL(None).syscall(ctypes.c_long(0x40000000 + 39))
print('done')
)";
    for (const std::string& script : {code, x32}) {
      EXPECT_EQ(RunOutside({kPython, "-c", script}).out, "done\n");
      const Result<Finished> run = world.Python(script);
      ASSERT_THAT(run, IsOk());
      EXPECT_EQ(run.value().ending.signal, SIGSYS);
      EXPECT_EQ(run.value().out, "");
    }
  });
}

TEST_P(ConfinementTest, CannotReachASocketThatLiesInTheWorkspace) {
  InTier([](World& world) {
    const Fd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    const std::string path = world.root() + "/socket";
    std::memcpy(address.sun_path, path.data(), path.size());
    ASSERT_EQ(::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    ASSERT_EQ(::listen(listener.get(), 1), 0);
    const Result<Finished> run =
        world.Python("import socket\nsocket.socket(socket.AF_UNIX).connect('/workspace/socket')");
    ASSERT_THAT(run, IsOk());
    EXPECT_THAT(run.value().err, HasSubstr("ConnectionRefusedError"));
  });
}

std::int64_t ResidentBytes() {
  std::ifstream file("/proc/self/statm");
  std::int64_t size = 0;
  std::int64_t resident = 0;
  file >> size >> resident;
  return resident * ::sysconf(_SC_PAGESIZE);
}

// What starts sandboxes stays as it is, however many it starts.
TEST_P(ConfinementTest, TakesNoMemoryAndNoDescriptorForGood) {
  InTier([](World& world) {
    constexpr int kRuns = 20;
#ifdef __SANITIZE_ADDRESS__
    constexpr std::int64_t kGrowthBytesMax = 256 << 20;  // It keeps what is freed.
#else
    constexpr std::int64_t kGrowthBytesMax = 1 << 20;
#endif
    std::size_t descriptors = 0;
    std::int64_t resident = 0;
    for (int run = 0; run < kRuns; ++run) {
      ASSERT_THAT(world.Run({"true"}), IsOk());
      ASSERT_THAT(world.Run({"no-such-program"}), FailsWith(ErrorCode::kNotFound));
      if (run == kRuns / 2) {  // Allocator and caches are warm.
        descriptors = NamesIn("/proc/self/fd").size();
        resident = ResidentBytes();
      }
    }
    EXPECT_EQ(NamesIn("/proc/self/fd").size(), descriptors);
    EXPECT_LT(ResidentBytes(), resident + kGrowthBytesMax);
  });
}

INSTANTIATE_TEST_SUITE_P(Tiers, ConfinementTest,
                         testing::Values(Tier::kPrivileged, Tier::kRootless), TierName);

}  // namespace
}  // namespace bailiff
