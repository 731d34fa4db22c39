#include <iostream>
#include <map>
#include <memory>

#include "tests/crash/everything.h"
#include "tests/crash/syscall_faults.h"
#include "tests/support/sample.h"

// Every use of the journal, with every one of its system calls killed, failing or cut short in
// turn. After recovery the tree is the one before or the one after (security model, I1 to I8): each
// byte of it (I2) and nothing else (I8), as the journal says (I4); after only if it may be, and
// surely if the caller was told so (I5, I6); nothing of ours left over (I3); and a second recovery
// changes nothing (I7).

namespace bailiff {
namespace {

constexpr int kRefused = 10;  // Exit status of a call that ended in an error; its code is added.

int ExitStatusOf(const Result<CommitReport>& report) {
  if (!report.ok()) return kRefused + static_cast<int>(report.error().code());
  return static_cast<int>(report.value().outcome);
}

int ExitStatusOf(const Status& status) {
  return status.ok() ? 0 : kRefused + static_cast<int>(status.error().code());
}

constexpr int kCommitted = static_cast<int>(CommitOutcome::kCommitted);
constexpr int kConflict = static_cast<int>(CommitOutcome::kConflict);

// One use of the journal: a tree, what is done to it under a fault, and what may come of it.
class Scene {
 public:
  explicit Scene(bool weak, const char* name = "crash_syscalls")
      : tree_(ScratchDir(name), weak ? Ground::kWeak : Ground::kLocal) {
    options_.assume_weak = weak;
    MakeEverythingTree(tree_);
    tree_.File("untouched/file", "nobody changes this");
    set_ = EverythingSet(tree_);
  }
  virtual ~Scene() = default;
  Scene(const Scene&) = delete;
  Scene& operator=(const Scene&) = delete;

  virtual int Act() = 0;       // In the child.
  virtual void Meanwhile() {}  // When the child sends itself SIGUSR1.

  // After recovery. `status` is that of Act(), -1 when it was killed.
  virtual void Check(int status) = 0;

  // Whether what Act() syncs has to be on disk for what comes after it.
  virtual bool NeedsItsSyncs() const { return true; }

  const Tree& tree() const { return tree_; }
  const CommitOptions& options() const { return options_; }

 protected:
  Tree tree_;
  CommitOptions options_;
  ChangeSet set_;
};

std::string AfterEverything(bool weak) {
  static std::map<bool, std::string> known;
  if (known.contains(weak)) return known[weak];
  class Plain : public Scene {
   public:
    using Scene::Scene;
    int Act() override { return ExitStatusOf(CommitAll(tree_, set_, options_)); }
    void Check(int /*status*/) override {}
  };
  Plain scene(weak, "crash_syscalls_after");
  EXPECT_EQ(scene.Act(), kCommitted);
  return known[weak] = scene.tree().Snapshot();
}

void CheckNothingStaged(const Tree& tree) {
  EXPECT_EQ(tree.Private("stage"), "");
  EXPECT_THAT(tree.Private("undo"), ::testing::Not(::testing::HasSubstr(".new")));
}

// Whichever of the two it is, all that is kept agrees with it.
class CommitScene : public Scene {
 public:
  explicit CommitScene(bool weak) : Scene(weak) {
    before_ = tree_.Snapshot();
    after_ = AfterEverything(weak);
  }

  int Act() override { return ExitStatusOf(CommitAll(tree_, set_, options_)); }

  void Check(int status) override {
    const auto report = ReportOf(tree_.journal(), id());
    ASSERT_THAT(report, IsOk());
    const bool committed =
        report.value().has_value() && report.value()->outcome == CommitOutcome::kCommitted;
    const bool undone =
        report.value().has_value() && report.value()->outcome == CommitOutcome::kConflict;
    ASSERT_TRUE(committed || undone || !report.value().has_value()) << "needs attention";
    EXPECT_EQ(tree_.Snapshot(), committed ? after_ : before_);
    EXPECT_TRUE(committed || status != kCommitted) << "acknowledged, and lost";
    EXPECT_NE(status, kConflict);
    if (committed) {
      CheckNothingStaged(tree_);
      return;
    }
    EXPECT_THAT(tree_.Private("undo"), ::testing::Not(::testing::HasSubstr(id())));
    EXPECT_THAT(tree_.Private("stage"), ::testing::Not(::testing::HasSubstr("new-")));
    EXPECT_THAT(tree_.Private("stage"), ::testing::Not(::testing::HasSubstr("link-")));
    // What was staged is whole: it can be tried again.
    ASSERT_EQ(Again(), kCommitted);
    EXPECT_EQ(tree_.Snapshot(), after_);
    CheckNothingStaged(tree_);
  }

 protected:
  // Another writer, when the commit sends itself SIGUSR1, changes a file: all is undone.
  int CommitAndMeetAnother() {
    CommitOptions options = options_;
    const std::string moment = options_.assume_weak ? "replace hard1" : "exchange hard1";
    options.before_step = [moment](std::string_view step) {
      if (step == moment) ::raise(SIGUSR1);
    };
    return ExitStatusOf(CommitAll(tree_, set_, options));
  }
  void BeAnother() const { tree_.File("script.sh", "theirs", 0644, kOldTime); }

  virtual int Again() { return CommitScene::Act(); }
  virtual std::string id() const { return kCommitId; }

  std::string before_;
  std::string after_;
};

class RollbackScene : public CommitScene {
 public:
  explicit RollbackScene(bool weak) : CommitScene(weak) {
    EXPECT_EQ(CommitScene::Act(), kCommitted);
    std::swap(before_, after_);
  }
  int Act() override {
    const Result<Rollback> rollback = BuildRollback(tree_.dirs(), kCommitId, kRollbackId);
    if (!rollback.ok()) return kRefused + static_cast<int>(rollback.error().code());
    for (const PathProblem& problem : rollback.value().conflicts) {
      std::cerr << "rollback: " << problem.path << ": " << problem.reason << "\n";
    }
    if (!rollback.value().conflicts.empty()) return kConflict;
    return ExitStatusOf(CommitAll(tree_, rollback.value().set, options_));
  }

 protected:
  int Again() override { return RollbackScene::Act(); }
  std::string id() const override { return kRollbackId; }
};

// Another writer changes a file at the last moment, so that all is undone.
class UndoScene : public CommitScene {
 public:
  explicit UndoScene(bool weak) : CommitScene(weak) {}
  int Act() override { return CommitAndMeetAnother(); }
  void Meanwhile() override {
    BeAnother();
    interfered_ = true;
  }
  void Check(int status) override {
    const auto report = ReportOf(tree_.journal(), kCommitId);
    ASSERT_THAT(report, IsOk());
    if (!interfered_) return CommitScene::Check(status);
    EXPECT_NE(status, kCommitted);
    if (report.value().has_value()) {
      EXPECT_EQ(report.value()->outcome, CommitOutcome::kConflict);
    } else {
      // The disk was full before the conflict was met: all is undone, and a second try meets it.
      EXPECT_EQ(status, kRefused + static_cast<int>(ErrorCode::kResourceExhausted));
      EXPECT_EQ(CommitScene::Act(), kConflict);
    }
    tree_.File("script.sh", "#!", 0644, kOldTime);
    EXPECT_EQ(tree_.Snapshot(), before_);
    EXPECT_EQ(tree_.Private("undo"), "");
    EXPECT_THAT(tree_.Private("stage"), ::testing::Not(::testing::HasSubstr("new-")));
  }

 private:
  bool interfered_ = false;
};

// A commit that is tried again after an attempt that was undone.
class RetryScene : public CommitScene {
 public:
  explicit RetryScene(bool weak) : CommitScene(weak) {
    RunWithFault(
        {}, [&] { return CommitAndMeetAnother(); }, [&] { BeAnother(); });
    tree_.File("script.sh", "#!", 0644, kOldTime);
    EXPECT_EQ(tree_.Snapshot(), before_);
  }
};

// Recovery of a commit that was killed at its n-th call.
class RecoveryScene : public CommitScene {
 public:
  RecoveryScene(bool weak, std::size_t killed_at) : CommitScene(weak) {
    RunWithFault({FaultKind::kKill, killed_at, 0}, [&] { return CommitScene::Act(); });
  }
  int Act() override {
    const auto reports = Recover(tree_.dirs(), options_);
    if (!reports.ok()) return kRefused + static_cast<int>(reports.error().code());
    return reports.value().empty() ? kConflict : ExitStatusOf(reports.value().front());
  }
  // Nothing to recover is no conflict.
  void Check(int status) override { CommitScene::Check(status == kConflict ? -1 : status); }
};

// A change set is held: its content is made durable, and the tree is left alone.
class HoldScene : public CommitScene {
 public:
  using CommitScene::CommitScene;
  int Act() override { return ExitStatusOf(SyncStaged(tree_.dirs(), set_, Staged::kKnown)); }
  void Check(int /*status*/) override {
    EXPECT_EQ(tree_.Snapshot(), before_);
    ASSERT_EQ(CommitScene::Act(), kCommitted);
    EXPECT_EQ(tree_.Snapshot(), after_);
  }
};

class DiscardScene : public CommitScene {
 public:
  using CommitScene::CommitScene;
  bool NeedsItsSyncs() const override { return false; }
  int Act() override { return ExitStatusOf(DiscardStaged(tree_.dirs(), kCommitId)); }
  void Check(int status) override {
    EXPECT_EQ(tree_.Snapshot(), before_);
    EXPECT_TRUE(status != 0 || tree_.Private("stage").empty());
    EXPECT_EQ(Act(), 0);
    EXPECT_EQ(tree_.Private("stage"), "");
  }
};

// `gc` forgets a commit: what it displaced and its journal go, the tree stays.
class ForgetScene : public CommitScene {
 public:
  explicit ForgetScene(bool weak) : CommitScene(weak) { EXPECT_EQ(CommitScene::Act(), kCommitted); }
  bool NeedsItsSyncs() const override { return false; }
  int Act() override { return ExitStatusOf(Forget(tree_.dirs(), kCommitId)); }
  void Check(int status) override {
    EXPECT_EQ(tree_.Snapshot(), after_);
    ASSERT_TRUE(status == 0 || Act() == 0);
    EXPECT_EQ(tree_.Private("undo"), "");
    EXPECT_THAT(ReportOf(tree_.journal(), kCommitId).value(), ::testing::Eq(std::nullopt));
  }
};

// One of Bailiff's own records in the workspace is replaced.
class RecordScene : public CommitScene {
 public:
  static constexpr const char* kPath = "untouched/logs/record.json";
  explicit RecordScene(bool weak) : CommitScene(weak) {
    EXPECT_THAT(WriteRecord(tree_.workspace(), kPath, "old"), IsOk());
    tree_.SetTime(kPath, kOldTime);
    before_ = tree_.Snapshot();
  }
  bool NeedsItsSyncs() const override { return false; }
  int Act() override { return ExitStatusOf(WriteRecord(tree_.workspace(), kPath, "a new one")); }
  void Check(int status) override {
    const std::string content = tree_.Content(kPath);
    EXPECT_TRUE(content == "a new one" || (status != 0 && content == "old")) << content;
    EXPECT_THAT(tree_.Private(""), ::testing::Not(::testing::HasSubstr("record-")));
    EXPECT_EQ(Act(), 0);
    EXPECT_EQ(tree_.Content(kPath), "a new one");
    tree_.File(kPath, "old", 0644, kOldTime);
    EXPECT_EQ(tree_.Snapshot(), before_);
  }
};

using MakeScene = std::function<std::unique_ptr<Scene>()>;

void RecoverTwice(const Scene& scene) {
  ASSERT_THAT(Recover(scene.tree().dirs(), scene.options()), IsOk());
  EXPECT_EQ(NeedsRecovery(scene.tree().journal()).value(), false);
  const std::string once = scene.tree().Snapshot();
  const std::string kept = scene.tree().Private("");
  const auto again = Recover(scene.tree().dirs(), scene.options());
  ASSERT_THAT(again, IsOk());
  EXPECT_TRUE(again.value().empty());
  EXPECT_EQ(scene.tree().Snapshot(), once);
  EXPECT_EQ(scene.tree().Private(""), kept);
}

// A sync that failed is never tried again as if nothing had been lost: until the machine was
// restarted there is no commit and no recovery.
void CheckQuarantine(const Scene& scene, bool lost) {
  const std::string mark = scene.tree().JournalPath("quarantine");
  const std::string file = mark.substr(0, mark.rfind(".journal"));
  const bool marked = std::filesystem::exists(std::filesystem::symlink_status(file));
  EXPECT_TRUE(marked || !lost) << "a sync failed, and all went on";
  if (!marked) return;
  const std::string before = scene.tree().Snapshot();
  EXPECT_THAT(Recover(scene.tree().dirs(), scene.options()), FailsWith(ErrorCode::kIo));
  EXPECT_EQ(NeedsRecovery(scene.tree().journal()).value(), true);
  EXPECT_EQ(scene.tree().Snapshot(), before);
  std::filesystem::remove(file);  // It may be a link.
  std::ofstream(file) << "another boot\nreason";
}

// What a fault must come to, before anything is recovered.
void CheckStatus(const Fault& fault, const Traced& traced, int undisturbed) {
  const bool struck = fault.nth < traced.calls.size();
  switch (fault.kind) {
    case FaultKind::kKill:
      EXPECT_EQ(traced.killed, struck);
      return;
    case FaultKind::kFail:
      EXPECT_GE(traced.exit_status, 0);
      EXPECT_NE(traced.exit_status, kRefused + static_cast<int>(ErrorCode::kInternal));
      EXPECT_TRUE(fault.sys_errno != EINTR || traced.exit_status == undisturbed)
          << traced.exit_status;
      return;
    case FaultKind::kNone:
    case FaultKind::kShort:
      EXPECT_EQ(traced.exit_status, undisturbed);
      return;
  }
}

void TryFault(const MakeScene& make, const Fault& fault, int undisturbed) {
  const std::unique_ptr<Scene> scene = make();
  const Traced traced = RunWithFault(
      fault, [&] { return scene->Act(); }, [&] { scene->Meanwhile(); });
  const std::string name = fault.nth < traced.calls.size() ? traced.calls[fault.nth] : "none";
  SCOPED_TRACE("call " + std::to_string(fault.nth) + ", " + name);
  CheckStatus(fault, traced, undisturbed);
  const bool syncs = IsSync(name);
  const bool fails = fault.kind == FaultKind::kFail && fault.sys_errno != EINTR;
  CheckQuarantine(*scene, syncs && fails && scene->NeedsItsSyncs());
  ASSERT_NO_FATAL_FAILURE(RecoverTwice(*scene));
  scene->Check(traced.exit_status);
}

struct Trouble {
  const char* name;
  FaultKind kind;
  int sys_errno;
  bool lasts = false;
};

constexpr std::array kTroubles = {
    Trouble{"killed", FaultKind::kKill, 0},
    Trouble{"EIO", FaultKind::kFail, EIO},
    Trouble{"ENOSPC", FaultKind::kFail, ENOSPC},
    Trouble{"EDQUOT", FaultKind::kFail, EDQUOT},
    Trouble{"EINTR", FaultKind::kFail, EINTR},
    Trouble{"short", FaultKind::kShort, 0},
    Trouble{"EIO for good", FaultKind::kFail, EIO, true},
};

// How many of a scene's points the sample has, for each trouble.
constexpr std::size_t kSampled = 12;

void Sweep(const std::string& what, const MakeScene& make, std::size_t sampled = kSampled) {
  const std::unique_ptr<Scene> scene = make();
  const Traced calm = RunWithFault(
      {}, [&] { return scene->Act(); }, [&] { scene->Meanwhile(); });
  ASSERT_FALSE(calm.killed);
  ASSERT_FALSE(calm.calls.empty());
  for (const Trouble& trouble : kTroubles) {
    SCOPED_TRACE(what + ", " + trouble.name);
    const Sample sample(what + ", " + trouble.name, calm.calls.size(), sampled);
    for (std::size_t n = 0; n < calm.calls.size(); ++n) {
      const bool writes = calm.calls[n] == "write" || calm.calls[n] == "pwrite64";
      const bool makes_a_file = calm.calls[n] == "openat";
      const bool few = writes || makes_a_file || trouble.lasts;
      if (!sample.Has(n) && !few) continue;
      if (trouble.kind == FaultKind::kShort && !writes) continue;
      if (trouble.lasts && !IsSync(calm.calls[n])) continue;
      TryFault(make, {trouble.kind, n, trouble.sys_errno, trouble.lasts}, calm.exit_status);
      if (::testing::Test::HasFatalFailure()) return;
    }
  }
}

class SyscallCrashTest : public ::testing::TestWithParam<bool> {
 protected:
  template <typename SceneType>
  static MakeScene Make() {
    return [] { return std::make_unique<SceneType>(GetParam()); };
  }
};
INSTANTIATE_TEST_SUITE_P(Strong, SyscallCrashTest, ::testing::Values(false));
INSTANTIATE_TEST_SUITE_P(Weak, SyscallCrashTest, ::testing::Values(true));

TEST_P(SyscallCrashTest, ACommitIsAllOrNothing) {
  Sweep("commit", Make<CommitScene>());
}

TEST_P(SyscallCrashTest, ARollbackIsAllOrNothing) {
  Sweep("rollback", Make<RollbackScene>());
}

TEST_P(SyscallCrashTest, AnUndoPutsEverythingBack) {
  Sweep("undo", Make<UndoScene>());
}

TEST_P(SyscallCrashTest, ASecondTryIsAllOrNothingToo) {
  Sweep("second try", Make<RetryScene>());
}

TEST_P(SyscallCrashTest, HoldingLosesNothing) {
  Sweep("hold", Make<HoldScene>());
}

TEST_P(SyscallCrashTest, DiscardingTouchesNothingElse) {
  Sweep("discard", Make<DiscardScene>());
}

TEST_P(SyscallCrashTest, ForgettingTouchesNothingElse) {
  Sweep("forget", Make<ForgetScene>());
}

TEST_P(SyscallCrashTest, ARecordIsTheOldOrTheNew) {
  Sweep("record", Make<RecordScene>());
}

TEST_P(SyscallCrashTest, RecoveryIsAllOrNothingTooWhereverItAndTheCommitDied) {
  CommitScene commit(GetParam());
  const std::size_t calls = RunWithFault({}, [&] { return commit.Act(); }).calls.size();
  const std::size_t stride = RunsWhole() ? 53 : calls / 4;
  for (std::size_t at = SampleSeed() % stride; at < calls; at += stride) {
    const bool weak = GetParam();
    Sweep(
        "recovery of a commit killed at call " + std::to_string(at),
        [weak, at] { return std::make_unique<RecoveryScene>(weak, at); }, kSampled / 3);
    if (HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace bailiff
