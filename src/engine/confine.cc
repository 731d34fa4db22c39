#include "engine/confine.h"

#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <string>

#include "sandbox/landlock_abi.h"
#include "sandbox/seccomp_filters.h"
#include "sys/kernel_features.h"

namespace bailiff {
namespace {

constexpr int kCapabilitiesMax = 63;
constexpr int kLandlockAbiScope = 6;

Status FromCall(long rc, const char* what) {
  if (rc >= 0) return Ok();
  return Error::FromErrno(errno, std::string("confine: ") + what);
}

// What `access` gives at a directory; a file has no other rights than the last three.
std::uint64_t RightsOf(Access access, bool is_dir, std::uint64_t handled) {
  const std::uint64_t all =
      access == Access::kRead ? kFsReadFile | kFsReadDir : handled & ~kFsExecute;
  return is_dir ? all : all & (kFsReadFile | kFsWriteFile | kFsTruncate);
}

Status Allow(const Fd& ruleset, const FilePlace& place, std::uint64_t handled) {
  struct stat info {};
  TRY(FromCall(::fstat(place.at->get(), &info), "fstat"));
  const LandlockPathRule rule{RightsOf(place.access, S_ISDIR(info.st_mode), handled),
                              place.at->get()};
  return FromCall(::syscall(SYS_landlock_add_rule, ruleset.get(), kLandlockRulePath, &rule, 0),
                  "landlock_add_rule");
}

}  // namespace

Status KeepCapabilities(std::span<const int> kept) {
  for (int cap = 0; cap <= kCapabilitiesMax; ++cap) {
    const bool keep = std::find(kept.begin(), kept.end(), cap) != kept.end();
    if (keep || ::prctl(PR_CAPBSET_READ, cap, 0, 0, 0) != 1) continue;
    if (::prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) != 0 && errno != EPERM) {
      return FromCall(-1, "drop capability");
    }
  }
  (void)::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);  // Absent before Linux 4.3.
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, 2> now{};
  TRY(FromCall(::syscall(SYS_capget, &header, now.data()), "capget"));
  std::array<__user_cap_data_struct, 2> next{};
  for (const int cap : kept) {
    const auto word = static_cast<std::size_t>(cap / 32);
    const std::uint32_t bit = 1U << (cap % 32);
    next[word].effective |= now[word].permitted & bit;
    next[word].permitted |= now[word].permitted & bit;
  }
  return FromCall(::syscall(SYS_capset, &header, next.data()), "capset");
}

// Landlock's first version refuses every rename from one directory to another, so it is of no use
// here.
Result<bool> ConfineFiles(const std::vector<FilePlace>& places, Signals signals) {
  const int abi = LandlockAbi();
  if (abi < 2) return false;
  LandlockRuleset rules{};
  rules.handled_access_fs = kFsAllAbi1 | kFsRefer | (abi >= 3 ? kFsTruncate : 0);
  std::size_t size = sizeof(rules.handled_access_fs);
  if (abi >= kLandlockAbiScope) {
    size = sizeof(rules);
    if (signals == Signals::kItself) rules.scoped = kScopeSignal;
  }
  const long made = ::syscall(SYS_landlock_create_ruleset, &rules, size, 0);
  TRY(FromCall(made, "landlock_create_ruleset"));
  const Fd ruleset(static_cast<int>(made));
  for (const FilePlace& place : places) TRY(Allow(ruleset, place, rules.handled_access_fs));
  TRY(FromCall(::syscall(SYS_landlock_restrict_self, ruleset.get(), 0), "landlock_restrict_self"));
  return true;
}

Result<bool> ConfineServer(std::span<const int> capabilities,
                           const std::vector<FilePlace>& places) {
  const rlimit no_core{0, 0};
  TRY(FromCall(::setrlimit(RLIMIT_CORE, &no_core), "RLIMIT_CORE"));
  TRY(KeepCapabilities(capabilities));
  TRY(FromCall(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs"));
  TRY(FromCall(::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0), "PR_SET_DUMPABLE"));
  const bool files = TRY(ConfineFiles(places, Signals::kItself));
  TRY(EnforceFilter(ServerFilter()));
  return files;
}

}  // namespace bailiff
