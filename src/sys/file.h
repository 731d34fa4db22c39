#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <ctime>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "sys/fd.h"

// Files, by descriptor. Paths are bytes relative to a directory descriptor; nothing here looks at
// the process's own root or working directory unless it takes an absolute path and says so.

namespace bailiff {

// Opens an absolute path that the operator chose, following symbolic links.
// Errors: kNotFound; kPermissionDenied; kIo.
Result<Fd> OpenPath(const std::string& path, int flags, mode_t mode = 0);

// Opens `path` relative to `dir`, refusing to leave it: "..", absolute paths, symlinks and /proc
// magic links cannot resolve to anything outside. Use this, or the functions below, for any path
// that a script, an API client or an overlay's upper layer can influence.
//
// `flags` are open(2) flags; O_CLOEXEC is always added. `mode` (octal, for example 0600) applies
// only with O_CREAT. At most PATH_MAX bytes of path.
//
// Errors: kNotFound; kPermissionDenied when the path escapes `dir`; kResourceExhausted;
//         kConflict when the tree kept being renamed underneath us; kIo.
Result<Fd> OpenBeneath(const Fd& dir, const std::string& path, std::uint64_t flags,
                       mode_t mode = 0);

// As OpenBeneath() for a directory, with no symbolic link anywhere in `path` and no limit on its
// length. "" and "." give a new descriptor of `dir` itself. Mount points are not crossed.
Result<Fd> OpenDirBeneath(const Fd& dir, std::string_view path, std::uint64_t flags = 0);

// One name in an open directory: where the last step of every *at() call happens.
struct Entry {
  Fd dir;
  std::string name;
};

// The parent directory of `path`, opened as by OpenDirBeneath(), and the last component.
// `flags`: O_PATH needs no right to list the directory, and gives one that cannot be synced.
// Errors: as OpenDirBeneath(); kInvalidArgument for "", "." or "..".
Result<Entry> OpenParent(const Fd& root, std::string_view path, std::uint64_t flags = 0);

// OpenParent() for many paths, of which neighbours lie in one directory: it stays open for the next
// one. For trees that stand still, or work that only looks; a path whose directory was renamed
// meanwhile is taken for one in the renamed directory.
class ParentCache {
 public:
  // `root` must outlive this object.
  explicit ParentCache(const Fd& root, std::uint64_t flags = 0) : root_(root), flags_(flags) {}

  // What it returns is good until the next call.
  Result<const Entry*> Open(std::string_view path);

 private:
  const Fd& root_;
  std::uint64_t flags_;
  std::string parent_;
  Entry entry_;
};

// Whether an error of the functions above says that there is nothing at a path: also where one of
// its directories is missing, or is something else (ELOOP: a symbolic link, as openat2(2) says).
bool IsNoEntry(const Error& error);

// Opens `name` in `dir` without following it, if it is a link.
Result<Fd> OpenEntry(const Fd& dir, const std::string& name, int flags, mode_t mode = 0);
inline Result<Fd> OpenEntry(const Entry& entry, int flags, mode_t mode = 0) {
  return OpenEntry(entry.dir, entry.name, flags, mode);
}

Result<struct stat> Stat(const Fd& fd);

// The unit of stat::st_blocks, whatever the file system's own blocks are.
inline constexpr std::int64_t kStatBlockBytes = 512;

// What `name` in `dir` is, links not followed; nothing when there is no such entry.
Result<std::optional<struct stat>> StatAt(const Fd& dir, const std::string& name);

// Has a file system that answers from a cache (FUSE, NFS) ask anew what `name` in `dir` is, links
// not followed: what StatAt() says next is no older than this call. Error: kNotFound.
Status RefreshAt(const Fd& dir, const std::string& name);

// Whole file. Errors: kResourceExhausted above `max_bytes`; kIo.
Result<std::string> ReadAll(const Fd& fd, std::size_t max_bytes);

// Up to `size` bytes at `offset`; fewer only at the end of the file.
Result<std::string> ReadAt(const Fd& fd, std::int64_t offset, std::size_t size);

// Errors: kResourceExhausted when the disk is full; kIo.
Status WriteAll(const Fd& fd, std::string_view bytes);

Result<std::string> ReadLink(const Fd& dir, const std::string& name);
Status MakeDir(const Fd& dir, const std::string& name, mode_t mode);
Status MakeSymlink(const Fd& dir, const std::string& name, const std::string& target);
Status Link(const Fd& from_dir, const std::string& from, const Fd& to_dir, const std::string& to);

// Flags are renameat2(2)'s: RENAME_NOREPLACE, RENAME_EXCHANGE. The error keeps its sys_errno().
Status Rename(const Fd& from_dir, const std::string& from, const Fd& to_dir, const std::string& to,
              unsigned flags = 0);
Status Unlink(const Fd& dir, const std::string& name);
Status RemoveDir(const Fd& dir, const std::string& name);

// Removes `name` in `dir` with everything below it, without leaving the file system it is on. No
// error when there is none.
Status RemoveTree(const Fd& dir, const std::string& name);

// Errors: kIo with EIO also for a disk that was found full only now: what was written is lost, and
//         a second call would not tell. The same for SyncFilesystem().
Status Fsync(const Fd& fd);

// Makes everything written to the file system of `fd` durable. A no-op on FUSE (the kernel does
// nothing there): use Fsync() on such a file system.
Status SyncFilesystem(const Fd& fd);

// Writes `name` in `dir` by way of a temporary file, Fsync() and a rename, then syncs `dir`: after
// a crash it holds the old bytes or the new ones.
Status ReplaceFile(const Fd& dir, const std::string& name, std::string_view bytes, mode_t mode);

// Names in a directory, without "." and "..", in the order the file system gives them.
// Errors: kResourceExhausted above `max` names; kIo.
Result<std::vector<std::string>> ListDir(const Fd& dir, std::size_t max);

// An extended attribute of an open file or of a symbolic link's own inode by /proc path; nothing
// when it is not set or the file system has none.
Result<std::optional<std::string>> GetXattr(const Fd& fd, const std::string& name);

// Takes an advisory lock on the whole file, kept until the descriptor is closed. False when another
// descriptor holds a conflicting one.
enum class LockMode { kShared, kExclusive };
Result<bool> TryLock(const Fd& fd, LockMode mode);

// A sealed memory file with these bytes, to hand a large message to another process.
Result<Fd> MakeMemoryFile(const char* label, std::string_view bytes);

inline std::int64_t ToNanos(const timespec& time) {
  return static_cast<std::int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

// Also right for times before 1970.
timespec ToTimespec(std::int64_t nanos);

}  // namespace bailiff
