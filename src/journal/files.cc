#include "journal/files.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <string_view>
#include <utility>

#include "base/ids.h"
#include "journal/journal.h"
#include "sys/file.h"

namespace bailiff {
namespace {

constexpr std::string_view kSuffix = ".journal";
constexpr const char* kEndedDir = "ended";
constexpr std::size_t kJournalsMax = 1'000'000;

// Nothing where no commit has begun yet, or none since there is such a directory.
Result<std::optional<Fd>> OpenEnded(const Fd& dir) {
  Result<Fd> ended = OpenDirBeneath(dir, kEndedDir);
  if (ended.ok()) return std::optional(std::move(ended).value());
  if (IsNoEntry(ended.error())) return std::optional<Fd>();
  return std::move(ended).error();
}

}  // namespace

std::string JournalName(const std::string& id) {
  return id + std::string(kSuffix);
}

Result<Fd> OpenJournal(const Fd& dir, const std::string& id, int flags) {
  // In this order, because another process may move it meanwhile.
  Result<Fd> file = OpenEntry(dir, JournalName(id), flags | O_NONBLOCK);
  if (file.ok() || !IsNoEntry(file.error())) return file;
  const std::optional<Fd> ended = TRY(OpenEnded(dir));
  return ended.has_value() ? OpenEntry(*ended, JournalName(id), flags | O_NONBLOCK)
                           : std::move(file);
}

Result<Fd> MakeJournal(const Fd& dir, const std::string& id) {
  // Synced with the file's name, so that PutAside() has nothing to sync.
  const Status made = MakeDir(dir, kEndedDir, 0700);
  if (!made.ok() && made.error().sys_errno() != EEXIST) return made.error();
  return OpenEntry(dir, JournalName(id), O_CREAT | O_EXCL | O_RDWR | O_APPEND, 0600);
}

Result<std::vector<std::string>> ListJournals(const Fd& dir) {
  const std::vector<std::string> names = TRY(ListDir(dir, kJournalsMax));
  std::vector<std::string> ids;
  for (const std::string& name : names) {
    if (!name.ends_with(kSuffix)) continue;
    std::string id = name.substr(0, name.size() - kSuffix.size());
    if (IsId(id)) ids.push_back(std::move(id));
  }
  std::sort(ids.begin(), ids.end());
  return ids;
}

Result<std::vector<std::string>> ListCommits(const Fd& journal) {
  // In this order: one that ends meanwhile is found, if need be twice.
  std::vector<std::string> ids = TRY(ListJournals(journal));
  const std::optional<Fd> dir = TRY(OpenEnded(journal));
  if (!dir.has_value()) return ids;
  const std::vector<std::string> ended = TRY(ListJournals(*dir));
  ids.insert(ids.end(), ended.begin(), ended.end());
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  return ids;
}

Status PutAside(const Fd& dir, const std::string& id) {
  const Fd ended = TRY(OpenDirBeneath(dir, kEndedDir));
  return Rename(dir, JournalName(id), ended, JournalName(id));
}

Status RemoveJournal(const Fd& dir, const std::string& id) {
  const Status removed = Unlink(dir, JournalName(id));
  if (!removed.ok() && !IsNoEntry(removed.error())) return removed;
  TRY(Fsync(dir));
  const std::optional<Fd> ended = TRY(OpenEnded(dir));
  if (!ended.has_value()) return Ok();
  const Status removed_there = Unlink(*ended, JournalName(id));
  if (!removed_there.ok()) return IsNoEntry(removed_there.error()) ? Ok() : removed_there;
  return Fsync(*ended);
}

}  // namespace bailiff
