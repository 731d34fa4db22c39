// Runs in pid 1 of a sandbox: system calls only. See child_rename.h.

#include "sandbox/child_rename.h"

#include <fcntl.h>
#include <linux/limits.h>
#include <linux/openat2.h>
#include <linux/seccomp.h>
#include <linux/stat.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>

#include "sandbox/child_steps.h"

namespace bailiff {
namespace {

constexpr std::size_t kPageBytes = 4096;
// Newer kernels may have a longer structure than these headers.
constexpr std::size_t kNotificationBytesMax = 512;
constexpr unsigned kExchange = 2;  // RENAME_EXCHANGE

enum class Answer : std::uint8_t {
  kDone,
  kFailed,      // With errno.
  kLetThrough,  // The kernel makes the call with the caller's own rights.
};

// The arguments of one call.
struct Request {
  bool is_link = false;
  int from_dir = AT_FDCWD;
  std::uint64_t from = 0;  // Addresses in the caller.
  int to_dir = AT_FDCWD;
  std::uint64_t to = 0;
  unsigned flags = 0;
};

// One of the two paths: a directory that holds the last name.
struct Place {
  int dir = -1;
  char* name = nullptr;  // In `path`, with the slashes that may follow it.
  char path[PATH_MAX] = {};
};

bool Decode(const seccomp_data& data, Request* request) {
  const auto& args = data.args;
  request->is_link = data.nr == SYS_link || data.nr == SYS_linkat;
  if (data.nr == SYS_rename || data.nr == SYS_link) {
    request->from = args[0];
    request->to = args[1];
    return true;
  }
  if (data.nr != SYS_renameat && data.nr != SYS_renameat2 && data.nr != SYS_linkat) return false;
  request->from_dir = static_cast<int>(args[0]);
  request->from = args[1];
  request->to_dir = static_cast<int>(args[2]);
  request->to = args[3];
  if (data.nr != SYS_renameat) request->flags = static_cast<unsigned>(args[4]);
  return true;
}

// Appends to a path that is known to be long enough.
char* Append(char* end, const char* text) {
  const std::size_t size = strlen(text);
  memcpy(end, text, size + 1);
  return end + size;
}

char* AppendNumber(char* end, unsigned number) {
  char digits[16] = {};
  char* first = digits + sizeof(digits) - 1;
  do {
    *--first = static_cast<char>('0' + number % 10);
    number /= 10;
  } while (number != 0);
  return Append(end, first);
}

int OpenOfCaller(unsigned caller, const char* what, int number, int flags) {
  char path[64] = {};
  char* end = AppendNumber(Append(path, "/proc/"), caller);
  end = Append(end, what);
  if (number >= 0) AppendNumber(end, static_cast<unsigned>(number));
  return static_cast<int>(syscall(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC));
}

// Reads a path out of the caller's memory. A second look could find another one there.
bool ReadPath(int memory, std::uint64_t address, char* path) {
  std::size_t have = 0;
  while (have < PATH_MAX) {
    std::size_t size = kPageBytes - (address + have) % kPageBytes;
    if (size > PATH_MAX - have) size = PATH_MAX - have;
    const long got = syscall(SYS_pread64, memory, path + have, size, address + have);
    if (got <= 0) return false;
    if (strnlen(path + have, static_cast<std::size_t>(got)) < static_cast<std::size_t>(got)) {
      return true;
    }
    have += static_cast<std::size_t>(got);
  }
  return false;
}

char* LastName(char* path) {
  char* end = path + strlen(path);
  while (end > path && end[-1] == '/') --end;
  while (end > path && end[-1] != '/') --end;
  return end;
}

std::size_t NameSize(const char* name) {
  std::size_t size = strlen(name);
  while (size > 0 && name[size - 1] == '/') --size;
  return size;
}

bool IsPlainName(const char* name) {
  const std::size_t size = NameSize(name);
  const bool dots = (size == 1 || size == 2) && memcmp(name, "..", size) == 0;
  return size > 0 && !dots;
}

// Opens the directory that holds the last name as the caller would, whose root is ours. A link of
// /proc leads each process elsewhere, so those are not followed.
bool OpenPlace(unsigned caller, int dir, Place* place) {
  place->name = LastName(place->path);
  if (!IsPlainName(place->name)) return false;
  int base = -1;
  if (place->path[0] != '/') {
    if (dir < 0 && dir != AT_FDCWD) return false;
    base = dir == AT_FDCWD ? OpenOfCaller(caller, "/cwd", -1, O_PATH)
                           : OpenOfCaller(caller, "/fd/", dir, O_PATH);
    if (base < 0) return false;
  }
  if (place->name == place->path) {
    place->dir = base;
    return true;
  }
  char above[PATH_MAX] = {};
  memcpy(above, place->path, static_cast<std::size_t>(place->name - place->path));
  open_how how = {};
  how.flags = O_PATH | O_DIRECTORY | O_CLOEXEC;
  how.resolve = RESOLVE_NO_MAGICLINKS;
  place->dir = static_cast<int>(syscall(SYS_openat2, base, above, &how, sizeof(how)));
  ChildClose(base);
  return place->dir >= 0;
}

long Call(const Request& request, const Place& from, const Place& to) {
  const long number = request.is_link ? SYS_linkat : SYS_renameat2;
  return syscall(number, from.dir, from.name, to.dir, to.name, request.flags);
}

// What crosses mounts is refused for a good reason.
bool OnOneMount(int one, int other) {
  struct statx first = {};
  struct statx second = {};
  const unsigned wanted = STATX_MNT_ID;
  if (syscall(SYS_statx, one, "", AT_EMPTY_PATH, wanted, &first) < 0) return false;
  if (syscall(SYS_statx, other, "", AT_EMPTY_PATH, wanted, &second) < 0) return false;
  return (first.stx_mask & second.stx_mask & wanted) != 0 && first.stx_mnt_id == second.stx_mnt_id;
}

// With the others stopped. The kernel looks for a filled target only after it has refused.
long MoveByRebuilding(const Request& request, const Place& from, const Place& to) {
  const bool exchange = !request.is_link && (request.flags & kExchange) != 0;
  if (!exchange && IsFilledDirectory(to.dir, to.name)) return ChildFails(ENOTEMPTY);
  if (MakeMovable(from.dir, from.name) < 0) return -1;
  if (exchange && MakeMovable(to.dir, to.name) < 0) return -1;
  return Call(request, from, to);
}

long CarryOut(const Request& request, pid_t caller, Place* from, Place* to) {
  const long rc = Call(request, *from, *to);
  if (rc >= 0 || errno != EXDEV) return rc;
  if (!OnOneMount(from->dir, to->dir)) return ChildFails(EXDEV);
  from->name[NameSize(from->name)] = '\0';
  to->name[NameSize(to->name)] = '\0';
  Stopped stopped;
  long moved = StopOthers(caller, &stopped);
  moved = moved < 0 ? ChildFails(EXDEV) : MoveByRebuilding(request, *from, *to);
  const int sys_errno = errno;
  ContinueOthers(stopped);
  return moved < 0 ? ChildFails(sys_errno) : 0;
}

// What we cannot see as the caller does is left to the kernel, whose errors are then the right
// ones. That is not a decision about what it may do: it may do all of it.
Answer Look(int listener, const seccomp_notif& call, const Request& request, Place* from,
            Place* to) {
  // How a link is followed is the caller's business: often /proc/self/fd/N.
  if (request.is_link && request.flags != 0) return Answer::kLetThrough;
  const int memory = OpenOfCaller(call.pid, "/mem", -1, O_RDONLY);
  if (memory < 0) return Answer::kLetThrough;
  const bool read =
      ReadPath(memory, request.from, from->path) && ReadPath(memory, request.to, to->path);
  ChildClose(memory);
  if (!read) return Answer::kLetThrough;
  if (!OpenPlace(call.pid, request.from_dir, from)) return Answer::kLetThrough;
  if (!OpenPlace(call.pid, request.to_dir, to)) return Answer::kLetThrough;
  // Until here another process may have got the caller's number.
  if (syscall(SYS_ioctl, listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &call.id) < 0) {
    return Answer::kLetThrough;
  }
  const long rc = CarryOut(request, static_cast<pid_t>(call.pid), from, to);
  return rc < 0 ? Answer::kFailed : Answer::kDone;
}

}  // namespace

void AnswerCall(RenameServer* server) {
  alignas(seccomp_notif) char buffer[kNotificationBytesMax] = {};
  if (syscall(SYS_ioctl, server->listener, SECCOMP_IOCTL_NOTIF_RECV, buffer) < 0) return;
  seccomp_notif call = {};
  memcpy(&call, buffer, sizeof(call));

  if (call.data.nr == SYS_landlock_restrict_self) server->lets_all_through = true;
  Request request;
  Answer answer = Answer::kLetThrough;
  seccomp_notif_resp response = {};
  response.id = call.id;
  if (!server->lets_all_through && Decode(call.data, &request)) {
    Place from;
    Place to;
    answer = Look(server->listener, call, request, &from, &to);
    if (answer == Answer::kFailed) response.error = -errno;
    ChildClose(from.dir);
    ChildClose(to.dir);
  }
  if (answer == Answer::kLetThrough) response.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
  // Fails when the caller was killed meanwhile, which needs no answer.
  syscall(SYS_ioctl, server->listener, SECCOMP_IOCTL_NOTIF_SEND, &response);
}

}  // namespace bailiff
