#include "sandbox/stale.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <charconv>
#include <csignal>
#include <cstdint>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "sandbox/cgroup.h"
#include "sys/file.h"
#include "sys/kernel_features.h"
#include "sys/process.h"

namespace bailiff {
namespace {

constexpr std::size_t kNamesMax = 100'000;

struct Owner {
  pid_t pid = 0;
  std::uint64_t start = 0;
};

template <typename T>
bool ParseNumber(std::string_view text, T* number) {
  const char* end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, *number);
  return parsed.ec == std::errc() && parsed.ptr == end;
}

// Nothing for a name that is not <id>.<pid>.<start time>.
std::optional<Owner> ParseOwner(std::string_view name) {
  const std::size_t second = name.rfind('.');
  if (second == std::string_view::npos || second == 0) return std::nullopt;
  const std::size_t first = name.rfind('.', second - 1);
  if (first == std::string_view::npos) return std::nullopt;
  Owner owner;
  if (!ParseNumber(name.substr(first + 1, second - first - 1), &owner.pid)) return std::nullopt;
  if (!ParseNumber(name.substr(second + 1), &owner.start)) return std::nullopt;
  return owner;
}

bool IsAlive(const Owner& owner) {
  const Result<std::uint64_t> start = ProcessStartTime(owner.pid);
  return start.ok() && start.value() == owner.start;
}

std::vector<pid_t> Members(const std::string& leaf) {
  std::istringstream text(ReadControl(leaf + "/cgroup.procs"));
  std::vector<pid_t> pids;
  for (pid_t pid = 0; text >> pid;) pids.push_back(pid);
  return pids;
}

// The descriptor is taken before the second look, so that a number given to another process in
// between is not killed.
void KillMember(const std::string& leaf, pid_t pid) {
  const long raw = ::syscall(SYS_pidfd_open, pid, 0);
  if (raw < 0) return;
  const Fd pidfd(static_cast<int>(raw));
  for (const pid_t present : Members(leaf)) {
    if (present == pid) ::syscall(SYS_pidfd_send_signal, pidfd.get(), SIGKILL, nullptr, 0);
  }
}

Status CleanBelow(const std::string& parent) {
  const std::string base = parent + "/bailiff";
  const Result<Fd> dir = OpenPath(base, O_RDONLY | O_DIRECTORY);
  if (!dir.ok()) return Ok();
  Status result = Ok();
  for (const std::string& name : TRY(ListDir(dir.value(), kNamesMax))) {
    const std::optional<Owner> owner = ParseOwner(name);
    if (!owner.has_value() || IsAlive(*owner)) continue;
    const std::string leaf = fmt::format("{}/{}", base, name);
    for (const pid_t pid : Members(leaf)) KillMember(leaf, pid);
    Status removed = RemoveCgroup(leaf);
    // Those of another user are that user's to clean.
    if (removed.ok() || removed.error().code() == ErrorCode::kPermissionDenied) continue;
    result = std::move(removed);
  }
  return result;
}

}  // namespace

Status CleanStale() {
  const Tier tier = TRY(IsPrivileged()) ? Tier::kPrivileged : Tier::kRootless;
  const CgroupHost host = TRY(FindCgroups(tier));
  Status result = Ok();
  if (!host.unified.empty()) result = CleanBelow(host.unified);
  for (const CgroupHost::Hierarchy& hierarchy : host.v1) {
    Status cleaned = CleanBelow(hierarchy.parent);
    if (!cleaned.ok()) result = std::move(cleaned);
  }
  return result;
}

Status CleanStaleScratch(const Fd& scratch) {
  for (const std::string& name : TRY(ListDir(scratch, kNamesMax))) {
    const std::optional<Owner> owner = ParseOwner(name);
    if (owner.has_value() && !IsAlive(*owner)) TRY(RemoveTree(scratch, name));
  }
  return Ok();
}

}  // namespace bailiff
