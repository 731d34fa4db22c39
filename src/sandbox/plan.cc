#include "sandbox/plan.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/resource.h>

#include <string_view>

#include "sandbox/landlock_abi.h"
#include "sandbox/plan_mounts.h"

namespace bailiff {
namespace {

constexpr std::uint64_t kNewCgroup = CLONE_NEWCGROUP;
constexpr std::uint64_t kReadRights = kFsExecute | kFsReadFile | kFsReadDir;

constexpr Slot kCgroupSlots[] = {Slot::kCgroupMemory, Slot::kCgroupPids, Slot::kCgroupCpu};

constexpr const char* kDefaultPath = "/usr/local/bin:/usr/bin:/bin";

void Add(ChildOpKind kind, const char* what, Plan* plan) {
  plan->push_back({.kind = kind, .what = what});
}

void Take(int fd, Slot slot, Plan* plan) {
  if (fd < 0) return;
  plan->push_back({.kind = ChildOpKind::kTake,
                   .to = slot,
                   .number = static_cast<std::uint64_t>(fd),
                   .what = "take descriptor " + std::to_string(fd)});
}

void WriteProc(const std::string& path, const std::string& text, Plan* plan) {
  plan->push_back(
      {.kind = ChildOpKind::kWriteFile, .path = path, .text = text, .what = "write " + path});
}

void AddDescriptors(const PlanInputs& inputs, Plan* plan) {
  Take(inputs.sync, Slot::kSync, plan);
  Take(inputs.status, Slot::kStatus, plan);
  Take(inputs.uid_lock, Slot::kUidLock, plan);
  Take(inputs.in, Slot::kStdin, plan);
  Take(inputs.out, Slot::kStdout, plan);
  Take(inputs.err, Slot::kStderr, plan);
  Take(inputs.overlay, Slot::kOverlay, plan);
  Take(inputs.tmp, Slot::kTmp, plan);
  Take(inputs.shm, Slot::kShm, plan);
  for (std::size_t i = 0; i < inputs.cgroup_tasks.size(); ++i) {
    Take(inputs.cgroup_tasks[i], kCgroupSlots[i], plan);
  }
  Add(ChildOpKind::kCloseOthers, "close other descriptors", plan);
}

void AddCgroups(const PlanInputs& inputs, Plan* plan) {
  for (std::size_t i = 0; i < inputs.cgroup_tasks.size(); ++i) {
    plan->push_back(
        {.kind = ChildOpKind::kJoinCgroup, .from = kCgroupSlots[i], .what = "join cgroup"});
  }
}

void AddIdentity(const PlanInputs& inputs, Plan* plan) {
  plan->push_back(
      {.kind = ChildOpKind::kAwaitParent, .from = Slot::kSync, .what = "wait for the parent"});
  Add(ChildOpKind::kSetMask, "set file mode mask", plan);
  // Without privilege the kernel makes us choose: a gid map, or the right to drop groups.
  if (inputs.tier == Tier::kPrivileged) Add(ChildOpKind::kDropGroups, "drop groups", plan);
  plan->push_back({.kind = ChildOpKind::kSetIds,
                   .number = kInsideId,
                   .extra = kInsideId,
                   .what = "change to the sandbox's uid"});
  if (inputs.has_keyrings) Add(ChildOpKind::kNewKeyring, "join an empty keyring", plan);
}

void AddNamespaces(const PlanInputs& inputs, Plan* plan) {
  plan->push_back({.kind = ChildOpKind::kSetHostname, .text = "bailiff", .what = "set host name"});
  if (inputs.spec->network == Network::kNone) {
    Add(ChildOpKind::kRaiseLoopback, "bring loopback up", plan);
  }
  // One more, which AddLock() makes; a script's own would be refused.
  WriteProc("/proc/sys/user/max_user_namespaces", "1", plan);
  plan->push_back(
      {.kind = ChildOpKind::kUnshare, .flags = kNewCgroup, .what = "make a cgroup namespace"});
}

void AddHandOver(const PlanInputs& inputs, Plan* plan) {
  if (inputs.tier == Tier::kPrivileged) return;
  plan->push_back({.kind = ChildOpKind::kSendFds,
                   .from = Slot::kSync,
                   .slots = {Slot::kUpper},
                   .what = "hand the upper layer out"});
}

// A mount namespace of a second user namespace has copies that are locked: what the first one
// covered stays covered.
void AddLock(const PlanInputs& /*inputs*/, Plan* plan) {
  plan->push_back({.kind = ChildOpKind::kUnshare,
                   .flags = CLONE_NEWUSER | CLONE_NEWNS,
                   .what = "lock mounts in a second user namespace"});
  const std::string id = std::to_string(kInsideId);
  WriteProc("/proc/self/setgroups", "deny", plan);
  WriteProc("/proc/self/uid_map", id + " " + id + " 1\n", plan);
  WriteProc("/proc/self/gid_map", id + " " + id + " 1\n", plan);
}

void AddDrop(const PlanInputs& /*inputs*/, Plan* plan) {
  Add(ChildOpKind::kNoNewPrivileges, "set no_new_privs", plan);
  Add(ChildOpKind::kDropPrivileges, "drop capabilities", plan);
}

void AddInit(const PlanInputs& /*inputs*/, Plan* plan) {
  Add(ChildOpKind::kHide, "hide pid 1", plan);
  plan->push_back(
      {.kind = ChildOpKind::kDieWithParent, .from = Slot::kSync, .what = "watch the parent"});
  Add(ChildOpKind::kFork, "fork the program's process", plan);
}

void AddLimits(const PlanInputs& inputs, Plan* plan) {
  struct Entry {
    int resource;
    const char* name;
    std::uint64_t soft;
    std::uint64_t hard;
  };
  constexpr std::uint64_t kLockedBytes = 64 << 10;
  constexpr std::uint64_t kQueueBytes = 800 << 10;
  const Entry entries[] = {
      {RLIMIT_CORE, "core size", 0, 0},
      {RLIMIT_NOFILE, "open files", 1024, 4096},
      {RLIMIT_MEMLOCK, "locked memory", kLockedBytes, kLockedBytes},
      {RLIMIT_MSGQUEUE, "message queues", kQueueBytes, kQueueBytes},
      {RLIMIT_SIGPENDING, "pending signals", 1024, 1024},
      {RLIMIT_RTPRIO, "realtime priority", 0, 0},
      {RLIMIT_NICE, "nice", 0, 0},
  };
  const auto add = [plan](const Entry& entry) {
    plan->push_back({.kind = ChildOpKind::kSetLimit,
                     .flags = entry.soft,
                     .number = static_cast<std::uint64_t>(entry.resource),
                     .extra = entry.hard,
                     .what = std::string("limit ") + entry.name});
  };
  for (const Entry& entry : entries) add(entry);
  // No file alone takes more than all together may, however seldom they are counted. A page more,
  // since a full tmpfs has an error of its own.
  constexpr std::int64_t kPageBytes = 4096;
  const auto file = static_cast<std::uint64_t>(inputs.spec->limits.scratch_bytes + kPageBytes);
  if (inputs.disk.has_value()) add({RLIMIT_FSIZE, "file size", file, file});
  // Pid 1 counts.
  const auto processes = static_cast<std::uint64_t>(inputs.spec->limits.pids) + 1;
  if (!inputs.pids_limited) add({RLIMIT_NPROC, "processes", processes, processes});
}

void AddStart(const PlanInputs& inputs, Plan* plan) {
  Add(ChildOpKind::kNewSession, "start a session", plan);
  AddLimits(inputs, plan);
  plan->push_back({.kind = ChildOpKind::kSetMask, .number = 022, .what = "set file mode mask"});
  Add(ChildOpKind::kPlaceStdio, "place standard descriptors", plan);
  plan->push_back({.kind = ChildOpKind::kChangeDir,
                   .path = inputs.spec->cwd,
                   .what = "enter " + inputs.spec->cwd});
  Add(ChildOpKind::kResetSignals, "reset signals", plan);
}

// What the newest ABI both sides know can refuse. Writing is allowed below three directories; to
// /proc for a thread's own name and such; and to devices.
void AddLandlock(const PlanInputs& inputs, Plan* plan) {
  const int abi = inputs.landlock_abi;
  if (abi <= 0) return;
  const std::uint64_t truncate = abi >= 3 ? kFsTruncate : 0;
  const std::uint64_t device = abi >= 5 ? kFsIoctlDev : 0;
  const std::uint64_t handled = kFsAllAbi1 | (abi >= 2 ? kFsRefer : 0) | truncate | device;
  const bool no_network = inputs.spec->network == Network::kNone;
  plan->push_back(
      {.kind = ChildOpKind::kLandlockCreate,
       .to = Slot::kRuleset,
       .flags = handled,
       .number = abi >= kLandlockAbiTcp && no_network ? kNetBindTcp | kNetConnectTcp : 0,
       .extra = abi >= 6 ? kScopeAbstractSocket | kScopeSignal : 0,
       .what = "create landlock ruleset"});
  const auto allow = [plan](const char* path, std::uint64_t rights) {
    plan->push_back({.kind = ChildOpKind::kLandlockAllow,
                     .from = Slot::kRuleset,
                     .path = path,
                     .flags = rights,
                     .what = std::string("allow ") + path});
  };
  allow("/", kReadRights);
  const std::uint64_t everything = handled & ~(kFsMakeChar | kFsMakeBlock | kFsIoctlDev);
  for (const char* path : {"/workspace", "/tmp", "/dev/shm"}) allow(path, everything);
  allow("/proc", kReadRights | kFsWriteFile | truncate);
  for (const char* path : {"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"}) {
    allow(path, kFsReadFile | kFsWriteFile | truncate | device);
  }
  plan->push_back({.kind = ChildOpKind::kLandlockEnforce,
                   .from = Slot::kRuleset,
                   .what = "enforce landlock ruleset"});
}

// The same rules once more: no signal of the program's reaches out of its own domain to pid 1.
// Rules with nothing but that scope would refuse renames from one directory to another.
void AddScope(const PlanInputs& inputs, Plan* plan) {
  if (inputs.landlock_abi < 6) return;
  plan->push_back({.kind = ChildOpKind::kLandlockEnforce,
                   .from = Slot::kRuleset,
                   .what = "enforce landlock ruleset apart from pid 1"});
}

void AddSeccomp(const PlanInputs& /*inputs*/, Plan* plan) {
  for (const SeccompFilter filter : {SeccompFilter::kCalls, SeccompFilter::kArguments}) {
    plan->push_back({.kind = ChildOpKind::kSeccomp,
                     .number = static_cast<std::uint64_t>(filter),
                     .what = "install seccomp filter"});
  }
}

void AddSupervision(const PlanInputs& inputs, Plan* plan) {
  if (!inputs.carries_renames) return;
  Add(ChildOpKind::kSupervise, "let pid 1 carry renames out", plan);
}

// Each step before could have failed to do what it said, on a kernel with a bug or under a tracer
// that answers in the kernel's place.
void AddProof(const PlanInputs& inputs, Plan* plan) {
  const auto prove = [plan](ChildFact fact, const char* what) {
    plan->push_back({.kind = ChildOpKind::kProve,
                     .number = static_cast<std::uint64_t>(fact),
                     .extra = kInsideId,
                     .what = std::string("prove that ") + what});
  };
  prove(ChildFact::kIds, "no other uid or gid is held");
  // Without privilege they cannot be given up.
  if (inputs.tier == Tier::kPrivileged) prove(ChildFact::kNoGroups, "no other group is held");
  prove(ChildFact::kNoNewPrivileges, "no_new_privs is set");
  prove(ChildFact::kNoCapabilities, "no capability is held");
  prove(ChildFact::kSeccomp, "the seccomp filter is in force");
  if (inputs.landlock_abi >= kLandlockAbiTcp && inputs.spec->network == Network::kNone) {
    prove(ChildFact::kLandlock, "the landlock ruleset is in force");
  }
}

std::string_view SearchPath(const SandboxSpec& spec) {
  for (const std::string_view variable : spec.environment) {
    if (variable.starts_with("PATH=")) return variable.substr(5);
  }
  return kDefaultPath;
}

std::vector<std::string> Candidates(const SandboxSpec& spec) {
  const std::string& program = spec.argv.front();
  if (program.find('/') != std::string::npos) return {program};
  std::vector<std::string> found;
  std::string_view rest = SearchPath(spec);
  while (true) {
    const std::size_t end = rest.find(':');
    const std::string_view dir = rest.substr(0, end);
    // An empty entry would mean the working directory, which the script's author controls.
    if (!dir.empty()) found.push_back(std::string(dir) + "/" + program);
    if (end == std::string_view::npos) return found;
    rest.remove_prefix(end + 1);
  }
}

void AddExec(const PlanInputs& inputs, Plan* plan) {
  plan->push_back(
      {.kind = ChildOpKind::kAwaitParent, .from = Slot::kSync, .what = "wait for the start"});
  plan->push_back({.kind = ChildOpKind::kExec,
                   .list = Candidates(*inputs.spec),
                   .what = "run " + inputs.spec->argv.front()});
}

struct Phase {
  void (*add)(const PlanInputs& inputs, Plan* plan);
  const char* why_here;
};

constexpr Phase kSandboxPhases[] = {
    {AddDescriptors, "first, so that no step acts with a descriptor of the parent's"},
    {AddCgroups, "before anything is used that counts, and alone: its children are born inside"},
    {AddIdentity, "before any file is touched: until then host uid 0 is in use"},
    {AddNamespaces, "needs the host's /proc, and the capabilities of the first user namespace"},
    {AddRoot, "needs the same capabilities; ends the sight of the host"},
    {AddHandOver, "the upper layer exists now, and nothing after this can change which it is"},
    {AddLock, "after the last mount, since none can be made or undone afterwards"},
    {AddDrop, "after the last step that needs a capability"},
    {AddLandlock, "after no_new_privs, which it needs; binds pid 1 too"},
    {AddSeccomp, "after the last call that it refuses; binds pid 1 too"},
    {AddInit, "after the last change of ids, which would clear the parent-death signal"},
    {AddStart, "in the program's process only: pid 1 keeps its own limits and descriptors"},
    {AddScope, "after the fork: pid 1 is to be outside of it"},
    {AddSupervision, "last of the layers, since pid 1 must not have to answer itself"},
    {AddProof, "when every layer is there, and nothing can be changed any more"},
    {AddExec, "the program's own code runs from here on"},
};

}  // namespace

Plan PlanMounter(const PlanInputs& inputs) {
  Plan plan;
  Take(inputs.sync, Slot::kSync, &plan);
  Take(inputs.workspace, Slot::kWorkspace, &plan);
  Add(ChildOpKind::kCloseOthers, "close other descriptors", &plan);
  Add(ChildOpKind::kSetMask, "set file mode mask", &plan);
  Add(ChildOpKind::kMakePrivate, "make mounts private", &plan);
  // Over /usr, which surely exists, in a mount namespace that nobody else sees.
  AddOverlay(inputs, "/usr", &plan);
  plan.push_back({.kind = ChildOpKind::kSendFds,
                  .from = Slot::kSync,
                  .slots = {std::begin(kMounterFds), std::end(kMounterFds)},
                  .what = "hand the mounts over"});
  Add(ChildOpKind::kExit, "exit", &plan);
  return plan;
}

Plan PlanSandbox(const PlanInputs& inputs) {
  Plan plan;
  for (const Phase& phase : kSandboxPhases) phase.add(inputs, &plan);
  return plan;
}

std::string Describe(const Plan& plan) {
  std::string text;
  for (const PlanStep& step : plan) text += step.what + "\n";
  return text;
}

}  // namespace bailiff
