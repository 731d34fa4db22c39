#include <linux/futex.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <array>
#include <atomic>
#include <climits>
#include <csignal>
#include <map>
#include <random>

#include "journal/journal.h"
#include "tests/crash/tree_fixture.h"
#include "tests/support/sample.h"

// Others write to the same paths at full speed while commits go on, without any lock.
//
// Each writer has a path of its own, to which it writes the values 1, 2, 3, ...: a register. A
// value is acknowledged when the call that made it visible at the path has returned. With the
// writers standing still after a commit, a register holds its last acknowledged value, or
//
//   committed: what the commit makes of it, if nothing was acknowledged after what the change set
//   is
//              based on;
//   conflict: what the change set is based on, if nothing was acknowledged after it;
//   needs attention: anything, if the path is listed and the value lies below .bailiff.
//
// A writer that takes its own value away first and then finds the name taken has itself to thank.
//
// One that writes in place cannot be held to that: its descriptor follows the file. What it writes
// between the last look at the file and the rename, or after the rename through a descriptor that
// it opened before, lies where the file lies then: at the path, or below .bailiff. There it must
// be.

namespace bailiff {
namespace {

namespace fs = std::filesystem;

enum class Style : std::uint8_t {
  kReplace,     // Write a temporary file and rename it over the path.
  kRecreate,    // Unlink the path, and make it anew by link(2) from a temporary file.
  kDirectory,   // Remove a directory with its file, and rename a new one to the path.
  kRenameAway,  // Rename the file away, and a new one to the path.
  kInPlace,     // Open, overwrite, close.
};

constexpr std::array kStyles = {Style::kReplace, Style::kRecreate, Style::kDirectory,
                                Style::kRenameAway, Style::kInPlace};

std::string NameOf(Style style) {
  switch (style) {
    case Style::kReplace:
      return "replace";
    case Style::kRecreate:
      return "recreate";
    case Style::kDirectory:
      return "directory";
    case Style::kRenameAway:
      return "rename_away";
    case Style::kInPlace:
      return "in_place";
  }
  return "";
}

struct Register {
  std::atomic<std::uint64_t> acknowledged{0};
  std::atomic<std::uint64_t> attempted{0};
};

// Shared with the writers' processes.
struct Shared {
  std::atomic<std::uint32_t> pause{1};
  std::atomic<std::size_t> standing{0};
  std::array<Register, kStyles.size()> registers;
};
static_assert(std::atomic<std::uint64_t>::is_always_lock_free);

void Futex(std::atomic<std::uint32_t>* word, int operation, std::uint32_t value) {
  (void)::syscall(SYS_futex, word, operation, value, nullptr, nullptr, 0);
}

// Values of one length, so that a size never tells two of them apart.
std::string Value(const std::string& who, std::uint64_t number) {
  std::string digits = std::to_string(number);
  return who + " " + std::string(20 - digits.size(), '0') + digits;
}

class Writer {
 public:
  Writer(const std::string& root, Style style, Shared* shared)
      : path_(root + "/ws/" + NameOf(style)),
        other_(root + "/others/" + NameOf(style)),
        style_(style),
        shared_(*shared) {}

  // Until it is killed. Stands still, between two values, while it is told to.
  [[noreturn]] void Run() {
    Register& mine = shared_.registers[static_cast<std::size_t>(style_)];
    for (;;) {
      if (shared_.pause != 0) {
        ++shared_.standing;
        while (shared_.pause != 0) Futex(&shared_.pause, FUTEX_WAIT, 1);
        --shared_.standing;
      }
      const std::uint64_t number = mine.attempted + 1;
      const bool written = Write(Value("theirs", number));
      if (written) mine.acknowledged = number;
      mine.attempted = number;
    }
  }

 private:
  void MakeOther(const std::string& path, const std::string& value) const {
    const int fd = ::open(path.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);
    if (::write(fd, value.data(), value.size()) != static_cast<ssize_t>(value.size())) ::_exit(3);
    ::close(fd);
  }

  // False when nothing was made visible: the commit had the path at that moment.
  bool Write(const std::string& value) const {
    switch (style_) {
      case Style::kReplace:
        MakeOther(other_, value);
        return ::rename(other_.c_str(), path_.c_str()) == 0;
      case Style::kRecreate: {
        MakeOther(other_, value);
        ::unlink(path_.c_str());
        const bool made = ::link(other_.c_str(), path_.c_str()) == 0;
        ::unlink(other_.c_str());
        return made;
      }
      case Style::kDirectory: {
        ::mkdir(other_.c_str(), 0755);
        MakeOther(other_ + "/file", value);
        ::unlink((path_ + "/file").c_str());
        ::rmdir(path_.c_str());
        return ::rename(other_.c_str(), path_.c_str()) == 0;
      }
      case Style::kRenameAway: {
        MakeOther(other_, value);
        (void)::rename(path_.c_str(), (other_ + ".away").c_str());
        return ::renameat2(AT_FDCWD, other_.c_str(), AT_FDCWD, path_.c_str(), RENAME_NOREPLACE) ==
               0;
      }
      case Style::kInPlace: {
        const int fd = ::open(path_.c_str(), O_WRONLY | O_CLOEXEC);
        if (fd < 0) return false;
        const bool whole =
            ::pwrite(fd, value.data(), value.size(), 0) == static_cast<ssize_t>(value.size());
        ::close(fd);
        return whole;
      }
    }
    return false;
  }

  const std::string path_;
  const std::string other_;
  const Style style_;
  Shared& shared_;
};

std::string FileOf(Style style) {
  return style == Style::kDirectory ? "directory/file" : NameOf(style);
}

constexpr std::array kQuiet = {"quiet/1", "quiet/2", "quiet/3", "z/4"};

// Where the file system that is tried lies.
class RacingWritersTest : public ::testing::TestWithParam<const char*> {
 protected:
  RacingWritersTest()
      : dir_(std::string(GetParam()) + "/bailiff_race_" + std::to_string(::getpid())),
        tree_(dir_),
        random_(SampleSeed()) {}

  void SetUp() override {
    void* memory =
        ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ASSERT_NE(memory, MAP_FAILED);
    shared_ = new (memory) Shared();
    fs::create_directories(dir_ + "/others");
    for (const Style style : kStyles) {
      const pid_t child = ::fork();
      if (child == 0) {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        Writer(dir_, style, shared_).Run();
      }
      writers_.push_back(child);
    }
    Pause();
  }
  void TearDown() override {
    for (const pid_t writer : writers_) {
      ::kill(writer, SIGKILL);
      ::waitpid(writer, nullptr, 0);
    }
    ::munmap(shared_, sizeof(Shared));
  }

  void Pause() {
    shared_->pause = 1;
    while (shared_->standing < kStyles.size()) ::sched_yield();
  }
  void GoOn() {
    shared_->pause = 0;
    Futex(&shared_->pause, FUTEX_WAKE, INT_MAX);
    while (shared_->standing > 0) ::sched_yield();
  }

  std::uint64_t Draw(std::uint64_t below) { return random_() % below; }

  // Waits until some writer has tried once more.
  void LetOneWrite() {
    const Register& one = shared_->registers[Draw(kStyles.size())];
    const std::uint64_t before = one.attempted;
    while (one.attempted == before) ::sched_yield();
  }

  // Every register at its acknowledged value, nothing else.
  void Reset() {
    for (const std::string& name : ListDir(tree_.workspace(), 1000).value()) {
      if (name == ".bailiff") continue;
      ASSERT_THAT(RemoveTree(tree_.workspace(), name), IsOk());
    }
    for (const char* name : {"undo", "stage"}) {
      ASSERT_THAT(RemoveTree(tree_.private_dir(), name), IsOk());
    }
    fs::remove(tree_.JournalPath(kCommitId));
    for (const Style style : kStyles) {
      Register& mine = shared_->registers[static_cast<std::size_t>(style)];
      tree_.File(FileOf(style), Value("theirs", mine.acknowledged));
      mine.attempted = mine.acknowledged.load();
      based_on_[static_cast<std::size_t>(style)] = mine.acknowledged;
    }
    for (const char* path : kQuiet) tree_.File(path, "old");
  }

  // Something for each register, and a few files that nobody else writes.
  ChangeSet MakeSet() {
    Edits edits(tree_, kCommitId);
    for (const Style style : kStyles) {
      const std::string name = NameOf(style);
      const std::uint64_t what = Draw(4);
      kinds_[static_cast<std::size_t>(style)] = what;
      if (what == 0) edits.Modify(FileOf(style), "ours");
      if (what == 1) edits.Delete(name);
      if (what == 2) edits.Move(name, name + ".moved");
      if (what == 3) edits.Metadata(FileOf(style), 0600);
    }
    for (const char* path : kQuiet) edits.Modify(path, "new");
    return edits.Build();
  }

  Result<CommitReport> CommitWhileTheyWrite(const ChangeSet& set) {
    const std::uint64_t begins = Draw(30);
    std::uint64_t step = 0;
    CommitOptions options;
    options.before_step = [&](std::string_view) {
      const std::uint64_t now = step++;
      if (now == begins) GoOn();
      if (now >= begins && Draw(6) == 0) LetOneWrite();
    };
    Result<CommitReport> report = CommitAll(tree_, set, options);
    if (step > begins && Draw(2) == 0) LetOneWrite();
    Pause();
    return report;
  }

  // Whether a file below `root` has exactly this content.
  bool IsBelow(const std::string& root, const std::string& value) const {
    for (const auto& entry : fs::recursive_directory_iterator(dir_ + "/" + root)) {
      if (!entry.is_regular_file()) continue;
      std::ifstream file(entry.path(), std::ios::binary);
      if (std::string(std::istreambuf_iterator<char>(file), {}) == value) return true;
    }
    return false;
  }

  void CheckRegister(Style style, const CommitReport& report) {
    const auto index = static_cast<std::size_t>(style);
    const Register& mine = shared_->registers[index];
    const std::string last = Value("theirs", mine.acknowledged);
    const bool newer = mine.acknowledged > based_on_[index];
    const std::string found = tree_.Content(FileOf(style));  // "": it is not there.
    SCOPED_TRACE(NameOf(style) + ", kind " + std::to_string(kinds_[index]) + ", holds '" + found +
                 "', last acknowledged '" + last + "', based on " +
                 std::to_string(based_on_[index]));
    if (report.outcome == CommitOutcome::kConflict) {
      EXPECT_NE(found, "ours") << "applied in spite of the conflict";
    }
    if (found == last) return;
    // It took away what it had written, and then did not get the name.
    const bool its_own_doing =
        mine.attempted > mine.acknowledged && style != Style::kReplace && style != Style::kInPlace;
    if (its_own_doing) return;
    const bool listed = std::any_of(
        report.problems.begin(), report.problems.end(),
        [&](const PathProblem& problem) { return problem.path.starts_with(NameOf(style)); });
    if (style == Style::kInPlace && newer) {
      EXPECT_TRUE(IsBelow("ws", last)) << "lost";
      ++followed_;
      return;
    }
    switch (report.outcome) {
      case CommitOutcome::kCommitted:
        EXPECT_FALSE(newer) << "lost by a commit";
        return;
      case CommitOutcome::kConflict:
        ADD_FAILURE() << "lost by a conflict";
        return;
      case CommitOutcome::kNeedsAttention:
        EXPECT_TRUE(listed) << "not listed";
        EXPECT_TRUE(IsBelow("ws", last)) << "lost";
        return;
    }
  }

  void CheckQuiet(const CommitReport& report) const {
    for (const char* path : kQuiet) {
      const bool committed = report.outcome == CommitOutcome::kCommitted;
      EXPECT_EQ(tree_.Content(path), committed ? "new" : "old") << path;
    }
  }

  const std::string dir_;
  Tree tree_;
  std::mt19937_64 random_;
  Shared* shared_ = nullptr;
  std::vector<pid_t> writers_;
  std::array<std::uint64_t, kStyles.size()> based_on_{};
  std::array<std::uint64_t, kStyles.size()> kinds_{};
  std::size_t followed_ = 0;
};
INSTANTIATE_TEST_SUITE_P(FileSystems, RacingWritersTest, ::testing::Values("/tmp", "/dev/shm"));

TEST_P(RacingWritersTest, NoAcknowledgedUpdateIsLost) {
  const int rounds = RunsWhole() ? 2000 : 40;
  std::map<CommitOutcome, int> ends;
  for (int round = 0; round < rounds; ++round) {
    SCOPED_TRACE("round " + std::to_string(round) + ", seed " + std::to_string(SampleSeed()));
    ASSERT_NO_FATAL_FAILURE(Reset());
    const ChangeSet set = MakeSet();
    const Result<CommitReport> report = CommitWhileTheyWrite(set);
    ASSERT_THAT(report, IsOk()) << report.error().message();
    ++ends[report.value().outcome];
    for (const Style style : kStyles) CheckRegister(style, report.value());
    CheckQuiet(report.value());
    if (HasFailure()) {
      for (const PathProblem& problem : report.value().problems) {
        std::cout << problem.path << ": " << problem.reason << "\n";
      }
      FAIL() << "outcome " << static_cast<int>(report.value().outcome);
    }
  }
  std::cout << GetParam() << ": " << ends[CommitOutcome::kCommitted] << " committed, "
            << ends[CommitOutcome::kConflict] << " conflicts, "
            << ends[CommitOutcome::kNeedsAttention] << " need attention; " << followed_
            << " values written in place lie below .bailiff or elsewhere in the tree\n";
  EXPECT_GT(ends[CommitOutcome::kCommitted], 0);
  EXPECT_GT(ends[CommitOutcome::kConflict], 0);
}

}  // namespace
}  // namespace bailiff
