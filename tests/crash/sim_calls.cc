// The system calls that journal, workspace and sys make, as the linker's --wrap hands them over:
// below /sim, and on descriptors from there, they reach the SimFs in use; anything else reaches the
// kernel. A call that is not here fails with EBADF on such a descriptor.

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <cstring>
#include <map>
#include <memory>

#include "base/check.h"
#include "tests/crash/sim_fs.h"

namespace bailiff {
namespace {

constexpr int kFirstFd = 1 << 20;  // Above what the kernel gives out here.
constexpr long kFchmodat2 = 452;

struct OpenFile {
  SimIno ino = 0;
  int flags = 0;
  std::int64_t offset = 0;
};

struct OpenDir {
  int fd = 0;
  std::vector<std::string> names;
  std::size_t next = 0;
  dirent entry{};
};

struct Calls {
  SimFs* fs = nullptr;
  std::map<int, OpenFile> files;
  std::map<void*, std::unique_ptr<OpenDir>> dirs;
  int next_fd = kFirstFd;
};

Calls& State() {
  static Calls calls;
  return calls;
}

SimFs& Fs() {
  CHECK(State().fs != nullptr);
  return *State().fs;
}

bool IsOurs(int fd) {
  return fd >= kFirstFd;
}

// Nothing for a descriptor that was closed, or is from before the power cut.
OpenFile* Opened(int fd) {
  const auto found = State().files.find(fd);
  return found == State().files.end() ? nullptr : &found->second;
}

template <typename T = int>
T Answer(long result) {
  if (result >= 0) return static_cast<T>(result);
  errno = static_cast<int>(-result);
  return -1;
}

// The directory that the last component of `path` is in, and that component.
struct Walked {
  long dir = 0;  // Or an errno.
  std::string name;
};

Walked Walk(SimIno from, std::string_view path) {
  Walked walked{static_cast<long>(from), "."};
  for (;;) {
    const std::size_t slash = path.find('/');
    const std::string_view name = path.substr(0, slash);
    if (name == "..") return {-EXDEV, ""};
    if (slash == std::string_view::npos) {
      walked.name = name.empty() ? "." : std::string(name);
      return walked;
    }
    path.remove_prefix(slash + 1);
    if (name.empty()) continue;
    const long below = Fs().Lookup(static_cast<SimIno>(walked.dir), name);
    if (below < 0) return {below, ""};
    const mode_t type = Fs().At(static_cast<SimIno>(below)).type;
    if (type == S_IFLNK) return {-ELOOP, ""};
    if (type != S_IFDIR) return {-ENOTDIR, ""};
    walked.dir = below;
  }
}

long OpenInode(SimIno ino, int flags) {
  const SimInode& inode = Fs().At(ino);
  const bool writes = (flags & O_ACCMODE) != O_RDONLY;
  if (inode.type == S_IFLNK && (flags & O_DIRECTORY) != 0) return -ENOTDIR;
  if (inode.type == S_IFLNK && (flags & O_PATH) == 0) return -ELOOP;
  if (inode.type != S_IFDIR && (flags & O_DIRECTORY) != 0) return -ENOTDIR;
  if (inode.type == S_IFDIR && writes) return -EISDIR;
  if ((flags & O_TRUNC) != 0 && !inode.data.empty()) Fs().Truncate(ino, 0);
  const int fd = State().next_fd++;
  State().files[fd] = {ino, flags, 0};
  return fd;
}

long Open(SimIno from, std::string_view path, int flags, mode_t mode) {
  const Walked walked = Walk(from, path);
  if (walked.dir < 0) return walked.dir;
  const auto dir = static_cast<SimIno>(walked.dir);
  long found = Fs().Lookup(dir, walked.name);
  const bool creates = (flags & O_CREAT) != 0;
  if (found >= 0 && creates && (flags & O_EXCL) != 0) return -EEXIST;
  if (found == -ENOENT && creates) found = Fs().Make(dir, walked.name, S_IFREG, mode, "");
  if (found < 0) return found;
  return OpenInode(static_cast<SimIno>(found), flags);
}

// `call` on the inode of `fd`.
template <typename Call>
long On(int fd, Call call) {
  OpenFile* file = Opened(fd);
  return file == nullptr ? -EBADF : call(*file);
}

// `call` on the directory and the last name that `path` leads to from `fd`.
template <typename Call>
long OnName(int fd, const char* path, Call call) {
  return On(fd, [&](const OpenFile& file) -> long {
    const Walked walked = Walk(file.ino, path);
    return walked.dir < 0 ? walked.dir : call(static_cast<SimIno>(walked.dir), walked.name);
  });
}

template <typename Call>
long OnEntry(int fd, const char* path, Call call) {
  if (*path == '\0') return On(fd, [&](const OpenFile& file) { return call(file.ino); });
  return OnName(fd, path, [&](SimIno dir, const std::string& name) -> long {
    const long found = Fs().Lookup(dir, name);
    return found < 0 ? found : call(static_cast<SimIno>(found));
  });
}

long Read(const OpenFile& file, void* buffer, std::size_t size, std::int64_t offset) {
  const SimInode& inode = Fs().At(file.ino);
  if (inode.type != S_IFREG) return -EISDIR;
  const auto from = std::min(static_cast<std::size_t>(offset), inode.data.size());
  return static_cast<long>(inode.data.copy(static_cast<char*>(buffer), size, from));
}

}  // namespace

void UseSimFs(SimFs* fs) {
  State().fs = fs;
  State().files.clear();
}

}  // namespace bailiff

using namespace bailiff;  // NOLINT(google-build-using-namespace): what follows has C linkage.

// NOLINTBEGIN(bugprone-reserved-identifier,readability-identifier-naming)
// NOLINTBEGIN(performance-no-int-to-ptr): what syscall(2) is given.:
// the linker's names.
extern "C" {

int __real_open(const char* path, int flags, ...);
int __real_openat(int fd, const char* path, int flags, ...);
long __real_syscall(long number, ...);
int __real_close(int fd);
int __real_fstat(int fd, struct stat* st);
int __real_fstatat(int fd, const char* path, struct stat* st, int flags);
int __real_fstatfs(int fd, struct statfs* st);
ssize_t __real_read(int fd, void* buffer, size_t size);
ssize_t __real_pread(int fd, void* buffer, size_t size, off_t offset);
ssize_t __real_write(int fd, const void* buffer, size_t size);
ssize_t __real_readlinkat(int fd, const char* path, char* buffer, size_t size);
int __real_mkdirat(int fd, const char* path, mode_t mode);
int __real_symlinkat(const char* target, int fd, const char* path);
int __real_linkat(int from, const char* path, int to, const char* to_path, int flags);
int __real_renameat2(int from, const char* path, int to, const char* to_path, unsigned flags);
int __real_unlinkat(int fd, const char* path, int flags);
int __real_fsync(int fd);
int __real_flock(int fd, int operation);
off_t __real_lseek(int fd, off_t offset, int whence);
ssize_t __real_flistxattr(int fd, char* list, size_t size);
int __real_statx(int fd, const char* path, int flags, unsigned mask, struct statx* stx);
int __real_syncfs(int fd);
DIR* __real_fdopendir(int fd);
dirent* __real_readdir(DIR* dir);
int __real_closedir(DIR* dir);
ssize_t __real_fgetxattr(int fd, const char* name, void* value, size_t size);
int __real_fsetxattr(int fd, const char* name, const void* value, size_t size, int flags);
int __real_fchmod(int fd, mode_t mode);
int __real_fchmodat(int fd, const char* path, mode_t mode, int flags);
int __real_utimensat(int fd, const char* path, const timespec* times, int flags);
int __real_fchown(int fd, uid_t uid, gid_t gid);
int __real_fchownat(int fd, const char* path, uid_t uid, gid_t gid, int flags);
int __real_faccessat(int fd, const char* path, int mode, int flags);
int __real_fallocate(int fd, int mode, off_t offset, off_t size);
int __real_ftruncate(int fd, off_t size);
uid_t __real_geteuid();

int __wrap_open(const char* path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(rest, mode_t) : 0;
  va_end(rest);
  const std::string_view given = path;
  const bool ours = given == "/sim" || given.starts_with("/sim/");
  if (!ours) return __real_open(path, flags, mode);
  return Answer(Open(kSimRoot, given.substr(4), flags, mode));
}

int __wrap_openat(int fd, const char* path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(rest, mode_t) : 0;
  va_end(rest);
  if (!IsOurs(fd)) return __real_openat(fd, path, flags, mode);
  return Answer(On(fd, [&](const OpenFile& file) { return Open(file.ino, path, flags, mode); }));
}

long __wrap_syscall(long number, ...) {
  va_list rest;
  va_start(rest, number);
  long args[6];
  for (long& arg : args) arg = va_arg(rest, long);
  va_end(rest);
  const auto fd = static_cast<int>(args[0]);
  if (number == SYS_openat2 && IsOurs(fd)) {
    const auto* path = reinterpret_cast<const char*>(args[1]);
    const auto* how = reinterpret_cast<const open_how*>(args[2]);
    return __wrap_openat(fd, path, static_cast<int>(how->flags), static_cast<mode_t>(how->mode));
  }
  if (number == kFchmodat2 && IsOurs(fd)) {
    const auto* path = reinterpret_cast<const char*>(args[1]);
    return Answer<long>(OnEntry(
        fd, path, [&](SimIno ino) { return Fs().SetMode(ino, static_cast<mode_t>(args[2])); }));
  }
  return __real_syscall(number, args[0], args[1], args[2], args[3], args[4], args[5]);
}

int __wrap_close(int fd) {
  if (!IsOurs(fd)) return __real_close(fd);
  State().files.erase(fd);  // One from before the power cut is gone already.
  return 0;
}

int __wrap_fstat(int fd, struct stat* st) {
  if (!IsOurs(fd)) return __real_fstat(fd, st);
  return Answer(On(fd, [&](const OpenFile& file) {
    Fs().Stat(file.ino, st);
    return 0L;
  }));
}

int __wrap_fstatat(int fd, const char* path, struct stat* st, int flags) {
  if (!IsOurs(fd)) return __real_fstatat(fd, path, st, flags);
  return Answer(OnEntry(fd, path, [&](SimIno ino) {
    Fs().Stat(ino, st);
    return 0L;
  }));
}

// For what is there at all: nothing reads what it tells.
int __wrap_statx(int fd, const char* path, int flags, unsigned mask, struct statx* stx) {
  if (!IsOurs(fd)) return __real_statx(fd, path, flags, mask, stx);
  return Answer(OnEntry(fd, path, [](SimIno /*ino*/) { return 0L; }));
}

int __wrap_fstatfs(int fd, struct statfs* st) {
  if (!IsOurs(fd)) return __real_fstatfs(fd, st);
  *st = {};
  st->f_type = EXT4_SUPER_MAGIC;
  return 0;
}

ssize_t __wrap_read(int fd, void* buffer, size_t size) {
  if (!IsOurs(fd)) return __real_read(fd, buffer, size);
  return Answer<ssize_t>(On(fd, [&](OpenFile& file) {
    const long got = Read(file, buffer, size, file.offset);
    if (got > 0) file.offset += got;
    return got;
  }));
}

ssize_t __wrap_pread(int fd, void* buffer, size_t size, off_t offset) {
  if (!IsOurs(fd)) return __real_pread(fd, buffer, size, offset);
  return Answer<ssize_t>(
      On(fd, [&](const OpenFile& file) { return Read(file, buffer, size, offset); }));
}

ssize_t __wrap_write(int fd, const void* buffer, size_t size) {
  if (!IsOurs(fd)) return __real_write(fd, buffer, size);
  return Answer<ssize_t>(On(fd, [&](OpenFile& file) -> long {
    if ((file.flags & O_ACCMODE) == O_RDONLY) return -EBADF;
    const auto end = static_cast<std::int64_t>(Fs().At(file.ino).data.size());
    if ((file.flags & O_APPEND) != 0) file.offset = end;
    const long done =
        Fs().Write(file.ino, file.offset, std::string(static_cast<const char*>(buffer), size));
    file.offset += done;
    return done;
  }));
}

ssize_t __wrap_readlinkat(int fd, const char* path, char* buffer, size_t size) {
  if (!IsOurs(fd)) return __real_readlinkat(fd, path, buffer, size);
  return Answer<ssize_t>(OnEntry(fd, path, [&](SimIno ino) -> long {
    const SimInode& inode = Fs().At(ino);
    if (inode.type != S_IFLNK) return -EINVAL;
    return static_cast<long>(inode.data.copy(buffer, size));
  }));
}

int __wrap_mkdirat(int fd, const char* path, mode_t mode) {
  if (!IsOurs(fd)) return __real_mkdirat(fd, path, mode);
  return Answer(OnName(fd, path, [&](SimIno dir, const std::string& name) {
    return std::min(0L, Fs().Make(dir, name, S_IFDIR, mode, ""));
  }));
}

int __wrap_symlinkat(const char* target, int fd, const char* path) {
  if (!IsOurs(fd)) return __real_symlinkat(target, fd, path);
  return Answer(OnName(fd, path, [&](SimIno dir, const std::string& name) {
    return std::min(0L, Fs().Make(dir, name, S_IFLNK, 0777, target));
  }));
}

int __wrap_linkat(int from, const char* path, int to, const char* to_path, int flags) {
  if (!IsOurs(from)) return __real_linkat(from, path, to, to_path, flags);
  return Answer(OnEntry(from, path, [&](SimIno ino) {
    return OnName(to, to_path,
                  [&](SimIno dir, const std::string& name) { return Fs().Link(ino, dir, name); });
  }));
}

int __wrap_renameat2(int from, const char* path, int to, const char* to_path, unsigned flags) {
  if (!IsOurs(from)) return __real_renameat2(from, path, to, to_path, flags);
  return Answer(OnName(from, path, [&](SimIno dir, const std::string& name) {
    return OnName(to, to_path, [&](SimIno to_dir, const std::string& to_name) {
      return Fs().Rename(dir, name, to_dir, to_name, flags);
    });
  }));
}

int __wrap_unlinkat(int fd, const char* path, int flags) {
  if (!IsOurs(fd)) return __real_unlinkat(fd, path, flags);
  return Answer(OnName(fd, path, [&](SimIno dir, const std::string& name) {
    return Fs().Remove(dir, name, flags == AT_REMOVEDIR);
  }));
}

int __wrap_fsync(int fd) {
  if (!IsOurs(fd)) return __real_fsync(fd);
  return Answer(On(fd, [](const OpenFile& file) { return Fs().Sync(file.ino); }));
}

// Nobody else is there.
// As NFS does it.
int __wrap_flock(int fd, int operation) {
  if (!IsOurs(fd)) return __real_flock(fd, operation);
  return Answer(On(fd, [&](const OpenFile& file) -> long {
    const bool writes = (file.flags & O_ACCMODE) != O_RDONLY;
    return (operation & LOCK_EX) != 0 && !writes ? -EBADF : 0;
  }));
}

// It knows no holes.
off_t __wrap_lseek(int fd, off_t offset, int whence) {
  if (!IsOurs(fd)) return __real_lseek(fd, offset, whence);
  return Answer<off_t>(On(fd, [&](OpenFile& file) -> long {
    if (whence != SEEK_SET) return -EINVAL;
    return file.offset = offset;
  }));
}

int __wrap_syncfs(int fd) {
  if (!IsOurs(fd)) return __real_syncfs(fd);
  return Answer(On(fd, [](const OpenFile& file) { return Fs().SyncDisk(file.ino); }));
}

DIR* __wrap_fdopendir(int fd) {
  if (!IsOurs(fd)) return __real_fdopendir(fd);
  const OpenFile* file = Opened(fd);
  if (file == nullptr) {
    errno = EBADF;
    return nullptr;
  }
  auto dir = std::make_unique<OpenDir>();
  dir->fd = fd;
  for (const auto& [name, ino] : Fs().At(file->ino).entries) dir->names.push_back(name);
  void* handle = dir.get();
  State().dirs[handle] = std::move(dir);
  return static_cast<DIR*>(handle);
}

dirent* __wrap_readdir(DIR* dir) {
  const auto found = State().dirs.find(dir);
  if (found == State().dirs.end()) return __real_readdir(dir);
  OpenDir& open = *found->second;
  if (open.next == open.names.size()) return nullptr;
  const std::string& name = open.names[open.next++];
  name.copy(open.entry.d_name, sizeof(open.entry.d_name) - 1);
  open.entry.d_name[name.size()] = '\0';
  return &open.entry;
}

int __wrap_closedir(DIR* dir) {
  const auto found = State().dirs.find(dir);
  if (found == State().dirs.end()) return __real_closedir(dir);
  State().files.erase(found->second->fd);
  State().dirs.erase(found);
  return 0;
}

ssize_t __wrap_fgetxattr(int fd, const char* name, void* value, size_t size) {
  if (!IsOurs(fd)) return __real_fgetxattr(fd, name, value, size);
  return Answer<ssize_t>(On(fd, [&](const OpenFile& file) -> long {
    const auto& xattrs = Fs().At(file.ino).xattrs;
    const auto found = xattrs.find(name);
    if (found == xattrs.end()) return -ENODATA;
    return static_cast<long>(found->second.copy(static_cast<char*>(value), size));
  }));
}

ssize_t __wrap_flistxattr(int fd, char* list, size_t size) {
  if (!IsOurs(fd)) return __real_flistxattr(fd, list, size);
  return Answer<ssize_t>(On(fd, [&](const OpenFile& file) -> long {
    std::string names;
    for (const auto& [name, value] : Fs().At(file.ino).xattrs) names += name + '\0';
    return static_cast<long>(names.copy(list, size));
  }));
}

int __wrap_fsetxattr(int fd, const char* name, const void* value, size_t size, int flags) {
  if (!IsOurs(fd)) return __real_fsetxattr(fd, name, value, size, flags);
  return Answer(On(fd, [&](const OpenFile& file) {
    return Fs().SetXattr(file.ino, name, std::string(static_cast<const char*>(value), size));
  }));
}

int __wrap_fchmod(int fd, mode_t mode) {
  if (!IsOurs(fd)) return __real_fchmod(fd, mode);
  return Answer(On(fd, [&](const OpenFile& file) { return Fs().SetMode(file.ino, mode); }));
}

int __wrap_fchmodat(int fd, const char* path, mode_t mode, int flags) {
  if (!IsOurs(fd)) return __real_fchmodat(fd, path, mode, flags);
  return Answer(OnEntry(fd, path, [&](SimIno ino) { return Fs().SetMode(ino, mode); }));
}

int __wrap_utimensat(int fd, const char* path, const timespec* times, int flags) {
  if (!IsOurs(fd)) return __real_utimensat(fd, path, times, flags);
  const std::int64_t mtime_ns = times[1].tv_sec * 1'000'000'000 + times[1].tv_nsec;
  return Answer(OnEntry(fd, path, [&](SimIno ino) { return Fs().SetTime(ino, mtime_ns); }));
}

int __wrap_fchown(int fd, uid_t uid, gid_t gid) {
  if (!IsOurs(fd)) return __real_fchown(fd, uid, gid);
  return Answer(On(fd, [&](const OpenFile& file) { return Fs().SetOwner(file.ino, uid, gid); }));
}

int __wrap_fchownat(int fd, const char* path, uid_t uid, gid_t gid, int flags) {
  if (!IsOurs(fd)) return __real_fchownat(fd, path, uid, gid, flags);
  return Answer(OnEntry(fd, path, [&](SimIno ino) { return Fs().SetOwner(ino, uid, gid); }));
}

// Its user may do everything.
int __wrap_faccessat(int fd, const char* path, int mode, int flags) {
  if (!IsOurs(fd)) return __real_faccessat(fd, path, mode, flags);
  return Answer(OnEntry(fd, path, [](SimIno) { return 0L; }));
}
uid_t __wrap_geteuid() {
  return State().fs == nullptr ? __real_geteuid() : 0;
}

// Reserves only: the journal asks to keep the size.
int __wrap_fallocate(int fd, int mode, off_t offset, off_t size) {
  if (!IsOurs(fd)) return __real_fallocate(fd, mode, offset, size);
  return 0;
}

int __wrap_ftruncate(int fd, off_t size) {
  if (!IsOurs(fd)) return __real_ftruncate(fd, size);
  return Answer(On(fd, [&](const OpenFile& file) { return Fs().Truncate(file.ino, size); }));
}

}  // extern "C"
// NOLINTEND(performance-no-int-to-ptr)
// NOLINTEND(bugprone-reserved-identifier,readability-identifier-naming)
