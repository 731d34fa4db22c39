// Runs between clone and exec: system calls only. See child_plan.h.

#include <fcntl.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>

#include "sandbox/child_steps.h"

namespace bailiff {
namespace {

// Of mount_setattr(2), those that statfs(2) shows too, as the same numbers.
constexpr std::uint64_t kShownFlags =
    MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
constexpr int kDetach = 2;  // MNT_DETACH; <sys/mount.h> and <linux/mount.h> do not go together.

long WriteOnce(long fd, const ChildOp& op) {
  if (fd < 0) return -1;
  long done = 0;
  if (op.text_size > 0) done = syscall(SYS_write, fd, op.text, op.text_size);
  const int sys_errno = errno;
  syscall(SYS_close, fd);
  if (done < 0) return ChildFails(sys_errno);
  return static_cast<std::size_t>(done) == op.text_size ? 0 : ChildFails(EIO);
}

long SetMode(const ChildOp& op) {
  const long fd = syscall(SYS_openat, SlotFd(op.from), op.path,
                          O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return -1;
  const long rc = syscall(SYS_fchmod, fd, op.number);
  const int sys_errno = errno;
  syscall(SYS_close, fd);
  return rc < 0 ? ChildFails(sys_errno) : rc;
}

// Moves a new descriptor to its slot.
long Keep(long fd, Slot slot) {
  if (fd < 0) return -1;
  const long rc = syscall(SYS_dup3, fd, SlotFd(slot), O_CLOEXEC);
  const int sys_errno = errno;
  syscall(SYS_close, fd);
  return rc < 0 ? ChildFails(sys_errno) : rc;
}

long CheckIdentity(const ChildOp& op) {
  struct stat status = {};
  if (syscall(SYS_fstat, SlotFd(op.from), &status) < 0) return -1;
  return status.st_dev == op.number && status.st_ino == op.extra ? 0 : ChildFails(ESTALE);
}

long SetMountFlags(long tree, std::uint64_t flags, unsigned recursive) {
  mount_attr attributes{};
  attributes.attr_set = static_cast<__u64>(flags);
  const long rc = syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH | recursive, &attributes,
                          sizeof(attributes));
  struct statfs status = {};
  if (rc < 0 || syscall(SYS_fstatfs, tree, &status) < 0) return -1;
  const std::uint64_t shown = flags & kShownFlags;
  return (static_cast<std::uint64_t>(status.f_flags) & shown) == shown ? 0 : ChildFails(EPERM);
}

long Configure(long context, const char* const* options) {
  for (; options[0] != nullptr; options += 2) {
    const bool flag = options[1][0] == '\0';
    const unsigned command = flag ? FSCONFIG_SET_FLAG : FSCONFIG_SET_STRING;
    const char* value = flag ? nullptr : options[1];
    if (syscall(SYS_fsconfig, context, command, options[0], value, 0) < 0) return -1;
  }
  return syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, nullptr, nullptr, 0);
}

long NewFilesystem(const ChildOp& op) {
  const long context = syscall(SYS_fsopen, op.text, FSOPEN_CLOEXEC);
  if (context < 0) return -1;
  long mount = Configure(context, op.list);
  if (mount >= 0) mount = syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC, op.flags);
  const int sys_errno = errno;
  syscall(SYS_close, context);
  return mount < 0 ? ChildFails(sys_errno) : Keep(mount, op.to);
}

long Bind(const ChildOp& op) {
  const long tree =
      syscall(SYS_open_tree, AT_FDCWD, op.text, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
  if (tree < 0) return -1;
  long rc = SetMountFlags(tree, op.flags, AT_RECURSIVE);
  if (rc >= 0) {
    rc = syscall(SYS_move_mount, tree, "", AT_FDCWD, op.path, MOVE_MOUNT_F_EMPTY_PATH);
  }
  const int sys_errno = errno;
  syscall(SYS_close, tree);
  return rc < 0 ? ChildFails(sys_errno) : rc;
}

// Both arguments "." stack the old root on the new one, from where it is detached: no directory
// has to be made for it.
long Pivot() {
  struct stat wanted = {};
  struct stat had = {};
  if (syscall(SYS_newfstatat, AT_FDCWD, ".", &wanted, 0) < 0) return -1;
  if (syscall(SYS_pivot_root, ".", ".") < 0) return -1;
  if (syscall(SYS_umount2, ".", kDetach) < 0) return -1;
  if (syscall(SYS_chdir, "/") < 0 || syscall(SYS_newfstatat, AT_FDCWD, "/", &had, 0) < 0) return -1;
  const bool is_root = had.st_dev == wanted.st_dev && had.st_ino == wanted.st_ino;
  return is_root ? 0 : ChildFails(EPERM);
}

}  // namespace

long ChildWriteFile(const ChildOp& op) {
  const int dir = SlotFd(op.from);
  return WriteOnce(syscall(SYS_openat, dir, op.path, O_WRONLY | O_CLOEXEC), op);
}

long ChildCreateFile(const ChildOp& op) {
  const int dir = SlotFd(op.from);
  return WriteOnce(
      syscall(SYS_openat, dir, op.path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, op.number), op);
}

long ChildMakeDir(const ChildOp& op) {
  const int dir = SlotFd(op.from);
  return syscall(SYS_mkdirat, dir, op.path, op.number);
}

long ChildMakeLink(const ChildOp& op) {
  const int dir = SlotFd(op.from);
  return syscall(SYS_symlinkat, op.text, dir, op.path);
}

long ChildMakeWhiteout(const ChildOp& op) {
  const int dir = SlotFd(op.from);
  if (syscall(SYS_mknodat, dir, op.path, S_IFCHR, 0) < 0) return -1;
  struct stat status = {};
  const long rc = syscall(SYS_newfstatat, dir, op.path, &status, AT_SYMLINK_NOFOLLOW);
  return rc < 0 ? ChildFails(EPERM) : rc;
}

long ChildRemoveDir(const ChildOp& op) {
  const int dir = SlotFd(op.from);
  return syscall(SYS_unlinkat, dir, op.path, AT_REMOVEDIR);
}

long ChildSetMode(const ChildOp& op) {
  return SetMode(op);
}

long ChildChangeOwner(const ChildOp& op) {
  const int dir = SlotFd(op.from);
  return syscall(SYS_fchownat, dir, op.path, op.number, op.extra, AT_SYMLINK_NOFOLLOW);
}

// Before Linux 6.6 tmpfs has no user attributes, and the overlay then works without marking opaque
// directories: deletions would be lost.
long ChildProveAttributes(const ChildOp& op) {
  const char* name = "user.overlay.opaque";
  if (syscall(SYS_fsetxattr, SlotFd(op.from), name, "y", 1, 0) < 0) return -1;
  return syscall(SYS_fremovexattr, SlotFd(op.from), name);
}

long ChildOpenDir(const ChildOp& op) {
  open_how how = {};
  how.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | op.number;
  return Keep(syscall(SYS_openat2, SlotFd(op.from), op.path, &how, sizeof(how)), op.to);
}

long ChildMakePrivate(const ChildOp& /*op*/) {
  return syscall(SYS_mount, nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr);
}

long ChildCheckIdentity(const ChildOp& op) {
  return CheckIdentity(op);
}

long ChildCloneTree(const ChildOp& op) {
  return Keep(syscall(SYS_open_tree, SlotFd(op.from), op.path,
                      OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | op.flags),
              op.to);
}

long ChildSetMountFlags(const ChildOp& op) {
  return SetMountFlags(SlotFd(op.from), op.flags, static_cast<unsigned>(op.number));
}

long ChildNewFilesystem(const ChildOp& op) {
  return NewFilesystem(op);
}

long ChildAttach(const ChildOp& op) {
  return syscall(SYS_move_mount, SlotFd(op.from), "", SlotFd(op.to), op.path,
                 MOVE_MOUNT_F_EMPTY_PATH);
}

long ChildBind(const ChildOp& op) {
  return Bind(op);
}

long ChildEnter(const ChildOp& op) {
  return syscall(SYS_fchdir, SlotFd(op.from));
}

long ChildPivot(const ChildOp& /*op*/) {
  return Pivot();
}

long ChildDetach(const ChildOp& op) {
  return syscall(SYS_umount2, op.path, kDetach);
}

}  // namespace bailiff
