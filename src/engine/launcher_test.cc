#include "engine/launcher.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <functional>
#include <map>
#include <string>
#include <thread>

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

constexpr pid_t kNobody = 0x3FFFFFFF;

int ErrnoOf(long rc) {
  return rc < 0 ? errno : 0;
}

// What a clerk may not do, each in a way that has another error, or none, where it is allowed.
const std::map<std::string, std::function<int()>> kForbidden = {
    {"open a socket", [] { return ErrnoOf(::socket(AF_INET, SOCK_STREAM, 0)); }},
    {"start a program", [] { return ErrnoOf(::execl("/missing", "missing", nullptr)); }},
    {"fork", [] { return ErrnoOf(::syscall(SYS_clone, CLONE_SIGHAND, nullptr)); }},
    {"mount", [] { return ErrnoOf(::mount("none", "/missing", "tmpfs", 0, nullptr)); }},
    {"unmount", [] { return ErrnoOf(::umount2("/missing", 0)); }},
    {"open a mount", [] { return ErrnoOf(::syscall(SYS_open_tree, AT_FDCWD, "/missing", 0)); }},
    {"trace", [] { return ErrnoOf(::ptrace(PTRACE_ATTACH, kNobody, nullptr, nullptr)); }},
    {"read memory", [] { return ErrnoOf(::process_vm_readv(kNobody, nullptr, 0, nullptr, 0, 1)); }},
    {"write memory",
     [] { return ErrnoOf(::process_vm_writev(kNobody, nullptr, 0, nullptr, 0, 1)); }},
    {"take a descriptor", [] { return ErrnoOf(::syscall(SYS_pidfd_getfd, -1, 0, 0)); }},
};

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
      {"use two threads",
       [](std::string_view request, const std::vector<Fd>&) -> Result<std::string> {
         std::string copied;
         std::jthread([&] { copied = request; }).join();
         return copied;
       }},
      {"try",
       [](std::string_view request, const std::vector<Fd>&) -> Result<std::string> {
         return std::to_string(kForbidden.at(std::string(request))());
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

// In this process no call has that error: it is the clerk's filter that refuses them.
TEST(LauncherTest, AClerkCanNeitherConnectNorStartNorMountNorTrace) {
  Result<Launcher> launcher = Launcher::Start(Jobs());
  ASSERT_THAT(launcher, IsOk());
  for (const auto& [what, attempt] : kForbidden) {
    EXPECT_NE(attempt(), EPERM) << what;
    const Result<std::string> inside = launcher.value().RunClerk("try", what, {});
    ASSERT_THAT(inside, IsOk()) << what;
    EXPECT_EQ(inside.value(), std::to_string(EPERM)) << what;
  }
}

TEST(LauncherTest, AClerkMayHaveThreads) {
  Result<Launcher> launcher = Launcher::Start(Jobs());
  ASSERT_THAT(launcher, IsOk());
  EXPECT_EQ(launcher.value().RunClerk("use two threads", "done", {}).value(), "done");
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
  // And which boot this is: without it no quarantine would ever end.
  EXPECT_THAT(launcher.value().RunClerk("read", "/proc/sys/kernel/random/boot_id", {&place}),
              IsOk());
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
  spec.scratch_on_disk = true;
  spec.demands = {.own_uid = true, .cgroup = false, .landlock = 7};
  spec.view = View{.whole = {"Tools"}, .hollow = {"projects", ""}, .closed = {"projects"}};
  const Result<SandboxSpec> read = DecodeLaunch(EncodeLaunch(spec));
  ASSERT_THAT(read, IsOk());
  EXPECT_EQ(read.value().argv, spec.argv);
  EXPECT_EQ(read.value().limits, spec.limits);
  EXPECT_EQ(read.value().network, Network::kHost);
  EXPECT_TRUE(read.value().scratch_on_disk);
  EXPECT_EQ(read.value().demands, spec.demands);
  EXPECT_EQ(read.value().view, spec.view);
  spec.view.reset();
  EXPECT_EQ(DecodeLaunch(EncodeLaunch(spec)).value().view, std::nullopt);

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
