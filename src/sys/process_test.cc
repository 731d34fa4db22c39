#include "sys/process.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
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
