#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/escape/harness.h"
#include "tests/support/matchers.h"

namespace bailiff {
namespace {

using testing::HasSubstr;

// Renames that pid 1 of a sandbox carries out, or the kernel where it can. What they give is for
// the differential oracle (tests/property); here is what they must not give.
class RenameTest : public TierTest {
 protected:
  // Runs a script in a world with the directories w0 to w9, of 20 files each, and expects that it
  // prints "ok".
  void ExpectOk(const std::string& script) {
    InTier([&script](World& world) {
      for (int i = 0; i < 200; ++i) {
        world.Write(fmt::format("w{}/f{}", i / 20, i % 20), "content");
      }
      world.spec().limits.scratch_bytes = 4LL << 20;
      world.Write("big/a", std::string(3UL << 20, 'a'));
      world.Write("big/b", std::string(3UL << 20, 'b'));
      const Result<Finished> run = world.Python(script);
      ASSERT_THAT(run, IsOk());
      EXPECT_EQ(run.value().out, "ok\n") << run.value().err;
    });
  }
};

// A writer that goes on would lose what it makes between the copy and the removal of a directory.
constexpr const char* kWriter = R"(
import os, signal, sys, threading
names = [f'w{i}' for i in range(10)]
def write(report):
    made = 0
    while True:
        for name in names + [n + 'x' for n in names]:
            try: os.close(os.open(f'{name}/n{made}', os.O_CREAT | os.O_EXCL))
            except FileNotFoundError: continue
            os.write(report, b'%d\n' % made)
            made += 1
def expect(made):
    assert made
    found = {n for name in names for n in os.listdir(name + 'x')}
    missing = [n for n in made if f'n{n}' not in found]
    assert not missing, missing
read_end, write_end = os.pipe()
os.set_blocking(write_end, True)
)";

TEST_P(RenameTest, StopsOtherProcessesWhileATreeIsRebuilt) {
  ExpectOk(std::string(kWriter) + R"(
child = os.fork()
if child == 0: write(write_end)
first = os.read(read_end, 1)
for name in names: os.rename(name, name + 'x')
os.kill(child, signal.SIGKILL)
os.waitpid(child, 0)
os.close(write_end)
expect((first + open(read_end, 'rb').read()).decode().split())
print('ok')
)");
}

TEST_P(RenameTest, StopsOtherThreadsOfItsCaller) {
  ExpectOk(std::string(kWriter) + R"(
threading.Thread(target=write, args=(write_end,), daemon=True).start()
first = os.read(read_end, 1)
for name in names: os.rename(name, name + 'x')
made = (first + os.read(read_end, 1 << 20)).decode().rpartition('\n')[0].split()
expect(made)
print('ok', flush=True)
os._exit(0)
)");
}

TEST_P(RenameTest, LeavesAProcessStoppedThatWas) {
  const bool rebuilds = GetParam() == Tier::kRootless;
  ExpectOk(fmt::format("stopped_again = {}\n", rebuilds ? "True" : "False") + R"(
import os, signal, time
child = os.fork()
if child == 0:
    while True: time.sleep(1000)
os.kill(child, signal.SIGSTOP)
os.waitpid(child, os.WUNTRACED)
os.rename('w0', 'moved')
if stopped_again: os.waitpid(child, os.WUNTRACED)
state = open(f'/proc/{child}/stat').read().rpartition(')')[2].split()[0]
assert state == 'T', state
os.kill(child, signal.SIGKILL)
print('ok')
)");
}

TEST_P(RenameTest, GivesUpWithoutATraceWhenScratchIsFull) {
  const bool copies = GetParam() == Tier::kRootless;
  ExpectOk(fmt::format("copies = {}\n", copies ? "True" : "False") + R"(
import errno, os
before = sorted(os.listdir('.'))
try:
    os.rename('big', 'moved')
    assert not copies
except OSError as error:
    assert copies and error.errno == errno.ENOSPC, error
    assert sorted(os.listdir('.')) == before
    assert open('big/a').read() == 'a' * (3 << 20) and open('big/b').read() == 'b' * (3 << 20)
    assert sorted(os.listdir('big')) == ['a', 'b']
print('ok')
)");
}

TEST_P(RenameTest, CannotBeStoppedByAScript) {
  ExpectOk(R"(
import os, signal
for number in [*range(1, 65), *[signal.SIGCHLD] * 5000]:
    try: os.kill(1, number)
    except OSError: pass
os.rename('w0', 'moved')
assert len(os.listdir('moved')) == 20
print('ok')
)");
}

// It acts for the caller without the caller's own Landlock rules.
TEST_P(RenameTest, DoesNotHelpWhoConfinedItselfFurther) {
  REQUIRES(LandlockAbi() >= 2, "needs Landlock with the right to refer");
  ExpectOk(R"(
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
removes_dirs_and_refers = (ctypes.c_uint64 * 1)(1 << 4 | 1 << 13)
ruleset = libc.syscall(444, removes_dirs_and_refers, 8, 0)
assert ruleset >= 0
assert libc.syscall(446, ruleset, 0) == 0
for old, new in [('w0', 'moved'), ('w0', 'w1/moved'), ('w1/f0', 'w2/moved')]:
    try: os.rename(old, new)
    except OSError: pass
    else: raise AssertionError((old, new))
    assert os.path.exists(old) and not os.path.exists(new)
print('ok')
)");
}

TEST_P(RenameTest, LeavesToTheKernelWhatItCannotSee) {
  const bool kernel_can = GetParam() == Tier::kPrivileged;
  ExpectOk(fmt::format("kernel_can = {}\n", kernel_can ? "True" : "False") + R"(
import ctypes, errno, os
assert ctypes.CDLL(None).prctl(4, 0, 0, 0, 0) == 0  # PR_SET_DUMPABLE
os.rename('w0/f0', 'w1/moved')
try:
    os.rename('w0', 'moved')
    assert kernel_can
except OSError as error:
    assert not kernel_can and error.errno == errno.EXDEV, error
print('ok')
)");
}

TEST_P(RenameTest, AnswersManyProcessesAtOnce) {
  ExpectOk(R"(
import os
children = []
for i in range(10):
    pid = os.fork()
    if pid == 0:
        for turn in range(20):
            os.rename(f'w{i}', f'v{i}')
            os.rename(f'v{i}', f'w{i}')
        os._exit(0 if len(os.listdir(f'w{i}')) == 20 else 1)
    children.append(pid)
for pid in children: assert os.waitpid(pid, 0)[1] == 0
print('ok')
)");
}

TEST_P(RenameTest, IsDoneByAProcessThatIsConfinedAsTheScriptIs) {
  const bool rootless = GetParam() == Tier::kRootless;
  InTier([rootless](World& world) {
    const std::string marker = "7" + std::to_string(::getpid()) + "3";
    const Fd out = MemoryFile();
    Result<Sandbox> sandbox = world.Launch({"sleep", marker}, out, out);
    ASSERT_THAT(sandbox, IsOk());
    const std::vector<pid_t> program = FindProcesses(marker);
    ASSERT_EQ(program.size(), 1U);
    const auto status = [](const std::string& pid) {
      return ReadAll(OpenPath("/proc/" + pid + "/status", O_RDONLY).value(), 1UL << 16).value();
    };
    const std::string of_program = status(std::to_string(program.front()));
    const std::size_t at = of_program.find("PPid:\t") + 6;
    const std::string init = status(of_program.substr(at, of_program.find('\n', at) - at));
    EXPECT_THAT(init, HasSubstr("NoNewPrivs:\t1\n"));
    EXPECT_THAT(init, HasSubstr("Seccomp:\t2\nSeccomp_filters:\t2\n"));
    EXPECT_THAT(of_program,
                HasSubstr(rootless ? "Seccomp_filters:\t3\n" : "Seccomp_filters:\t2\n"));
    for (const char* set : {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"}) {
      EXPECT_THAT(init, HasSubstr(std::string(set) + ":\t0000000000000000\n"));
    }
  });
}

INSTANTIATE_TEST_SUITE_P(Tiers, RenameTest, testing::Values(Tier::kPrivileged, Tier::kRootless),
                         TierName);

}  // namespace
}  // namespace bailiff
