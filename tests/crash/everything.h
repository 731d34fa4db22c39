#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <functional>
#include <string>

#include "tests/crash/tree_fixture.h"

namespace bailiff {

// A tree in which every kind of change can be made, and one change set that makes them all.
inline void MakeEverythingTree(const Tree& tree) {
  tree.File("a/one.txt", "one");
  tree.File("a/two.txt", "two");
  tree.File("a/deep/three.txt", "three");
  tree.File("a/deep/four.txt", "four");
  tree.File("gone/x.txt", "x", 0400);
  tree.File("gone/sub/y.txt", "y");
  tree.File("gone/sub/kept.txt", "kept");
  tree.Dir("gone/sub", 0750);
  tree.File("swap1", "first");
  tree.File("swap2", "second");
  for (const char* dir : {"c1", "c2", "c3"}) tree.File(std::string(dir) + "/f", dir);
  tree.File("becomes_file/in", "in");
  tree.File("becomes_dir", "file");
  tree.Symlink("link", "a/one.txt");
  tree.Symlink("link_that_goes", "a/two.txt");
  tree.Symlink("link_that_moves", "a/deep");
  tree.File("script.sh", "#!", 0644);
  tree.File("source", "moves away");
  tree.File("moving", "old content");
  tree.File("hard1", "shared");
  std::filesystem::create_hard_link(tree.Path("hard1"), tree.Path("hard2"));
  tree.File("pair1", "two names, one of which moves");
  std::filesystem::create_hard_link(tree.Path("pair1"), tree.Path("pair2"));
  tree.File("read_only/f", "f");
  tree.File("odd \n\xff name", "odd");
  tree.Dir("read_only", 0555);
}

inline ChangeSet EverythingSet(const Tree& tree, bool weak = false) {
  return Edits(tree, kCommitId, weak ? Stability::kWeak : Stability::kStrong)
      .Move("a", "b")
      .Modify("b/one.txt", "ONE", "a/one.txt")
      .Delete("a/two.txt")
      .Create("b/new.txt", "new in moved")
      .Move("a/deep/three.txt", "three.txt")
      .Metadata("b/deep", 0700, "a/deep")
      .Metadata("b/deep/four.txt", 0600, "a/deep/four.txt")
      .Move("gone/sub/kept.txt", "kept.txt")
      .Delete("gone")
      .Move("swap1", "swap2")
      .Move("swap2", "swap1")
      .Move("c1", "c2")
      .Move("c2", "c3")
      .Move("c3", "c1")
      .Delete("becomes_file")
      .Create("becomes_file", "now a file")
      .Delete("becomes_dir")
      .MakeDir("becomes_dir", 0711)
      .Create("becomes_dir/in", "in")
      .Retarget("link", "b/one.txt")
      .Delete("link_that_goes")
      .Move("link_that_moves", "b/deep/link_that_moved")
      .Move("pair2", "b/pair2")
      .Metadata("script.sh", 0755)
      .Move("source", "destination")
      .Create("source", "new at the source")
      .Move("moving", "moved")
      .Modify("moved", "new content", "moving")
      .Modify("hard1", "own")
      .Delete("read_only/f")
      .Create("read_only/g", "g")
      .Move("odd \n\xff name", "odder \x1b name")
      .MakeDir("new")
      .MakeDir("new/sub", 0555)
      .Create("new/sub/file", "nested", 0640)
      .Symlink("new/link", "../outside")
      .Link("new/other_name", "new/sub/file")
      .Build();
}

// Runs `body` in a child that kills itself at its n-th step. True when it got to its end instead.
inline bool SurvivesStep(int n, bool weak, const std::function<void(const CommitOptions&)>& body) {
  const pid_t child = ::fork();
  if (child == 0) {
    int steps = 0;
    CommitOptions options;
    options.assume_weak = weak;
    options.before_step = [&](std::string_view) {
      if (++steps == n) ::kill(::getpid(), SIGKILL);
    };
    body(options);
    ::_exit(0);
  }
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  const bool exited = WIFEXITED(status);
  EXPECT_EQ(exited ? WEXITSTATUS(status) : 0, 0);
  return exited;
}

}  // namespace bailiff
