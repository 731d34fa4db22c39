#include "journal/durability.h"

#include <fcntl.h>

#include <cerrno>
#include <optional>
#include <set>

#include "journal/inspect.h"
#include "journal/prepare.h"
#include "sys/file.h"
#include "workspace/tree.h"

namespace bailiff {
namespace {

Status SyncDir(const Fd& root, std::string_view path) {
  const Result<Fd> dir = OpenDirBeneath(root, path);
  if (dir.ok()) return Fsync(dir.value());
  // Its owner may not list it, with the mode that it has by now: as SyncFile().
  if (dir.error().sys_errno() == EACCES) return SyncFilesystem(root);
  // Gone since, or put aside: its names are durable where it is now.
  return IsGoneParent(dir.error()) ? Ok() : Status(dir.error());
}

Status SyncFile(const Fd& root, const std::string& path) {
  const Entry entry = TRY(OpenParent(root, path, O_PATH));
  Result<Fd> file = OpenEntry(entry, O_RDONLY | O_NONBLOCK);
  if (!file.ok() && file.error().code() == ErrorCode::kPermissionDenied) {
    file = OpenEntry(entry, O_WRONLY | O_NONBLOCK);
  }
  // Neither readable nor writable to its owner: its mode leaves only the whole file system.
  if (!file.ok() && file.error().code() == ErrorCode::kPermissionDenied) {
    return SyncFilesystem(root);
  }
  if (!file.ok()) return file.error();
  return Fsync(file.value());
}

}  // namespace

Status SyncStagedContent(const Fd& holder, const ChangeSet& set, Stability stability,
                         const std::vector<Step>& steps) {
  const std::string stage = "stage/" + set.id;
  std::vector<const std::string*> files;
  for (const Change& change : set.changes) {
    const bool staged = !change.content.path.empty() && !change.Has(ChangeFlag::kRestored);
    if (staged && change.type == EntryType::kFile) files.push_back(&change.content.path);
  }
  std::vector<const std::string*> prepared;
  bool keeps_copies = false;
  for (const Step& step : steps) {
    keeps_copies = keeps_copies || step.kind == StepKind::kReplace;
    const bool is_dir = step.kind == StepKind::kAttach && step.after.type == EntryType::kDir;
    if (is_dir && IsBelow(step.store, stage)) prepared.push_back(&step.store);
  }
  const bool many = files.size() + prepared.size() > kSyncOneByOneMax;
  if (many && stability == Stability::kStrong) return SyncFilesystem(holder);
  for (const std::string* path : files) TRY(SyncFile(holder, *path));
  for (const std::string* path : prepared) TRY(SyncDir(holder, *path));
  TRY(SyncDir(holder, stage));
  TRY(SyncDir(holder, "stage"));
  if (keeps_copies) TRY(SyncDir(holder, NewUndoDir(set.id)));
  TRY(SyncDir(holder, "undo"));
  return Fsync(holder);
}

Status SyncSteps(const JournalDirs& dirs, const Begin& begin, const SetIndex& index, Ended ended) {
  std::set<std::string> parents;
  std::set<std::string> files;
  for (const Step& step : begin.steps) {
    if (step.kind == StepKind::kMark) continue;
    const bool in_base = step.kind == StepKind::kDetach || step.unlocks;
    const bool is_there = in_base == (ended == Ended::kUndone);
    std::optional<std::string> path = step.path;
    if (!is_there) path = in_base ? index.ToFinal(step.path) : index.ToBase(step.path);
    const bool is_metadata = step.kind == StepKind::kMetadata;
    if (is_metadata && path.has_value()) {
      const bool is_file = step.before.type == EntryType::kFile;
      (is_file ? files : parents).insert(*path);
    }
    // Also of a symbolic link's metadata: it has no other way to the disk.
    if (is_metadata && step.before.type != EntryType::kSymlink) continue;
    std::string parent(ParentOf(step.path));
    if (!is_there)
      parent = (in_base ? index.ToFinal(parent) : index.ToBase(parent)).value_or(parent);
    parents.insert(parent);
  }
  const bool many = parents.size() + files.size() > kSyncOneByOneMax;
  if (many && begin.stability == Stability::kStrong) return SyncFilesystem(dirs.workspace);
  for (const std::string& path : files) {
    const Status synced = SyncFile(dirs.workspace, path);
    if (!synced.ok() && !IsGoneParent(synced.error())) return synced;
  }
  for (const std::string& path : parents) TRY(SyncDir(dirs.workspace, path));
  TRY(SyncStores(dirs.private_dir, begin));
  return SyncDir(dirs.private_dir, "undo");
}

Status SyncStores(const Fd& private_dir, const Begin& begin) {
  std::set<std::string> dirs = {"undo/" + begin.set.id, "stage/" + begin.set.id};
  for (const Step& step : begin.steps) dirs.emplace(ParentOf(step.store));
  for (const std::string& dir : dirs) TRY(SyncDir(private_dir, dir));
  return Ok();
}

}  // namespace bailiff
