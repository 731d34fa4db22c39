#include "sys/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <utility>

#include "base/bytes.h"
#include "base/ids.h"
#include "sys/retry.h"

namespace bailiff {
namespace {

// openat2(2) gives EAGAIN when a rename races the walk. A hostile script can keep renaming, so the
// retries are bounded.
constexpr int kResolveAttemptsMax = 16;

// Leaves room for the kernel's own limit of PATH_MAX, its terminating zero included.
constexpr std::size_t kPathChunkMax = PATH_MAX - 256;

constexpr std::size_t kReadBytesMin = 4096;
constexpr std::size_t kReadBytesMax = 1UL << 20;

std::string Quoted(std::string_view path) {
  return EscapeForTerminal(path, Lines::kSingle);
}

Result<Fd> Resolve(const Fd& dir, const std::string& path, open_how how) {
  for (int attempt = 0; attempt < kResolveAttemptsMax; ++attempt) {
    const long fd = ::syscall(SYS_openat2, dir.get(), path.c_str(), &how, sizeof(how));
    if (fd >= 0) return Fd(static_cast<int>(fd));
    if (errno == EXDEV) {
      return Error(ErrorCode::kPermissionDenied,
                   "open " + Quoted(path) + ": path leaves its directory");
    }
    if (errno != EAGAIN && errno != EINTR) return Error::FromErrno(errno, "open " + Quoted(path));
  }
  return Error(ErrorCode::kConflict, "open " + Quoted(path) + ": directory tree keeps changing");
}

Status FromCall(long rc, std::string_view call, std::string_view path) {
  if (rc >= 0) return Ok();
  return Error::FromErrno(errno, std::string(call) + " " + Quoted(path));
}

Status FromSync(int rc, std::string_view call) {
  if (rc == 0) return Ok();
  const bool full = errno == ENOSPC || errno == EDQUOT;
  if (!full) return Error::FromErrno(errno, call);
  return Error::FromErrno(EIO, std::string(call) + ": the disk is full, and lost what was written");
}

std::size_t SizeToRead(const Fd& fd, std::size_t bytes_max) {
  const Result<struct stat> st = Stat(fd);
  if (!st.ok() || st.value().st_size < 0) return 0;
  // And one more, by which the end is seen.
  return std::min(static_cast<std::size_t>(st.value().st_size), bytes_max) + 1;
}

struct SplitPath {
  std::string_view parent;  // Empty at the top.
  std::string_view name;
};

SplitPath Split(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string_view::npos) return {"", path};
  return {path.substr(0, slash), path.substr(slash + 1)};
}

bool IsName(std::string_view name) {
  return !name.empty() && name != "." && name != "..";
}

// The length of the longest prefix of `path` that ends before a slash and fits one openat2(2).
std::size_t ChunkSize(std::string_view path) {
  if (path.size() <= kPathChunkMax) return path.size();
  const std::size_t slash = path.rfind('/', kPathChunkMax);
  return slash == std::string_view::npos ? path.size() : slash;
}

}  // namespace

Result<Fd> OpenPath(const std::string& path, int flags, mode_t mode) {
  const int fd = RetryInterrupted([&] { return ::open(path.c_str(), flags | O_CLOEXEC, mode); });
  if (fd < 0) return Error::FromErrno(errno, "open " + Quoted(path));
  return Fd(fd);
}

Result<Fd> OpenBeneath(const Fd& dir, const std::string& path, std::uint64_t flags, mode_t mode) {
  open_how how{};
  how.flags = flags | O_CLOEXEC;
  how.mode = mode;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  return Resolve(dir, path, how);
}

Result<Fd> OpenDirBeneath(const Fd& dir, std::string_view path, std::uint64_t flags) {
  open_how how{};
  how.flags = flags | O_CLOEXEC | O_DIRECTORY | O_NOFOLLOW;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV;
  if (path.empty()) path = ".";
  Fd current;
  while (!path.empty()) {
    const std::size_t size = ChunkSize(path);
    const Fd& from = current.valid() ? current : dir;
    current = TRY(Resolve(from, std::string(path.substr(0, size)), how));
    path.remove_prefix(std::min(path.size(), size + 1));
  }
  return current;
}

Result<Entry> OpenParent(const Fd& root, std::string_view path, std::uint64_t flags) {
  const SplitPath split = Split(path);
  if (!IsName(split.name)) {
    return Error(ErrorCode::kInvalidArgument, "'" + Quoted(path) + "' does not name an entry");
  }
  Fd dir = TRY(OpenDirBeneath(root, split.parent, flags));
  return Entry{std::move(dir), std::string(split.name)};
}

Result<const Entry*> ParentCache::Open(std::string_view path) {
  const SplitPath split = Split(path);
  const bool known = entry_.dir.valid() && split.parent == parent_ && IsName(split.name);
  if (known) {
    entry_.name = split.name;
    return &entry_;
  }
  entry_ = Entry();
  entry_ = TRY(OpenParent(root_, path, flags_));
  parent_ = split.parent;
  return &entry_;
}

bool IsNoEntry(const Error& error) {
  const int sys_errno = error.sys_errno();
  return sys_errno == ENOENT || sys_errno == ENOTDIR || sys_errno == ELOOP;
}

Result<Fd> OpenEntry(const Fd& dir, const std::string& name, int flags, mode_t mode) {
  const int fd = RetryInterrupted([&] {
    return ::openat(dir.get(), name.c_str(), flags | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, mode);
  });
  if (fd < 0) return Error::FromErrno(errno, "open " + Quoted(name));
  return Fd(fd);
}

Result<struct stat> Stat(const Fd& fd) {
  struct stat st {};
  TRY(FromCall(::fstat(fd.get(), &st), "stat", "descriptor"));
  return st;
}

Result<std::optional<struct stat>> StatAt(const Fd& dir, const std::string& name) {
  struct stat st {};
  if (::fstatat(dir.get(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0) return std::optional(st);
  if (errno == ENOENT) return std::optional<struct stat>();
  return Error::FromErrno(errno, "stat " + Quoted(name));
}

Status RefreshAt(const Fd& dir, const std::string& name) {
  struct statx unused = {};
  constexpr int kFlags = AT_SYMLINK_NOFOLLOW | AT_STATX_FORCE_SYNC;
  if (::statx(dir.get(), name.c_str(), kFlags, STATX_BASIC_STATS, &unused) == 0) return Ok();
  return Error::FromErrno(errno, "stat " + Quoted(name));
}

Result<std::string> ReadAll(const Fd& fd, std::size_t max_bytes) {
  std::string data;
  std::size_t done = 0;
  for (;;) {
    // Of a large one the size is asked, since growing means copying; where it has none (a pipe, a
    // file of /proc), or grows meanwhile, it is as if it was not.
    if (done == kReadBytesMin) data.reserve(SizeToRead(fd, max_bytes));
    // Most files are small; fresh memory for a large buffer costs more than reading them.
    if (done == data.size()) {
      const std::size_t larger = done + std::clamp(done, kReadBytesMin, kReadBytesMax);
      data.resize(done < data.capacity() ? std::min(larger, data.capacity()) : larger);
    }
    const ssize_t n = ::read(fd.get(), data.data() + done, data.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Error::FromErrno(errno, "read");
    if (n == 0) break;
    done += static_cast<std::size_t>(n);
    if (done > max_bytes) {
      return Error(ErrorCode::kResourceExhausted,
                   "read: file is larger than " + std::to_string(max_bytes) + " bytes");
    }
  }
  data.resize(done);
  return data;
}

Result<std::string> ReadAt(const Fd& fd, std::int64_t offset, std::size_t size) {
  std::string data(size, '\0');
  std::size_t done = 0;
  while (done < size) {
    const ssize_t n = ::pread(fd.get(), data.data() + done, size - done,
                              offset + static_cast<std::int64_t>(done));
    if (n == 0) break;
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Error::FromErrno(errno, "read");
    done += static_cast<std::size_t>(n);
  }
  data.resize(done);
  return data;
}

Status WriteAll(const Fd& fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd.get(), bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Error::FromErrno(errno, "write");
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return Ok();
}

Result<std::string> ReadLink(const Fd& dir, const std::string& name) {
  std::array<char, PATH_MAX> target;
  const ssize_t n = ::readlinkat(dir.get(), name.c_str(), target.data(), target.size());
  if (n < 0) return Error::FromErrno(errno, "readlink " + Quoted(name));
  return std::string(target.data(), static_cast<std::size_t>(n));
}

Status MakeDir(const Fd& dir, const std::string& name, mode_t mode) {
  return FromCall(RetryInterrupted([&] { return ::mkdirat(dir.get(), name.c_str(), mode); }),
                  "mkdir", name);
}

Status MakeSymlink(const Fd& dir, const std::string& name, const std::string& target) {
  return FromCall(
      RetryInterrupted([&] { return ::symlinkat(target.c_str(), dir.get(), name.c_str()); }),
      "symlink", name);
}

Status Link(const Fd& from_dir, const std::string& from, const Fd& to_dir, const std::string& to) {
  return FromCall(RetryInterrupted([&] {
                    return ::linkat(from_dir.get(), from.c_str(), to_dir.get(), to.c_str(), 0);
                  }),
                  "link", to);
}

Status Rename(const Fd& from_dir, const std::string& from, const Fd& to_dir, const std::string& to,
              unsigned flags) {
  return FromCall(RetryInterrupted([&] {
                    return ::renameat2(from_dir.get(), from.c_str(), to_dir.get(), to.c_str(),
                                       flags);
                  }),
                  "rename", from + " to " + to);
}

Status Unlink(const Fd& dir, const std::string& name) {
  return FromCall(RetryInterrupted([&] { return ::unlinkat(dir.get(), name.c_str(), 0); }),
                  "unlink", name);
}

Status RemoveDir(const Fd& dir, const std::string& name) {
  return FromCall(
      RetryInterrupted([&] { return ::unlinkat(dir.get(), name.c_str(), AT_REMOVEDIR); }), "rmdir",
      name);
}

Status Fsync(const Fd& fd) {
  return FromSync(RetryInterrupted([&] { return ::fsync(fd.get()); }), "fsync");
}

Status SyncFilesystem(const Fd& fd) {
  return FromSync(RetryInterrupted([&] { return ::syncfs(fd.get()); }), "syncfs");
}

Status ReplaceFile(const Fd& dir, const std::string& name, std::string_view bytes, mode_t mode) {
  const std::string temporary = "." + name.substr(0, 200) + "." + ToHex(RandomBytes(6));
  const Status written = [&]() -> Status {
    const int raw = RetryInterrupted([&] {
      return ::openat(dir.get(), temporary.c_str(),
                      O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, mode);
    });
    if (raw < 0) return Error::FromErrno(errno, "create " + Quoted(temporary));
    Fd file(raw);
    TRY(FromCall(RetryInterrupted([&] { return ::fchmod(raw, mode); }), "chmod", temporary));
    TRY(WriteAll(file, bytes));
    TRY(Fsync(file));
    TRY(file.Close());
    return Rename(dir, temporary, dir, name);
  }();
  if (!written.ok()) {
    // The name is ours alone, and the error that matters is the first one.
    (void)::unlinkat(dir.get(), temporary.c_str(), 0);
    return written;
  }
  return Fsync(dir);
}

Result<std::vector<std::string>> ListDir(const Fd& dir, std::size_t max) {
  // A new open file description, so that the caller's offset stays.
  const int fd = ::openat(dir.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return Error::FromErrno(errno, "list directory");
  DIR* stream = ::fdopendir(fd);
  if (stream == nullptr) {
    const int saved = errno;
    Fd closing(fd);
    return Error::FromErrno(saved, "list directory");
  }
  std::vector<std::string> names;
  Status status = Ok();
  for (;;) {
    errno = 0;
    const dirent* entry = ::readdir(stream);  // NOLINT(concurrency-mt-unsafe): our own stream.
    if (entry == nullptr) {
      if (errno != 0) status = Error::FromErrno(errno, "list directory");
      break;
    }
    const std::string_view name = static_cast<const char*>(entry->d_name);
    if (name == "." || name == "..") continue;
    if (names.size() == max) {
      status = Error(ErrorCode::kResourceExhausted,
                     "list directory: more than " + std::to_string(max) + " entries");
      break;
    }
    names.emplace_back(name);
  }
  ::closedir(stream);
  if (!status.ok()) return std::move(status).error();
  return names;
}

Result<std::optional<std::string>> GetXattr(const Fd& fd, const std::string& name) {
  std::array<char, 4096 + 256> value;
  ssize_t n = ::fgetxattr(fd.get(), name.c_str(), value.data(), value.size());
  if (n < 0 && errno == EBADF) {  // An O_PATH descriptor has no such call of its own.
    const std::string path = "/proc/self/fd/" + std::to_string(fd.get());
    n = ::getxattr(path.c_str(), name.c_str(), value.data(), value.size());
  }
  if (n >= 0) return std::optional(std::string(value.data(), static_cast<std::size_t>(n)));
  if (errno == ENODATA || errno == EOPNOTSUPP) return std::optional<std::string>();
  return Error::FromErrno(errno, "getxattr " + name);
}

Result<bool> TryLock(const Fd& fd, LockMode mode) {
  const int operation = mode == LockMode::kShared ? LOCK_SH : LOCK_EX;
  for (;;) {
    if (::flock(fd.get(), operation | LOCK_NB) == 0) return true;
    if (errno == EWOULDBLOCK) return false;
    if (errno != EINTR) return Error::FromErrno(errno, "flock");
  }
}

Result<Fd> MakeMemoryFile(const char* label, std::string_view bytes) {
  const int raw = ::memfd_create(label, MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (raw < 0) return Error::FromErrno(errno, "memfd_create");
  Fd file(raw);
  TRY(WriteAll(file, bytes));
  constexpr int kSeals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
  TRY(FromCall(::fcntl(raw, F_ADD_SEALS, kSeals), "seal", label));
  if (::lseek(raw, 0, SEEK_SET) < 0) return Error::FromErrno(errno, "seek");
  return file;
}

timespec ToTimespec(std::int64_t nanos) {
  constexpr std::int64_t kSecond = 1'000'000'000;
  std::int64_t seconds = nanos / kSecond;
  std::int64_t rest = nanos % kSecond;
  if (rest < 0) {
    rest += kSecond;
    --seconds;
  }
  return {seconds, rest};
}

}  // namespace bailiff
