#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <array>
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
  // Without links it cannot be put back as the same file.
  if (tree.ground() != Ground::kWeak) tree.HardLink("hard1", "hard2");
  tree.File("pair1", "two names, one of which moves");
  if (tree.ground() != Ground::kWeak) {
    tree.HardLink("pair1", "pair2");
  } else {
    tree.File("pair2", "two names, one of which moves");
  }
  tree.File("read_only/f", "f");
  tree.File("odd \n\xff name", "odd");
  tree.Dir("read_only", 0555);
}

// What can be changed there, in groups that stand for themselves, in the order to say them in.
using EditGroup = void (*)(Edits* edits);
inline constexpr std::array<EditGroup, 15> kEditGroups = {
    [](Edits* edits) {
      edits->Move("a", "b")
          .Modify("b/one.txt", "ONE", "a/one.txt")
          .Delete("a/two.txt")
          .Create("b/new.txt", "new in moved")
          .Move("a/deep/three.txt", "three.txt")
          .Metadata("b/deep", 0700, "a/deep")
          .Metadata("b/deep/four.txt", 0600, "a/deep/four.txt");
    },
    [](Edits* edits) { edits->Move("gone/sub/kept.txt", "kept.txt").Delete("gone"); },
    [](Edits* edits) { edits->Move("swap1", "swap2").Move("swap2", "swap1"); },
    [](Edits* edits) { edits->Move("c1", "c2").Move("c2", "c3").Move("c3", "c1"); },
    [](Edits* edits) { edits->Delete("becomes_file").Create("becomes_file", "now a file"); },
    [](Edits* edits) {
      edits->Delete("becomes_dir").MakeDir("becomes_dir", 0711).Create("becomes_dir/in", "in");
    },
    [](Edits* edits) {
      edits->Retarget("link", "b/one.txt")
          .Delete("link_that_goes")
          .Move("link_that_moves", "link_that_moved");
    },
    [](Edits* edits) { edits->Move("pair2", "pair_moved"); },
    [](Edits* edits) { edits->Metadata("script.sh", 0755); },
    [](Edits* edits) {
      edits->Move("source", "destination").Create("source", "new at the source");
    },
    [](Edits* edits) { edits->Move("moving", "moved").Modify("moved", "new content", "moving"); },
    [](Edits* edits) { edits->Modify("hard1", "own"); },
    [](Edits* edits) { edits->Delete("read_only/f").Create("read_only/g", "g"); },
    [](Edits* edits) { edits->Move("odd \n\xff name", "odder \x1b name"); },
    [](Edits* edits) {
      edits->MakeDir("new")
          .MakeDir("new/sub", 0555)
          .Create("new/sub/file", "nested", 0640)
          .Symlink("new/link", "../outside")
          .Link("new/other_name", "new/sub/file");
    },
};

inline ChangeSet EverythingSet(const Tree& tree) {
  Edits edits(tree);
  for (const EditGroup group : kEditGroups) group(&edits);
  return edits.Build();
}

// Runs `body` in a child that kills itself at its n-th step. True when it got to its end instead.
inline bool SurvivesStep(const Tree& tree, int n,
                         const std::function<void(const CommitOptions&)>& body) {
  const pid_t child = ::fork();
  if (child == 0) {
    int steps = 0;
    CommitOptions options = OptionsFor(tree);
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
