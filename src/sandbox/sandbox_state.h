#pragma once

#include <optional>

#include "base/clock.h"
#include "sandbox/cgroup.h"
#include "sandbox/disk_scratch.h"
#include "sandbox/plan.h"
#include "sandbox/sandbox.h"
#include "sys/process.h"

namespace bailiff {

// One running sandbox. Members are destroyed from the last to the first: the tree is killed and
// reaped before its cgroups are removed and its uid is given back.
struct SandboxState {
  Limits limits;
  Guarantees guarantees;
  std::optional<SeenView> view;

  std::optional<DiskScratch> disk;
  Fd uid_lock;
  Fd upper;
  Fd user_namespace;
  std::optional<Cgroup> cgroup;
  Fd status;                    // Read end: the InitReport.
  Fd sync;                      // Its closing tells pid 1, while it starts, that we are gone.
  Plan plan;                    // What the tree's processes do until the program runs,
  Fd report;                    // and the read end of where they say which step failed.
  std::optional<Process> init;  // Pid 1 of the tree.
  std::optional<Meter> meter;   // Of what is on disk.
  SteadyTime next_count{};      // Not before, so that counting stays a small part of the work.
  SteadyTime counted{};         // When the count that is due was asked for.
  ScratchUse use;               // The newest.

  SteadyTime started{};
  bool killed = false;
  bool timed_out = false;
  bool watchdog_killed = false;
  bool scratch_full = false;
  bool inodes_full = false;
  std::int64_t memory_peak_bytes = 0;
  std::optional<Ending> ending;
};

}  // namespace bailiff
