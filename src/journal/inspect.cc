#include "journal/inspect.h"

#include <fcntl.h>
#include <linux/fs.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>

#include "sys/file.h"

namespace bailiff {
namespace {

constexpr std::string_view kOccupied = "something new is there";
constexpr std::string_view kNoParent = "its directory is gone";
constexpr std::string_view kMissing = "is gone";
constexpr std::string_view kChanged = "changed since";

bool LacksFlags(const Error& error) {
  const int sys_errno = error.sys_errno();
  return sys_errno == EINVAL || sys_errno == ENOSYS || sys_errno == EOPNOTSUPP;
}

}  // namespace

bool IsGoneParent(const Error& error) {
  if (IsNoEntry(error)) return true;
  // A mount point on the way: OpenDirBeneath() does not cross it.
  return error.sys_errno() == 0 && error.code() == ErrorCode::kPermissionDenied;
}

bool IsReplacedFile(const Error& error) {
  const ErrorCode code = error.code();
  return code == ErrorCode::kConflict || code == ErrorCode::kNotFound ||
         error.sys_errno() == ESTALE;
}

bool IsMachineFailure(const Error& error) {
  constexpr std::array<int, 11> kFailures = {EIO,      EROFS,     ENODEV,    ENXIO,
                                             ESTALE,   EUCLEAN,   EREMOTEIO, ETIMEDOUT,
                                             ENOTCONN, ESHUTDOWN, ENOMEDIUM};
  return std::find(kFailures.begin(), kFailures.end(), error.sys_errno()) != kFailures.end();
}

Result<Seen> Look(const Fd& root, std::string_view path) {
  ParentCache parents(root, O_PATH);
  return Look(&parents, path);
}

Result<Seen> Look(ParentCache* parents, std::string_view path) {
  Result<std::optional<Identity>> found = IdentityBeneath(parents, path);
  Seen seen;
  if (!found.ok()) {
    const bool foreign = found.error().code() == ErrorCode::kUnsupported;
    if (!foreign && !IsGoneParent(found.error())) return found.error();
    seen.present = true;
    return seen;
  }
  if (!found.value().has_value()) return seen;
  seen.present = true;
  seen.known = true;
  seen.identity = *std::move(found).value();
  return seen;
}

Result<bool> Recognizer::HasContent(const Fd& root, std::string_view path,
                                    const Identity& want) const {
  if (want.type != EntryType::kFile || want.sha256.empty()) return true;
  Result<std::string> digest = HashBeneath(root, path);
  if (digest.ok()) return digest.value() == want.sha256;
  if (IsReplacedFile(digest.error())) return false;
  return std::move(digest).error();
}

Result<bool> Recognizer::IsSame(const Fd& root, std::string_view path, const Seen& seen,
                                const Identity& want) const {
  const Identity& now = seen.identity;
  if (!seen.known || now.type != want.type) return false;
  if (stability_ == Stability::kStrong) return now.ino == want.ino;
  if (now.size != want.size || now.link_target != want.link_target) return false;
  return HasContent(root, path, want);
}

Result<bool> Recognizer::IsUnchanged(const Fd& root, std::string_view path, const Seen& seen,
                                     const Identity& want) const {
  const Identity& now = seen.identity;
  const bool same = TRY(IsSame(root, path, seen, want));
  if (!same) return false;
  if (want.type == EntryType::kDir) return true;
  return now.size == want.size && now.mtime_ns == want.mtime_ns && now.mode == want.mode &&
         now.link_target == want.link_target;
}

Result<std::string> MoveToNothing(const Place& from, const Place& to, RenameFlags flags) {
  ParentCache parents(from.root);
  return MoveToNothing(&parents, from.path, to, flags);
}

Result<std::string> MoveToNothing(ParentCache* from_parents, const std::string& from,
                                  const Place& to, RenameFlags flags) {
  Result<const Entry*> source = from_parents->Open(from);
  Result<Entry> target = OpenParent(to.root, to.path);
  if (!source.ok() || !target.ok()) {
    const Error& error = source.ok() ? target.error() : source.error();
    if (IsGoneParent(error)) return std::string(kNoParent);
    return error;
  }
  const Entry& s = *source.value();
  const Entry& t = target.value();
  Status renamed = Ok();
  bool done = false;
  if (flags == RenameFlags::kUsable) {
    renamed = Rename(s.dir, s.name, t.dir, t.name, RENAME_NOREPLACE);
    done = renamed.ok() || !LacksFlags(renamed.error());
  }
  if (!done) {
    const bool occupied = TRY(StatAt(t.dir, t.name)).has_value();
    if (occupied) return std::string(kOccupied);
    renamed = Rename(s.dir, s.name, t.dir, t.name);
  }
  if (renamed.ok()) return std::string();
  const int sys_errno = renamed.error().sys_errno();
  if (sys_errno == EEXIST || sys_errno == ENOTEMPTY) return std::string(kOccupied);
  if (sys_errno == ENOENT) return std::string(kMissing);
  return renamed.error();
}

Result<std::string> MoveOver(const Place& from, const Place& to, const Seen& seen) {
  Result<Entry> source = OpenParent(from.root, from.path);
  Result<Entry> target = OpenParent(to.root, to.path);
  for (const Result<Entry>* end : {&source, &target}) {
    if (end->ok()) continue;
    if (IsGoneParent(end->error())) return std::string(kNoParent);
    return end->error();
  }
  const Entry& s = source.value();
  const Entry& t = target.value();
  // Reading the content took time since `seen`, and attributes may come from a cache.
  const Status fresh = RefreshAt(t.dir, t.name);
  if (!fresh.ok() && IsReplacedFile(fresh.error())) return std::string(kChanged);
  if (!fresh.ok()) return fresh.error();
  const std::optional<Identity> now = TRY(IdentityAt(t.dir, t.name));
  if (!now.has_value()) return std::string(kMissing);
  if (Compare(seen.identity, *now, Stability::kWeak) == Same::kNo) return std::string(kChanged);
  const Status renamed = Rename(s.dir, s.name, t.dir, t.name);
  if (renamed.ok()) return std::string();
  const int sys_errno = renamed.error().sys_errno();
  if (sys_errno == ENOENT) return std::string(kMissing);
  // It has become a directory.
  if (sys_errno == EISDIR) return std::string(kOccupied);
  return renamed.error();
}

Result<bool> Exchange(const Place& one, const Place& other, RenameFlags flags) {
  if (flags == RenameFlags::kAvoid) return false;
  const Entry left = TRY(OpenParent(one.root, one.path));
  const Entry right = TRY(OpenParent(other.root, other.path));
  const Status renamed = Rename(left.dir, left.name, right.dir, right.name, RENAME_EXCHANGE);
  if (renamed.ok()) return true;
  if (LacksFlags(renamed.error())) return false;
  return renamed.error();
}

}  // namespace bailiff
