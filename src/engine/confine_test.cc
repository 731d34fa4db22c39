#include "engine/confine.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "sys/file.h"
#include "sys/kernel_features.h"
#include "tests/support/matchers.h"
#include "tests/support/requires.h"
#include "tests/support/temp_dir.h"

namespace bailiff {
namespace {

constexpr pid_t kNobody = 0x3FFFFFFF;

int ErrnoOf(long rc) {
  return rc < 0 ? errno : 0;
}

int TryOpen(const std::string& path, int flags) {
  const int fd = ::open(path.c_str(), flags | O_CLOEXEC, 0600);
  if (fd < 0) return errno;
  ::close(fd);
  return 0;
}

struct Ground {
  TempDir workspace;
  TempDir state;
};

void MakeFile(const std::string& path) {
  ASSERT_THAT(WriteAll(OpenPath(path, O_WRONLY | O_CREAT, 0600).value(), "bytes"), IsOk());
}

// Runs `body` in a child that is confined as a server of `ground` is; its answer must be below 200.
int Inside(const Ground& ground, const std::function<int()>& body) {
  constexpr int kNotConfined = 200;
  const pid_t pid = ::fork();
  if (pid == 0) {
    const Fd workspace = OpenPath(ground.workspace.path(), O_PATH).value();
    const Fd state = OpenPath(ground.state.path(), O_PATH).value();
    const Result<bool> confined =
        ConfineServer({}, {{&workspace, Access::kRead}, {&state, Access::kReadWrite}});
    ::_exit(confined.ok() && confined.value() ? body() : kNotConfined);
  }
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  EXPECT_TRUE(WIFEXITED(status)) << "signal " << WTERMSIG(status);
  EXPECT_NE(WEXITSTATUS(status), kNotConfined);
  return WEXITSTATUS(status);
}

struct Forbidden {
  const char* what;
  std::function<int()> attempt;
  int inside;
};

// Each in a way that has another error, or none, where it is allowed.
const std::vector<Forbidden> kForbidden = {
    {"start a program", [] { return ErrnoOf(::execl("/missing", "missing", nullptr)); }, EPERM},
    {"fork", [] { return ErrnoOf(::syscall(SYS_clone, CLONE_SIGHAND, nullptr)); }, EPERM},
    {"mount", [] { return ErrnoOf(::mount("none", "/missing", "tmpfs", 0, nullptr)); }, EPERM},
    {"trace", [] { return ErrnoOf(::ptrace(PTRACE_ATTACH, kNobody, nullptr, nullptr)); }, EPERM},
    {"make a namespace", [] { return ErrnoOf(::unshare(CLONE_NEWUSER | CLONE_SIGHAND)); }, EPERM},
    {"read memory", [] { return ErrnoOf(::process_vm_readv(kNobody, nullptr, 0, nullptr, 0, 1)); },
     EPERM},
    {"load a module", [] { return ErrnoOf(::syscall(SYS_finit_module, -1, "", 0)); }, EPERM},
    {"use bpf", [] { return ErrnoOf(::syscall(SYS_bpf, -1, nullptr, 0)); }, EPERM},
    {"use keyrings", [] { return ErrnoOf(::syscall(SYS_keyctl, -1, 0, 0, 0, 0)); }, EPERM},
    {"open by handle", [] { return ErrnoOf(::syscall(SYS_open_by_handle_at, -1, nullptr, 0)); },
     EPERM},
    {"open a packet socket", [] { return ErrnoOf(::socket(AF_PACKET, SOCK_STREAM, 0)); },
     EAFNOSUPPORT},
    {"signal its parent", [] { return ErrnoOf(::kill(::getppid(), 0)); }, EPERM},
};

TEST(ConfineServerTest, RefusesWhatAnAttackerWouldWantNext) {
  REQUIRES(LandlockAbi() >= 6, "Landlock ABI 6, of Linux 6.12");
  const Ground ground;
  for (const Forbidden& forbidden : kForbidden) {
    EXPECT_NE(forbidden.attempt(), forbidden.inside) << forbidden.what;
    EXPECT_EQ(Inside(ground, forbidden.attempt), forbidden.inside) << forbidden.what;
  }
}

TEST(ConfineServerTest, OpensFilesAtItsPlacesOnlyAndWritesItsStateOnly) {
  REQUIRES(LandlockAbi() >= 2, "Landlock ABI 2, of Linux 5.19");
  const Ground ground;
  MakeFile(ground.workspace.Path("file"));
  MakeFile(ground.state.Path("file"));
  const auto tried = [&](const std::string& path, int flags, int outside) {
    EXPECT_EQ(TryOpen(path, flags), outside) << path;
    return Inside(ground, [&] { return TryOpen(path, flags); });
  };
  EXPECT_EQ(tried("/etc/passwd", O_RDONLY, 0), EACCES);
  EXPECT_EQ(tried(ground.workspace.Path("file"), O_RDONLY, 0), 0);
  EXPECT_EQ(tried(ground.workspace.Path("file"), O_RDWR, 0), EACCES);
  EXPECT_EQ(tried(ground.workspace.Path("new"), O_WRONLY | O_CREAT, 0), EACCES);
  EXPECT_EQ(tried(ground.state.Path("file"), O_RDWR, 0), 0);
  EXPECT_EQ(tried(ground.state.Path("new"), O_WRONLY | O_CREAT, 0), 0);
}

TEST(ConfineServerTest, LeavesSocketsAndThreads) {
  const Ground ground;
  for (const int family : {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK}) {
    EXPECT_EQ(Inside(ground, [&] { return ErrnoOf(::socket(family, SOCK_DGRAM, 0)); }), 0);
  }
  EXPECT_EQ(Inside(ground,
                   [] {
                     int answer = 1;
                     std::jthread([&] { answer = 0; }).join();
                     return answer;
                   }),
            0);
}

TEST(ConfineServerTest, KeepsNoCapabilityAndDumpsNoCore) {
  const Ground ground;
  EXPECT_EQ(Inside(ground,
                   [] {
                     __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
                     __user_cap_data_struct sets[2] = {};
                     if (::syscall(SYS_capget, &header, sets) != 0) return 1;
                     for (const __user_cap_data_struct& set : sets) {
                       if ((set.effective | set.permitted | set.inheritable) != 0) return 2;
                     }
                     if (::geteuid() == 0 && ::prctl(PR_CAPBSET_READ, CAP_CHOWN) != 0) return 3;
                     if (::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1) return 4;
                     if (::prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0) return 5;
                     rlimit core{1, 1};
                     if (::getrlimit(RLIMIT_CORE, &core) != 0 || core.rlim_max != 0) return 6;
                     return 0;
                   }),
            0);
}

}  // namespace
}  // namespace bailiff
