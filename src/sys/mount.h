#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "sys/fd.h"

namespace bailiff {

// A detached copy of the mount that holds the directory `dir`, rooted there, without the mounts
// below it. It goes when its descriptor is closed, unless it was attached.
// Errors: kPermissionDenied; kIo.
Result<Fd> CloneMount(const Fd& dir);

// Adds MOUNT_ATTR_* `attributes` to a detached mount. With MOUNT_ATTR_IDMAP, `user_namespace` says
// how ids appear. Errors: kUnsupported when the file system cannot be idmapped; kIo.
Status SetMountAttributes(const Fd& mount, std::uint64_t attributes,
                          const Fd* user_namespace = nullptr);

// One line of /proc/self/mountinfo.
struct MountEntry {
  std::string root;  // Which directory of its file system is mounted.
  std::string point;
  std::string type;
  std::string options;  // Of the file system: a cgroup v1 hierarchy's controllers.

  bool operator==(const MountEntry&) const = default;
};

// Every line of a mountinfo file that has all fields. Other users name mount points and sources,
// with whatever bytes they like: a field ends at a space, and the kernel escapes those in it.
std::vector<MountEntry> ParseMountInfo(std::string_view text);

// The mounts that this process sees. Errors: kIo.
Result<std::vector<MountEntry>> ListMounts();

}  // namespace bailiff
