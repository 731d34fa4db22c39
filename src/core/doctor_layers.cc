#include "core/doctor_layers.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <string_view>
#include <utility>

#include "base/units.h"
#include "core/probe.h"

namespace bailiff {
namespace {

constexpr const char* kLayerNames[] = {"user-namespace", "own-uid",
                                       "mounts",         "overlay",
                                       "pid-namespace",  "network-namespace",
                                       "ipc-namespace",  "uts-namespace",
                                       "privileges",     "seccomp",
                                       "landlock",       "memory",
                                       "pids",           "cpu",
                                       "scratch",        "kill"};

// A quota is filled in periods: what is used may be above it for some of them, never twice as much.
constexpr double kCpuTolerance = 2;

std::string Text(int sys_errno) {
  if (sys_errno == 0) return "it worked";
  const std::string message = Error::FromErrno(sys_errno, "").message();
  return message.starts_with(": ") ? message.substr(2) : message;
}

bool Refused(const Attempt& attempt, int sys_errno) {
  return std::find(attempt.errnos.begin(), attempt.errnos.end(), sys_errno) != attempt.errnos.end();
}

// Before Linux 6.7 (ABI 4) a ruleset says nothing about TCP; with the host's it is not asked.
bool Applies(const Attempt& attempt, const Evidence& evidence) {
  if (std::string_view(attempt.layer) != "landlock") return true;
  const int abi = evidence.guarantees->landlock;
  return std::string_view(attempt.name) == "listen on a port" ? abi >= 4 : abi > 0;
}

Layer Missing(const char* name, std::string detail, std::string why) {
  return {name, Holds::kNo, std::move(detail), std::move(why), {}};
}

void Weaken(Layer* layer, Cause cause) {
  layer->holds = Holds::kWeaker;
  layer->why = std::move(cause.why);
  layer->advice = std::move(cause.advice);
}

// The attempts of a layer: none may work inside, and one at least must have gone another way
// outside, or all of it proves nothing.
Layer FromAttempts(const char* name, const Evidence& evidence) {
  Layer layer{name, Holds::kYes, "", "", {}};
  int refused = 0;
  int proved = 0;
  const std::span<const Attempt> attempts = Attempts();
  for (std::size_t i = 0; i < attempts.size(); ++i) {
    if (std::string_view(attempts[i].layer) != name || !Applies(attempts[i], evidence)) continue;
    if (i >= evidence.inside.size() || i >= evidence.outside.size()) {
      return Missing(name, "", "the probe did not try it");
    }
    if (!Refused(attempts[i], evidence.inside[i])) {
      return Missing(name, fmt::format("{}: {}", attempts[i].name, Text(evidence.inside[i])),
                     "a sandbox must refuse that, by " + Text(attempts[i].errnos.front()));
    }
    ++refused;
    if (evidence.outside[i] != evidence.inside[i]) ++proved;
  }
  layer.detail = fmt::format("{} refused, of which {} go another way outside", refused, proved);
  if (refused > 0 && proved == 0) {
    return Missing(name, layer.detail, "what is refused outside as well proves nothing");
  }
  return layer;
}

bool Shares(const Evidence& evidence, const char* name) {
  const std::vector<std::string>& shared = evidence.look->shared;
  return std::find(shared.begin(), shared.end(), name) != shared.end();
}

Layer Namespace(const char* layer, const char* name, const Evidence& evidence) {
  Layer found = FromAttempts(layer, evidence);
  if (!Shares(evidence, name)) return found;
  return Missing(layer, found.detail, "the sandbox is in the host's namespace");
}

Layer UserNamespace(const Evidence& evidence) {
  Layer layer = Namespace("user-namespace", "user", evidence);
  layer.detail = fmt::format("uid {} on the host; {}", evidence.look->uid, layer.detail);
  if (evidence.look->root_mapped || evidence.look->uid == 0) {
    return Missing("user-namespace", layer.detail, "uid or gid 0 of the host is mapped");
  }
  return layer;
}

bool WasAskedThere(const Evidence& evidence) {
  return evidence.there.has_value() && evidence.there->guarantees.has_value();
}

// What holds in the workspace that was named, or else where it was tried.
const Guarantees& InWorkspace(const Evidence& evidence) {
  return WasAskedThere(evidence) ? *evidence.there->guarantees : *evidence.guarantees;
}

Layer OwnUid(const Evidence& evidence, const HostFacts& host) {
  Layer layer{
      "own-uid", Holds::kYes, fmt::format("uid {} on the host", evidence.look->uid), "", {}};
  const bool own = InWorkspace(evidence).own_uid;
  if (own != evidence.guarantees->own_uid) {
    layer.detail = fmt::format("uid {} in /tmp, {} in this workspace", evidence.look->uid,
                               own ? "one of its own" : "the owner's");
  }
  if (!own) {
    Weaken(&layer, WhySharedUid(host, WasAskedThere(evidence) ? "this workspace"
                                                              : "/tmp, where it was tried,"));
  }
  return layer;
}

Layer Mounts(const Evidence& evidence) {
  Layer layer = Namespace("mounts", "mnt", evidence);
  if (layer.holds == Holds::kYes && evidence.connections > 0) {
    return Missing("mounts", fmt::format("{} connections", evidence.connections),
                   "something in the sandbox reached a socket of the host");
  }
  return layer;
}

Layer Overlay(const Evidence& evidence) {
  const auto told = evidence.told.find(kProbeOverlay);
  if (told == evidence.told.end()) return Missing("overlay", "", "the probe did not try it");
  if (told->second.number != 0) {
    return Missing("overlay", fmt::format("step {} went wrong", told->second.number),
                   "a file or directory was not as the script had left it");
  }
  if (!evidence.damage.empty()) {
    return Missing("overlay", evidence.damage + " is not as before",
                   "the workspace itself was changed");
  }
  return {"overlay", Holds::kYes, "written, deleted and remade inside; unchanged outside", "", {}};
}

Layer Uts(const Evidence& evidence) {
  if (Shares(evidence, "uts")) {
    return Missing("uts-namespace", "", "the sandbox is in the host's namespace");
  }
  return {"uts-namespace", Holds::kYes, "another one than the host's", "", {}};
}

Layer Privileges(const Evidence& evidence) {
  Layer layer{"privileges", Holds::kYes, "no_new_privs, and no capability in any set", "", {}};
  if (!evidence.look->no_new_privs) return Missing("privileges", "", "no_new_privs is not set");
  if (!evidence.look->no_capabilities) return Missing("privileges", "", "a capability is held");
  const std::span<const Attempt> attempts = Attempts();
  for (std::size_t i = 0; i < attempts.size() && i < evidence.inside.size(); ++i) {
    if (std::string_view(attempts[i].layer) != "privileges") continue;
    if (!Refused(attempts[i], evidence.inside[i])) {
      return Missing("privileges",
                     fmt::format("{}: {}", attempts[i].name, Text(evidence.inside[i])),
                     "that needs a capability");
    }
  }
  return layer;
}

Layer Seccomp(const Evidence& evidence) {
  Layer layer = FromAttempts("seccomp", evidence);
  if (!evidence.look->filtered) return Missing("seccomp", layer.detail, "no filter is in force");
  return layer;
}

Layer Landlock(const Evidence& evidence, const HostFacts& host) {
  Layer layer = FromAttempts("landlock", evidence);
  const int abi = evidence.guarantees->landlock;
  layer.detail = abi == 0 ? "ABI 0" : fmt::format("ABI {}; {}", abi, layer.detail);
  if (abi == 0) Weaken(&layer, WhyNoLandlock(host));
  return layer;
}

// Whether a cgroup holds this limit. The guarantee is that of the weakest; on v1 each controller
// has a cgroup of its own, by which more can be told.
bool InCgroup(const Evidence& evidence, const std::string& controller) {
  if (evidence.guarantees->limits != "rlimits") return true;
  return evidence.look->cgroup.find(":" + controller + ":/bailiff/") != std::string::npos;
}

// What reaching a limit showed. Without a cgroup it is weaker, whatever was seen.
Layer Limit(const char* name, const char* controller, bool reached, std::string detail,
            const Evidence& evidence, const HostFacts& host) {
  const bool in_cgroup = InCgroup(evidence, controller);
  Layer layer{name, Holds::kYes, std::move(detail), "", {}};
  if (!in_cgroup) {
    Weaken(&layer, WhyNoCgroup(host));
    layer.why +=
        std::string("; ") +
        (std::string_view(name) == "memory" ? "a watchdog looks every 20 ms instead"
         : std::string_view(name) == "cpu" ? "the affinity of the processes, which they can widen, "
                                             "stands in"
                                           : "RLIMIT_NPROC stands in");
  }
  // An affinity limits to whole processors, and what is asked for here is less.
  const bool may_be_less = !in_cgroup && std::string_view(name) == "cpu";
  if (!reached && !may_be_less) {
    layer.holds = Holds::kNo;
    layer.why = "the limit did not hold";
  }
  return layer;
}

Told Find(const Evidence& evidence, const char* name) {
  const auto found = evidence.told.find(name);
  return found == evidence.told.end() ? Told{} : found->second;
}

Layer Memory(const Evidence& evidence, const HostFacts& host) {
  return Limit("memory", "memory", evidence.memory_killed,
               evidence.memory_killed ? "killed above its limit" : "lived on above its limit",
               evidence, host);
}

Layer Pids(const Evidence& evidence, const HostFacts& host) {
  const Told told = Find(evidence, kProbePids);
  const bool reached = told.sys_errno == EAGAIN && told.number <= evidence.limits.pids;
  return Limit("pids", "pids", reached,
               fmt::format("{} more processes of {}, then: {}", told.number, evidence.limits.pids,
                           Text(told.sys_errno)),
               evidence, host);
}

Layer Cpu(const Evidence& evidence, const HostFacts& host) {
  const double used = static_cast<double>(Find(evidence, kProbeCpu).number) / 1000;
  const bool reached = used > 0 && used <= evidence.few_cpus * kCpuTolerance;
  return Limit("cpu", "cpu", reached,
               fmt::format("{:.2f} processors used of {:.2f}", used, evidence.few_cpus), evidence,
               host);
}

Layer Scratch(const Evidence& evidence) {
  const Told bytes = Find(evidence, kProbeScratch);
  const Told files = Find(evidence, kProbeFiles);
  Layer layer{"scratch",
              Holds::kYes,
              fmt::format("{} and {} files, then: {}", FormatSize(bytes.number), files.number,
                          Text(bytes.sys_errno)),
              "",
              {}};
  const bool full = bytes.sys_errno == ENOSPC && files.sys_errno == ENOSPC;
  if (!full || bytes.number <= 0 || bytes.number > evidence.limits.scratch_bytes) {
    return Missing("scratch", layer.detail, "the limit did not hold");
  }
  if (InWorkspace(evidence).scratch == "polled") {
    Weaken(&layer,
           {"changes are on disk, where they are counted now and then: a script can exceed "
            "its limit before it is ended",
            {"use Linux 6.6 or newer without [sandbox] scratch = \"disk\", or run as root"}});
  }
  return layer;
}

Layer Kill(const Evidence& evidence) {
  if (!evidence.detached_ran) return Missing("kill", "", "the probe did not try it");
  if (!evidence.detached_ended) {
    return Missing("kill", "", "a process that had detached itself outlived the sandbox");
  }
  return {"kill", Holds::kYes, "a detached process that ignores signals ended with it", "", {}};
}

std::vector<Layer> NoneOf(const Evidence& evidence, const HostFacts& host) {
  LaunchCause found = WhyNoSandbox(host, evidence.failure);
  std::vector<Layer> layers;
  for (const char* name : kLayerNames) {
    Layer layer = Missing(name, "", "no sandbox could be made to try it in");
    if (layer.name == found.layer) {
      layer.detail = evidence.failure;
      layer.why = found.cause.why.empty() ? evidence.failure : found.cause.why;
      layer.advice = found.cause.advice;
    }
    layers.push_back(std::move(layer));
  }
  return layers;
}

// A workspace that no sandbox can be made over, where one over another directory could.
void BlameWorkspace(const std::string& failure, std::vector<Layer>* layers) {
  const bool ids = failure.find("cannot map ids") != std::string::npos;
  for (Layer& layer : *layers) {
    if (layer.name != (ids ? "own-uid" : "mounts")) continue;
    layer.holds = Holds::kNo;
    layer.why = failure;
    layer.advice = {};  // The failure says what helps.
  }
}

}  // namespace

std::vector<Layer> JudgeLayers(const Evidence& evidence, const HostFacts& host) {
  if (!evidence.guarantees.has_value() || !evidence.look.has_value() || !evidence.failure.empty()) {
    return NoneOf(evidence, host);
  }
  std::vector<Layer> layers = {UserNamespace(evidence),
                               OwnUid(evidence, host),
                               Mounts(evidence),
                               Overlay(evidence),
                               Namespace("pid-namespace", "pid", evidence),
                               Namespace("network-namespace", "net", evidence),
                               Namespace("ipc-namespace", "ipc", evidence),
                               Uts(evidence),
                               Privileges(evidence),
                               Seccomp(evidence),
                               Landlock(evidence, host),
                               Memory(evidence, host),
                               Pids(evidence, host),
                               Cpu(evidence, host),
                               Scratch(evidence),
                               Kill(evidence)};
  CHECK(layers.size() == std::size(kLayerNames));
  if (evidence.there.has_value() && !evidence.there->failure.empty()) {
    BlameWorkspace(evidence.there->failure, &layers);
  }
  return layers;
}

std::vector<Probe> JudgeProbes(const Evidence& evidence) {
  std::vector<Probe> probes;
  if (!evidence.guarantees.has_value()) return probes;
  const std::span<const Attempt> attempts = Attempts();
  for (std::size_t i = 0; i < std::min(attempts.size(), evidence.inside.size()); ++i) {
    if (!Applies(attempts[i], evidence)) continue;
    probes.push_back({attempts[i].name, attempts[i].layer, Refused(attempts[i], evidence.inside[i]),
                      Text(evidence.inside[i]),
                      i < evidence.outside.size() ? Text(evidence.outside[i]) : ""});
  }
  return probes;
}

}  // namespace bailiff
