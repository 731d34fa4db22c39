#include <cstdlib>
#include <iostream>

#include "tests/crash/everything.h"
#include "tests/crash/sim_fs.h"
#include "tests/support/sample.h"

// Power cuts in every order in which a disk may have got what was not synced: the journal runs as
// it is on a SimFs, the power is cut at a random moment, recovery runs on what may be left (and may
// itself be cut), and the invariants are checked.

namespace bailiff {
namespace {

constexpr const char* kTree = "/sim/tree/t";
constexpr const char* kState = "/sim/state/t";
constexpr const char* kRecordPath = "Database/script_execution_logs/exec.json";
constexpr uid_t kOwner = 1000;
constexpr gid_t kTeam = 2000;

constexpr std::uint64_t kImagesFull = 20'000;
constexpr std::uint64_t kImagesSample = 1'000;
constexpr int kImagesPerStory = 10;
constexpr int kRecoveriesMax = 3;  // The last one is not cut short.

std::uint64_t WantedImages() {
  // NOLINTNEXTLINE(concurrency-mt-unsafe): one thread.
  const char* text = std::getenv("BAILIFF_SIM_IMAGES");
  if (text != nullptr) return std::strtoull(text, nullptr, 10);
  return RunsWhole() ? kImagesFull : kImagesSample;
}

// A disk with the workspace on it, in use until the next one is made.
class Mounted {
 public:
  Mounted(SimDisk disk, Ground ground) : fs_(std::move(disk)) {
    UseSimFs(&fs_);
    tree_.emplace(kTree, kState, ground, Tree::AlreadyThere::kYes);
  }
  const Tree& tree() const { return *tree_; }
  const SimFs& fs() const { return fs_; }
  std::size_t now() const { return fs_.log().size(); }

 private:
  SimFs fs_;
  std::optional<Tree> tree_;
};

enum class What : std::uint8_t { kCommit, kRollback, kUndo, kHold, kRecord };
constexpr int kWhats = 5;

// What was done on one disk, up to its end, and what may be found after a cut.
struct Story {
  What what = What::kCommit;
  SimModel model = SimModel::kOrdered;
  CommitOptions options;
  ChangeSet set;
  std::unique_ptr<Mounted> run;
  std::string before;
  std::string after;
  std::string theirs;         // kUndo: `before`, with what another writer wrote.
  std::size_t decided = 0;    // By log entry: from here on, after a cut it is as after.
  std::size_t wrote = 0;      // kUndo: while the other writer writes, up to
  std::size_t wrote_end = 0;  // its sync.
  std::string told;           // For a failure.
};

Ground GroundOf(const Story& story) {
  return story.options.assume_weak ? Ground::kWeak : Ground::kLocal;
}

void Own(const Tree& tree, const std::string& path, uid_t uid, gid_t gid) {
  ASSERT_THAT(SetOwner(OpenParent(tree.workspace(), path).value(), uid, gid), IsOk());
}

SimDisk EverythingDisk(Ground ground) {
  SimFs fs(EmptySimDisk());
  UseSimFs(&fs);
  const Tree tree(kTree, kState, ground);
  MakeEverythingTree(tree);
  tree.Dir("shared", 02775);
  Own(tree, "shared", kOwner, kTeam);
  Own(tree, "script.sh", kOwner, kOwner);
  const Entry top{OpenPath(kTree, O_RDONLY).value(), "ws"};
  EXPECT_THAT(SetOwner(top, kOwner, kOwner), IsOk());
  return fs.live();
}

// More than are synced one by one.
void MakeMany(Edits* edits) {
  edits->MakeDir("many");
  for (int i = 0; i < 20; ++i) edits->Create("many/" + std::to_string(i), "content");
}

void MakeShared(Edits* edits) {
  edits->Create("shared/file", "inherits").MakeDir("shared/dir").Create("shared/dir/in", "in");
}

// A random part of all that can be changed there.
ChangeSet SomeEdits(const Tree& tree, std::mt19937_64* random) {
  std::vector<EditGroup> groups(kEditGroups.begin(), kEditGroups.end());
  groups.push_back(MakeShared);
  groups.push_back(MakeMany);
  constexpr std::array<double, 3> kShares = {0.1, 0.4, 1};
  std::bernoulli_distribution takes(kShares[(*random)() % kShares.size()]);
  for (;;) {
    Edits edits(tree);
    for (const EditGroup group : groups) {
      if (takes(*random)) group(&edits);
    }
    ChangeSet set = edits.Build();
    if (!set.changes.empty()) return set;
  }
}

void WriteTheirs(const Tree& tree) {
  tree.File("script.sh", "theirs", 0644, kOldTime);
  const Entry entry = OpenParent(tree.workspace(), "script.sh").value();
  ASSERT_THAT(Fsync(OpenEntry(entry, O_RDONLY).value()), IsOk());
}

void CommitWell(const Story& story, const Tree& tree) {
  const Result<CommitReport> report = CommitAll(tree, story.set, story.options);
  ASSERT_THAT(report, IsOk());
  ASSERT_EQ(report.value().problems, std::vector<PathProblem>());
}

// The set made real on a copy of the disk.
std::string AfterCommit(const Story& story, const SimDisk& disk) {
  const Mounted mounted(disk, GroundOf(story));
  CommitWell(story, mounted.tree());
  return mounted.tree().Snapshot();
}

std::string SnapshotOf(const Story& story, const SimDisk& disk) {
  return Mounted(disk, GroundOf(story)).tree().Snapshot();
}

void TellCommit(Story* story, const SimDisk& disk) {
  story->before = SnapshotOf(*story, disk);
  story->after = AfterCommit(*story, disk);
  story->run = std::make_unique<Mounted>(disk, GroundOf(*story));
  Story& told = *story;
  CommitOptions options = story->options;
  options.before_step = [&told](std::string_view step) {
    if (step == "open undo directory") told.decided = told.run->now();
  };
  ASSERT_THAT(CommitAll(story->run->tree(), story->set, options), IsOk());
}

void TellRollback(Story* story, const SimDisk& disk) {
  const Mounted committed(disk, GroundOf(*story));
  CommitWell(*story, committed.tree());
  Result<Rollback> rollback = BuildRollback(committed.tree().dirs(), kCommitId, kRollbackId);
  ASSERT_THAT(rollback, IsOk());
  ASSERT_EQ(rollback.value().conflicts, std::vector<PathProblem>());
  story->set = std::move(rollback.value().set);
  story->options.rolls_back = kCommitId;
  TellCommit(story, committed.fs().live());
}

void TellUndo(Story* story, const SimDisk& disk) {
  story->before = SnapshotOf(*story, disk);
  story->after = AfterCommit(*story, disk);
  {
    const Mounted theirs(disk, GroundOf(*story));
    WriteTheirs(theirs.tree());
    story->theirs = theirs.tree().Snapshot();
  }
  story->run = std::make_unique<Mounted>(disk, GroundOf(*story));
  Story& told = *story;
  const std::string moment = story->options.assume_weak ? "replace hard1" : "exchange hard1";
  CommitOptions options = story->options;
  options.before_step = [&told, &moment](std::string_view step) {
    if (step == "open undo directory") told.decided = told.run->now();
    if (step != moment) return;
    told.wrote = told.run->now();
    WriteTheirs(told.run->tree());
    told.wrote_end = told.run->now();
  };
  const Result<CommitReport> report = CommitAll(story->run->tree(), story->set, options);
  ASSERT_THAT(report, IsOk());
  ASSERT_EQ(report.value().outcome, CommitOutcome::kConflict);
}

// What a held change set brings is staged and synced; it is committed later.
void TellHold(Story* story, SimDisk disk, std::uint64_t seed) {
  story->run = std::make_unique<Mounted>(std::move(disk), GroundOf(*story));
  const Tree& tree = story->run->tree();
  std::mt19937_64 random(seed);
  story->before = tree.Snapshot();
  story->set = SomeEdits(tree, &random);
  ASSERT_THAT(SyncStaged(tree.dirs(), story->set, Staged::kKnown), IsOk());
  const std::size_t end = story->run->now();
  story->decided = end;
  story->after = AfterCommit(*story, story->run->fs().live());
}

void TellRecord(Story* story, SimDisk disk, bool replaces) {
  const Mounted first(std::move(disk), GroundOf(*story));
  if (replaces) {
    ASSERT_THAT(WriteRecord(first.tree().workspace(), kRecordPath, "old record"), IsOk());
  }
  story->before = replaces ? "old record" : "";
  story->after = "new record, and longer";
  story->run = std::make_unique<Mounted>(first.fs().live(), GroundOf(*story));
  ASSERT_THAT(WriteRecord(story->run->tree().workspace(), kRecordPath, story->after), IsOk());
  story->decided = story->run->now();
}

void TellStory(std::uint64_t seed, Story* story) {
  static const SimDisk local = EverythingDisk(Ground::kLocal);
  static const SimDisk weak_disk = EverythingDisk(Ground::kWeak);
  std::mt19937_64 random(seed);
  story->what = static_cast<What>(random() % kWhats);
  story->model = random() % 3 == 0 ? SimModel::kOrdered : SimModel::kAny;
  story->options.assume_weak = random() % 4 == 0;
  const bool weak = story->options.assume_weak;
  const SimDisk& everything = weak ? weak_disk : local;
  story->told = std::string("story ") + std::to_string(seed) + ": " +
                std::array{"commit", "rollback", "undo", "hold", "record"}.at(
                    static_cast<std::size_t>(story->what)) +
                (weak ? ", weak" : "") +
                (story->model == SimModel::kOrdered ? ", ordered" : ", any order");
  if (story->what == What::kHold) return TellHold(story, everything, random());
  if (story->what == What::kRecord) return TellRecord(story, everything, random() % 2 == 0);
  const Mounted staging(everything, GroundOf(*story));
  story->set = story->what == What::kUndo ? EverythingSet(staging.tree())
                                          : SomeEdits(staging.tree(), &random);
  const SimDisk staged = staging.fs().live();
  if (story->what == What::kCommit) return TellCommit(story, staged);
  if (story->what == What::kRollback) return TellRollback(story, staged);
  TellUndo(story, staged);
}

const std::string& IdOf(const Story& story) {
  return story.set.id;
}

// Ends what was cut short, with the power cut again now and then. `is_done`: what a recovery that
// came to its end has left, which no later cut may change.
SimDisk RecoverFrom(SimDisk disk, const Story& story, std::mt19937_64* random) {
  std::optional<std::string> is_done;
  for (int round = 1;; ++round) {
    Mounted mounted(std::move(disk), GroundOf(story));
    const Tree& tree = mounted.tree();
    const auto reports = Recover(tree.dirs(), story.options);
    EXPECT_THAT(reports, IsOk());
    if (!reports.ok()) return mounted.fs().live();
    EXPECT_EQ(NeedsRecovery(tree.journal()).value(), false);
    const std::string now = tree.Snapshot();
    EXPECT_EQ(now, is_done.value_or(now)) << "a recovery that had ended was lost";
    const bool is_last = round == kRecoveriesMax || (*random)() % 2 == 0;
    if (is_last) {
      const SimDisk once = mounted.fs().live();
      const std::size_t then = mounted.now();
      EXPECT_THAT(Recover(tree.dirs(), story.options), IsOk());
      for (std::size_t i = then; i < mounted.now(); ++i) {
        const SimOp& op = mounted.fs().log()[i];
        const bool is_sync = op.kind == SimOpKind::kSync || op.kind == SimOpKind::kSyncDisk;
        EXPECT_TRUE(is_sync) << "a second recovery did " << Describe(op);
      }
      return once;
    }
    const std::size_t at = (*random)() % (mounted.now() + 1);
    if (at == mounted.now()) is_done = now;
    disk = mounted.fs().Cut(at, story.model, random);
  }
}

void CheckCommitted(const Story& story, const Tree& tree) {
  EXPECT_EQ(tree.Private("stage"), "");
  if (story.what == What::kRollback) {
    EXPECT_THAT(BuildRollback(tree.dirs(), kCommitId, "roll_20260101_000000_00000009"),
                FailsWith(ErrorCode::kNotFound));
  }
  Result<Rollback> back = BuildRollback(tree.dirs(), IdOf(story), "roll_20260101_000000_00000008");
  ASSERT_THAT(back, IsOk());
  ASSERT_EQ(back.value().conflicts, std::vector<PathProblem>());
  CommitOptions options = story.options;
  options.rolls_back = IdOf(story);
  ASSERT_THAT(CommitAll(tree, back.value().set, options), IsOk());
  EXPECT_EQ(tree.Snapshot(), story.before);
}

// As if it had never been tried: it can be tried again.
void CheckNotCommitted(const Story& story, const Tree& tree) {
  EXPECT_THAT(tree.Private("undo"), ::testing::Not(::testing::HasSubstr(IdOf(story))));
  ASSERT_NO_FATAL_FAILURE(CommitWell(story, tree));
  EXPECT_EQ(tree.Snapshot(), story.after);
}

void CheckCommit(const Story& story, std::size_t at, const Tree& tree) {
  const std::string now = tree.Snapshot();
  const auto report = ReportOf(tree.journal(), IdOf(story));
  ASSERT_THAT(report, IsOk());
  const bool is_after = report.value().has_value();
  if (is_after) {
    EXPECT_EQ(report.value()->outcome, CommitOutcome::kCommitted)
        << report.value()->problems.front().path << report.value()->problems.front().reason;
  }
  EXPECT_TRUE(is_after || at < story.decided) << "what was decided was dropped";
  ASSERT_EQ(now, is_after ? story.after : story.before);
  is_after ? CheckCommitted(story, tree) : CheckNotCommitted(story, tree);
}

void CheckUndo(const Story& story, std::size_t at, const Tree& tree) {
  if (at <= story.wrote) return CheckCommit(story, at, tree);
  if (at < story.wrote_end) return;  // The other writer's own bytes may be half there.
  const auto report = ReportOf(tree.journal(), IdOf(story));
  ASSERT_THAT(report, IsOk());
  ASSERT_TRUE(report.value().has_value());
  EXPECT_EQ(report.value()->problems, (std::vector<PathProblem>{{"script.sh", "changed since"}}));
  EXPECT_EQ(report.value()->outcome, CommitOutcome::kConflict);
  ASSERT_EQ(tree.Snapshot(), story.theirs);
  EXPECT_EQ(tree.Private("undo"), "");
}

void CheckHold(const Story& story, std::size_t at, const Tree& tree) {
  ASSERT_EQ(tree.Snapshot(), story.before);
  if (at < story.decided) return;
  ASSERT_NO_FATAL_FAILURE(CommitWell(story, tree));
  EXPECT_EQ(tree.Snapshot(), story.after);
}

void CheckRecord(const Story& story, std::size_t at, const Tree& tree) {
  const Result<Entry> entry = OpenParent(tree.workspace(), kRecordPath);
  const Result<Fd> file = entry.ok() ? OpenEntry(entry.value(), O_RDONLY) : entry.error();
  const std::string now = file.ok() ? ReadAll(file.value(), 1000).value() : "";
  if (at >= story.decided || now != story.before) {
    ASSERT_EQ(now, story.after);
  }
  if (!file.ok()) return;
  const struct stat st = Stat(file.value()).value();
  EXPECT_EQ(st.st_uid, kOwner);
  EXPECT_EQ(st.st_mode & 07777, 0644U);
}

void CheckImage(const Story& story, std::mt19937_64* random) {
  const SimFs& fs = story.run->fs();
  const std::size_t end = story.what == What::kHold ? story.decided : fs.log().size();
  const std::size_t at = (*random)() % (end + 1);
  SCOPED_TRACE("cut at entry " + std::to_string(at) + " of " + std::to_string(end) + ": " +
               (at < end ? Describe(fs.log()[at]) : "the end"));
  SimDisk disk = RecoverFrom(fs.Cut(at, story.model, random), story, random);
  if (::testing::Test::HasFailure()) return;
  const Mounted mounted(std::move(disk), GroundOf(story));
  switch (story.what) {
    case What::kCommit:
    case What::kRollback:
      return CheckCommit(story, at, mounted.tree());
    case What::kUndo:
      return CheckUndo(story, at, mounted.tree());
    case What::kHold:
      return CheckHold(story, at, mounted.tree());
    case What::kRecord:
      return CheckRecord(story, at, mounted.tree());
  }
}

TEST(SimCrashTest, IsAllOrNothingInEveryOrderOfLosses) {
  const std::uint64_t images = WantedImages();
  const std::uint64_t first = SampleSeed() * 1'000'000;
  std::cout << images << " images from story " << first << "\n";
  for (std::uint64_t i = 0; i < images; i += kImagesPerStory) {
    Story story;
    ASSERT_NO_FATAL_FAILURE(TellStory(first + i, &story)) << story.told;
    for (std::uint64_t image = 0; image < kImagesPerStory; ++image) {
      SCOPED_TRACE(story.told + ", image " + std::to_string(image));
      std::mt19937_64 random((first + i) * kImagesPerStory + image);
      CheckImage(story, &random);
      if (HasFailure()) return;  // Its number says how to make it again.
    }
  }
}

}  // namespace
}  // namespace bailiff
