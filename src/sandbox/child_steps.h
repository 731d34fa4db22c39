#pragma once

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "sandbox/child_plan.h"

// The steps behind RunChildPlan(), one for each kind, by subject. Each returns what a system call
// returns: a negative number and errno, or anything else for success. Rules as in child_plan.h.

namespace bailiff {

// A negative result with this errno.
inline long ChildFails(int sys_errno) {
  errno = sys_errno;
  return -1;
}

inline void ChildClose(int fd) {
  if (fd >= 0) syscall(SYS_close, fd);
}

// child_mount.cc
long ChildWriteFile(const ChildOp& op);
long ChildCreateFile(const ChildOp& op);
long ChildMakeDir(const ChildOp& op);
long ChildMakeLink(const ChildOp& op);
long ChildMakeWhiteout(const ChildOp& op);
long ChildRemoveDir(const ChildOp& op);
long ChildSetMode(const ChildOp& op);
long ChildChangeOwner(const ChildOp& op);
long ChildProveAttributes(const ChildOp& op);
long ChildOpenDir(const ChildOp& op);
long ChildMakePrivate(const ChildOp& op);
long ChildCheckIdentity(const ChildOp& op);
long ChildCloneTree(const ChildOp& op);
long ChildSetMountFlags(const ChildOp& op);
long ChildNewFilesystem(const ChildOp& op);
long ChildAttach(const ChildOp& op);
long ChildBind(const ChildOp& op);
long ChildEnter(const ChildOp& op);
long ChildPivot(const ChildOp& op);
long ChildDetach(const ChildOp& op);

// child_identity.cc
long ChildJoinCgroup(const ChildOp& op);
long ChildDropGroups(const ChildOp& op);
long ChildSetIds(const ChildOp& op);
long ChildSetHostname(const ChildOp& op);
long ChildRaiseLoopback(const ChildOp& op);
long ChildNewKeyring(const ChildOp& op);
long ChildDieWithParent(const ChildOp& op);
long ChildDropPrivileges(const ChildOp& op);
long ChildNoNewPrivileges(const ChildOp& op);
long ChildHide(const ChildOp& op);
long ChildLandlockCreate(const ChildOp& op);
long ChildLandlockAllow(const ChildOp& op);
long ChildLandlockEnforce(const ChildOp& op);
long ChildSeccomp(const ChildOp& op);
long ChildProve(const ChildOp& op);

// child_program.cc
long ChildNewSession(const ChildOp& op);
long ChildResetSignals(const ChildOp& op);
long ChildSetLimit(const ChildOp& op);
long ChildPlaceStdio(const ChildOp& op);
long ChildChangeDir(const ChildOp& op);
long ChildExec(const ChildOp& op);

// child_init.cc: forks, and returns in the child only; the parent is pid 1 from then on, and
// supervises its child from ChildSupervise() on.
long ChildFork(const ChildOp& op);
long ChildSupervise(const ChildOp& op);

}  // namespace bailiff
