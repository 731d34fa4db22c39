#include "changeset/capture_stage.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/check.h"
#include "changeset/capture_attributes.h"
#include "changeset/copy_content.h"
#include "sys/file.h"

namespace bailiff {
namespace {

constexpr const char* kStageName = "stage";

// Of files, for one thread. Fewer are staged sooner than threads are made.
constexpr std::size_t kShareMin = 256;
constexpr std::size_t kThreadsMax = 4;

class Stager {
 public:
  Stager(const Fd& upper, Base* base, const Fd& holder, const std::string& id)
      : upper_(upper), base_(*base), holder_(holder), id_(id) {}

  ~Stager() {
    if (!armed_) return;
    Result<Fd> stage = OpenDirBeneath(holder_, kStageName);
    // The error that brought us here is the one to report; `gc` removes what stays.
    if (stage.ok()) (void)RemoveTree(stage.value(), id_);
  }
  Stager(const Stager&) = delete;
  Stager& operator=(const Stager&) = delete;

  Status Stage(std::vector<Draft>* drafts) {
    owner_ = TRY(Stat(base_.root()));
    for (Draft& draft : *drafts) {
      if (draft.bytes != Draft::Bytes::kNone) work_.push_back(&draft);
    }
    if (!work_.empty()) {
      TRY(MakeStageDir());
      TRY(StageAll());
    }
    armed_ = false;
    return Ok();
  }

 private:
  Status MakeStageDir() {
    // Another run may have made the upper one just now.
    Status made = MakeDir(holder_, kStageName, 0700);
    if (!made.ok() && made.error().sys_errno() != EEXIST) return made;
    const Fd stage = TRY(OpenDirBeneath(holder_, kStageName));
    made = MakeDir(stage, id_, 0700);
    if (!made.ok() && made.error().sys_errno() == EEXIST) {
      return Error(ErrorCode::kConflict, "stage " + id_ + ": exists already");
    }
    TRY(std::move(made));
    armed_ = true;
    dir_ = TRY(OpenDirBeneath(stage, id_));
    return Ok();
  }

  // Reading, hashing and making files take a processor each.
  Status StageAll() {
    const std::size_t cores = std::max(1U, std::thread::hardware_concurrency());
    const std::size_t threads =
        std::min({cores, kThreadsMax, (work_.size() + kShareMin - 1) / kShareMin});
    std::vector<Status> statuses(threads, Ok());
    {
      std::vector<std::jthread> others;
      for (std::size_t i = 1; i < threads; ++i) {
        others.emplace_back([this, &statuses, i] { statuses[i] = StageShare(); });
      }
      statuses[0] = StageShare();
    }
    for (Status& status : statuses) TRY(std::move(status));
    return Ok();
  }

  // Takes one file after the other, until none is left or a thread has failed.
  Status StageShare() {
    ParentCache parents(upper_);
    for (;;) {
      const std::size_t number = next_.fetch_add(1);
      if (number >= work_.size()) return Ok();
      Draft& draft = *work_[number];
      Status staged = StageOne(&parents, std::to_string(number), &draft);
      if (staged.ok()) continue;
      next_ = work_.size();
      return std::move(staged).error().WithContext(
          "stage " + EscapeForTerminal(draft.change.path, Lines::kSingle));
    }
  }

  // Where the bytes of `draft` are; invalid: in its base file.
  Result<Fd> OpenSource(ParentCache* parents, const Draft& draft) const {
    switch (draft.bytes) {
      case Draft::Bytes::kUpper: {
        const Entry* entry = TRY(parents->Open(draft.change.path));
        return OpenEntry(*entry, O_RDONLY | O_NONBLOCK);
      }
      case Draft::Bytes::kCopy:
        return base_.OpenToRead(draft.source.str());
      case Draft::Bytes::kGiven:
        return MakeMemoryFile("content", draft.source);
      case Draft::Bytes::kBase:
      case Draft::Bytes::kNone:
        return Fd();
    }
    CheckFailed("Draft::Bytes out of range", __FILE__, __LINE__);
  }

  Status StageOne(ParentCache* parents, const std::string& name, Draft* draft) {
    Change* change = &draft->change;
    const bool replaces = change->op == ChangeOp::kModify;
    Fd base_file;
    if (replaces) base_file = TRY(base_.OpenToRead(change->base_path()));
    const Fd source = TRY(OpenSource(parents, *draft));
    Fd staged = TRY(OpenEntry(dir_, name, O_CREAT | O_EXCL | O_WRONLY, change->mode));
    change->sha256 = TRY(CopyContent(source.valid() ? source : base_file, staged));
    if (replaces) TRY(CopyBaseXattrs(base_file, staged));
    TRY(SetMetadata(*change, staged));
    TRY(staged.Close());  // Some file systems tell only now what they could not write.

    std::optional<Identity> identity = TRY(IdentityAt(dir_, name));
    CHECK(identity.has_value());
    change->content.path = std::string(kStageName) + "/" + id_ + "/" + name;
    change->content.identity = std::move(*identity);
    change->content.identity.sha256 = change->sha256;
    return Ok();
  }

  // After the ACL, whose mask the mode is, and after the owner, whose change clears bits of it.
  Status SetMetadata(const Change& change, const Fd& staged) {
    const bool replaces = change.base.has_value();
    const uid_t uid = replaces ? change.base->uid : owner_.st_uid;
    const gid_t gid = replaces ? change.base->gid : owner_.st_gid;
    const struct stat now = TRY(Stat(staged));
    const bool gives = ::geteuid() == 0 && (now.st_uid != uid || now.st_gid != gid);
    if (gives && ::fchown(staged.get(), uid, gid) != 0) return Error::FromErrno(errno, "chown");
    const bool sets_mode = gives || (now.st_mode & 07777) != change.mode;
    if (sets_mode && ::fchmod(staged.get(), change.mode) != 0) {
      return Error::FromErrno(errno, "chmod");
    }
    const timespec times[2] = {ToTimespec(change.mtime_ns), ToTimespec(change.mtime_ns)};
    if (::futimens(staged.get(), times) != 0) return Error::FromErrno(errno, "utimens");
    return Ok();
  }

  const Fd& upper_;
  const Base& base_;
  const Fd& holder_;
  std::string id_;
  struct stat owner_ {};
  Fd dir_;
  bool armed_ = false;
  std::vector<Draft*> work_;           // Each is named by its number.
  std::atomic<std::size_t> next_ = 0;  // Of `work_`.
};

}  // namespace

Status StageBytes(const Fd& upper, Base* base, const Fd& holder, const std::string& id,
                  std::vector<Draft>* drafts) {
  return Stager(upper, base, holder, id).Stage(drafts);
}

}  // namespace bailiff
