#pragma once

#include <linux/filter.h>

#include <cstddef>
#include <cstdint>

// The steps that turn a freshly cloned process into a sandboxed program, as plain data.
//
// The parent decides everything, before the clone; the child only walks this table: it allocates
// nothing, formats nothing, logs nothing. When a step fails it reports the step's index and errno;
// the parent, which has the plan and the words, explains.

namespace bailiff {

// Descriptors of the child have fixed numbers, so that the parent can write them into the plan's
// strings ("/proc/self/fd/907") before they exist.
enum class Slot : std::int8_t {
  kNone = -1,  // The working directory, where a directory is meant.
  kReport,     // Pipe: a ChildFailure; end of file means that exec worked.
  kSync,       // Socket to the parent: go-ahead, descriptors back, end of file when it dies.
  kStatus,     // Pipe: the InitReport.
  kUidLock,    // Held by pid 1, so that a uid stays taken while anything of the tree lives.
  kStdin,
  kStdout,
  kStderr,
  kWorkspace,
  kOverlay,
  kTmp,
  kShm,
  kScratch,
  kDisk,  // A directory on disk that holds the upper layer, where tmpfs cannot.
  kUpper,
  kRoot,
  kProc,
  kUsr,
  kRuleset,
  kMask,
  kLower,
  kFolder,  // A directory of kLower.
  kWork,
  kCgroupMemory,  // Files `tasks` of v1 leaves.
  kCgroupPids,
  kCgroupCpu,
  kInitChannel,  // Between pid 1 and the program's process, until that runs the program.
  kChannel,
  kCount,
};

inline constexpr int kSlotBase = 900;

constexpr int SlotFd(Slot slot) {
  return slot == Slot::kNone ? -100 : kSlotBase + static_cast<int>(slot);  // AT_FDCWD
}

enum class ChildOpKind : std::uint8_t {
  kTake,             // Make descriptor `number` the one in `to`.
  kCloseOthers,      // Close every descriptor that is not in a slot.
  kJoinCgroup,       // Enter the v1 cgroup whose file `tasks` is open in `from`.
  kAwaitParent,      // Read one byte from `from`; end of file is ECANCELED.
  kSetMask,          // umask(number).
  kDropGroups,       // No supplementary groups.
  kSetIds,           // All uids to `number`, all gids to `extra`; dumpable again.
  kSetHostname,      // text
  kRaiseLoopback,    // Bring `lo` up.
  kUnshare,          // flags
  kNewKeyring,       // An empty session keyring.
  kMakePrivate,      // No mount event leaves or enters this namespace.
  kWriteFile,        // Write `text` to the existing file `path`.
  kCreateFile,       // Create `path` in `from` with mode `number` and content `text`.
  kMakeDir,          // Create `path` in `from` with mode `number`.
  kMakeLink,         // Create the symbolic link `path` in `from`, pointing to `text`.
  kMakeWhiteout,     // Create the character device 0:0 `path` in `from`.
  kRemoveDir,        // path in `from`
  kSetMode,          // fchmod of the directory `path` in `from` to `number`.
  kChangeOwner,      // chown of `path` in `from` to uid `number`, gid `extra`.
  kProveAttributes,  // user.overlay.* can be set on `from`.
  kOpenDir,          // Open directory `path` in `from` into `to`; no link on the way; `number`:
                     // openat2(2)'s `resolve`, more of it.
  kCheckIdentity,    // `from` is inode `extra` of device `number`.
  kCloneTree,        // open_tree(from, path, flags) into `to`.
  kSetMountFlags,    // mount_setattr of `from`: add `flags`; `number` may be AT_RECURSIVE.
  kNewFilesystem,   // A detached mount of type `text`, options `list`, attributes `flags`, in `to`.
  kAttach,          // Mount `from` on `path` in `to`.
  kBind,            // Mount a clone of `text` (host path) on `path`, with attributes `flags`.
  kEnter,           // fchdir(from)
  kPivot,           // Make the working directory the root and drop the old one.
  kDetach,          // umount2(path, MNT_DETACH)
  kSendFds,         // Send the slots in `slots` to the parent by `from`.
  kDropPrivileges,  // No capability in any set, now or by any exec.
  kNoNewPrivileges,
  kHide,           // Not dumpable: nobody of the same uid may look into this process.
  kDieWithParent,  // SIGKILL when the parent dies, ECANCELED when it is dead already.
  kFork,           // This process becomes the tree's init; its child goes on with the plan.
  kNewSession,
  kResetSignals,     // Default dispositions, nothing blocked.
  kSetLimit,         // Resource `number`: soft `flags`, hard `extra`, or the present hard limit.
  kPlaceStdio,       // kStdin, kStdout, kStderr become 0, 1, 2; the rest closes on exec.
  kChangeDir,        // path; ENOENT when it lies outside the root.
  kLandlockCreate,   // Ruleset: file rights `flags`, net `number`, scope `extra`, into `to`.
  kLandlockAllow,    // Below `path`, rights `flags`, in the ruleset `from`.
  kLandlockEnforce,  // from
  kSeccomp,          // filter
  kSupervise,        // As kSeccomp, and pid 1 answers the calls of which `filter` notifies.
  kProve,            // The kernel says that the ChildFact `number` holds; EPERM when not.
  kExec,             // The first of `list` that can be executed, with argv and envp.
  kExit,             // Exit with success. Ends a plan that has no program.
};

// What must be true when the program starts, whatever the steps before it returned.
enum class ChildFact : std::uint8_t {
  kIds,       // Every uid and gid is `extra`.
  kNoGroups,  // None besides.
  kNoNewPrivileges,
  kNoCapabilities,  // In no set.
  kSeccomp,         // A filter is in force.
  kLandlock,        // TCP cannot be bound: asked only of a ruleset that refuses it.
};

// A field's meaning is given by the kind; fields that a kind does not mention are ignored. All
// pointers are borrowed from the parent's memory as it was at the clone.
struct ChildOp {
  ChildOpKind kind;
  Slot from = Slot::kNone;
  Slot to = Slot::kNone;
  const char* path = nullptr;
  const char* text = nullptr;
  std::size_t text_size = 0;
  std::uint64_t flags = 0;
  std::uint64_t number = 0;
  std::uint64_t extra = 0;
  const char* const* list = nullptr;  // Ends with a null pointer. Options: "key", "value" or "".
  const Slot* slots = nullptr;
  std::size_t slot_count = 0;
  const sock_fprog* filter = nullptr;
  char* const* argv = nullptr;
  char* const* envp = nullptr;
};

struct ChildPlan {
  const ChildOp* ops = nullptr;
  std::uint32_t op_count = 0;
  int report_fd = -1;  // Becomes Slot::kReport. The write end of a close-on-exec pipe.
};

// What the child writes to the report pipe, at most once.
struct ChildFailure {
  std::uint32_t op_index;
  std::int32_t sys_errno;
};

// What pid 1 writes to Slot::kStatus when the program's first process has ended.
struct InitReport {
  std::int32_t wait_status;
};

inline constexpr int kExitSetupFailed = 127;
inline constexpr std::size_t kSentFdsMax = 8;

// Runs every step and becomes the program, or reports the first failure and exits.
// Call only in a freshly cloned child, with all signals blocked. Calls nothing but system calls;
// the test `child_symbols` proves that from the object files.
[[noreturn]] void RunChildPlan(const ChildPlan& plan);

}  // namespace bailiff
