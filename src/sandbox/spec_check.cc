#include "sandbox/spec_check.h"

#include <sys/sysinfo.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/units.h"

namespace bailiff {
namespace {

constexpr std::size_t kIdBytesMax = 128;

Error Invalid(const std::string& message) {
  return Error(ErrorCode::kInvalidArgument, message);
}

bool HasNul(const std::string& text) {
  return text.find('\0') != std::string::npos;
}

bool IsPlainPath(std::string_view path) {
  if (path.find('\0') != std::string_view::npos) return false;
  for (;;) {
    const std::size_t slash = path.find('/');
    const std::string_view name = path.substr(0, slash);
    if (name.empty() || name == "." || name == "..") return false;
    if (slash == std::string_view::npos) return true;
    path.remove_prefix(slash + 1);
  }
}

Status CheckView(const View& view) {
  if (view.whole.size() + view.hollow.size() > kViewFoldersMax) {
    return Invalid("view: at most " + std::to_string(kViewFoldersMax) + " folders");
  }
  std::set<std::string> seen;
  for (const std::vector<std::string>* paths : {&view.hollow, &view.whole}) {
    for (const std::string& path : *paths) {
      if (!IsPlainPath(path)) return Invalid("view: '" + path + "' is no path in a workspace");
      const std::size_t slash = path.rfind('/');
      const bool has_place =
          slash == std::string::npos || std::find(view.hollow.begin(), view.hollow.end(),
                                                  path.substr(0, slash)) != view.hollow.end();
      if (!has_place) return Invalid("view: nothing is seen of what holds '" + path + "'");
      if (!seen.insert(path).second) return Invalid("view: '" + path + "' is named twice");
    }
  }
  return Ok();
}

Status CheckLimits(const Limits& limits) {
  if (limits.timeout.count() <= 0) return Invalid("timeout: must be more than 0");
  if (limits.memory_bytes <= 0) return Invalid("memory_bytes: must be more than 0");
  if (!(limits.cpus > 0)) return Invalid("cpus: must be more than 0");
  if (limits.pids <= 0) return Invalid("pids: must be more than 0");
  if (limits.scratch_bytes <= 0) return Invalid("scratch_bytes: must be more than 0");
  if (limits.files <= 0) return Invalid("files: must be more than 0");
  struct sysinfo host = {};
  if (::sysinfo(&host) != 0) return Error::FromErrno(errno, "sysinfo");
  const double unit = host.mem_unit;
  const double available =
      (static_cast<double>(host.totalram) + static_cast<double>(host.totalswap)) * unit;
  const double wanted =
      static_cast<double>(limits.memory_bytes) + static_cast<double>(limits.scratch_bytes);
  if (wanted > available) {
    return Error(ErrorCode::kResourceExhausted,
                 "memory and scratch: " + FormatSize(static_cast<std::int64_t>(wanted)) +
                     " together, and this host has " +
                     FormatSize(static_cast<std::int64_t>(available)) +
                     "; ask for less with --memory and --scratch");
  }
  return Ok();
}

}  // namespace

Status CheckSpec(const SandboxSpec& spec) {
  const auto allowed = [](unsigned char c) { return std::isalnum(c) != 0 || c == '_' || c == '-'; };
  if (spec.id.empty() || spec.id.size() > kIdBytesMax ||
      !std::all_of(spec.id.begin(), spec.id.end(), allowed)) {
    return Invalid("id: must be 1 to 128 letters, digits, '_' or '-'");
  }
  if (spec.argv.empty() || spec.argv.front().empty()) {
    return Invalid("argv: must name a program");
  }
  if (spec.cwd.empty() || spec.cwd.front() != '/' || HasNul(spec.cwd)) {
    return Invalid("cwd: must be an absolute path");
  }
  if (std::any_of(spec.argv.begin(), spec.argv.end(), HasNul) ||
      std::any_of(spec.environment.begin(), spec.environment.end(), HasNul)) {
    return Invalid("argv and environment: must not contain zero bytes");
  }
  if (spec.view.has_value()) TRY(CheckView(*spec.view));
  return CheckLimits(spec.limits);
}

Status CheckDemands(const Demands& demands, const Guarantees& guarantees) {
  const auto lacks = [](const std::string& layer) {
    return Error(ErrorCode::kUnsupported,
                 layer + ", which this run demands; `bailiff doctor` says why and what helps");
  };
  if (demands.own_uid && !guarantees.own_uid) return lacks("own-uid: there is no uid of its own");
  if (demands.cgroup && guarantees.limits == "rlimits") {
    return lacks("cgroup: not every limit can be set by a cgroup");
  }
  if (guarantees.landlock < demands.landlock) {
    return lacks("landlock: ABI " + std::to_string(guarantees.landlock) + " is below ABI " +
                 std::to_string(demands.landlock));
  }
  return Ok();
}

}  // namespace bailiff
