#include "sys/mount.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <sstream>

#include "sys/file.h"

namespace bailiff {
namespace {

constexpr std::size_t kMountInfoBytesMax = 16UL << 20;

// Spaces and such are written as \ooo.
std::string Unescape(const std::string& text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\' || i + 3 >= text.size()) {
      out += text[i];
      continue;
    }
    const int code = (text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0');
    out += static_cast<char>(code);
    i += 3;
  }
  return out;
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
    return Ok();
  }
  const bool idmap = (attributes & MOUNT_ATTR_IDMAP) != 0;
  if (idmap && errno == EINVAL) {
    return Error(ErrorCode::kUnsupported, "map ids of mount: not possible on this file system");
  }
  return Error::FromErrno(errno, idmap ? "map ids of mount" : "set mount attributes");
}

Result<std::vector<MountEntry>> ListMounts() {
  const Fd file = TRY(OpenPath("/proc/self/mountinfo", O_RDONLY));
  std::istringstream lines(TRY(ReadAll(file, kMountInfoBytesMax)));
  std::vector<MountEntry> mounts;
  for (std::string line; std::getline(lines, line);) {
    std::istringstream fields(line);
    MountEntry entry;
    std::string skipped;
    fields >> skipped >> skipped >> skipped >> entry.root >> entry.point;
    while (fields >> skipped && skipped != "-") {
    }
    fields >> entry.type >> skipped >> entry.options;
    entry.root = Unescape(entry.root);
    entry.point = Unescape(entry.point);
    mounts.push_back(std::move(entry));
  }
  return mounts;
}

}  // namespace bailiff
