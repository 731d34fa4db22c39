#include "sandbox/cgroup.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <map>
#include <sstream>
#include <utility>

#include "sys/file.h"
#include "sys/mount.h"

namespace bailiff {
namespace {

constexpr std::size_t kControlBytesMax = 1UL << 20;
constexpr int kCpuPeriodMicros = 100'000;
constexpr int kRemoveAttemptsMax = 5000;  // One millisecond each.
constexpr int kMakeAttemptsMax = 16;
constexpr mode_t kDirMode = 0755;
constexpr const char* kControllers[] = {"memory", "pids", "cpu"};

std::vector<std::string> Split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
  return parts;
}

bool Contains(const std::vector<std::string>& words, const std::string& word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

// Controller (or "" for v2) to the path of this process's cgroup in that hierarchy.
Result<std::map<std::string, std::string>> OwnCgroups() {
  const Fd file = TRY(OpenPath("/proc/self/cgroup", O_RDONLY));
  std::map<std::string, std::string> own;
  for (const std::string& line : Split(TRY(ReadAll(file, kControlBytesMax)), '\n')) {
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string path = line.substr(second + 1);
    const std::string names = line.substr(first + 1, second - first - 1);
    if (names.empty()) own[""] = path;
    for (const std::string& name : Split(names, ',')) own[name] = path;
  }
  return own;
}

// Where `path` of a hierarchy is, seen through a mount of its directory `root` on `point`.
std::string Below(const MountEntry& mount, const std::string& path) {
  std::string rest = path;
  if (mount.root != "/" && rest.starts_with(mount.root)) rest = rest.substr(mount.root.size());
  return rest == "/" ? mount.point : mount.point + rest;
}

// "bailiff/" may be removed by another sandbox that ends, between our two calls.
Result<std::string> MakeLeaf(const std::string& parent, const std::string& name) {
  const std::string base = parent + "/bailiff";
  const std::string leaf = base + "/" + name;
  for (int attempt = 0; attempt < kMakeAttemptsMax; ++attempt) {
    if (::mkdir(base.c_str(), kDirMode) != 0 && errno != EEXIST) break;
    if (::mkdir(leaf.c_str(), kDirMode) == 0 || errno == EEXIST) return leaf;
    if (errno != ENOENT) break;
  }
  return Error::FromErrno(errno, "make " + leaf);
}

std::int64_t ToNumber(const std::string& text) {
  return std::strtoll(text.c_str(), nullptr, 10);
}

// The number after `key` in a file of "key value" lines.
std::int64_t ReadKey(const std::string& path, const std::string& key) {
  for (const std::string& line : Split(ReadControl(path), '\n')) {
    if (line.starts_with(key + " ")) return ToNumber(line.substr(key.size() + 1));
  }
  return 0;
}

std::string Quota(const Limits& limits) {
  constexpr double kQuotaMicrosMin = 1000;
  return std::to_string(std::llround(std::max(limits.cpus * kCpuPeriodMicros, kQuotaMicrosMin)));
}

std::string MemoryLimit(const Limits& limits) {
  return std::to_string(limits.memory_bytes + limits.scratch_bytes);
}

std::string PidsLimit(const Limits& limits) {
  return std::to_string(limits.pids + 1);  // Pid 1 is ours.
}

}  // namespace

Result<CgroupHost> FindCgroups(Tier tier) {
  CgroupHost host;
  const std::map<std::string, std::string> own = TRY(OwnCgroups());
  for (const MountEntry& mount : TRY(ListMounts())) {
    if (mount.type == "cgroup2" && own.contains("")) {
      // Without privilege only what was delegated to us can be written.
      host.unified = tier == Tier::kPrivileged ? mount.point : Below(mount, own.at(""));
      host.v2_controllers = Split(ReadControl(host.unified + "/cgroup.controllers"), ' ');
    }
    if (mount.type != "cgroup") continue;
    const std::vector<std::string> options = Split(mount.options, ',');
    for (const char* controller : kControllers) {
      if (!Contains(options, controller) || !own.contains(controller)) continue;
      host.v1.push_back({controller, Below(mount, own.at(controller))});
    }
  }
  return host;
}

Cgroup Cgroup::Create(const CgroupHost& host, const std::string& name, const Limits& limits) {
  Cgroup cgroup;
  if (!host.unified.empty()) cgroup.MakeUnified(host, name, limits);
  for (const CgroupHost::Hierarchy& hierarchy : host.v1) cgroup.MakeV1(hierarchy, name, limits);
  return cgroup;
}

void Cgroup::MakeUnified(const CgroupHost& host, const std::string& name, const Limits& limits) {
  Result<std::string> leaf = MakeLeaf(host.unified, name);
  if (!leaf.ok()) return;
  unified_ = leaf.value();
  Result<Fd> dir = OpenPath(unified_, O_RDONLY | O_DIRECTORY);
  if (dir.ok()) leaf_ = std::move(dir).value();
  for (const std::string& controller : host.v2_controllers) {
    // A controller that cannot be enabled shows by the absence of its files.
    (void)WriteControl(host.unified + "/cgroup.subtree_control", "+" + controller);
    (void)WriteControl(host.unified + "/bailiff/cgroup.subtree_control", "+" + controller);
  }
  if (WriteControl(unified_ + "/memory.max", MemoryLimit(limits)).ok()) {
    memory_ = Backend::kV2;
    // Both exist only on some kernels; without swap there is nothing to limit.
    (void)WriteControl(unified_ + "/memory.swap.max", "0");
    (void)WriteControl(unified_ + "/memory.oom.group", "1");
  }
  if (WriteControl(unified_ + "/pids.max", PidsLimit(limits)).ok()) pids_ = Backend::kV2;
  const std::string quota = Quota(limits) + " " + std::to_string(kCpuPeriodMicros);
  if (WriteControl(unified_ + "/cpu.max", quota).ok()) cpu_ = Backend::kV2;
}

void Cgroup::MakeV1(const CgroupHost::Hierarchy& hierarchy, const std::string& name,
                    const Limits& limits) {
  Result<std::string> made = MakeLeaf(hierarchy.parent, name);
  if (!made.ok()) return;
  const std::string& leaf = made.value();
  if (hierarchy.controller == "memory") {
    v1_memory_ = leaf;
    if (!WriteControl(leaf + "/memory.limit_in_bytes", MemoryLimit(limits)).ok()) return;
    memory_ = Backend::kV1;
    // Exists only where swap is counted.
    (void)WriteControl(leaf + "/memory.memsw.limit_in_bytes", MemoryLimit(limits));
  } else if (hierarchy.controller == "pids") {
    v1_pids_ = leaf;
    if (WriteControl(leaf + "/pids.max", PidsLimit(limits)).ok()) pids_ = Backend::kV1;
  } else {
    v1_cpu_ = leaf;
    (void)WriteControl(leaf + "/cpu.cfs_period_us", std::to_string(kCpuPeriodMicros));
    if (WriteControl(leaf + "/cpu.cfs_quota_us", Quota(limits)).ok()) cpu_ = Backend::kV1;
  }
}

Cgroup::~Cgroup() {
  // What cannot be removed now is found by its name at the next start.
  (void)Remove();
}

std::string Cgroup::Describe() const {
  const Backend weakest = std::min({memory_, pids_, cpu_});
  switch (weakest) {
    case Backend::kNone:
      return "rlimits";
    case Backend::kV1:
      return "cgroup1";
    case Backend::kV2:
      return "cgroup2";
  }
  CheckFailed("a known backend", __FILE__, __LINE__);
}

Result<std::vector<Fd>> Cgroup::OpenV1Tasks() const {
  std::vector<Fd> files;
  for (const std::string* leaf : {&v1_memory_, &v1_pids_, &v1_cpu_}) {
    if (!leaf->empty()) files.push_back(TRY(OpenPath(*leaf + "/tasks", O_WRONLY)));
  }
  return files;
}

Status Cgroup::Kill() const {
  if (unified_.empty()) return Ok();
  return WriteControl(unified_ + "/cgroup.kill", "1");
}

CgroupUsage Cgroup::Read() const {
  CgroupUsage usage;
  if (memory_ == Backend::kV2) {
    usage.oom_kills = ReadKey(unified_ + "/memory.events", "oom_kill");
    usage.memory_peak_bytes = ToNumber(ReadControl(unified_ + "/memory.peak"));
  } else if (memory_ == Backend::kV1) {
    usage.oom_kills = ReadKey(v1_memory_ + "/memory.oom_control", "oom_kill");
    usage.memory_peak_bytes = ToNumber(ReadControl(v1_memory_ + "/memory.max_usage_in_bytes"));
  }
  if (pids_ == Backend::kV2) usage.pids_refused = ReadKey(unified_ + "/pids.events", "max");
  if (pids_ == Backend::kV1) usage.pids_refused = ReadKey(v1_pids_ + "/pids.events", "max");
  if (!unified_.empty()) {
    constexpr double kMicrosPerSecond = 1e6;
    const auto micros = static_cast<double>(ReadKey(unified_ + "/cpu.stat", "usage_usec"));
    usage.cpu_seconds = micros / kMicrosPerSecond;
  }
  return usage;
}

std::int64_t Cgroup::AnonymousBytes() const {
  if (memory_ == Backend::kV2) return ReadKey(unified_ + "/memory.stat", "anon");
  if (memory_ == Backend::kV1) return ReadKey(v1_memory_ + "/memory.stat", "total_rss");
  return 0;
}

Status Cgroup::Remove() {
  leaf_ = Fd();
  Status result = Ok();
  for (std::string* leaf : {&unified_, &v1_memory_, &v1_pids_, &v1_cpu_}) {
    if (leaf->empty()) continue;
    Status removed = RemoveCgroup(*leaf);
    leaf->clear();
    if (!removed.ok()) result = std::move(removed);
  }
  return result;
}

Status RemoveCgroup(const std::string& path) {
  for (int attempt = 0;; ++attempt) {
    if (::rmdir(path.c_str()) == 0 || errno == ENOENT) break;
    if (errno != EBUSY || attempt == kRemoveAttemptsMax) {
      return Error::FromErrno(errno, "remove " + path);
    }
    // Zombies leave a cgroup late, and v1 tells nobody when.
    ::poll(nullptr, 0, 1);
  }
  // Fails when another sandbox is in it.
  ::rmdir(path.substr(0, path.rfind('/')).c_str());
  return Ok();
}

Status WriteControl(const std::string& path, const std::string& text) {
  const Fd file = TRY(OpenPath(path, O_WRONLY));
  // One write: the kernel reads a whole value from each.
  if (::write(file.get(), text.data(), text.size()) < 0) return Error::FromErrno(errno, path);
  return Ok();
}

std::string ReadControl(const std::string& path) {
  const Result<Fd> file = OpenPath(path, O_RDONLY);
  if (!file.ok()) return "";
  const Result<std::string> text = ReadAll(file.value(), kControlBytesMax);
  if (!text.ok()) return "";
  std::string trimmed = text.value();
  while (!trimmed.empty() && trimmed.back() == '\n') trimmed.pop_back();
  return trimmed;
}

}  // namespace bailiff
