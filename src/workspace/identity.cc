#include "workspace/identity.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>

#include "base/check.h"
#include "base/sha256.h"

namespace bailiff {
namespace {

constexpr long kNfsMagic = 0x6969;
constexpr long kFuseMagic = 0x65735546;
constexpr long kCephMagic = 0x00c36400;
constexpr long kSmbMagic = 0xff534d42;
constexpr long kSmb2Magic = 0xfe534d42;
constexpr long k9pMagic = 0x01021997;

constexpr std::size_t kHashChunkBytes = 256UL * 1024;

}  // namespace

std::string_view Name(EntryType type) {
  switch (type) {
    case EntryType::kFile:
      return "file";
    case EntryType::kDir:
      return "dir";
    case EntryType::kSymlink:
      return "symlink";
  }
  CheckFailed("EntryType out of range", __FILE__, __LINE__);
}

std::optional<EntryType> TypeOf(mode_t mode) {
  if (S_ISREG(mode)) return EntryType::kFile;
  if (S_ISDIR(mode)) return EntryType::kDir;
  if (S_ISLNK(mode)) return EntryType::kSymlink;
  return std::nullopt;
}

Result<std::optional<Identity>> IdentityAt(const Fd& dir, const std::string& name) {
  const std::optional<struct stat> st = TRY(StatAt(dir, name));
  if (!st.has_value()) return std::optional<Identity>();
  const std::optional<EntryType> type = TypeOf(st->st_mode);
  if (!type.has_value()) {
    return Error(ErrorCode::kUnsupported, name + ": is a device, socket or FIFO");
  }
  Identity identity;
  identity.type = *type;
  identity.dev = st->st_dev;
  identity.ino = st->st_ino;
  identity.size = *type == EntryType::kDir ? 0 : st->st_size;
  identity.mode = st->st_mode & 07777;
  identity.uid = st->st_uid;
  identity.gid = st->st_gid;
  identity.nlink = *type == EntryType::kDir ? 1 : st->st_nlink;
  identity.mtime_ns = ToNanos(st->st_mtim);
  identity.ctime_ns = ToNanos(st->st_ctim);
  if (*type == EntryType::kSymlink) identity.link_target = TRY(ReadLink(dir, name));
  return std::optional(std::move(identity));
}

Result<std::optional<Identity>> IdentityBeneath(const Fd& root, std::string_view path) {
  ParentCache parents(root, O_PATH);
  return IdentityBeneath(&parents, path);
}

Result<std::optional<Identity>> IdentityBeneath(ParentCache* parents, std::string_view path) {
  Result<const Entry*> entry = parents->Open(path);
  if (!entry.ok()) {
    if (IsNoEntry(entry.error())) return std::optional<Identity>();
    return std::move(entry).error();
  }
  return IdentityAt(entry.value()->dir, entry.value()->name);
}

Result<Stability> StabilityOf(const Fd& fd) {
  struct statfs fs {};
  if (::fstatfs(fd.get(), &fs) != 0) return Error::FromErrno(errno, "statfs");
  constexpr std::array<long, 6> kRemote = {kNfsMagic, kFuseMagic, kCephMagic,
                                           kSmbMagic, kSmb2Magic, k9pMagic};
  const bool remote = std::find(kRemote.begin(), kRemote.end(), fs.f_type) != kRemote.end();
  return remote ? Stability::kWeak : Stability::kStrong;
}

Same Compare(const Identity& then, const Identity& now, Stability stability) {
  const bool strong = stability == Stability::kStrong;
  if (then.type != now.type || then.mode != now.mode) return Same::kNo;
  if (strong && (then.ino != now.ino || then.dev != now.dev)) return Same::kNo;
  if (then.type == EntryType::kDir) return Same::kYes;
  if (then.link_target != now.link_target) return Same::kNo;
  if (then.size != now.size || then.mtime_ns != now.mtime_ns) return Same::kNo;
  if (then.type == EntryType::kSymlink) return Same::kYes;
  if (strong && then.ctime_ns == now.ctime_ns) return Same::kYes;
  return Same::kReadContent;
}

Result<std::string> HashFile(const Fd& file) {
  Sha256 hash;
  // Fresh memory for it would cost more than reading a small file.
  const auto chunk = std::make_unique_for_overwrite<char[]>(kHashChunkBytes);
  off_t offset = 0;
  for (;;) {
    const ssize_t n = ::pread(file.get(), chunk.get(), kHashChunkBytes, offset);
    if (n == 0) return hash.Finish();
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Error::FromErrno(errno, "read");
    hash.Update(std::string_view(chunk.get(), static_cast<std::size_t>(n)));
    offset += n;
  }
}

Result<std::string> HashBeneath(const Fd& root, std::string_view path) {
  const Entry entry = TRY(OpenParent(root, path, O_PATH));
  // O_NONBLOCK: a FIFO that took the file's place must not hold us.
  const Fd file = TRY(OpenEntry(entry, O_RDONLY | O_NONBLOCK));
  const struct stat st = TRY(Stat(file));
  if (!S_ISREG(st.st_mode)) {
    return Error(ErrorCode::kConflict, "hash " + entry.name + ": is no longer a regular file");
  }
  return HashFile(file);
}

}  // namespace bailiff
