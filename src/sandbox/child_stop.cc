// Runs in pid 1 of a sandbox: system calls only. See child_rename.h.

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cstdint>

#include "sandbox/child_rename.h"
#include "sandbox/child_steps.h"

namespace bailiff {
namespace {

constexpr std::size_t kEntriesBytes = 16 << 10;
constexpr long kWaitSecondsMax = 5;
constexpr long kLookNanos = 200'000;
constexpr int kEveryone = -1;

int Open(int dir, const char* path, int flags) {
  return static_cast<int>(syscall(SYS_openat, dir, path, flags | O_CLOEXEC));
}

pid_t ToPid(const char* name) {
  pid_t pid = 0;
  for (; *name >= '0' && *name <= '9'; ++name) pid = pid * 10 + (*name - '0');
  return *name == '\0' ? pid : 0;
}

// Calls `look` for each entry whose name is a number until it returns false; returns whether it
// never did.
template <typename Look>
bool ForEachNumber(int dir, const Look& look) {
  alignas(8) char entries[kEntriesBytes];
  for (;;) {
    const long size = syscall(SYS_getdents64, dir, entries, sizeof(entries));
    if (size <= 0) return size == 0;
    for (long at = 0; at < size;) {
      const auto* entry = reinterpret_cast<const dirent64*>(entries + at);
      at += entry->d_reclen;
      const pid_t number = ToPid(entry->d_name);
      if (number > 0 && !look(number, entry->d_name)) return false;
    }
  }
}

// The first `size` bytes of a file of a process; nothing when that is gone.
void ReadStart(int dir, const char* thread, const char* name, char* text, std::size_t size) {
  memset(text, 0, size);
  const int thread_dir = Open(dir, thread, O_PATH | O_DIRECTORY);
  if (thread_dir < 0) return;
  const int file = Open(thread_dir, name, O_RDONLY);
  if (file >= 0) {
    syscall(SYS_read, file, text, size - 1);
    syscall(SYS_close, file);
  }
  syscall(SYS_close, thread_dir);
}

// 'R', 'S', 'D', 'T' and so on, of "12 (any name) T 1 ..."; 'X' when it is gone.
char StateOf(int dir, const char* thread) {
  char text[128];
  ReadStart(dir, thread, "stat", text, sizeof(text));
  char state = 'X';
  for (std::size_t i = 0; i + 2 < sizeof(text); ++i) {
    if (text[i] == ')' && text[i + 1] == ' ') state = text[i + 2];
  }
  return state;
}

// Who waits for its vfork() to execute something stops only then, and runs nothing until then.
bool WaitsForChild(int dir, const char* thread) {
  char text[8];
  ReadStart(dir, thread, "syscall", text, sizeof(text));
  static_assert(SYS_vfork == 58 && SYS_clone == 56 && SYS_clone3 == 435);
  return memcmp(text, "58 ", 3) == 0 || memcmp(text, "56 ", 3) == 0 || memcmp(text, "435 ", 4) == 0;
}

bool StandsStill(int dir, const char* thread) {
  switch (StateOf(dir, thread)) {
    case 'T':
    case 't':
    case 'Z':
    case 'X':
      return true;
    case 'D':
      return WaitsForChild(dir, thread);
    default:
      return false;
  }
}

// A process is told through one of its threads, and that one may be asleep as the caller is: so
// each that still runs is told once more by itself. One stops all.
bool ThreadsStandStill(int threads, pid_t pid, pid_t caller) {
  bool still = true;
  (void)ForEachNumber(threads, [threads, pid, caller, &still](pid_t thread, const char* name) {
    if (thread == caller || StandsStill(threads, name)) return true;
    syscall(SYS_tgkill, pid, thread, SIGSTOP);
    still = false;
    return true;
  });
  return still;
}

// Looks at every thread of every process but pid 1 and the caller.
bool AllStandStill(int proc, pid_t caller) {
  if (syscall(SYS_lseek, proc, 0, SEEK_SET) < 0) return false;
  bool still = true;
  const bool all = ForEachNumber(proc, [proc, caller, &still](pid_t pid, const char* name) {
    if (pid == 1) return true;
    const int process = Open(proc, name, O_PATH | O_DIRECTORY);
    if (process < 0) return true;
    const int threads = Open(process, "task", O_RDONLY | O_DIRECTORY);
    syscall(SYS_close, process);
    if (threads < 0) return true;
    if (!ThreadsStandStill(threads, pid, caller)) still = false;
    syscall(SYS_close, threads);
    return true;
  });
  return all && still;
}

void NoteStopped(int proc, Stopped* stopped) {
  constexpr std::size_t kStoppedMax = sizeof(stopped->pids) / sizeof(stopped->pids[0]);
  (void)ForEachNumber(proc, [proc, stopped](pid_t pid, const char* name) {
    if (pid == 1 || StateOf(proc, name) != 'T') return true;
    stopped->pids[stopped->count++] = pid;
    return stopped->count < kStoppedMax;
  });
}

timespec Now() {
  timespec now = {};
  syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
  return now;
}

long AwaitStandstill(int proc, pid_t caller) {
  const timespec end = {Now().tv_sec + kWaitSecondsMax, 0};
  while (!AllStandStill(proc, caller)) {
    if (Now().tv_sec > end.tv_sec) return ChildFails(ETIMEDOUT);
    const timespec pause = {0, kLookNanos};
    syscall(SYS_nanosleep, &pause, nullptr);
  }
  return 0;
}

}  // namespace

long StopOthers(pid_t caller, Stopped* stopped) {
  const int proc = Open(AT_FDCWD, "/proc", O_RDONLY | O_DIRECTORY);
  if (proc < 0) return -1;
  NoteStopped(proc, stopped);
  long rc = syscall(SYS_kill, kEveryone, SIGSTOP);
  if (rc >= 0) rc = AwaitStandstill(proc, caller);
  const int sys_errno = errno;
  syscall(SYS_close, proc);
  return rc < 0 ? ChildFails(sys_errno) : 0;
}

void ContinueOthers(const Stopped& stopped) {
  syscall(SYS_kill, kEveryone, SIGCONT);
  for (std::size_t i = 0; i < stopped.count; ++i) syscall(SYS_kill, stopped.pids[i], SIGSTOP);
}

}  // namespace bailiff
