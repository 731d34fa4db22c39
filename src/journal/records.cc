#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/bytes.h"
#include "base/ids.h"
#include "journal/attributes.h"
#include "journal/durability.h"
#include "journal/files.h"
#include "journal/format.h"
#include "journal/inspect.h"
#include "journal/journal.h"
#include "journal/prepare.h"
#include "journal/quarantine.h"
#include "sys/file.h"
#include "workspace/workspace.h"

namespace bailiff {
namespace {

constexpr std::string_view kDraftPrefix = "record-";
constexpr int kDraftAttemptsMax = 16;
constexpr std::size_t kPrivateNamesMax = 1'000'000;

// That no commit `id` waits for its end.
Status CheckEnded(const Fd& journal, const std::string& id, const std::string& what) {
  if (!IsId(id)) {
    return Error(ErrorCode::kInvalidArgument,
                 "'" + EscapeForTerminal(id, Lines::kSingle) + "' is not an id");
  }
  const Result<JournalEnd> end = PeekJournal(journal, id);
  if (!end.ok() || IsFinal(end.value().state)) return Ok();
  return Error(ErrorCode::kConflict, what + " " + id + ": it was cut short; recover it first");
}

Status RemoveFrom(const Fd& private_dir, std::string_view parent, const std::string& name) {
  const Result<Fd> dir = OpenDirBeneath(private_dir, parent);
  if (!dir.ok()) return IsGoneParent(dir.error()) ? Ok() : Status(dir.error());
  TRY(RemoveTree(dir.value(), name));
  return Fsync(dir.value());
}

Status GiveTo(const Entry& entry, const struct stat& owner) {
  const std::optional<struct stat> now = TRY(StatAt(entry.dir, entry.name));
  const bool given = now.has_value() && now->st_uid == owner.st_uid && now->st_gid == owner.st_gid;
  if (given || ::geteuid() != 0) return Ok();
  return SetOwner(entry, owner.st_uid, owner.st_gid);
}

Result<Fd> EnterOrMake(const Fd& dir, const std::string& name, const struct stat& owner) {
  Result<Fd> below = OpenDirBeneath(dir, name);
  if (below.ok() || below.error().sys_errno() != ENOENT) {
    const int sys_errno = below.ok() ? 0 : below.error().sys_errno();
    const bool no_dir = sys_errno == ELOOP || sys_errno == ENOTDIR;
    if (!no_dir) return below;
    return Error(ErrorCode::kPermissionDenied,
                 "write record: " + name + ": is not a directory; links are not followed");
  }
  const Status made = MakeDir(dir, name, 0755);
  if (!made.ok() && made.error().sys_errno() != EEXIST) return made.error();
  Entry entry{TRY(OpenDirBeneath(dir, ".")), name};
  TRY(GiveTo(entry, owner));
  Fd opened = TRY(OpenDirBeneath(dir, name));
  const struct stat st = TRY(Stat(opened));
  TRY(SetMode(opened, (st.st_mode & 07000) | 0755));  // Whatever the umask says.
  TRY(Fsync(opened));
  TRY(Fsync(dir));
  return opened;
}

// A record on its way. Its writer keeps it locked, so that it is not taken for a dead one's.
struct Draft {
  std::string name;
  Fd file;
};

Result<Draft> MakeDraft(const Fd& private_dir) {
  for (int attempt = 0; attempt < kDraftAttemptsMax; ++attempt) {
    Entry entry{TRY(OpenDirBeneath(private_dir, ".")), std::string(kDraftPrefix)};
    entry.name += ToHex(RandomBytes(6));
    Fd file = TRY(OpenEntry(entry, O_CREAT | O_EXCL | O_WRONLY, 0600));
    const bool locked = TRY(TryLock(file, LockMode::kExclusive));
    // Else it was swept in the moment before it was locked.
    if (locked && TRY(Stat(file)).st_nlink == 1) return Draft{entry.name, std::move(file)};
  }
  return Error(ErrorCode::kConflict, "write record: what is written is removed again and again");
}

}  // namespace

Status SyncStaged(const JournalDirs& dirs, const ChangeSet& set, Staged staged) {
  if (staged == Staged::kDoubtful) TRY(DistrustStaged(dirs.held, "stage/" + set.id));
  const Stability stability = TRY(StabilityOf(dirs.held));
  TRY(CheckNoQuarantine(dirs.journal));
  const Status synced = SyncStagedContent(dirs.held, set, stability);
  return synced.ok() ? synced : QuarantineIfLost(dirs.journal, synced.error());
}

Status DiscardStaged(const JournalDirs& dirs, const std::string& id) {
  TRY(CheckEnded(dirs.journal, id, "discard"));
  TRY(RemoveFrom(dirs.private_dir, "stage", id));
  return TRY(IsHeldElsewhere(dirs)) ? RemoveFrom(dirs.held, "stage", id) : Ok();
}

Status Forget(const JournalDirs& dirs, const std::string& id) {
  TRY(CheckEnded(dirs.journal, id, "forget"));
  // The journal goes last: while it is there, a later call knows what else to remove.
  TRY(DiscardStaged(dirs, id));
  TRY(RemoveFrom(dirs.private_dir, "undo", id));
  return RemoveJournal(dirs.journal, id);
}

Status WriteRecord(const Fd& workspace, std::string_view path, std::string_view bytes) {
  TRY(ValidatePath(path));
  const struct stat owner = TRY(Stat(workspace));
  Fd dir = TRY(OpenDirBeneath(workspace, "."));
  std::string_view rest = path;
  for (std::size_t slash = rest.find('/'); slash != std::string_view::npos;
       slash = rest.find('/')) {
    Fd below = TRY(EnterOrMake(dir, std::string(rest.substr(0, slash)), owner));
    dir = std::move(below);
    rest.remove_prefix(slash + 1);
  }
  const std::string name(rest);
  const Fd private_dir = TRY(OpenDirBeneath(workspace, kPrivateDir));
  const Draft draft = TRY(MakeDraft(private_dir));
  const Status written = [&]() -> Status {
    TRY(WriteAll(draft.file, bytes));
    TRY(SetMode(draft.file, 0644));
    const Entry entry{TRY(OpenDirBeneath(private_dir, ".")), draft.name};
    TRY(GiveTo(entry, owner));
    TRY(Fsync(draft.file));
    return Rename(private_dir, draft.name, dir, name);
  }();
  if (!written.ok()) {
    // The name is ours alone, and the error that matters is the first one.
    (void)Unlink(private_dir, draft.name);
    return written;
  }
  return Fsync(dir);
}

Result<std::int64_t> RemoveRecords(const Fd& workspace, std::string_view folder,
                                   const std::vector<std::string>& ids) {
  TRY(ValidatePath(folder));
  const Result<Fd> dir = OpenDirBeneath(workspace, folder);
  if (!dir.ok()) {
    if (IsNoEntry(dir.error())) return std::int64_t{0};
    return dir.error();
  }
  std::int64_t removed = 0;
  for (const std::string& id : ids) {
    if (!IsId(id)) {
      return Error(ErrorCode::kInvalidArgument,
                   "remove record: '" + EscapeForTerminal(id, Lines::kSingle) + "' is not an id");
    }
    const std::string name = id + ".json";
    const std::optional<struct stat> st = TRY(StatAt(dir.value(), name));
    if (!st.has_value() || !S_ISREG(st->st_mode)) continue;
    const Status unlinked = Unlink(dir.value(), name);
    if (!unlinked.ok() && unlinked.error().sys_errno() != ENOENT) return unlinked.error();
    ++removed;
  }
  TRY(Fsync(dir.value()));
  return removed;
}

Status SweepRecords(const Fd& workspace) {
  const Fd private_dir = TRY(OpenDirBeneath(workspace, kPrivateDir));
  for (const std::string& name : TRY(ListDir(private_dir, kPrivateNamesMax))) {
    if (!name.starts_with(kDraftPrefix)) continue;
    const Entry entry{TRY(OpenDirBeneath(private_dir, ".")), name};
    // As MakeDraft() opens it: NFS locks exclusively only what is open for writing. One that cannot
    // be examined is in nobody's way, and the next recovery looks again.
    const Result<Fd> file = OpenEntry(entry, O_WRONLY | O_NONBLOCK);
    if (!file.ok()) continue;
    const Result<bool> locked = TryLock(file.value(), LockMode::kExclusive);
    if (!locked.ok() || !locked.value()) continue;
    const Status removed = Unlink(private_dir, name);
    if (!removed.ok() && removed.error().sys_errno() != ENOENT) return removed;
  }
  return Ok();
}

}  // namespace bailiff
