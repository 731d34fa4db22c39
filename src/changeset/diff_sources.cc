#include <fcntl.h>

#include <cerrno>
#include <utility>

#include "base/sha256.h"
#include "changeset/diff.h"
#include "sys/file.h"

namespace bailiff {
namespace {

// O_NONBLOCK: a FIFO that took the file's place must not hold us.
constexpr int kReadFlags = O_RDONLY | O_NONBLOCK;

bool IsSameFile(const struct stat& st, const Identity& identity) {
  return S_ISREG(st.st_mode) && st.st_dev == identity.dev && st.st_ino == identity.ino;
}

Result<std::optional<std::string>> ReadStaged(const Fd& holder, const Change& change,
                                              std::size_t bytes_max) {
  if (change.content.path.empty()) return std::optional<std::string>();
  Identity expected = change.content.identity;
  expected.size = change.size;
  std::optional<std::string> bytes =
      TRY(ReadIfSame(holder, change.content.path, expected, change.sha256, bytes_max));
  const bool is_whole = bytes.has_value() && bytes->size() == static_cast<std::size_t>(change.size);
  const bool is_wrong = is_whole && !change.sha256.empty() && Sha256::Of(*bytes) != change.sha256;
  if (!bytes.has_value() || is_wrong) {
    const std::optional<Identity> now = TRY(IdentityBeneath(holder, change.content.path));
    if (!now.has_value()) return std::optional<std::string>();
    return Error(ErrorCode::kConflict, "the kept content is not what the change set says");
  }
  return bytes;
}

}  // namespace

Result<std::optional<std::string>> ReadIfSame(const Fd& root, std::string_view path,
                                              const Identity& expected, std::string_view sha256,
                                              std::size_t bytes_max) {
  const std::optional<std::string> nothing;
  Result<Entry> parent = OpenParent(root, path);
  if (!parent.ok()) {
    if (IsNoEntry(parent.error())) return nothing;
    return std::move(parent).error();
  }
  const Entry entry = std::move(parent).value();
  const std::optional<Identity> now = TRY(IdentityAt(entry.dir, entry.name));
  if (!now.has_value() || now->type != EntryType::kFile) return nothing;
  const Stability stability = TRY(StabilityOf(entry.dir));
  const Same same = Compare(expected, *now, stability);
  if (same == Same::kNo) return nothing;

  const Fd file = TRY(OpenEntry(entry, kReadFlags));
  const struct stat st = TRY(Stat(file));
  if (!IsSameFile(st, *now)) return nothing;
  std::string bytes = TRY(ReadAt(file, 0, bytes_max));
  // Where no digest is known, type, mode, size, mtime and inode that agree have to do.
  if (same == Same::kYes || sha256.empty()) return std::optional(std::move(bytes));
  const bool is_whole = bytes.size() == static_cast<std::size_t>(expected.size);
  const std::string digest = is_whole ? Sha256::Of(bytes) : TRY(HashFile(file));
  return digest == sha256 ? std::optional(std::move(bytes)) : nothing;
}

DiffSources UncommittedSources(const Fd& workspace, const Fd& holder) {
  DiffSources sources;
  sources.old_content = [&workspace](const Change& change,
                                     std::size_t bytes_max) -> Result<std::optional<std::string>> {
    if (!change.base.has_value()) return std::optional<std::string>();
    return ReadIfSame(workspace, change.base_path(), *change.base, change.base->sha256, bytes_max);
  };
  sources.new_content = [&holder](const Change& change, std::size_t bytes_max) {
    return ReadStaged(holder, change, bytes_max);
  };
  return sources;
}

}  // namespace bailiff
