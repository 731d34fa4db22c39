#include "sandbox/disk_scratch.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <limits>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include "sandbox/seccomp_filters.h"
#include "sys/file.h"
#include "sys/pipe.h"
#include "sys/process.h"

namespace bailiff {
namespace {

constexpr std::size_t kEntriesPerDirMax = 10'000'000;
constexpr ScratchUse kUnknown{std::numeric_limits<std::int64_t>::max(),
                              std::numeric_limits<std::int64_t>::max()};

class Counter {
 public:
  Result<ScratchUse> Count(const Fd& tree) {
    std::vector<Level> levels;
    levels.push_back(TRY(Enter(tree, ".")));
    while (!levels.empty()) {
      Level& level = levels.back();
      if (level.names.empty()) {
        levels.pop_back();
        continue;
      }
      const std::string name = std::move(level.names.back());
      level.names.pop_back();
      const std::optional<struct stat> st = TRY(StatAt(level.dir, name));
      if (!st.has_value()) continue;
      const bool shared = S_ISREG(st->st_mode) && st->st_nlink > 1;
      ++use_.entries;
      if (!shared || seen_.insert(st->st_ino).second) use_.bytes += st->st_blocks * kStatBlockBytes;
      if (!S_ISDIR(st->st_mode)) continue;
      Result<Level> below = Enter(level.dir, name);
      if (!below.ok() && IsNoEntry(below.error())) continue;  // Gone while it is counted.
      levels.push_back(TRY(std::move(below)));
    }
    return use_;
  }

 private:
  struct Level {
    Fd dir;
    std::vector<std::string> names;  // Still to look at.
  };

  static Result<Level> Enter(const Fd& parent, const std::string& name) {
    Fd dir = TRY(OpenEntry(parent, name, O_RDONLY | O_DIRECTORY));
    std::vector<std::string> names = TRY(ListDir(dir, kEntriesPerDirMax));
    return Level{std::move(dir), std::move(names)};
  }

  ScratchUse use_;
  std::unordered_set<ino_t> seen_;  // Files with several names.
};

Status Confine(const Fd& user_namespace) {
  if (::setns(user_namespace.get(), CLONE_NEWUSER) != 0) {
    return Error::FromErrno(errno, "join user namespace");
  }
  RaiseDescriptorLimit();  // A tree that is too deep is too large, then.
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return Error::FromErrno(errno, "no_new_privs");
  return EnforceFilter(ClerkFilter());
}

struct MeterFds {
  pid_t parent;
  const Fd& tree;
  const Fd& user_namespace;
  const Fd& question;
  const Fd& answer;
};

// Until it is killed.
void Serve(const MeterFds& fds) {
  if (!Confine(fds.user_namespace).ok()) return;
  for (;;) {
    char byte = 0;
    const ssize_t asked = ::read(fds.question.get(), &byte, 1);
    if (asked < 0 && errno == EINTR) continue;
    if (asked != 1) return;
    const Result<ScratchUse> counted = Counter().Count(fds.tree);
    const ScratchUse use = counted.ok() ? counted.value() : kUnknown;
    const std::string_view bytes(reinterpret_cast<const char*>(&use), sizeof(use));
    if (!WriteAll(fds.answer, bytes).ok()) return;
  }
}

void RunMeter(const void* argument) {
  const auto& fds = *static_cast<const MeterFds*>(argument);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() == fds.parent) Serve(fds);
  ::_exit(0);
}

}  // namespace

Result<DiskScratch> DiskScratch::Make(const Fd& parent, std::string name) {
  DiskScratch scratch(TRY(OpenDirBeneath(parent, ".")), std::move(name));
  TRY(MakeDir(scratch.parent_, scratch.name_, 0700));
  scratch.dir_ = TRY(OpenDirBeneath(scratch.parent_, scratch.name_));
  if (::fsetxattr(scratch.dir_.get(), "user.overlay.opaque", "y", 1, 0) == 0) return scratch;
  if (errno != EOPNOTSUPP) return Error::FromErrno(errno, "set a user attribute");
  return Error(ErrorCode::kUnsupported,
               "the file system of the state directory keeps no user attributes, so changes cannot "
               "lie there; use a state directory on another file system, root, or Linux 6.6 or "
               "newer without [sandbox] scratch = \"disk\"");
}

DiskScratch::DiskScratch(Fd parent, std::string name)
    : parent_(std::move(parent)), name_(std::move(name)) {}

DiskScratch::DiskScratch(DiskScratch&& other) noexcept
    : parent_(std::move(other.parent_)),
      name_(std::exchange(other.name_, "")),
      dir_(std::move(other.dir_)) {}

DiskScratch::~DiskScratch() {
  if (name_.empty()) return;
  dir_ = Fd();
  (void)RemoveTree(parent_, name_);  // What stays is found by its name: CleanStaleScratch().
}

Result<Meter> Meter::Start(const Fd& tree, const Fd& user_namespace) {
  Pipe question = TRY(MakePipe());
  Pipe answer = TRY(MakePipe());
  const MeterFds fds{::getpid(), tree, user_namespace, question.read, answer.write};
  Process process = TRY(CloneProcess({}, RunMeter, &fds));
  return Meter(std::move(question.write), std::move(answer.read), std::move(process));
}

Meter::Meter(Fd question, Fd answer, Process process)
    : question_(std::move(question)), answer_(std::move(answer)), process_(std::move(process)) {}

void Meter::Ask() {
  if (asked_) return;
  asked_ = true;
  // When it is gone, there is no answer either, which Take() tells.
  (void)WriteAll(question_, "?");
}

ScratchUse Meter::Take() {
  asked_ = false;
  ScratchUse use;
  ssize_t size = -1;
  do {
    size = ::read(answer_.get(), &use, sizeof(use));
  } while (size < 0 && errno == EINTR);
  return size == sizeof(use) ? use : kUnknown;
}

}  // namespace bailiff
