#include "engine/launcher.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <string>

#include "engine/clerk.h"
#include "engine/protocol.h"
#include "sys/file.h"
#include "sys/kernel_features.h"
#include "sys/message.h"
#include "tests/support/matchers.h"
#include "tests/support/requires.h"
#include "tests/support/temp_dir.h"

namespace bailiff {
namespace {

std::map<std::string, ClerkJob> Jobs() {
  return {
      {"echo",
       [](std::string_view request, const std::vector<Fd>&) -> Result<std::string> {
         return std::string(request);
       }},
      {"fail",
       [](std::string_view, const std::vector<Fd>&) -> Result<std::string> {
         return Error(ErrorCode::kConflict, "the state moved on");
       }},
      {"die",
       [](std::string_view, const std::vector<Fd>&) -> Result<std::string> {
         ::kill(::getpid(), SIGKILL);
         return std::string();
       }},
      {"write",
       [](std::string_view request, const std::vector<Fd>& fds) -> Result<std::string> {
         TRY(WriteAll(fds[0], request));
         return std::string("written");
       }},
      {"read",
       [](std::string_view request, const std::vector<Fd>&) -> Result<std::string> {
         const Fd file = TRY(OpenPath(std::string(request), O_RDONLY));
         return ReadAll(file, 100);
       }},
      {"socket",
       [](std::string_view, const std::vector<Fd>&) -> Result<std::string> {
         const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
         return fd >= 0 ? Result<std::string>(std::string("made"))
                        : Error::FromErrno(errno, "socket");
       }},
      {"exec",
       [](std::string_view, const std::vector<Fd>&) -> Result<std::string> {
         ::execl("/bin/true", "true", nullptr);
         return Error::FromErrno(errno, "execve");
       }},
  };
}

TEST(LauncherTest, AClerkAnswersWithWhatItsJobMade) {
  Result<Launcher> launcher = Launcher::Start(Jobs());
  ASSERT_THAT(launcher, IsOk());
  const std::string large(1 << 20, 'x');
  EXPECT_EQ(launcher.value().RunClerk("echo", large, {}).value(), large);
}

TEST(LauncherTest, AJobsErrorArrivesWhole) {
  Result<Launcher> launcher = Launcher::Start(Jobs());
  ASSERT_THAT(launcher, IsOk());
  const Result<std::string> answer = launcher.value().RunClerk("fail", "", {});
  ASSERT_THAT(answer, FailsWith(ErrorCode::kConflict));
  EXPECT_EQ(answer.error().message(), "the state moved on");
}

TEST(LauncherTest, AClerkThatDiesIsAnErrorAndTheNextOneWorks) {
  Result<Launcher> launcher = Launcher::Start(Jobs());
  ASSERT_THAT(launcher, IsOk());
  EXPECT_THAT(launcher.value().RunClerk("die", "", {}), FailsWith(ErrorCode::kInternal));
  EXPECT_EQ(launcher.value().RunClerk("echo", "still there", {}).value(), "still there");
}

TEST(LauncherTest, AClerkWorksOnTheDescriptorsThatItGets) {
  TempDir dir;
  const Fd file = OpenPath(dir.Path("file"), O_RDWR | O_CREAT, 0600).value();
  Result<Launcher> launcher = Launcher::Start(Jobs());
  ASSERT_THAT(launcher, IsOk());
  ASSERT_THAT(launcher.value().RunClerk("write", "bytes", {&file}), IsOk());
  EXPECT_EQ(ReadAt(file, 0, 100).value(), "bytes");
}

// The same two calls work in this process: it is the clerk's filter that refuses them.
TEST(LauncherTest, AClerkCanReachNeitherNetworkNorPrograms) {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  ASSERT_GE(fd, 0);
  ::close(fd);
  Result<Launcher> launcher = Launcher::Start(Jobs());
  ASSERT_THAT(launcher, IsOk());
  EXPECT_THAT(launcher.value().RunClerk("socket", "", {}), FailsWith(ErrorCode::kPermissionDenied));
  EXPECT_THAT(launcher.value().RunClerk("exec", "", {}), FailsWith(ErrorCode::kPermissionDenied));
}

TEST(LauncherTest, AClerkReachesFilesOnlyBeneathItsDirectories) {
  REQUIRES(LandlockAbi() >= 2, "Landlock ABI 2, of Linux 5.19");
  TempDir mine;
  TempDir other;
  for (const TempDir* dir : {&mine, &other}) {
    const Fd file = OpenPath(dir->Path("file"), O_WRONLY | O_CREAT, 0600).value();
    ASSERT_THAT(WriteAll(file, "bytes"), IsOk());
  }
  const Fd place = OpenPath(mine.path(), O_RDONLY | O_DIRECTORY).value();
  Result<Launcher> launcher = Launcher::Start(Jobs());
  ASSERT_THAT(launcher, IsOk());
  EXPECT_EQ(launcher.value().RunClerk("read", mine.Path("file"), {&place}).value(), "bytes");
  EXPECT_THAT(launcher.value().RunClerk("read", other.Path("file"), {&place}),
              FailsWith(ErrorCode::kPermissionDenied));
  EXPECT_THAT(launcher.value().RunClerk("read", "/etc/passwd", {&place}),
              FailsWith(ErrorCode::kPermissionDenied));
}

TEST(ProtocolTest, MessagesSurviveARoundTrip) {
  SandboxSpec spec;
  spec.id = "exec_1";
  spec.argv = {"a", "", "b c"};
  spec.environment = {"X=1"};
  spec.cwd = "/workspace";
  spec.limits.cpus = 0.5;
  spec.network = Network::kHost;
  spec.demands = {.own_uid = true, .cgroup = false, .landlock = 7};
  const Result<SandboxSpec> read = DecodeLaunch(EncodeLaunch(spec));
  ASSERT_THAT(read, IsOk());
  EXPECT_EQ(read.value().argv, spec.argv);
  EXPECT_EQ(read.value().limits, spec.limits);
  EXPECT_EQ(read.value().network, Network::kHost);
  EXPECT_EQ(read.value().demands, spec.demands);

  Ending ending;
  ending.reason = EndReason::kOutOfMemory;
  ending.signal = 9;
  ending.oom_killed = true;
  ending.usage.cpu_seconds = 1.25;
  const Result<Ending> ended = DecodeEnded(EncodeEnded(ending));
  ASSERT_THAT(ended, IsOk());
  EXPECT_EQ(ended.value().reason, EndReason::kOutOfMemory);
  EXPECT_EQ(ended.value().usage.cpu_seconds, 1.25);
}

TEST(ProtocolTest, DamagedMessagesAreRefused) {
  const std::string whole = EncodeLaunch(SandboxSpec{});
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_THAT(DecodeLaunch(whole.substr(0, size)), FailsWith(ErrorCode::kInvalidArgument));
  }
  EXPECT_THAT(DecodeLaunch(whole + "x"), FailsWith(ErrorCode::kInvalidArgument));
  EXPECT_THAT(DecodeEnded(whole), FailsWith(ErrorCode::kInvalidArgument));
  EXPECT_EQ(DecodeFailed("?").code(), ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace bailiff
