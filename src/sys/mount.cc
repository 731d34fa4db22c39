#include "sys/mount.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>

#include "sys/file.h"

namespace bailiff {
namespace {

// Those that statfs(2) shows too, as the same numbers.
constexpr std::uint64_t kShownAttributes =
    MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
constexpr std::size_t kMountInfoBytesMax = 16UL << 20;

// Up to the next `separator`, which goes as well.
std::string_view TakeUntil(char separator, std::string_view* text) {
  const std::size_t end = std::min(text->find(separator), text->size());
  const std::string_view taken = text->substr(0, end);
  text->remove_prefix(std::min(end + 1, text->size()));
  return taken;
}

bool IsOctal(char c) {
  return c >= '0' && c <= '7';
}

// Spaces and such are written as \ooo.
std::string Unescape(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const bool escape = text.front() == '\\' && text.size() > 3 && IsOctal(text[1]) &&
                        IsOctal(text[2]) && IsOctal(text[3]);
    if (escape) {
      out += static_cast<char>((text[1] - '0') * 64 + (text[2] - '0') * 8 + (text[3] - '0'));
    } else {
      out += text.front();
    }
    text.remove_prefix(escape ? 4 : 1);
  }
  return out;
}

// <id> <parent> <device> <root> <point> <flags> <tag>... - <type> <source> <options>
std::optional<MountEntry> ParseLine(std::string_view line) {
  MountEntry entry;
  for (int skipped = 0; skipped < 3; ++skipped) TakeUntil(' ', &line);
  entry.root = Unescape(TakeUntil(' ', &line));
  entry.point = Unescape(TakeUntil(' ', &line));
  TakeUntil(' ', &line);
  while (!line.empty() && TakeUntil(' ', &line) != "-") {
  }
  entry.type = Unescape(TakeUntil(' ', &line));
  TakeUntil(' ', &line);
  entry.options = line;
  if (entry.point.empty() || entry.type.empty()) return std::nullopt;
  return entry;
}

}  // namespace

Result<Fd> CloneMount(const Fd& dir) {
  const long fd =
      ::syscall(SYS_open_tree, dir.get(), "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
  if (fd < 0) return Error::FromErrno(errno, "clone mount");
  return Fd(static_cast<int>(fd));
}

Status SetMountAttributes(const Fd& mount, std::uint64_t attributes, const Fd* user_namespace) {
  mount_attr wanted = {};
  wanted.attr_set = static_cast<__u64>(attributes);
  if (user_namespace != nullptr) {
    wanted.userns_fd = static_cast<__u64>(user_namespace->get());
  }
  if (::syscall(SYS_mount_setattr, mount.get(), "", AT_EMPTY_PATH, &wanted, sizeof(wanted)) == 0) {
    struct statfs status = {};
    if (::fstatfs(mount.get(), &status) != 0) return Error::FromErrno(errno, "look at mount");
    const std::uint64_t shown = attributes & kShownAttributes;
    if ((static_cast<std::uint64_t>(status.f_flags) & shown) == shown) return Ok();
    return Error(ErrorCode::kPermissionDenied, "set mount attributes: they were not set");
  }
  const bool idmap = (attributes & MOUNT_ATTR_IDMAP) != 0;
  if (idmap && errno == EINVAL) {
    return Error(ErrorCode::kUnsupported, "map ids of mount: not possible on this file system");
  }
  return Error::FromErrno(errno, idmap ? "map ids of mount" : "set mount attributes");
}

std::vector<MountEntry> ParseMountInfo(std::string_view text) {
  std::vector<MountEntry> mounts;
  while (!text.empty()) {
    std::optional<MountEntry> entry = ParseLine(TakeUntil('\n', &text));
    if (entry.has_value()) mounts.push_back(std::move(*entry));
  }
  return mounts;
}

Result<std::vector<MountEntry>> ListMounts() {
  const Fd file = TRY(OpenPath("/proc/self/mountinfo", O_RDONLY));
  return ParseMountInfo(TRY(ReadAll(file, kMountInfoBytesMax)));
}

}  // namespace bailiff
