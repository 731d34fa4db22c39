#pragma once

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "sandbox/sandbox.h"
#include "sys/file.h"
#include "sys/kernel_features.h"
#include "tests/support/requires.h"

// Runs programs in real sandboxes, in both tiers, for tests.

namespace bailiff {

inline constexpr uid_t kUnprivilegedUid = 65534;

inline Fd MemoryFile() {
  return Fd(::memfd_create("output", MFD_CLOEXEC));
}

inline std::string Contents(const Fd& file) {
  ::lseek(file.get(), 0, SEEK_SET);
  return ReadAll(file, 64UL << 20).value();
}

// A descriptor that is never readable.
struct Never {
  Never() {
    int ends[2];
    EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    read_end = Fd(ends[0]);
    write_end = Fd(ends[1]);
  }
  Fd read_end;
  Fd write_end;
};

struct Finished {
  Ending ending;
  Guarantees guarantees;
  std::string out;
  std::string err;
};

// A workspace in a temporary directory:
//
//   .bailiff/secret    "state"
//   projects/A/f       "hello\n"
//   Tools/run.sh
class World {
 public:
  World() {
    char name[] = "/tmp/bailiff_sandbox_XXXXXX";
    if (::mkdtemp(name) == nullptr) std::abort();
    root_ = name;
    scratch_ = root_ + ".scratch";
    std::filesystem::create_directory(scratch_);
    Write(".bailiff/secret", "state");
    Write("projects/A/f", "hello\n");
    Write("Tools/run.sh", "echo tool\n");
    static int serial = 0;
    spec_.id = "test_" + std::to_string(::getpid()) + "_" + std::to_string(serial++);
    spec_.cwd = "/workspace";
    spec_.environment = {"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/tmp", "LANG=C.UTF-8"};
    spec_.limits.timeout = std::chrono::seconds(60);
    spec_.limits.memory_bytes = 512LL << 20;
    spec_.limits.scratch_bytes = 64LL << 20;
  }
  ~World() {
    std::filesystem::remove_all(root_);
    std::filesystem::remove_all(scratch_);
  }
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  const std::string& root() const { return root_; }
  const std::string& scratch() const { return scratch_; }  // For what is not on tmpfs.
  SandboxSpec& spec() { return spec_; }

  void Write(const std::string& path, const std::string& text) const {
    const std::filesystem::path target = std::filesystem::path(root_) / path;
    std::filesystem::create_directories(target.parent_path());
    std::ofstream(target) << text;
  }

  void GiveTo(uid_t uid) const {
    for (const std::string& top : {root_, scratch_}) {
      ASSERT_EQ(::chown(top.c_str(), uid, uid), 0);
    }
    for (const auto& entry : std::filesystem::recursive_directory_iterator(root_)) {
      ASSERT_EQ(::lchown(entry.path().c_str(), uid, uid), 0);
    }
  }

  Result<Sandbox> Launch(std::vector<std::string> argv, const Fd& out, const Fd& err) {
    return LaunchWithInput(std::move(argv), OpenPath("/dev/null", O_RDONLY).value(), out, err);
  }

  Result<Sandbox> LaunchWithInput(std::vector<std::string> argv, const Fd& in, const Fd& out,
                                  const Fd& err) {
    spec_.argv = std::move(argv);
    const Fd workspace = OpenPath(root_, O_RDONLY | O_DIRECTORY).value();
    const Fd scratch = OpenPath(scratch_, O_RDONLY | O_DIRECTORY).value();
    return Sandbox::Launch(spec_, SandboxFds{workspace, in, out, err, &scratch});
  }

  Result<Finished> Run(std::vector<std::string> argv) {
    const Fd out = MemoryFile();
    const Fd err = MemoryFile();
    Sandbox sandbox = TRY(Launch(std::move(argv), out, err));
    const Never never;
    const std::optional<Ending> ending = TRY(sandbox.Wait(never.read_end));
    return Finished{ending.value(), sandbox.guarantees(), Contents(out), Contents(err)};
  }

  Result<Finished> Bash(const std::string& script) { return Run({"bash", "-c", script}); }
  Result<Finished> Python(const std::string& script) { return Run({"python3", "-c", script}); }

 private:
  std::string root_;
  std::string scratch_;
  SandboxSpec spec_;
};

// Runs `body` in a child of another uid, as a user without privilege would.
inline void AsUser(uid_t uid, const std::function<void()>& body) {
  ::fflush(nullptr);
  const pid_t pid = ::fork();
  ASSERT_GE(pid, 0);
  if (pid == 0) {
    if (::setgroups(0, nullptr) != 0 || ::setresgid(uid, uid, uid) != 0 ||
        ::setresuid(uid, uid, uid) != 0) {
      ::_exit(2);
    }
    body();
    ::fflush(nullptr);
    ::_exit(testing::Test::HasFailure() ? 1 : 0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(pid, &status, 0), pid);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0)
      << "the part that runs as uid " << uid << " failed: status " << status;
}

// A test that holds in both tiers.
class TierTest : public testing::TestWithParam<Tier> {
 protected:
  void InTier(const std::function<void(World&)>& body) {
    World world;
    const bool privileged = IsPrivileged().value();
    if (GetParam() == Tier::kPrivileged) {
      REQUIRES(privileged, "needs CAP_SYS_ADMIN");
      body(world);
    } else if (::geteuid() == 0) {
      world.GiveTo(kUnprivilegedUid);
      AsUser(kUnprivilegedUid, [&] { body(world); });
    } else {
      body(world);
    }
  }
};

inline std::string TierName(const testing::TestParamInfo<Tier>& info) {
  return info.param == Tier::kPrivileged ? "Privileged" : "Rootless";
}

// The names in a directory; none when it has just gone.
inline std::vector<std::string> NamesIn(const std::string& path) {
  const Result<Fd> dir = OpenPath(path, O_RDONLY | O_DIRECTORY);
  if (!dir.ok()) return {};
  const Result<std::vector<std::string>> names = ListDir(dir.value(), 1'000'000);
  return names.ok() ? names.value() : std::vector<std::string>();
}

// The processes whose command line has `marker` in it.
inline std::vector<pid_t> FindProcesses(const std::string& marker) {
  std::vector<pid_t> found;
  for (const std::string& name : NamesIn("/proc")) {
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    const Result<Fd> file = OpenPath("/proc/" + name + "/cmdline", O_RDONLY);
    if (!file.ok()) continue;
    const Result<std::string> line = ReadAll(file.value(), 4UL << 20);
    if (!line.ok() || line.value().find(marker) == std::string::npos) continue;
    found.push_back(std::stoi(name));
  }
  return found;
}

inline void CollectCgroups(const std::string& path, const std::string& prefix,
                           std::vector<std::string>* found) {
  for (const std::string& name : NamesIn(path)) {
    struct stat status = {};
    const std::string child = fmt::format("{}/{}", path, name);
    if (::lstat(child.c_str(), &status) != 0 || !S_ISDIR(status.st_mode)) continue;
    if (name.starts_with(prefix)) found->push_back(child);
    CollectCgroups(child, prefix, found);
  }
}

// The cgroups of sandbox `id`, in every hierarchy.
inline std::vector<std::string> FindCgroupsOf(const std::string& id) {
  std::vector<std::string> found;
  CollectCgroups("/sys/fs/cgroup", id + ".", &found);
  return found;
}

}  // namespace bailiff
