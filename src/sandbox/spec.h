#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace bailiff {

// What one execution may use. Each limit is enforced and has its own outcome (Ending).
struct Limits {
  std::chrono::milliseconds timeout{300'000};  // Wall clock.
  std::int64_t memory_bytes = 2LL << 30;       // Anonymous memory and page cache of the processes.
  double cpus = 1.0;                           // Processors' worth of time.
  std::int64_t pids = 256;                     // Processes and threads at once.
  std::int64_t scratch_bytes = 1LL << 30;      // New data: changes, /tmp and /dev/shm together.
  std::int64_t files = 100'000;                // Changed entries.

  bool operator==(const Limits&) const = default;
};

enum class Network : std::uint8_t {
  kNone,  // A network namespace of its own, with loopback only.
  kHost,  // The host's, loopback and metadata services included.
};

enum class Tier : std::uint8_t {
  kPrivileged,  // Mounted by a process with CAP_SYS_ADMIN in the initial user namespace.
  kRootless,    // Mounted inside the sandbox's own user namespace.
};

// What must hold for a run besides the layers that every sandbox has. Where it cannot, the run is
// refused before its program starts.
struct Demands {
  bool own_uid = false;  // Guarantees::own_uid.
  bool cgroup = false;  // Memory, processes and CPU time are limited by cgroups, of either version.
  int landlock = 0;     // At least this ABI; 0: no demand.

  bool operator==(const Demands&) const = default;
};

// What a sandbox sees of the workspace where that is not all of it: an allow-list, so that what
// others make while it runs is not seen either. Paths are the workspace's own. The directory that
// holds one of these is the root or one of `hollow`. What is no directory is left out.
struct View {
  std::vector<std::string> whole;   // Directories that are seen with all below: "projects/A".
  std::vector<std::string> hollow;  // Directories that are there and seem empty: "projects".
  // Of `hollow`, those in which nothing may be made besides what `whole` names.
  std::vector<std::string> closed;

  bool operator==(const View&) const = default;
};
inline constexpr std::size_t kViewFoldersMax = 1024;  // Each is a mount or two.

// What one sandbox runs, as seen from inside it.
struct SandboxSpec {
  std::string id;                        // Of the execution; names cgroups.
  std::vector<std::string> argv;         // argv[0] is an absolute path or is looked up in PATH.
  std::vector<std::string> environment;  // "NAME=value", all there is.
  std::string cwd;                       // Absolute, for example "/workspace/projects/A".
  Limits limits;
  Network network = Network::kNone;
  bool scratch_on_disk = false;  // Also where tmpfs would do. Rootless tier only.
  Demands demands;
  std::optional<View> view;  // Nothing: all of the workspace.
};

// The layers that hold for one sandbox, as the execution document shows them.
struct Guarantees {
  std::string level = "ns";
  Tier tier = Tier::kRootless;
  bool own_uid = false;  // A host uid that no other running sandbox has.
  std::string scratch;   // "tmpfs"; "polled": changes are on disk, and counted now and then.
  std::string limits;    // "cgroup2", "cgroup1", "rlimits"
  bool seccomp = false;
  int landlock = 0;  // ABI version; 0: the kernel has none.
  Network network = Network::kNone;
};

// How a sandbox ended.
enum class EndReason : std::uint8_t {
  kExited,       // The main process ended by itself: `exit_code` or `signal`.
  kTimedOut,     // Limits::timeout passed.
  kOutOfMemory,  // The kernel or the watchdog killed for memory and the main process did not
                 // succeed.
  kKilled,       // By Sandbox::Kill().
};

struct Usage {
  double cpu_seconds = 0;
  std::int64_t memory_peak_bytes = 0;  // 0: not known.
  std::int64_t scratch_bytes = 0;      // At the end.
};

struct Ending {
  EndReason reason = EndReason::kExited;
  int exit_code = 0;  // Meaningful when `signal` is 0.
  int signal = 0;
  bool oom_killed = false;    // Some process was killed for memory, the main one or another.
  bool scratch_full = false;  // The byte limit was reached at some time.
  bool inodes_full = false;   // The limit on files was reached at some time.
  bool pids_reached = false;  // A fork failed at the process limit.
  std::chrono::nanoseconds duration{0};
  Usage usage;
};

}  // namespace bailiff
