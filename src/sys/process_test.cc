#include "sys/process.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "sys/user_namespace.h"
#include "tests/support/matchers.h"

namespace bailiff {
namespace {

void ExitWithSeven(const void* /*unused*/) {
  ::_exit(7);
}

void WaitForEver(const void* /*unused*/) {
  for (;;) ::pause();
}

TEST(ProcessTest, TellsHowAChildEndedAsOftenAsAsked) {
  Result<Process> child = CloneProcess({}, ExitWithSeven, nullptr);
  ASSERT_THAT(child, IsOk());
  for (int i = 0; i < 2; ++i) {
    const Result<ProcessEnd> end = child.value().Wait();
    ASSERT_THAT(end, IsOk());
    EXPECT_EQ(WEXITSTATUS(end.value().wait_status), 7);
  }
}

TEST(ProcessTest, KillsAndReapsWhatIsDropped) {
  pid_t pid = 0;
  {
    Result<Process> child = CloneProcess({}, WaitForEver, nullptr);
    ASSERT_THAT(child, IsOk());
    pid = child.value().pid();
    ASSERT_EQ(::kill(pid, 0), 0);
  }
  EXPECT_EQ(::kill(pid, 0), -1);
  EXPECT_EQ(::waitpid(pid, nullptr, WNOHANG), -1);
}

// What is killed cannot kill. The child would keep what it has open for ever, locks included.
TEST(ProcessTest, AChildThatSharesMemoryEndsWithAParentThatIsKilled) {
  ASSERT_EQ(::prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const Fd told(ends[0]);
  Fd tell(ends[1]);
  const pid_t parent = ::fork();
  if (parent == 0) {
    const Result<ChildStack> stack = ChildStack::Make();
    const Result<Process> child = CloneSharing(0, stack.value(), WaitForEver, nullptr);
    const pid_t pid = child.value().pid();
    if (::write(tell.get(), &pid, sizeof(pid)) == sizeof(pid)) WaitForEver(nullptr);
    ::_exit(1);
  }
  ASSERT_GT(parent, 0);
  ASSERT_THAT(tell.Close(), IsOk());
  pid_t child = 0;
  ASSERT_EQ(::read(told.get(), &child, sizeof(child)), sizeof(child));
  ASSERT_EQ(::kill(parent, SIGKILL), 0);
  ASSERT_EQ(::waitpid(parent, nullptr, 0), parent);
  pollfd closed = {told.get(), POLLIN, 0};
  constexpr int kDeadlineMillis = 10'000;
  EXPECT_EQ(::poll(&closed, 1, kDeadlineMillis), 1) << "it lives, and has our pipe open";
  ::kill(child, SIGKILL);
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  ::prctl(PR_SET_CHILD_SUBREAPER, 0);
}

TEST(ProcessTest, RestoresTheCallersSignalMask) {
  sigset_t before;
  sigset_t after;
  ::sigprocmask(SIG_BLOCK, nullptr, &before);
  Result<Process> child = CloneProcess({}, ExitWithSeven, nullptr);
  ASSERT_THAT(child, IsOk());
  ::sigprocmask(SIG_BLOCK, nullptr, &after);
  EXPECT_EQ(::sigismember(&before, SIGTERM), ::sigismember(&after, SIGTERM));
}

TEST(ProcessStartTimeTest, TellsProcessesOfOneNumberApart) {
  const Result<std::uint64_t> own = ProcessStartTime(::getpid());
  ASSERT_THAT(own, IsOk());
  EXPECT_EQ(ProcessStartTime(::getpid()).value(), own.value());
  EXPECT_LT(ProcessStartTime(1).value(), own.value());
  EXPECT_THAT(ProcessStartTime(0x3FFFFFFF), FailsWith(ErrorCode::kNotFound));
}

TEST(ExchangeIdsTest, MapsEveryIdOnce) {
  using testing::ElementsAre;
  constexpr std::uint32_t kEnd = 0xFFFFFFFF;
  EXPECT_THAT(ExchangeIds(5, 9), ElementsAre(IdRange{0, 0, 5}, IdRange{5, 9, 1}, IdRange{6, 6, 3},
                                             IdRange{9, 5, 1}, IdRange{10, 10, kEnd - 10}));
  EXPECT_THAT(ExchangeIds(9, 5), ElementsAre(IdRange{0, 0, 5}, IdRange{5, 9, 1}, IdRange{6, 6, 3},
                                             IdRange{9, 5, 1}, IdRange{10, 10, kEnd - 10}));
  EXPECT_THAT(ExchangeIds(0, 1),
              ElementsAre(IdRange{0, 1, 1}, IdRange{1, 0, 1}, IdRange{2, 2, kEnd - 2}));
  EXPECT_THAT(ExchangeIds(7, 7), ElementsAre(IdRange{0, 0, 7}, IdRange{7, 7, kEnd - 7}));
}

}  // namespace
}  // namespace bailiff
