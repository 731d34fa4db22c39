#include "changeset/capture_stage.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>

#include "base/bytes.h"
#include "base/check.h"
#include "changeset/capture_attributes.h"
#include "changeset/copy_content.h"
#include "sys/file.h"

namespace bailiff {
namespace {

constexpr const char* kStageName = "stage";

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
      if (draft.bytes == Draft::Bytes::kNone) continue;
      if (!dir_.valid()) TRY(MakeStageDir());
      Status staged = StageOne(draft.bytes, &draft.change);
      if (staged.ok()) continue;
      return std::move(staged).error().WithContext(
          "stage " + EscapeForTerminal(draft.change.path, Lines::kSingle));
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

  Status StageOne(Draft::Bytes bytes, Change* change) {
    const bool replaces = change->op == ChangeOp::kModify;
    Fd base_file;
    if (replaces) base_file = TRY(base_.OpenToRead(change->base_path()));
    Fd upper_file;
    if (bytes == Draft::Bytes::kUpper) {
      const Entry entry = TRY(OpenParent(upper_, change->path));
      upper_file = TRY(OpenEntry(entry, O_RDONLY | O_NONBLOCK));
    }
    const Entry target{TRY(OpenDirBeneath(dir_, "")), std::to_string(next_++)};
    Fd staged = TRY(OpenEntry(target, O_CREAT | O_EXCL | O_WRONLY, 0600));
    change->sha256 = TRY(CopyContent(upper_file.valid() ? upper_file : base_file, staged));
    if (replaces) TRY(CopyBaseXattrs(base_file, staged));
    TRY(SetMetadata(*change, staged));
    TRY(staged.Close());  // Some file systems tell only now what they could not write.

    std::optional<Identity> identity = TRY(IdentityAt(dir_, target.name));
    CHECK(identity.has_value());
    change->content.path = std::string(kStageName) + "/" + id_ + "/" + target.name;
    change->content.identity = std::move(*identity);
    change->content.identity.sha256 = change->sha256;
    return Ok();
  }

  // After the ACL, whose mask the mode is, and after the owner, whose change clears bits of it.
  Status SetMetadata(const Change& change, const Fd& staged) {
    const bool replaces = change.base.has_value();
    const uid_t uid = replaces ? change.base->uid : owner_.st_uid;
    const gid_t gid = replaces ? change.base->gid : owner_.st_gid;
    if (::geteuid() == 0 && ::fchown(staged.get(), uid, gid) != 0) {
      return Error::FromErrno(errno, "chown");
    }
    if (::fchmod(staged.get(), change.mode) != 0) return Error::FromErrno(errno, "chmod");
    const timespec times[2] = {ToTimespec(change.mtime_ns), ToTimespec(change.mtime_ns)};
    if (::futimens(staged.get(), times) != 0) return Error::FromErrno(errno, "utimens");
    return Ok();
  }

  const Fd& upper_;
  Base& base_;
  const Fd& holder_;
  std::string id_;
  struct stat owner_ {};
  Fd dir_;
  bool armed_ = false;
  std::uint64_t next_ = 0;
};

}  // namespace

Status StageBytes(const Fd& upper, Base* base, const Fd& holder, const std::string& id,
                  std::vector<Draft>* drafts) {
  return Stager(upper, base, holder, id).Stage(drafts);
}

}  // namespace bailiff
