#pragma once

#include <string>

#include "base/result.h"
#include "sys/fd.h"

namespace bailiff {

// Something that the kernel can do or not; when not, `reason` says why and what would help.
struct Feature {
  bool ok = false;
  std::string reason;
};

// What this kernel offers a sandbox, found by trying, never by version. For `bailiff doctor`, and
// to choose between ways of doing things.
struct KernelFeatures {
  bool privileged = false;   // CAP_SYS_ADMIN in the initial user namespace.
  Feature user_namespaces;   // A process may make one.
  Feature tmpfs_attributes;  // tmpfs keeps user.* attributes: rootless overlays need it.
  Feature idmap;             // The probed directory's mount can be idmapped.
  Feature seccomp;           // Filters can be installed.
  Feature keyrings;          // A session keyring can be joined.
  int landlock_abi = 0;      // 0: none.
  int redirect_max = 0;      // Longest path of a moved entry, in bytes; 0: no overlay loaded.
};

// Errors: kIo when /proc cannot be read.
Result<bool> IsPrivileged();

int LandlockAbi();

// Each tries one thing, in microseconds.
Feature ProbeTmpfsAttributes();
Feature ProbeKeyrings();

// Tries everything. `directory` is where workspaces lie. Takes some milliseconds.
// Errors: kIo when not even trying is possible.
Result<KernelFeatures> ProbeKernel(const Fd& directory);

// Lets moved files and directories have paths of up to 4096 bytes, for the whole host, if it may.
// Returns how long they may be now; 0 if that is not known.
int RaiseRedirectMax();

}  // namespace bailiff
