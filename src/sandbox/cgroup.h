#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "sandbox/spec.h"
#include "sys/fd.h"

namespace bailiff {

// Where this process may make cgroups.
struct CgroupHost {
  struct Hierarchy {
    std::string controller;  // "memory", "pids" or "cpu".
    std::string parent;      // Absolute directory in which "bailiff/" is or will be.
  };
  std::string unified;        // The parent on the v2 hierarchy; empty where there is none.
  std::vector<Hierarchy> v1;  // Controllers that are on v1 hierarchies.
  std::vector<std::string> v2_controllers;
};

// Errors: kIo when /proc cannot be read.
Result<CgroupHost> FindCgroups(Tier tier);

struct CgroupUsage {
  std::int64_t oom_kills = 0;
  std::int64_t pids_refused = 0;
  std::int64_t memory_peak_bytes = 0;
  double cpu_seconds = 0;
};

// The cgroups of one sandbox: a leaf on v2 to kill and track where possible, even with no
// controllers, and per controller a leaf on v2 or on v1 where it can be written. What cannot be is
// for rlimits and a watchdog.
//
// Names are <id>.<pid>.<start time> of the process that owns the sandbox, so that what is left
// after its sudden death can be told from what is in use. Destruction removes the directories,
// which must have no process any more.
class Cgroup {
 public:
  // Never fails for want of permission: then there is less in it.
  static Cgroup Create(const CgroupHost& host, const std::string& name, const Limits& limits);

  Cgroup(Cgroup&&) noexcept = default;
  Cgroup& operator=(Cgroup&&) = delete;
  ~Cgroup();

  // The v2 leaf to be born in; null where there is none.
  const Fd* leaf() const { return leaf_.valid() ? &leaf_ : nullptr; }

  bool limits_memory() const { return memory_ != Backend::kNone; }
  bool limits_pids() const { return pids_ != Backend::kNone; }
  bool limits_cpu() const { return cpu_ != Backend::kNone; }

  // "cgroup2", "cgroup1" or "rlimits": the weakest of the three.
  std::string Describe() const;

  // The file `tasks` of each v1 leaf, at most three: a process with one thread that writes "0" to
  // it is in that leaf from then on. Errors: kPermissionDenied; kIo.
  Result<std::vector<Fd>> OpenV1Tasks() const;

  // Kills every process in the v2 leaf, if there is one. Errors: kIo.
  Status Kill() const;

  CgroupUsage Read() const;

  // Memory that no file backs, of all its processes. 0 where limits_memory() is false.
  std::int64_t AnonymousBytes() const;

  // Waits until nothing is in them, and removes them. Errors: kIo after some seconds.
  Status Remove();

 private:
  enum class Backend : std::uint8_t { kNone, kV1, kV2 };

  Cgroup() = default;
  void MakeUnified(const CgroupHost& host, const std::string& name, const Limits& limits);
  void MakeV1(const CgroupHost::Hierarchy& hierarchy, const std::string& name,
              const Limits& limits);

  Fd leaf_;
  std::string unified_;
  std::string v1_memory_;
  std::string v1_pids_;
  std::string v1_cpu_;
  Backend memory_ = Backend::kNone;
  Backend pids_ = Backend::kNone;
  Backend cpu_ = Backend::kNone;
};

// Removes one leaf, waiting for the kernel to see that it is empty; and its parent if that was the
// last one in it. No error when there is none. Errors: kIo.
Status RemoveCgroup(const std::string& path);

// Writes to a control file. Errors: as open(2) and write(2).
Status WriteControl(const std::string& path, const std::string& text);

// "" when it cannot be read.
std::string ReadControl(const std::string& path);

}  // namespace bailiff
