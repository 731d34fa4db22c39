#include "changeset/capture_attributes.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <memory>
#include <optional>

#include "sys/file.h"

namespace bailiff {
namespace {

constexpr std::string_view kTrustedPrefix = "trusted.overlay.";
constexpr std::string_view kUserPrefix = "user.overlay.";
// What the kernel makes of a script's own user.overlay.* where those are the overlay's.
constexpr std::string_view kEscapedPrefix = "user.overlay.overlay.";
constexpr std::string_view kAclPrefix = "system.posix_acl_";
constexpr std::string_view kCapability = "security.capability";
constexpr std::size_t kXattrNamesMax = 65536;  // XATTR_LIST_MAX
constexpr std::size_t kXattrValueMax = 65536;  // XATTR_SIZE_MAX

std::string ProcPath(const Fd& fd) {
  return "/proc/self/fd/" + std::to_string(fd.get());
}

// GetXattr() of sys/file.h serves small values; a script's may be of any size that Linux allows.
Result<std::optional<std::string>> BigXattr(const Fd& fd, const std::string& name) {
  std::string value(kXattrValueMax, '\0');
  const ssize_t n = ::fgetxattr(fd.get(), name.c_str(), value.data(), value.size());
  if (n >= 0) {
    value.resize(static_cast<std::size_t>(n));
    return std::optional(std::move(value));
  }
  if (errno == ENODATA || errno == EOPNOTSUPP || errno == EPERM || errno == EACCES) {
    return std::optional<std::string>();
  }
  return Error::FromErrno(errno, "getxattr " + name);
}

bool IsScriptsUserXattr(std::string_view name, OverlayAttributes attributes) {
  if (name == kCapability) return true;
  if (!name.starts_with("user.")) return false;
  const bool is_overlays = attributes == OverlayAttributes::kUser &&
                           name.starts_with(kUserPrefix) && !name.starts_with(kEscapedPrefix);
  return !is_overlays;
}

}  // namespace

std::string_view OverlayPrefix(OverlayAttributes attributes) {
  return attributes == OverlayAttributes::kTrusted ? kTrustedPrefix : kUserPrefix;
}

Status ProveTrustedAttributesAreSeen(const Fd& upper) {
  // A read of a missing one fails alike with and without the privilege; only a write tells. The
  // upper layer is thrown away after its capture.
  constexpr const char* kProbe = "trusted.bailiff.probe";
  if (::fsetxattr(upper.get(), kProbe, "y", 1, 0) == 0) {
    (void)::fremovexattr(upper.get(), kProbe);  // Harmless if it stays.
    return Ok();
  }
  return Error(ErrorCode::kPermissionDenied,
               "read trusted attributes of the upper layer: CAP_SYS_ADMIN is missing");
}

Result<std::vector<std::string>> ListXattrs(const Fd& fd) {
  std::string list(1024, '\0');
  for (;;) {
    ssize_t n = ::flistxattr(fd.get(), list.data(), list.size());
    if (n < 0 && errno == EBADF) {  // An O_PATH descriptor.
      n = ::listxattr(ProcPath(fd).c_str(), list.data(), list.size());
    }
    if (n >= 0) {
      list.resize(static_cast<std::size_t>(n));
      break;
    }
    if (errno == EOPNOTSUPP) return std::vector<std::string>();
    if (errno != ERANGE || list.size() >= kXattrNamesMax) {
      return Error::FromErrno(errno, "listxattr");
    }
    list.resize(kXattrNamesMax);
  }
  std::vector<std::string> names;
  for (std::size_t at = 0; at < list.size();) {
    const std::size_t end = list.find('\0', at);
    if (end == std::string::npos) break;
    names.push_back(list.substr(at, end - at));
    at = end + 1;
  }
  return names;
}

Result<ForeignXattrs> FindForeignXattrs(const Fd& upper, const Fd& base,
                                        OverlayAttributes attributes) {
  ForeignXattrs found;
  const std::vector<std::string> names = TRY(ListXattrs(upper));
  for (const std::string& name : names) {
    const bool acl = name.starts_with(kAclPrefix);
    if (!acl && !IsScriptsUserXattr(name, attributes)) continue;
    const std::optional<std::string> value = TRY(BigXattr(upper, name));
    if (!value.has_value()) continue;
    if (base.valid()) {
      const std::optional<std::string> base_value = TRY(BigXattr(base, name));
      if (base_value == value) continue;
    }
    (acl ? found.acl : found.user) = true;
  }
  return found;
}

Status CopyBaseXattrs(const Fd& base, const Fd& staged) {
  const std::vector<std::string> names = TRY(ListXattrs(base));
  for (const std::string& name : names) {
    const bool label = name == "security.selinux";
    const bool user = name.starts_with("user.") && !name.starts_with(kUserPrefix);
    if (!label && !user && name != "system.posix_acl_access") continue;
    const std::optional<std::string> value = TRY(BigXattr(base, name));
    if (!value.has_value()) continue;
    if (::fsetxattr(staged.get(), name.c_str(), value->data(), value->size(), 0) == 0) continue;
    // A label may need a right that we lack, and the staging file system may have no attributes.
    if (label || errno == EOPNOTSUPP) continue;
    return Error::FromErrno(errno, "setxattr " + name);
  }
  return Ok();
}

std::string HandleAt(const Fd& dir, const std::string& name) {
  alignas(file_handle) std::array<char, sizeof(file_handle) + MAX_HANDLE_SZ> buffer{};
  auto* handle = reinterpret_cast<file_handle*>(buffer.data());
  handle->handle_bytes = MAX_HANDLE_SZ;
  int mount_id = 0;
  // Any failure means that there is nothing to compare, which every caller allows for.
  if (::name_to_handle_at(dir.get(), name.c_str(), handle, &mount_id, 0) != 0) return "";
  std::string result(1, static_cast<char>(handle->handle_type));
  result.append(buffer.data() + offsetof(file_handle, f_handle), handle->handle_bytes);
  return result;
}

std::string HandleOfOrigin(std::string_view value) {
  // struct ovl_fb of the kernel: version, magic, length, flags, type, 16 bytes of uuid, handle.
  constexpr std::size_t kHeader = 21;
  constexpr char kMagic = '\xfb';
  if (value.size() <= kHeader || value[0] != 0 || value[1] != kMagic) return "";
  if (static_cast<unsigned char>(value[2]) != value.size()) return "";
  std::string result(1, value[4]);
  result.append(value.substr(kHeader));
  return result;
}

Result<std::int64_t> BirthTime(const Fd& dir, const std::string& name) {
  struct statx stx {};
  if (::statx(dir.get(), name.c_str(), AT_SYMLINK_NOFOLLOW, STATX_BTIME, &stx) != 0) {
    return Error::FromErrno(errno, "statx " + name);
  }
  if ((stx.stx_mask & STATX_BTIME) == 0) return std::int64_t{0};
  return std::int64_t{stx.stx_btime.tv_sec} * 1'000'000'000 + stx.stx_btime.tv_nsec;
}

}  // namespace bailiff
