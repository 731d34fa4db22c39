#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sandbox/child_plan.h"
#include "sandbox/host_layout.h"
#include "sandbox/spec.h"

// What a sandbox's processes do before its program runs, decided from values alone.

namespace bailiff {

// As ChildOp, with strings of its own and the words for a failure: "mount /proc".
struct PlanStep {
  ChildOpKind kind;
  Slot from = Slot::kNone;
  Slot to = Slot::kNone;
  std::string path = {};
  std::string text = {};
  std::uint64_t flags = 0;
  std::uint64_t number = 0;
  std::uint64_t extra = 0;
  std::vector<std::string> list = {};
  std::vector<Slot> slots = {};
  std::string what = {};
};

using Plan = std::vector<PlanStep>;

// The uid and gid of the program, as it sees them.
inline constexpr std::uint32_t kInsideId = 1000;

// kSeccomp's `number`.
enum class SeccompFilter : std::uint8_t { kCalls, kArguments };

// A directory of the host by path, and how it is known again.
struct PlaceOnHost {
  std::string path;
  dev_t device = 0;
  ino_t inode = 0;
};

// A directory of SandboxSpec::view that the workspace has, and what the sandbox's own layer has
// there.
struct ViewFolder {
  std::string path;
  bool whole = false;
  mode_t mode = 0755;
  std::optional<uid_t> uid;  // Nothing: as the workspace's root.
  std::optional<gid_t> gid;
};

struct PlanInputs {
  const SandboxSpec* spec = nullptr;
  Tier tier = Tier::kRootless;
  HostLayout host;
  int landlock_abi = 0;
  bool has_keyrings = true;
  bool pids_limited = false;      // By a cgroup: no RLIMIT_NPROC then.
  std::vector<int> cgroup_tasks;  // Descriptors of the parent: files to join v1 cgroups by.

  bool carries_renames = false;  // Pid 1, for the program: see child_rename.h.

  uid_t outside_uid = 0;  // Privileged tier: who owns the upper layer.
  gid_t outside_gid = 0;
  mode_t root_mode = 0755;  // Of the workspace's root.

  // Each after the one that holds it. Nothing: all of the workspace is seen.
  std::optional<std::vector<ViewFolder>> view;

  // Rootless tier: where the workspace is, to be opened again in the new mount namespace.
  PlaceOnHost workspace_place;
  // The same for the upper layer, where it is on disk.
  std::optional<PlaceOnHost> disk;

  // Descriptors of the parent; the tier's others are -1.
  int sync = -1;
  int status = -1;
  int in = -1;
  int out = -1;
  int err = -1;
  int uid_lock = -1;
  int workspace = -1;  // Detached clone, for PlanMounter().
  int overlay = -1;
  int tmp = -1;
  int shm = -1;
};

// Privileged tier: a short-lived process in a mount namespace of its own makes scratch space and
// overlay, and sends kMounterFds back by kSync.
Plan PlanMounter(const PlanInputs& inputs);
inline constexpr Slot kMounterFds[] = {Slot::kUpper, Slot::kOverlay, Slot::kTmp, Slot::kShm};

// The program's process, from its clone to its exec. Rootless, it sends kUpper by kSync.
Plan PlanSandbox(const PlanInputs& inputs);

// The steps, one a line, for tests and for debugging.
std::string Describe(const Plan& plan);

}  // namespace bailiff
