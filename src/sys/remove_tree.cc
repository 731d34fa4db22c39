#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <utility>
#include <vector>

#include "sys/file.h"

namespace bailiff {
namespace {

constexpr std::size_t kEntriesPerDirMax = 10'000'000;

struct Level {
  Fd dir;                          // The directory being emptied.
  std::string name;                // Its name in the level above.
  std::vector<std::string> names;  // What is left in it.
};

// A script's own directory may be unreadable to its owner; the mode of what is about to go does not
// matter.
Result<Fd> OpenForEmptying(const Fd& parent, const std::string& name) {
  const Entry entry{TRY(OpenDirBeneath(parent, ".")), name};
  Result<Fd> dir = OpenEntry(entry, O_RDONLY | O_DIRECTORY);
  if (dir.ok() || dir.error().code() != ErrorCode::kPermissionDenied) return dir;
  if (::fchmodat(parent.get(), name.c_str(), 0700, 0) != 0) return dir;
  return OpenEntry(entry, O_RDONLY | O_DIRECTORY);
}

Result<Level> Enter(const Fd& parent, std::string name, dev_t device) {
  Fd dir = TRY(OpenForEmptying(parent, name));
  const struct stat st = TRY(Stat(dir));
  if (st.st_dev != device) {
    return Error(ErrorCode::kPermissionDenied,
                 "remove " + name + ": another file system is mounted there");
  }
  if ((st.st_mode & 0700) != 0700) (void)::fchmod(dir.get(), 0700);  // The unlink tells if not.
  std::vector<std::string> names = TRY(ListDir(dir, kEntriesPerDirMax));
  return Level{std::move(dir), std::move(name), std::move(names)};
}

}  // namespace

Status RemoveTree(const Fd& dir, const std::string& name) {
  const std::optional<struct stat> top = TRY(StatAt(dir, name));
  if (!top.has_value()) return Ok();
  if (!S_ISDIR(top->st_mode)) return Unlink(dir, name);

  std::vector<Level> levels;
  levels.push_back(TRY(Enter(dir, name, top->st_dev)));
  while (!levels.empty()) {
    Level& level = levels.back();
    if (level.names.empty()) {
      const std::string done = level.name;
      levels.pop_back();
      TRY(RemoveDir(levels.empty() ? dir : levels.back().dir, done));
      continue;
    }
    std::string next = std::move(level.names.back());
    level.names.pop_back();
    const std::optional<struct stat> st = TRY(StatAt(level.dir, next));
    if (!st.has_value()) continue;
    if (!S_ISDIR(st->st_mode)) {
      TRY(Unlink(level.dir, next));
      continue;
    }
    Level below = TRY(Enter(level.dir, std::move(next), top->st_dev));
    levels.push_back(std::move(below));
  }
  return Ok();
}

}  // namespace bailiff
