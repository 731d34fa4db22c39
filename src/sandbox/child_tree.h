#pragma once

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>

// Trees of a workspace, as pid 1 of a sandbox makes, removes and restores them. System calls only,
// as in child_plan.h. A failure is -1 and errno.

namespace bailiff {

// For the names that are still to be looked at. Taken once for all that is done to a tree.
struct TreeMemory;
TreeMemory* TakeTreeMemory();  // Null when there is none.
void DropTreeMemory(TreeMemory* memory);

// Makes `tree/<name>` in the directory `beside`: new directories as in the tree `name` of `dir`, in
// which every file is a link to that one's. The kernel copies each up, once, with its times, mode
// and attributes. `links` is made there too. `directories`: how many the tree has.
long LinkTree(TreeMemory* memory, int dir, const char* name, int beside,
              std::uint64_t* directories);

// Removes the tree `name` of `dir`.
long UnlinkTree(TreeMemory* memory, int dir, const char* name);

// Puts back into `dir` what is gone of the tree `name`, from what LinkTree() made.
long RelinkTree(TreeMemory* memory, int dir, const char* name, int beside);

// Its data may be in the lower layer still: opened for writing, the kernel copies it up, and gives
// it a new time.
long CopyUpData(int dir, const char* name, const struct stat& status);

inline int OpenDirIn(int dir, const char* name, int flags) {
  return static_cast<int>(syscall(SYS_openat, dir, name, flags | O_DIRECTORY | O_CLOEXEC));
}

inline long StatIn(int dir, const char* name, struct stat* status) {
  return syscall(SYS_newfstatat, dir, name, status, AT_SYMLINK_NOFOLLOW);
}

inline bool IsDots(const char* name) {
  return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

}  // namespace bailiff
