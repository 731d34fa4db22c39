#include "journal/attributes.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <vector>

#include "base/bytes.h"
#include "sys/retry.h"
#include "workspace/identity.h"

namespace bailiff {
namespace {

constexpr const char* kAccessAcl = "system.posix_acl_access";
constexpr const char* kDefaultAcl = "system.posix_acl_default";
constexpr long kFchmodat2 = 452;  // Since Linux 6.6; not in Debian 12's headers.

// posix_acl_xattr.h: a version, then entries of tag, permissions and id.
constexpr std::uint32_t kAclVersion = 2;
constexpr std::size_t kAclEntrySize = 8;
constexpr std::uint32_t kUserObj = 0x01;
constexpr std::uint32_t kGroupObj = 0x04;
constexpr std::uint32_t kMask = 0x10;
constexpr std::uint32_t kOther = 0x20;

struct AclEntry {
  std::uint32_t tag = 0;
  std::uint32_t permissions = 0;
  std::uint32_t id = 0;
};

std::string MagicPath(const Fd& fd) {
  return "/proc/self/fd/" + std::to_string(fd.get());
}

Status FromCall(long rc, const char* call) {
  if (rc == 0) return Ok();
  return Error::FromErrno(errno, call);
}

std::optional<std::vector<AclEntry>> ParseAcl(const std::string& acl) {
  ByteReader reader(acl);
  if (reader.U32() != kAclVersion) return std::nullopt;
  std::vector<AclEntry> entries;
  while (reader.ok() && !reader.AtEnd()) {
    const std::uint32_t both = reader.U32();
    entries.push_back({both & 0xffff, both >> 16, reader.U32()});
  }
  if (!reader.ok() || acl.size() != 4 + entries.size() * kAclEntrySize) return std::nullopt;
  return entries;
}

}  // namespace

Result<Inheritance> InheritanceOf(const Fd& dir) {
  const struct stat st = TRY(Stat(dir));
  std::optional<std::string> acl = TRY(GetXattr(dir, kDefaultAcl));
  Inheritance inheritance;
  inheritance.setgid = (st.st_mode & S_ISGID) != 0;
  inheritance.gid = st.st_gid;
  inheritance.default_acl = std::move(acl).value_or("");
  return inheritance;
}

Status SetMode(const Fd& fd, std::uint32_t mode) {
  const auto change = [&] { return ::syscall(kFchmodat2, fd.get(), "", mode, AT_EMPTY_PATH); };
  if (RetryInterrupted(change) == 0) return Ok();
  // EPERM is also what a system call filter says that does not know the call.
  if (errno != ENOSYS && errno != EPERM) return Error::FromErrno(errno, "chmod");
  return FromCall(RetryInterrupted([&] { return ::chmod(MagicPath(fd).c_str(), mode); }), "chmod");
}

Status SetMtime(const Fd& fd, std::int64_t mtime_ns) {
  // Not UTIME_OMIT: FUSE file systems exist that then set neither, and report success.
  const struct stat now = TRY(Stat(fd));
  const std::array<timespec, 2> times = {now.st_atim, ToTimespec(mtime_ns)};
  const auto change = [&] { return ::utimensat(fd.get(), "", times.data(), AT_EMPTY_PATH); };
  if (RetryInterrupted(change) == 0) return Ok();
  if (errno != EINVAL && errno != ENOENT) return Error::FromErrno(errno, "utimensat");
  return FromCall(RetryInterrupted([&] {
                    return ::utimensat(AT_FDCWD, MagicPath(fd).c_str(), times.data(), 0);
                  }),
                  "utimensat");
}

Status SetOwner(const Entry& entry, uid_t uid, gid_t gid) {
  const std::optional<struct stat> now = TRY(StatAt(entry.dir, entry.name));
  if (now.has_value() && now->st_uid == uid && now->st_gid == gid) return Ok();
  return FromCall(RetryInterrupted([&] {
                    return ::fchownat(entry.dir.get(), entry.name.c_str(), uid, gid,
                                      AT_SYMLINK_NOFOLLOW);
                  }),
                  "chown");
}

// As posix_acl_create_masq() in the kernel does it.
std::optional<AccessAcl> DeriveAccessAcl(const std::string& default_acl, std::uint32_t mode) {
  std::optional<std::vector<AclEntry>> entries = ParseAcl(default_acl);
  if (!entries.has_value()) return std::nullopt;
  AclEntry* group = nullptr;
  AclEntry* mask = nullptr;
  for (AclEntry& entry : *entries) {
    if (entry.tag == kUserObj) {
      entry.permissions &= mode >> 6 & 7;
      mode = (mode & ~0700U) | entry.permissions << 6;
    } else if (entry.tag == kOther) {
      entry.permissions &= mode & 7;
      mode = (mode & ~0007U) | entry.permissions;
    } else if (entry.tag == kGroupObj) {
      group = &entry;
    } else if (entry.tag == kMask) {
      mask = &entry;
    }
  }
  AclEntry* governing = mask != nullptr ? mask : group;
  if (governing == nullptr) return std::nullopt;
  governing->permissions &= mode >> 3 & 7;
  mode = (mode & ~0070U) | governing->permissions << 3;
  ByteWriter writer;
  writer.U32(kAclVersion);
  for (const AclEntry& entry : *entries) {
    writer.U32(entry.tag | entry.permissions << 16);
    writer.U32(entry.id);
  }
  return AccessAcl{writer.Take(), mode};
}

Result<std::uint32_t> Inherit(const Fd& entry, const Inheritance& from, std::uint32_t mode) {
  const struct stat st = TRY(Stat(entry));
  const bool is_dir = S_ISDIR(st.st_mode);
  if (from.setgid) {
    // Without privilege a group that is not one's own cannot be given; the entry keeps its group.
    // EINVAL: in a user namespace that does not know the group.
    const bool given =
        st.st_gid == from.gid || ::fchown(entry.get(), static_cast<uid_t>(-1), from.gid) == 0;
    if (!given && errno != EPERM && errno != EINVAL) return Error::FromErrno(errno, "chown");
    if (is_dir) mode |= S_ISGID;
  }
  const std::optional<AccessAcl> access = DeriveAccessAcl(from.default_acl, mode);
  if (access.has_value()) {
    mode = access->mode;
    TRY(FromCall(::fsetxattr(entry.get(), kAccessAcl, access->acl.data(), access->acl.size(), 0),
                 "setxattr system.posix_acl_access"));
    if (is_dir) {
      TRY(FromCall(::fsetxattr(entry.get(), kDefaultAcl, from.default_acl.data(),
                               from.default_acl.size(), 0),
                   "setxattr system.posix_acl_default"));
    }
  }
  return mode;
}

bool MayChange(const Fd& dir) {
  if (::faccessat(dir.get(), ".", R_OK | W_OK | X_OK, AT_EACCESS) != 0) return false;
  const Result<struct stat> st = Stat(dir);
  if (!st.ok() || (st.value().st_mode & S_IRWXU) == S_IRWXU) return true;
  const Result<Stability> stability = StabilityOf(dir);
  return !stability.ok() || stability.value() != Stability::kWeak;
}

}  // namespace bailiff
