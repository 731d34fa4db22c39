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
#include "base/sha256.h"
#include "changeset/capture_attributes.h"
#include "sys/file.h"

namespace bailiff {
namespace {

constexpr const char* kStageName = "stage";
constexpr std::size_t kChunkBytes = 256UL * 1024;

// Copies what is not a hole, and hashes all.
class Copier {
 public:
  Result<std::string> Copy(const Fd& from, const Fd& to) {
    const struct stat st = TRY(Stat(from));
    if (!S_ISREG(st.st_mode)) return Error(ErrorCode::kConflict, "is no longer a regular file");
    Sha256 hash;
    off_t at = 0;
    while (at < st.st_size) {
      off_t data = ::lseek(from.get(), at, SEEK_DATA);
      if (data < 0 && errno == ENXIO) data = st.st_size;
      if (data < 0) data = at;  // A file system that does not tell has no holes.
      HashZeros(data - at, &hash);
      off_t end = data < st.st_size ? ::lseek(from.get(), data, SEEK_HOLE) : data;
      if (end < 0) end = st.st_size;
      TRY(CopyRange(from, to, data, end, &hash));
      at = end;
    }
    if (::ftruncate(to.get(), st.st_size) != 0) return Error::FromErrno(errno, "truncate");
    return hash.Finish();
  }

 private:
  void HashZeros(off_t size, Sha256* hash) {
    if (size > 0) std::fill(chunk_.begin(), chunk_.end(), '\0');
    while (size > 0) {
      const std::size_t part = std::min(static_cast<std::size_t>(size), chunk_.size());
      hash->Update(std::string_view(chunk_.data(), part));
      size -= static_cast<off_t>(part);
    }
  }

  Status CopyRange(const Fd& from, const Fd& to, off_t begin, off_t end, Sha256* hash) {
    if (begin < end && ::lseek(to.get(), begin, SEEK_SET) < 0) {
      return Error::FromErrno(errno, "seek");
    }
    while (begin < end) {
      const std::size_t part = std::min(static_cast<std::size_t>(end - begin), chunk_.size());
      const ssize_t n = ::pread(from.get(), chunk_.data(), part, begin);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return Error::FromErrno(errno, "read");
      if (n == 0) return Error(ErrorCode::kConflict, "became shorter while it was read");
      const std::string_view bytes(chunk_.data(), static_cast<std::size_t>(n));
      hash->Update(bytes);
      TRY(WriteAll(to, bytes));
      begin += n;
    }
    return Ok();
  }

  std::vector<char> chunk_ = std::vector<char>(kChunkBytes);
};

class Stager {
 public:
  Stager(const Fd& upper, Base* base, const Fd& private_dir, const std::string& id)
      : upper_(upper), base_(*base), private_dir_(private_dir), id_(id) {}

  ~Stager() {
    if (!armed_) return;
    Result<Fd> stage = OpenDirBeneath(private_dir_, kStageName);
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
    Status made = MakeDir(private_dir_, kStageName, 0700);
    if (!made.ok() && made.error().sys_errno() != EEXIST) return made;
    const Fd stage = TRY(OpenDirBeneath(private_dir_, kStageName));
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
    const Fd staged = TRY(OpenEntry(target, O_CREAT | O_EXCL | O_WRONLY, 0600));
    change->sha256 = TRY(copier_.Copy(upper_file.valid() ? upper_file : base_file, staged));
    if (replaces) TRY(CopyBaseXattrs(base_file, staged));
    TRY(SetMetadata(*change, staged));

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
  const Fd& private_dir_;
  std::string id_;
  struct stat owner_ {};
  Fd dir_;
  bool armed_ = false;
  std::uint64_t next_ = 0;
  Copier copier_;
};

}  // namespace

Status StageBytes(const Fd& upper, Base* base, const Fd& private_dir, const std::string& id,
                  std::vector<Draft>* drafts) {
  return Stager(upper, base, private_dir, id).Stage(drafts);
}

}  // namespace bailiff
