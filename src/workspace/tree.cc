#include "workspace/tree.h"

#include <fcntl.h>

#include <algorithm>
#include <utility>

#include "base/bytes.h"
#include "base/sha256.h"

namespace bailiff {
namespace {

struct Level {
  Fd dir;
  std::string path;                // Relative to the top.
  std::vector<std::string> names;  // Still to visit, in reverse order.
};

Result<Level> Enter(Fd dir, std::string path) {
  std::vector<std::string> names = TRY(ListDir(dir, kTreeEntriesMax));
  std::sort(names.begin(), names.end(), std::greater<>());
  return Level{std::move(dir), std::move(path), std::move(names)};
}

Error Unsupported(std::string_view path, std::string_view what) {
  return Error(ErrorCode::kUnsupported,
               EscapeForTerminal(path, Lines::kSingle) + ": " + std::string(what));
}

}  // namespace

bool PathLess(std::string_view left, std::string_view right) {
  const auto [l, r] = std::mismatch(left.begin(), left.end(), right.begin(), right.end());
  if (r == right.end()) return false;
  if (l == left.end()) return true;
  if (*l == '/') return true;  // A slash sorts before every byte of a longer name.
  if (*r == '/') return false;
  return static_cast<unsigned char>(*l) < static_cast<unsigned char>(*r);
}

bool IsBelow(std::string_view path, std::string_view dir) {
  if (dir.empty()) return !path.empty();
  return path.size() > dir.size() && path[dir.size()] == '/' && path.starts_with(dir);
}

std::string JoinPath(std::string_view dir, std::string_view name) {
  if (dir.empty()) return std::string(name);
  std::string path(dir);
  path += '/';
  path += name;
  return path;
}

std::string_view ParentOf(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? std::string_view() : path.substr(0, slash);
}

std::string_view NameOf(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

Result<std::vector<TreeEntry>> ListTree(const Fd& root, std::string_view path) {
  std::vector<TreeEntry> entries;
  std::vector<Level> levels;
  Fd top = TRY(OpenDirBeneath(root, path, O_RDONLY));
  const struct stat top_stat = TRY(Stat(top));
  levels.push_back(TRY(Enter(std::move(top), "")));
  while (!levels.empty()) {
    Level& level = levels.back();
    if (level.names.empty()) {
      levels.pop_back();
      continue;
    }
    const std::string name = std::move(level.names.back());
    level.names.pop_back();
    std::string entry_path = JoinPath(level.path, name);
    Result<std::optional<Identity>> looked = IdentityAt(level.dir, name);
    if (!looked.ok() && looked.error().code() == ErrorCode::kUnsupported) {
      return Unsupported(entry_path, "is a device, socket or FIFO");
    }
    std::optional<Identity> identity = TRY(std::move(looked));
    if (!identity.has_value()) continue;  // Gone since the directory was listed.
    if (identity->dev != top_stat.st_dev) return Unsupported(entry_path, "is a mount point");
    if (entries.size() == kTreeEntriesMax) {
      return Error(ErrorCode::kResourceExhausted,
                   "list tree: more than " + std::to_string(kTreeEntriesMax) + " entries");
    }
    const bool is_dir = identity->type == EntryType::kDir;
    entries.push_back({entry_path, std::move(*identity)});
    if (!is_dir) continue;
    if (levels.size() == kTreeDepthMax) {
      return Error(ErrorCode::kResourceExhausted,
                   "list tree: deeper than " + std::to_string(kTreeDepthMax) + " directories");
    }
    Fd below = TRY(OpenDirBeneath(level.dir, name, O_RDONLY));
    Level next = TRY(Enter(std::move(below), std::move(entry_path)));
    levels.push_back(std::move(next));
  }
  return entries;
}

std::string TreeDigest(const std::vector<TreeEntry>& entries, Stability stability) {
  Sha256 hash;
  for (const TreeEntry& entry : entries) {
    const Identity& identity = entry.identity;
    ByteWriter writer;
    writer.Bytes(entry.path);
    writer.U8(static_cast<std::uint8_t>(identity.type));
    writer.U32(identity.mode);
    writer.U64(stability == Stability::kStrong ? identity.ino : 0);
    // A directory's own mtime says nothing that the names in it do not.
    const bool is_dir = identity.type == EntryType::kDir;
    writer.I64(is_dir ? 0 : identity.size);
    writer.I64(is_dir ? 0 : identity.mtime_ns);
    writer.Bytes(identity.link_target);
    hash.Update(writer.data());
  }
  return hash.Finish();
}

}  // namespace bailiff
