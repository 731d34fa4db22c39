// Runs in pid 1 of a sandbox: system calls only. See child_tree.h.

#include "sandbox/child_tree.h"

#include <dirent.h>
#include <sys/mman.h>

#include "sandbox/child_steps.h"

namespace bailiff {
namespace {

constexpr std::size_t kEntriesBytes = 32 << 10;
constexpr std::size_t kAttributesBytes = 64 << 10;  // The kernel's own limit for both uses.
// For the names that are still to be looked at: those of one directory and of the ones above it.
// The most that there is room for where address space is limited.
constexpr std::size_t kMemoryBytesMax = 512UL << 20;
constexpr std::size_t kMemoryBytesMin = 1UL << 20;
constexpr const char* kAccessLists[] = {"system.posix_acl_access", "system.posix_acl_default"};
constexpr unsigned kOwnerAll = S_IRWXU;
constexpr unsigned kModeBits = 07777;

}  // namespace

struct TreeMemory {
  char entries[kEntriesBytes];
  char names[kAttributesBytes];
  char value[kAttributesBytes];
  std::size_t size;  // Of all of it; the rest is the agenda.
};

namespace {

// What was found before entering a directory, to be put right when leaving it.
struct Level {
  dev_t above_device;
  ino_t above_inode;
  uid_t uid;
  gid_t gid;
  unsigned mode;
  timespec times[2];
};

bool IsClosed(const Level& level) {
  return (level.mode & kOwnerAll) != kOwnerAll;
}

enum class Kind : std::uint8_t { kVisit, kLeave };

// A stack of what remains to be done. Its memory is had by touching it.
struct Agenda {
  char* bytes = nullptr;
  std::size_t size = 0;
  std::size_t used = 0;
};

// One walk over a tree. All descriptors are its own.
struct Walk {
  TreeMemory* memory = nullptr;
  Agenda agenda;
  int from = -1;   // The directory it is in.
  int to = -1;     // The directory of the new tree that stands for it; -1 to remove `from`'s tree.
  int links = -1;  // Holds a name for each file that has several, after its inode.
  bool restores = false;  // What is in `to` already is as it should be.
  std::uint64_t directories = 0;
};

void Replace(int* fd, int other) {
  ChildClose(*fd);
  *fd = other;
}

// The directory above. Of those that we are in each can be read; the one that holds the tree may be
// none of them.
int OpenAbove(int dir) {
  const int above = OpenDirIn(dir, "..", O_RDONLY);
  return above >= 0 || errno != EACCES ? above : OpenDirIn(dir, "..", O_PATH);
}

// Whether `above` is where we came from.
bool IsAbove(int above, const Level& level) {
  struct stat status = {};
  return syscall(SYS_newfstatat, above, "", &status, AT_EMPTY_PATH) >= 0 &&
         status.st_dev == level.above_device && status.st_ino == level.above_inode;
}

// A record is its name, its level if it has one, its kind, and the size of all of that.
long Push(Agenda* agenda, Kind kind, const char* name, const Level* level) {
  const std::size_t name_size = strlen(name) + 1;
  const std::size_t level_size = level != nullptr ? sizeof(*level) : 0;
  const auto size = static_cast<std::uint32_t>(name_size + level_size + 1 + sizeof(std::uint32_t));
  if (agenda->used + size > agenda->size) return ChildFails(ENOMEM);
  char* end = agenda->bytes + agenda->used;
  memcpy(end, name, name_size);
  end += name_size;
  if (level != nullptr) memcpy(end, level, level_size);
  end += level_size;
  *end++ = static_cast<char>(kind);
  memcpy(end, &size, sizeof(size));
  agenda->used += size;
  return 0;
}

// The name stays where it is until the next Push().
const char* Pop(Agenda* agenda, Kind* kind, Level* level) {
  std::uint32_t size = 0;
  const char* end = agenda->bytes + agenda->used - sizeof(size);
  memcpy(&size, end, sizeof(size));
  *kind = static_cast<Kind>(*--end);
  if (*kind == Kind::kLeave) memcpy(level, end - sizeof(*level), sizeof(*level));
  agenda->used -= size;
  return agenda->bytes + agenda->used;
}

long PushEntries(Walk* walk, int dir) {
  for (;;) {
    char* entries = walk->memory->entries;
    const long size = syscall(SYS_getdents64, dir, entries, kEntriesBytes);
    if (size <= 0) return size;
    for (long at = 0; at < size;) {
      const auto* entry = reinterpret_cast<const dirent64*>(entries + at);
      at += entry->d_reclen;
      if (IsDots(entry->d_name)) continue;
      if (Push(&walk->agenda, Kind::kVisit, entry->d_name, nullptr) < 0) return -1;
    }
  }
}

// A new directory has the access lists that the one above says its entries shall have.
long DropInherited(int from, int to) {
  for (const char* name : kAccessLists) {
    if (syscall(SYS_fgetxattr, from, name, nullptr, 0) >= 0) continue;
    if (syscall(SYS_fremovexattr, to, name) >= 0) continue;
    if (errno != EOPNOTSUPP && errno != ENODATA) return -1;
  }
  return 0;
}

// Sets everything of the directory `to` to what `from` had.
long CopyAttributes(TreeMemory* memory, int from, int to) {
  if (DropInherited(from, to) < 0) return -1;
  const long size = syscall(SYS_flistxattr, from, memory->names, kAttributesBytes);
  if (size < 0) return errno == EOPNOTSUPP ? 0 : -1;
  for (const char* name = memory->names; name < memory->names + size; name += strlen(name) + 1) {
    const long bytes = syscall(SYS_fgetxattr, from, name, memory->value, kAttributesBytes);
    if (bytes < 0 && (errno == EOPNOTSUPP || errno == ENODATA)) continue;
    if (bytes < 0) return -1;
    if (syscall(SYS_fsetxattr, to, name, memory->value, bytes, 0) >= 0) continue;
    // An attribute that no program of ours may set is not lost: it comes back with a commit.
    if (errno != EOPNOTSUPP && errno != EPERM) return -1;
  }
  return 0;
}

long EnterNew(Walk* walk, const char* name) {
  if (syscall(SYS_mkdirat, walk->to, name, kOwnerAll) < 0) {
    if (!walk->restores || errno != EEXIST) return -1;
    if (syscall(SYS_fchmodat, walk->to, name, kOwnerAll) < 0) return -1;
  }
  const int inner = OpenDirIn(walk->to, name, O_RDONLY | O_NOFOLLOW);
  if (inner < 0) return -1;
  Replace(&walk->to, inner);
  return 0;
}

// Whoever may rename a directory need not be allowed to look into it; its owner can change that.
long Enter(Walk* walk, const char* name, const struct stat& status) {
  struct stat above = {};
  if (syscall(SYS_newfstatat, walk->from, "", &above, AT_EMPTY_PATH) < 0) return -1;
  const Level level{.above_device = above.st_dev,
                    .above_inode = above.st_ino,
                    .uid = status.st_uid,
                    .gid = status.st_gid,
                    .mode = status.st_mode & kModeBits,
                    .times = {status.st_atim, status.st_mtim}};
  if (IsClosed(level) && syscall(SYS_fchmodat, walk->from, name, level.mode | kOwnerAll) < 0) {
    return -1;
  }
  const int inner = OpenDirIn(walk->from, name, O_RDONLY | O_NOFOLLOW);
  if (inner < 0 || Push(&walk->agenda, Kind::kLeave, name, &level) < 0) {
    const int sys_errno = errno;
    if (IsClosed(level)) syscall(SYS_fchmodat, walk->from, name, level.mode);
    ChildClose(inner);
    return ChildFails(sys_errno);
  }
  Replace(&walk->from, inner);
  ++walk->directories;
  if (walk->to >= 0 && EnterNew(walk, name) < 0) return -1;
  return PushEntries(walk, inner);
}

// Whether a new directory got its owner from us, as the old one has it.
long CheckOwner(int dir, const Level& level) {
  struct stat status = {};
  if (syscall(SYS_newfstatat, dir, "", &status, AT_EMPTY_PATH) < 0) return -1;
  return status.st_uid == level.uid && status.st_gid == level.gid ? 0 : ChildFails(EPERM);
}

long LeaveNew(Walk* walk, const Level& level) {
  long rc = CheckOwner(walk->to, level);
  if (rc >= 0) rc = CopyAttributes(walk->memory, walk->from, walk->to);
  const int above = rc < 0 ? -1 : OpenAbove(walk->to);
  if (above < 0) return -1;
  rc = syscall(SYS_fchmod, walk->to, level.mode);
  if (rc >= 0) rc = syscall(SYS_utimensat, walk->to, nullptr, level.times, 0);
  const int sys_errno = errno;
  Replace(&walk->to, above);
  return rc < 0 ? ChildFails(sys_errno) : 0;
}

// Goes up by "..", so that a deep tree takes no more descriptors than a flat one.
long Leave(Walk* walk, const char* name, const Level& level) {
  const int above = OpenAbove(walk->from);
  long rc = 0;
  if (above < 0) rc = -1;
  if (rc >= 0 && !IsAbove(above, level)) rc = ChildFails(ESTALE);
  if (rc >= 0 && walk->to >= 0) {
    rc = LeaveNew(walk, level);
    const int sys_errno = errno;
    // Also where that changes nothing: the kernel copies the directory up, and refuses whoever does
    // not own it or an owner that it cannot write down. So it will not be refused in the removal.
    const long proved = syscall(SYS_fchmod, walk->from, level.mode);
    rc = rc < 0 ? ChildFails(sys_errno) : proved;
  }
  const int sys_errno = errno;
  Replace(&walk->from, above);
  if (rc < 0) return ChildFails(sys_errno);
  return walk->to >= 0 ? 0 : syscall(SYS_unlinkat, above, name, AT_REMOVEDIR);
}

// EXDEV: the overlay would have to note a path that is longer than redirect_max.
long LinkTo(int from, const char* name, const struct stat& status, int to, const char* other) {
  const long rc = syscall(SYS_linkat, from, name, to, other, 0);
  if (rc >= 0 || errno != EXDEV || !S_ISREG(status.st_mode)) return rc;
  if (CopyUpData(from, name, status) < 0) return -1;
  return syscall(SYS_linkat, from, name, to, other, 0);
}

void WriteHex(std::uint64_t number, char* text) {
  for (int i = 15; i >= 0; --i, number >>= 4) text[i] = "0123456789abcdef"[number & 15];
}

long RestoreLeaf(Walk* walk, const char* name) {
  const long rc = syscall(SYS_linkat, walk->from, name, walk->to, name, 0);
  return rc < 0 && errno == EEXIST ? 0 : rc;
}

// Names of one file become names of one file, though an overlay copies each of them up for itself.
long CopyLeaf(Walk* walk, const char* name, const struct stat& status) {
  if (status.st_nlink < 2) return LinkTo(walk->from, name, status, walk->to, name);
  char key[33] = {};
  WriteHex(status.st_dev, key);
  WriteHex(status.st_ino, key + 16);
  if (syscall(SYS_linkat, walk->links, key, walk->to, name, 0) >= 0) return 0;
  if (errno != ENOENT) return -1;
  if (LinkTo(walk->from, name, status, walk->to, name) < 0) return -1;
  return syscall(SYS_linkat, walk->to, name, walk->links, key, 0);
}

long Visit(Walk* walk, const char* name) {
  char copy[NAME_MAX + 1] = {};  // The agenda's is overwritten by what is below it.
  if (strnlen(name, sizeof(copy)) == sizeof(copy)) return ChildFails(ENAMETOOLONG);
  memcpy(copy, name, strlen(name));
  struct stat status = {};
  if (StatIn(walk->from, copy, &status) < 0) return -1;
  if (S_ISDIR(status.st_mode)) return Enter(walk, copy, status);
  if (walk->restores) return RestoreLeaf(walk, copy);
  if (walk->to >= 0) return CopyLeaf(walk, copy, status);
  return syscall(SYS_unlinkat, walk->from, copy, 0);
}

// Undoes what was done to the directories above the place of a failure.
void LeaveAll(Walk* walk) {
  while (walk->agenda.used > 0) {
    Kind kind = Kind::kVisit;
    Level level = {};
    (void)Pop(&walk->agenda, &kind, &level);
    if (kind != Kind::kLeave) continue;
    const int above = OpenAbove(walk->from);
    const bool known = above >= 0 && IsAbove(above, level);
    if (known && IsClosed(level)) syscall(SYS_fchmod, walk->from, level.mode);
    Replace(&walk->from, above);
    if (!known) return;
  }
}

// Walks the tree `name` in `dir`.
long WalkTree(Walk* walk, int dir, const char* name) {
  TreeMemory* memory = walk->memory;
  walk->agenda = Agenda{reinterpret_cast<char*>(memory + 1), memory->size - sizeof(*memory), 0};
  walk->from = OpenDirIn(dir, ".", O_PATH);
  if (walk->from < 0 || Push(&walk->agenda, Kind::kVisit, name, nullptr) < 0) return -1;
  long rc = 0;
  while (rc >= 0 && walk->agenda.used > 0) {
    Kind kind = Kind::kVisit;
    Level level = {};
    const char* next = Pop(&walk->agenda, &kind, &level);
    rc = kind == Kind::kLeave ? Leave(walk, next, level) : Visit(walk, next);
  }
  const int sys_errno = errno;
  if (rc < 0 && walk->to >= 0) LeaveAll(walk);
  ChildClose(walk->from);
  walk->from = -1;
  return rc < 0 ? ChildFails(sys_errno) : 0;
}

}  // namespace

TreeMemory* TakeTreeMemory() {
  for (std::size_t size = kMemoryBytesMax; size >= kMemoryBytesMin; size /= 2) {
    const long address = syscall(SYS_mmap, nullptr, size, PROT_READ | PROT_WRITE,
                                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (address == -1) continue;
    // NOLINTNEXTLINE(performance-no-int-to-ptr): the system call gives it as a number.
    auto* const memory = reinterpret_cast<TreeMemory*>(address);
    memory->size = size;
    return memory;
  }
  return nullptr;
}

void DropTreeMemory(TreeMemory* memory) {
  syscall(SYS_munmap, memory, memory->size);
}

// Its data may be in the lower layer still: opened for writing, the kernel copies it up, and gives
// it a new time.
long CopyUpData(int dir, const char* name, const struct stat& status) {
  const bool closed = (status.st_mode & S_IWUSR) == 0;
  const unsigned mode = status.st_mode & kModeBits;
  if (closed && syscall(SYS_fchmodat, dir, name, mode | S_IWUSR) < 0) return -1;
  long rc = syscall(SYS_openat, dir, name, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  const int sys_errno = errno;
  if (rc >= 0) ChildClose(static_cast<int>(rc));
  const timespec times[2] = {status.st_atim, status.st_mtim};
  if (rc >= 0) rc = syscall(SYS_utimensat, dir, name, times, 0);
  if (closed && syscall(SYS_fchmodat, dir, name, mode) < 0) return -1;
  return rc < 0 ? ChildFails(sys_errno) : 0;
}

long LinkTree(TreeMemory* memory, int dir, const char* name, int beside,
              std::uint64_t* directories) {
  if (syscall(SYS_mkdirat, beside, "tree", kOwnerAll) < 0) return -1;
  if (syscall(SYS_mkdirat, beside, "links", kOwnerAll) < 0) return -1;
  Walk walk;
  walk.memory = memory;
  walk.to = OpenDirIn(beside, "tree", O_RDONLY);
  walk.links = OpenDirIn(beside, "links", O_RDONLY);
  const long rc = walk.to < 0 || walk.links < 0 ? -1 : WalkTree(&walk, dir, name);
  const int sys_errno = errno;
  ChildClose(walk.to);
  ChildClose(walk.links);
  *directories = walk.directories;
  return rc < 0 ? ChildFails(sys_errno) : 0;
}

long UnlinkTree(TreeMemory* memory, int dir, const char* name) {
  Walk walk;
  walk.memory = memory;
  return WalkTree(&walk, dir, name);
}

long RelinkTree(TreeMemory* memory, int dir, const char* name, int beside) {
  const int tree = OpenDirIn(beside, "tree", O_RDONLY);
  if (tree < 0) return -1;
  Walk walk;
  walk.memory = memory;
  walk.restores = true;
  walk.to = OpenDirIn(dir, ".", O_PATH);
  const long rc = walk.to < 0 ? -1 : WalkTree(&walk, tree, name);
  ChildClose(walk.to);
  ChildClose(tree);
  return rc;
}

}  // namespace bailiff
