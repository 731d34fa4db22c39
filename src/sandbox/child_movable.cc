// Runs in pid 1 of a sandbox: system calls only. See child_rename.h.
//
// An overlay moves no directory that has something of a lower layer in it. A new directory has not.
// So a second tree is made beside the first, in which every file is a link to the first one's. Then
// the first goes and the second gets its name. Until the first begins to go, a failure only has to
// remove the second.

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>

#include "sandbox/child_rename.h"
#include "sandbox/child_steps.h"
#include "sandbox/child_tree.h"

namespace bailiff {
namespace {

constexpr int kNameAttemptsMax = 1000;
constexpr unsigned kModeBits = 07777;
// Each whiteout takes an inode, and so does a directory while it is emptied.
constexpr std::uint64_t kInodesSpare = 64;
constexpr std::uint64_t kBlocksSpare = 64;

// So that the first tree, once it begins to go, goes as a whole.
long CheckRoom(int dir, std::uint64_t directories) {
  struct statfs space = {};
  if (syscall(SYS_fstatfs, dir, &space) < 0) return -1;
  const bool inodes = space.f_files == 0 || space.f_ffree >= directories + kInodesSpare;
  return inodes && space.f_bfree >= kBlocksSpare ? 0 : ChildFails(ENOSPC);
}

// A directory of our own beside what is rebuilt; its name has 20 characters.
long MakeBeside(int dir, char* name) {
  memcpy(name, ".bailiff-moving-0000", 21);
  for (int i = 0; i < kNameAttemptsMax; ++i) {
    const long rc = syscall(SYS_mkdirat, dir, name, S_IRWXU);
    if (rc >= 0) return OpenDirIn(dir, name, O_RDONLY | O_NOFOLLOW);
    if (errno != EEXIST) return -1;
    for (int digit = 19, rest = i + 1; digit > 15; --digit, rest /= 10) {
      name[digit] = static_cast<char>('0' + rest % 10);
    }
  }
  return ChildFails(EEXIST);
}

// Only a directory that may be written changes the one it is in.
long MoveDirectory(int from, const char* name, int to) {
  struct stat status = {};
  if (StatIn(from, name, &status) < 0) return -1;
  const unsigned mode = status.st_mode & kModeBits;
  if (syscall(SYS_fchmodat, from, name, mode | S_IWUSR) < 0) return -1;
  if (syscall(SYS_renameat2, from, name, to, name, 0) < 0) {
    const int sys_errno = errno;
    syscall(SYS_fchmodat, from, name, mode);
    return ChildFails(sys_errno);
  }
  return syscall(SYS_fchmodat, to, name, mode);
}

long Swap(TreeMemory* memory, int dir, const char* name, int beside) {
  if (UnlinkTree(memory, dir, name) < 0) return -1;
  const int tree = OpenDirIn(beside, "tree", O_PATH);
  if (tree < 0) return -1;
  const long rc = MoveDirectory(tree, name, dir);
  const int sys_errno = errno;
  ChildClose(tree);
  return rc < 0 ? ChildFails(sys_errno) : 0;
}

// A tree that cannot be rebuilt is one that cannot be moved.
int Translate(int sys_errno) {
  switch (sys_errno) {
    case EPERM:
    case EACCES:
    case EOVERFLOW:
    case ESTALE:
    case EEXIST:
    case ENOMEM:  // `mv` needs less.
    case EINVAL:  // An access list with somebody for whom the sandbox has no number.
      return EXDEV;
    default:
      return sys_errno;
  }
}

long Rebuild(TreeMemory* memory, int dir, const char* name) {
  char beside_name[NAME_MAX + 1] = {};
  const int beside = static_cast<int>(MakeBeside(dir, beside_name));
  if (beside < 0) return ChildFails(Translate(errno));
  std::uint64_t directories = 0;
  long rc = LinkTree(memory, dir, name, beside, &directories);
  if (rc >= 0) rc = CheckRoom(beside, directories);
  int sys_errno = Translate(errno);
  bool lost = false;
  if (rc >= 0) {
    rc = Swap(memory, dir, name, beside);
    sys_errno = errno;
    lost = rc < 0 && RelinkTree(memory, dir, name, beside) < 0;
    if (!lost) sys_errno = Translate(sys_errno);
  }
  ChildClose(beside);
  // What is left of the first tree is not all of it: the second stays, and will be refused.
  if (!lost && UnlinkTree(memory, dir, beside_name) < 0 && rc >= 0) return -1;
  return rc < 0 ? ChildFails(sys_errno) : 0;
}

}  // namespace

long MakeMovable(int dir, const char* name) {
  struct stat status = {};
  if (StatIn(dir, name, &status) < 0) return -1;
  if (S_ISREG(status.st_mode)) {
    if (CopyUpData(dir, name, status) >= 0) return 0;
    return ChildFails(Translate(errno));
  }
  if (!S_ISDIR(status.st_mode)) return 0;
  TreeMemory* const memory = TakeTreeMemory();
  if (memory == nullptr) return ChildFails(EXDEV);
  const long rc = Rebuild(memory, dir, name);
  const int sys_errno = errno;
  DropTreeMemory(memory);
  return rc < 0 ? ChildFails(sys_errno) : 0;
}

bool IsFilledDirectory(int dir, const char* name) {
  const int inner = OpenDirIn(dir, name, O_RDONLY | O_NOFOLLOW);
  if (inner < 0) return false;
  alignas(8) char entries[1024];
  bool filled = false;
  for (;;) {
    const long size = syscall(SYS_getdents64, inner, entries, sizeof(entries));
    if (size <= 0) break;
    for (long at = 0; at < size;) {
      const auto* entry = reinterpret_cast<const dirent64*>(entries + at);
      at += entry->d_reclen;
      filled = filled || !IsDots(entry->d_name);
    }
  }
  ChildClose(inner);
  return filled;
}

}  // namespace bailiff
