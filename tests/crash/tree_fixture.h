#pragma once

#include <algorithm>
#include <set>
#include <string>
#include <utility>

#include "base/sha256.h"
#include "changeset/model.h"
#include "journal/journal.h"
#include "tests/crash/tree.h"

// Change sets written by hand, to commit to a Tree.

namespace bailiff {

// A change set against the tree as it is, told by what a script did. Stages content as it goes.
class Edits {
 public:
  explicit Edits(const Tree& tree, std::string id = kCommitId)
      : tree_(tree),
        stability_(tree.ground() == Ground::kLocal ? Stability::kStrong : Stability::kWeak) {
    set_.id = std::move(id);
    EXPECT_THAT(EnsureDir(tree_.held(), "stage/" + set_.id, 0755), IsOk());
  }

  Edits& Create(const std::string& path, const std::string& content, mode_t mode = 0644) {
    Change change = Make(ChangeOp::kCreate, EntryType::kFile, path);
    change.mode = mode;
    Stage(content, &change);
    return Add(std::move(change));
  }
  Edits& MakeDir(const std::string& path, mode_t mode = 0755) {
    Change change = Make(ChangeOp::kCreate, EntryType::kDir, path);
    change.mode = mode;
    return Add(std::move(change));
  }
  Edits& Symlink(const std::string& path, const std::string& target) {
    Change change = Make(ChangeOp::kCreate, EntryType::kSymlink, path);
    change.link_target = target;
    change.mode = 0777;
    change.size = static_cast<std::int64_t>(target.size());
    return Add(std::move(change));
  }
  Edits& Link(const std::string& path, const std::string& link_to) {
    Change change = Make(ChangeOp::kCreate, EntryType::kFile, path);
    change.link_to = link_to;
    change.mode = 0644;
    return Add(std::move(change));
  }
  Edits& Modify(const std::string& path, const std::string& content, const std::string& from = "") {
    Change change = Make(ChangeOp::kModify, EntryType::kFile, path);
    change.from = from;
    change.base = Base(change.base_path());
    change.mode = change.base->mode;
    Stage(content, &change);
    return Add(std::move(change));
  }
  Edits& Retarget(const std::string& path, const std::string& target) {
    Change change = Make(ChangeOp::kModify, EntryType::kSymlink, path);
    change.base = Base(path);
    change.link_target = target;
    return Add(std::move(change));
  }
  Edits& Metadata(const std::string& path, mode_t mode, const std::string& from = "") {
    Change change = Make(ChangeOp::kMetadata, EntryType::kFile, path);
    change.from = from;
    change.base = Base(change.base_path());
    change.type = change.base->type;
    change.size = change.base->size;
    change.mode = mode;
    change.sets_mtime = change.type != EntryType::kDir;
    return Add(std::move(change));
  }
  Edits& Move(const std::string& from, const std::string& to) {
    Change change = Make(ChangeOp::kMove, EntryType::kFile, to);
    change.from = from;
    change.base = Base(from);
    change.type = change.base->type;
    if (change.type == EntryType::kDir) {
      change.base->tree_sha256 = TreeDigest(ListTree(tree_.workspace(), from).value(), stability_);
    }
    moved_.insert(from);
    return Add(std::move(change));
  }
  // With everything below it that did not move away. Say the moves first.
  Edits& Delete(const std::string& path) {
    const std::optional<Identity> base = Base(path);
    if (base->type == EntryType::kDir) {
      for (const TreeEntry& entry : ListTree(tree_.workspace(), path).value()) {
        AddDelete(JoinPath(path, entry.path));
      }
    }
    AddDelete(path);
    return *this;
  }

  ChangeSet Build() {
    SortCanonically(&set_);
    return set_;
  }

 private:
  Change Make(ChangeOp op, EntryType type, const std::string& path) const {
    Change change;
    change.op = op;
    change.type = type;
    change.path = path;
    change.mtime_ns = kNewTime;
    return change;
  }
  Edits& Add(Change change) {
    set_.changes.push_back(std::move(change));
    return *this;
  }
  std::optional<Identity> Base(const std::string& path) const {
    std::optional<Identity> base = IdentityBeneath(tree_.workspace(), path).value();
    EXPECT_TRUE(base.has_value()) << path;
    if (base->type == EntryType::kFile) {
      base->sha256 = HashBeneath(tree_.workspace(), path).value();
    }
    return base;
  }
  void AddDelete(const std::string& path) {
    const bool goes_elsewhere = std::any_of(moved_.begin(), moved_.end(), [&](const auto& moved) {
      return path == moved || IsBelow(path, moved);
    });
    if (goes_elsewhere) return;
    Change change = Make(ChangeOp::kDelete, EntryType::kFile, path);
    change.base = Base(path);
    change.type = change.base->type;
    change.mtime_ns = 0;
    Add(std::move(change));
  }
  void Stage(const std::string& content, Change* change) {
    const std::string path = "stage/" + set_.id + "/" + std::to_string(staged_++);
    Tree::FileIn(tree_.held(), path, content, change->mode, change->mtime_ns);
    const struct stat root = Stat(tree_.workspace()).value();
    const Entry entry = OpenParent(tree_.held(), path).value();
    ASSERT_THAT(SetOwner(entry, root.st_uid, root.st_gid), IsOk());
    ASSERT_THAT(SetMode(OpenEntry(entry, O_PATH).value(), change->mode), IsOk());
    change->content.path = path;
    change->content.identity = *IdentityBeneath(tree_.held(), path).value();
    change->sha256 = Sha256::Of(content);
    change->size = static_cast<std::int64_t>(content.size());
  }

  const Tree& tree_;
  const Stability stability_;
  ChangeSet set_;
  std::set<std::string> moved_;
  int staged_ = 0;
};

inline CommitOptions OptionsFor(const Tree& tree) {
  CommitOptions options;
  options.assume_weak = tree.ground() == Ground::kWeak;
  return options;
}

inline Result<CommitReport> CommitAll(const Tree& tree, const ChangeSet& set,
                                      const CommitOptions& options = {}) {
  return Commit(tree.dirs(), set, Digest(set), options);
}

// A tree of the test's own to commit to.
class CommitFixture : public ::testing::Test {
 protected:
  CommitFixture() : tree_(Dir() + "_own") {}

  static std::string Dir() { return ScratchDir("commit_test"); }

  void Committed(const Result<CommitReport>& report) {
    ASSERT_THAT(report, IsOk());
    ASSERT_EQ(report.value().problems, std::vector<PathProblem>());
    ASSERT_EQ(report.value().outcome, CommitOutcome::kCommitted);
    EXPECT_EQ(tree_.Private("stage"), "");
    EXPECT_EQ(NeedsRecovery(tree_.journal()).value(), false);
  }

  const Tree tree_;
};

}  // namespace bailiff
