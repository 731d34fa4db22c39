#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "sys/file.h"
#include "tests/support/requires.h"

// Ground::kFuse: a bindfs mount of a scratch folder, without extended attributes. bindfs knows no
// renameat2(2) flags. One mount for a whole test program, gone at its end.

namespace bailiff {

class FuseGround : public ::testing::Environment {
 public:
  void SetUp() override {
    dir_ = "/tmp/bailiff_fuse_" + std::to_string(::getpid());
    for (const char* name : {"/backing", "/mount"}) {
      std::filesystem::create_directories(dir_ + name);
    }
    const std::string mount = dir_ + "/mount";
    if (Run({"bindfs", "--xattr-none", dir_ + "/backing", mount}) != 0) return;
    ::setenv("BAILIFF_TEST_FUSE", mount.c_str(), 1);
  }
  void TearDown() override {
    if (std::getenv("BAILIFF_TEST_FUSE") != nullptr) {
      EXPECT_EQ(Run({"fusermount3", "-u", "-z", dir_ + "/mount"}), 0);
    }
    const Result<Fd> parent = OpenPath("/tmp", O_RDONLY | O_DIRECTORY);
    if (parent.ok()) (void)RemoveTree(parent.value(), std::filesystem::path(dir_).filename());
  }

 private:
  static int Run(const std::vector<std::string>& words) {
    const pid_t child = ::fork();
    if (child == 0) {
      std::vector<char*> argv;
      for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
      argv.push_back(nullptr);
      ::execvp(argv[0], argv.data());
      ::_exit(127);
    }
    int status = -1;
    return ::waitpid(child, &status, 0) == child && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

  std::string dir_;
};

// NOLINTNEXTLINE(cert-err58-cpp): GoogleTest owns it.
inline ::testing::Environment* const kFuseGround =
    ::testing::AddGlobalTestEnvironment(new FuseGround);

}  // namespace bailiff
