#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "sys/kernel_features.h"

namespace bailiff {

// What of this host can be in the way of a layer, and could be changed.
struct HostFacts {
  KernelFeatures kernel;
  std::string release;                    // "6.1.0-18-amd64"
  std::optional<int> userns_clone;        // kernel.unprivileged_userns_clone; Debian's alone.
  std::optional<int> userns_max;          // user.max_user_namespaces
  std::optional<int> apparmor_restricts;  // kernel.apparmor_restrict_unprivileged_userns
  bool filtered = false;                  // This process itself runs under a seccomp filter.
  bool has_overlay = true;                // /proc/filesystems knows it.
  std::string lsm;                        // /sys/kernel/security/lsm; empty: cannot be read.
  std::string masked;                     // A mount point below /proc; empty: none.
  bool has_cgroup2 = false;               // There is a cgroup v2 mount at all.
  bool has_cgroup1 = false;
};

// Errors: kIo when not even trying is possible.
Result<HostFacts> ReadHostFacts();

// Why something does not hold, and what would help: commands, each on a line of its own.
struct Cause {
  std::string why;
  std::vector<std::string> advice;
};

// Why no sandbox could be made; `failure` is what its launch said. `layer` is the one to blame, of
// Diagnosis::layers.
struct LaunchCause {
  std::string layer;
  Cause cause;
};
LaunchCause WhyNoSandbox(const HostFacts& host, const std::string& failure);

Cause WhyNoLandlock(const HostFacts& host);
Cause WhyNoCgroup(const HostFacts& host);
// `place` is where it was tried: "this workspace".
Cause WhySharedUid(const HostFacts& host, const std::string& place);

}  // namespace bailiff
