#include "journal/durability.h"

#include <fcntl.h>

#include <set>

#include "journal/inspect.h"
#include "sys/file.h"
#include "workspace/tree.h"

namespace bailiff {
namespace {

Status SyncDir(const Fd& root, std::string_view path) {
  const Result<Fd> dir = OpenDirBeneath(root, path);
  // Gone since, or put aside: its names are durable where it is now.
  if (!dir.ok()) return IsGoneParent(dir.error()) ? Ok() : Status(dir.error());
  return Fsync(dir.value());
}

Status SyncFile(const Fd& root, const std::string& path) {
  const Entry entry = TRY(OpenParent(root, path));
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

Status SyncStagedContent(const Fd& private_dir, const ChangeSet& set, Stability stability) {
  const std::string stage = "stage/" + set.id;
  std::vector<const std::string*> files;
  for (const Change& change : set.changes) {
    const bool staged = !change.content.path.empty() && !change.Has(ChangeFlag::kRestored);
    if (staged && change.type == EntryType::kFile) files.push_back(&change.content.path);
  }
  if (files.size() > kSyncOneByOneMax && stability == Stability::kStrong) {
    return SyncFilesystem(private_dir);
  }
  for (const std::string* path : files) TRY(SyncFile(private_dir, *path));
  TRY(SyncDir(private_dir, stage));
  TRY(SyncDir(private_dir, "stage"));
  TRY(SyncDir(private_dir, "undo"));
  return Fsync(private_dir);
}

Status SyncSteps(const JournalDirs& dirs, const Begin& begin, const SetIndex& index) {
  const std::string id = begin.set.id;
  std::set<std::string> parents;
  std::set<std::string> files;
  for (const Step& step : begin.steps) {
    if (step.kind == StepKind::kMark) continue;
    if (step.kind == StepKind::kMetadata) {
      const bool is_file = step.before.type == EntryType::kFile;
      (is_file ? files : parents).insert(step.path);
      continue;
    }
    const std::string parent(ParentOf(step.path));
    parents.insert(parent);
    if (step.kind == StepKind::kDetach) parents.insert(index.ToFinal(parent).value_or(parent));
  }
  const bool many = parents.size() + files.size() > kSyncOneByOneMax;
  if (many && begin.stability == Stability::kStrong) return SyncFilesystem(dirs.workspace);
  for (const std::string& path : files) {
    const Status synced = SyncFile(dirs.workspace, path);
    if (!synced.ok() && !IsGoneParent(synced.error())) return synced;
  }
  for (const std::string& path : parents) TRY(SyncDir(dirs.workspace, path));
  for (const char* dir : {"undo/", "stage/"}) TRY(SyncDir(dirs.private_dir, dir + id));
  TRY(SyncDir(dirs.private_dir, "undo"));
  return Ok();
}

}  // namespace bailiff
