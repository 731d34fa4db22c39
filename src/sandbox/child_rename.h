#pragma once

#include <sys/types.h>

#include <cstddef>

// What pid 1 of a sandbox does for the others: it carries their renames out, so that those can work
// which an overlay refuses with EXDEV. System calls only, as in child_plan.h.

namespace bailiff {

struct RenameServer {
  int listener = -1;  // Of the filter that notifies; see ChildSupervise().
  // A process of the sandbox has confined itself further, which does not bind us: from then on
  // every call is left to the kernel.
  bool lets_all_through = false;
};

// Receives one call and answers it, unless its caller is gone. Blocks for as long as a tree is
// rebuilt.
void AnswerCall(RenameServer* server);

// child_movable.cc: makes what is `name` in the directory `dir` movable without changing what it
// shows. A directory becomes a new one with the same content, a file gets its data copied up.
// Nothing else may run meanwhile. Returns 0, or -1 and errno: EXDEV when it cannot be done, ENOSPC
// when there is no room for it. It is then as it was.
long MakeMovable(int dir, const char* name);

// True if there is a directory of that name that has something in it.
bool IsFilledDirectory(int dir, const char* name);

// Processes that had been stopped before we stopped the others, and stay so. More than fit go on.
struct Stopped {
  pid_t pids[1024];
  std::size_t count = 0;
};

// child_stop.cc: stops every process of the pid namespace but this one, and waits until none runs;
// `caller` is a thread that is waiting for us. Returns 0, or -1 and errno: ETIMEDOUT after some
// seconds. ContinueOthers() undoes it, also when it failed.
long StopOthers(pid_t caller, Stopped* stopped);
void ContinueOthers(const Stopped& stopped);

}  // namespace bailiff
