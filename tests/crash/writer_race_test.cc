#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <random>

#include "sys/pipe.h"
#include "tests/crash/fuse_ground.h"
#include "tests/crash/tree_fixture.h"
#include "tests/support/sample.h"

// Another writer replaces or makes the same file at a random moment of a commit. On a local file
// system no update is ever lost. On FUSE one is, if it comes between the last look and the rename:
// how often that is gets counted, and never may one be lost at another moment.

namespace bailiff {
namespace {

constexpr int kAttempts = 60;
constexpr int kAttemptsFull = 1000;
constexpr const char* kTheirs = "theirs";
constexpr const char* kOurs = "ours";

std::int64_t Now() {
  return std::chrono::steady_clock::now().time_since_epoch().count();
}

// When their rename began and ended, by the steady clock, which the processes share.
struct Renamed {
  std::int64_t begin_ns = 0;
  std::int64_t end_ns = 0;
};

// A process that, each time it is started, renames a file of its own to `target` after a while.
class Writer {
 public:
  Writer(const std::string& source, const std::string& target)
      : start_(MakePipe().value()), end_(MakePipe().value()) {
    child_ = ::fork();
    if (child_ != 0) return;
    EXPECT_THAT(start_.write.Close(), IsOk());
    std::int64_t delay_ns = 0;
    while (::read(start_.read.get(), &delay_ns, sizeof(delay_ns)) == sizeof(delay_ns)) {
      const std::filesystem::path path(source);
      const Fd dir = OpenPath(path.parent_path(), O_RDONLY).value();
      Tree::FileIn(dir, path.filename(), kTheirs, 0644, kNewTime);
      const std::int64_t start = Now();
      while (Now() - start < delay_ns) {
      }
      Renamed renamed;
      renamed.begin_ns = Now();
      if (::rename(source.c_str(), target.c_str()) != 0) ::_exit(1);
      renamed.end_ns = Now();
      if (::write(end_.write.get(), &renamed, sizeof(renamed)) != sizeof(renamed)) ::_exit(1);
    }
    ::_exit(0);
  }
  ~Writer() {
    EXPECT_THAT(start_.write.Close(), IsOk());
    int status = -1;
    EXPECT_EQ(::waitpid(child_, &status, 0), child_);
    EXPECT_EQ(status, 0);
  }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  void Start(std::int64_t delay_ns) const {
    ASSERT_EQ(::write(start_.write.get(), &delay_ns, sizeof(delay_ns)), sizeof(delay_ns));
  }
  Renamed AwaitEnd() const {
    Renamed renamed;
    EXPECT_EQ(::read(end_.read.get(), &renamed, sizeof(renamed)), sizeof(renamed));
    return renamed;
  }

 private:
  Pipe start_;
  Pipe end_;
  pid_t child_ = -1;
};

struct Tally {
  int conflicts = 0;  // Theirs was there before ours was, and stayed.
  int survived = 0;   // Theirs came after ours.
  int lost = 0;
};

class WriterRaceTest : public ::testing::TestWithParam<std::tuple<Ground, ChangeOp>> {
 protected:
  void SetUp() override {
    const bool fuse = std::get<0>(GetParam()) == Ground::kFuse;
    REQUIRES(!fuse || std::getenv("BAILIFF_TEST_FUSE") != nullptr, "needs FUSE and bindfs");
    random_.seed(SampleSeed());
  }

  static std::string IdOf(int attempt) {
    std::string hex = ToHex(Sha256::Of(std::to_string(attempt))).substr(0, 8);
    return "exec_20260101_000000_" + hex;
  }

  // One commit with a writer beside it, which renames within the first `spread_ns_`. That grows
  // after theirs came first and shrinks after theirs came last: however slow the machine is, it
  // ends up around the moment at which the two meet.
  void Attempt(const Tree& tree, int number, const Writer& writer) {
    const bool replaces = std::get<1>(GetParam()) == ChangeOp::kModify;
    std::filesystem::remove(tree.Path("f"));
    if (replaces) tree.File("f", "base");
    const std::string id = IdOf(number);
    Edits edits(tree, id);
    const ChangeSet set = (replaces ? edits.Modify("f", kOurs) : edits.Create("f", kOurs)).Build();
    CommitOptions options;
    std::int64_t look_ns = 0;
    std::int64_t moved_ns = 0;
    options.before_step = [&](std::string_view step) {
      if (step == "replace f" || step == "attach f") look_ns = Now();
      if (step == "sync") moved_ns = Now();
    };
    std::uniform_int_distribution<std::int64_t> delay(0, spread_ns_);
    writer.Start(delay(random_));
    const Result<CommitReport> report = CommitAll(tree, set, options);
    const Renamed theirs = writer.AwaitEnd();
    EXPECT_THAT(report, IsOk());
    if (!report.ok()) return;
    const std::string now = tree.Content("f");
    if (now != kTheirs) {
      ++tally_.lost;
      // Nothing but the moment between the last look and the rename.
      EXPECT_EQ(now, kOurs);
      EXPECT_EQ(report.value().outcome, CommitOutcome::kCommitted);
      EXPECT_GE(theirs.end_ns, look_ns) << "lost before the last look";
      EXPECT_LE(theirs.begin_ns, moved_ns) << "lost after the rename";
    } else if (report.value().outcome == CommitOutcome::kCommitted) {
      ++tally_.survived;
      spread_ns_ -= spread_ns_ / 4;
    } else {
      ++tally_.conflicts;
      spread_ns_ += spread_ns_ / 4;
    }
    EXPECT_THAT(Forget(tree.dirs(), id), IsOk());
  }

  std::mt19937_64 random_;
  std::int64_t spread_ns_ = 1'000'000;
  Tally tally_;
};

INSTANTIATE_TEST_SUITE_P(Ground, WriterRaceTest,
                         ::testing::Combine(::testing::Values(Ground::kLocal, Ground::kFuse),
                                            ::testing::Values(ChangeOp::kModify,
                                                              ChangeOp::kCreate)),
                         [](const auto& test) {
                           return ::testing::PrintToString(std::get<0>(test.param)) +
                                  std::string(Name(std::get<1>(test.param)));
                         });

TEST_P(WriterRaceTest, LosesNoUpdateOutsideTheWindow) {
  const auto [ground, op] = GetParam();
  const Tree tree(ScratchDir("writer_race"), ground);
  const int attempts = RunsWhole() ? kAttemptsFull : kAttempts;
  const Writer writer(tree.Path("their-new-file"), tree.Path("f"));
  for (int i = 0; i < attempts && !HasFailure(); ++i) Attempt(tree, i, writer);
  if (ground == Ground::kLocal) {
    EXPECT_EQ(tally_.lost, 0);
  }
  std::cout << (ground == Ground::kLocal ? "local" : "FUSE") << ", " << Name(op) << ": of "
            << attempts << " updates during a commit " << tally_.conflicts << " were conflicts, "
            << tally_.survived << " came after it, " << tally_.lost << " were lost\n";
  RecordProperty("lost", tally_.lost);
  EXPECT_GT(tally_.conflicts, 0);
  EXPECT_GT(tally_.survived, 0);
}

}  // namespace
}  // namespace bailiff
