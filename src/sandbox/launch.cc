#include "sandbox/launch.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cmath>
#include <string>
#include <utility>

#include "sandbox/plan.h"
#include "sandbox/run_plan.h"
#include "sandbox/seccomp_filters.h"
#include "sandbox/spec_check.h"
#include "sandbox/uid_pool.h"
#include "sys/file.h"
#include "sys/kernel_features.h"
#include "sys/message.h"
#include "sys/mount.h"
#include "sys/pipe.h"
#include "sys/system_clock.h"
#include "sys/user_namespace.h"

namespace bailiff {
namespace {

constexpr uid_t kRootUid = 0;

// Descriptors take fixed numbers in the child; ours must not lie among them.
Status CheckRange(const PlanInputs& inputs) {
  std::vector<int> fds = {inputs.sync, inputs.status,   inputs.in,        inputs.out,
                          inputs.err,  inputs.uid_lock, inputs.workspace, inputs.overlay,
                          inputs.tmp,  inputs.shm};
  fds.insert(fds.end(), inputs.cgroup_tasks.begin(), inputs.cgroup_tasks.end());
  for (const int fd : fds) {
    if (fd >= kSlotBase) {
      return Error(ErrorCode::kResourceExhausted, "too many open descriptors to start a sandbox");
    }
  }
  return Ok();
}

// A user namespace cannot have a part of the tree without what its owner mounted over it.
Status RefuseMountsBelow(const std::string& workspace) {
  for (const MountEntry& mount : TRY(ListMounts())) {
    if (!mount.point.starts_with(workspace + "/")) continue;
    return Error(ErrorCode::kUnsupported,
                 "workspace: " + mount.point.substr(workspace.size() + 1) +
                     " is a mount point, which only a sandbox started by root can leave out; "
                     "unmount it, or run Bailiff as root");
  }
  return Ok();
}

Result<Tier> FindTier() {
  if (TRY(IsPrivileged())) return Tier::kPrivileged;
  // Uid 0 without the capability is still the owner of most of the host.
  if (::geteuid() == kRootUid && TRY(InInitialUserNamespace())) {
    return Error(ErrorCode::kUnsupported,
                 "root without CAP_SYS_ADMIN cannot be confined; grant it, or use another user");
  }
  return Tier::kRootless;
}

// The workspace as the sandbox's uid sees it, and that uid.
struct Ownership {
  UidLease lease;  // Without a lock when the uid is shared.
  gid_t gid = 0;
  Fd workspace;  // A detached, read-only clone.
};

// With an idmapped clone the owner appears as a uid that only this sandbox has. Where the file
// system refuses, the sandbox has to be the owner.
Result<Ownership> TakeOwnership(const Fd& workspace, const struct stat& root) {
  Ownership ownership;
  ownership.workspace = TRY(CloneMount(workspace));
  constexpr std::uint64_t kAttributes = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
  UidLease lease = TRY(LeaseUid(kUidDirectory, UidRange{}));
  const IdMaps maps{ExchangeIds(root.st_uid, lease.uid), ExchangeIds(root.st_gid, lease.uid)};
  const Fd user_namespace = TRY(MakeUserNamespace(maps));
  const Status mapped =
      SetMountAttributes(ownership.workspace, kAttributes | MOUNT_ATTR_IDMAP, &user_namespace);
  if (mapped.ok()) {
    ownership.gid = lease.uid;
    ownership.lease = std::move(lease);
    return ownership;
  }
  if (mapped.error().code() != ErrorCode::kUnsupported) return mapped.error();
  if (root.st_uid == kRootUid || root.st_gid == kRootUid) {
    return Error(ErrorCode::kUnsupported,
                 "the workspace belongs to root on a file system that cannot map ids; "
                 "mount it with another owner (for FUSE: -o uid=,gid=)");
  }
  TRY(SetMountAttributes(ownership.workspace, kAttributes));
  ownership.lease.uid = root.st_uid;
  ownership.gid = root.st_gid;
  return ownership;
}

struct Mounts {
  Fd upper;
  Fd overlay;
  Fd tmp;
  Fd shm;
};

// The mounter is a process of its own so that this one keeps its mount namespace.
Result<Mounts> MakeMounts(PlanInputs inputs, const Fd& workspace) {
  auto [ours, theirs] = TRY(MakeMessageSocket());
  inputs.sync = theirs.get();
  inputs.workspace = workspace.get();
  TRY(CheckRange(inputs));
  TRY(RunPlan(PlanMounter(inputs), CLONE_NEWNS));
  TRY(theirs.Close());  // So that its end is seen if it sent nothing.
  std::optional<Message> message = TRY(ReceiveMessage(ours));
  if (!message.has_value() || message->fds.size() != std::size(kMounterFds)) {
    return Error(ErrorCode::kIo, "the mounting process ended without an answer");
  }
  return Mounts{std::move(message->fds[0]), std::move(message->fds[1]), std::move(message->fds[2]),
                std::move(message->fds[3])};
}

// Without a cgroup the sandbox may use so many processors, and at most all of each.
Status LimitProcessors(pid_t pid, double cpus) {
  cpu_set_t present;
  CPU_ZERO(&present);
  if (::sched_getaffinity(0, sizeof(present), &present) != 0) {
    return Error::FromErrno(errno, "sched_getaffinity");
  }
  int wanted = std::max(1, static_cast<int>(std::ceil(std::min(cpus, 1.0 * CPU_SETSIZE))));
  cpu_set_t chosen;
  CPU_ZERO(&chosen);
  // Starting at different processors spreads concurrent sandboxes.
  for (int i = 0; i < CPU_SETSIZE && wanted > 0; ++i) {
    const auto cpu = static_cast<std::size_t>((pid + i) % CPU_SETSIZE);
    if (!CPU_ISSET(cpu, &present)) continue;
    CPU_SET(cpu, &chosen);
    --wanted;
  }
  if (::sched_setaffinity(pid, sizeof(chosen), &chosen) == 0) return Ok();
  return Error::FromErrno(errno, "sched_setaffinity");
}

// As CleanStale() reads it.
Result<std::string> NameOfOwn(const std::string& id) {
  const std::uint64_t start = TRY(ProcessStartTime(::getpid()));
  return id + "." + std::to_string(::getpid()) + "." + std::to_string(start);
}

Result<std::string> PathOf(const Fd& dir) {
  std::string path(PATH_MAX, '\0');
  const std::string link = "/proc/self/fd/" + std::to_string(dir.get());
  const ssize_t size = ::readlink(link.c_str(), path.data(), path.size());
  if (size < 0) return Error::FromErrno(errno, "find a directory's path");
  path.resize(static_cast<std::size_t>(size));
  return path;
}

Result<PlaceOnHost> PlaceOf(const Fd& dir) {
  const struct stat st = TRY(Stat(dir));
  return PlaceOnHost{TRY(PathOf(dir)), st.st_dev, st.st_ino};
}

std::uint64_t NamespaceFlags(Network network) {
  std::uint64_t flags = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS;
  if (network == Network::kNone) flags |= CLONE_NEWNET;
  return flags;
}

Error ExplainClone(Error error) {
  if (error.sys_errno() != EPERM && error.sys_errno() != ENOSPC && error.sys_errno() != EUSERS) {
    return error;
  }
  return Error(ErrorCode::kUnsupported,
               error.message() + ". User namespaces are not allowed here; see `bailiff doctor`");
}

// A child that is not dumpable has /proc files that belong to root, and without privilege its id
// maps could not be written. This process may have been made so, by a change of uid for example.
class Dumpable {
 public:
  Dumpable() : before_(::prctl(PR_GET_DUMPABLE)) { ::prctl(PR_SET_DUMPABLE, 1); }
  ~Dumpable() { ::prctl(PR_SET_DUMPABLE, before_); }
  Dumpable(const Dumpable&) = delete;
  Dumpable& operator=(const Dumpable&) = delete;

 private:
  int before_;
};

// Everything that only the building needs. `spec` and `fds` are the caller's.
class Launcher {
 public:
  Launcher(const SandboxSpec& spec, const SandboxFds& fds, SandboxState* state)
      : spec_(spec), fds_(fds), state_(state) {}
  Status Run();

 private:
  Status PrepareTier();
  Status PrepareView(const struct stat& root);
  Status PrepareMounts(const struct stat& root);
  Status PrepareDisk();
  Status PrepareCgroup();
  Status Start();
  Result<PlanRun> Clone(const LoweredPlan& plan) const;
  Status Release(const Fd& sync);
  Status ExplainRelease(const Status& failed);
  IdMaps Maps() const;

  const SandboxSpec& spec_;
  const SandboxFds& fds_;
  SandboxState* state_;
  PlanInputs inputs_;
  Mounts mounts_;
};

Status Launcher::Run() {
  TRY(PrepareTier());
  TRY(PrepareCgroup());
  TRY(CheckDemands(spec_.demands, state_->guarantees));
  return Start();
}

Status Launcher::PrepareTier() {
  inputs_.spec = &spec_;
  inputs_.tier = TRY(FindTier());
  inputs_.host = ReadHostLayout(spec_.network);
  inputs_.landlock_abi = LandlockAbi();
  inputs_.has_keyrings = ProbeKeyrings().ok;
  const struct stat root = TRY(Stat(fds_.workspace));
  if (!S_ISDIR(root.st_mode)) {
    return Error(ErrorCode::kInvalidArgument, "workspace: must be a directory");
  }
  inputs_.root_mode = root.st_mode & 07777;
  Guarantees& guarantees = state_->guarantees;
  guarantees.tier = inputs_.tier;
  guarantees.scratch = "tmpfs";
  guarantees.seccomp = true;
  guarantees.landlock = inputs_.landlock_abi;
  guarantees.network = spec_.network;
  if (spec_.view.has_value()) TRY(PrepareView(root));
  if (inputs_.tier == Tier::kPrivileged) return PrepareMounts(root);
  inputs_.carries_renames = true;
  inputs_.workspace_place = TRY(PlaceOf(fds_.workspace));
  TRY(RefuseMountsBelow(inputs_.workspace_place.path));
  return spec_.scratch_on_disk || !ProbeTmpfsAttributes().ok ? PrepareDisk() : Ok();
}

// A directory of a view has a stand-in in the layer of the sandbox's own, which is to look like it.
Status Launcher::PrepareView(const struct stat& root) {
  SeenView seen{*spec_.view, {}, {}};
  std::vector<std::string> hollow = spec_.view->hollow;
  std::sort(hollow.begin(), hollow.end());
  inputs_.view.emplace();
  const auto add = [&](const std::string& path, bool whole) -> Status {
    const Result<Fd> dir = OpenDirBeneath(fds_.workspace, path, O_PATH);
    if (!dir.ok()) {
      // What openat2(2) may not cross, a mount, has no errno of its own.
      const bool mount =
          dir.error().code() == ErrorCode::kPermissionDenied && dir.error().sys_errno() == 0;
      return IsNoEntry(dir.error()) || mount ? Ok() : Status(dir.error());
    }
    const struct stat st = TRY(Stat(dir.value()));
    ViewFolder folder{.path = path, .whole = whole, .mode = st.st_mode & 07777};
    // The workspace's owner appears as another one: see TakeOwnership().
    if (st.st_uid != root.st_uid) folder.uid = st.st_uid;
    if (st.st_gid != root.st_gid) folder.gid = st.st_gid;
    inputs_.view->push_back(std::move(folder));
    (whole ? seen.whole : seen.hollow).push_back(path);
    return Ok();
  };
  for (const std::string& path : hollow) TRY(add(path, false));
  for (const std::string& path : spec_.view->whole) TRY(add(path, true));
  state_->view = std::move(seen);
  return Ok();
}

Status Launcher::PrepareDisk() {
  if (fds_.scratch == nullptr || !fds_.scratch->valid()) {
    return Error(ErrorCode::kUnsupported,
                 "the upper layer has to lie on disk (as chosen, or because tmpfs keeps no user "
                 "attributes before Linux 6.6), and there is no directory for it");
  }
  const std::string name = TRY(NameOfOwn(spec_.id));
  state_->disk.emplace(TRY(DiskScratch::Make(*fds_.scratch, name)));
  inputs_.disk = TRY(PlaceOf(state_->disk->dir()));
  state_->guarantees.scratch = "polled";
  return Ok();
}

Status Launcher::PrepareMounts(const struct stat& root) {
  if (spec_.scratch_on_disk) {
    return Error(ErrorCode::kUnsupported,
                 "scratch: only an ordinary user's sandboxes can have it on disk; leave it out of "
                 "[sandbox] in bailiff.toml");
  }
  // With longer ones than any path the kernel can carry every rename out, which is faster.
  inputs_.carries_renames = RaiseRedirectMax() < PATH_MAX;
  Ownership ownership = TRY(TakeOwnership(fds_.workspace, root));
  inputs_.outside_uid = ownership.lease.uid;
  inputs_.outside_gid = ownership.gid;
  state_->guarantees.own_uid = ownership.lease.lock.valid();
  state_->uid_lock = std::move(ownership.lease.lock);
  mounts_ = TRY(MakeMounts(inputs_, ownership.workspace));
  state_->upper = std::move(mounts_.upper);
  return Ok();
}

Status Launcher::PrepareCgroup() {
  const CgroupHost host = TRY(FindCgroups(inputs_.tier));
  const std::string name = TRY(NameOfOwn(spec_.id));
  state_->cgroup.emplace(Cgroup::Create(host, name, spec_.limits));
  inputs_.pids_limited = state_->cgroup->limits_pids();
  state_->guarantees.limits = state_->cgroup->Describe();
  return Ok();
}

IdMaps Launcher::Maps() const {
  const bool privileged = inputs_.tier == Tier::kPrivileged;
  const uid_t uid = privileged ? inputs_.outside_uid : ::geteuid();
  const gid_t gid = privileged ? inputs_.outside_gid : ::getegid();
  return IdMaps{{{kInsideId, uid, 1}}, {{kInsideId, gid, 1}}};
}

Status Launcher::Start() {
  SeccompFilters seccomp = SandboxFilters();
  if (inputs_.carries_renames) seccomp.renames = RenameFilter(inputs_.tier);
  auto [sync, child_sync] = TRY(MakeMessageSocket());
  auto [status, child_status] = TRY(MakePipe());
  const auto number = [](const Fd& fd) { return fd.valid() ? fd.get() : -1; };
  inputs_.sync = child_sync.get();
  inputs_.status = child_status.get();
  inputs_.in = fds_.in.get();
  inputs_.out = fds_.out.get();
  inputs_.err = fds_.err.get();
  inputs_.uid_lock = number(state_->uid_lock);
  inputs_.overlay = number(mounts_.overlay);
  inputs_.tmp = number(mounts_.tmp);
  inputs_.shm = number(mounts_.shm);
  const std::vector<Fd> cgroup_tasks = TRY(state_->cgroup->OpenV1Tasks());
  for (const Fd& tasks : cgroup_tasks) inputs_.cgroup_tasks.push_back(tasks.get());
  TRY(CheckRange(inputs_));

  state_->plan = PlanSandbox(inputs_);
  const LoweredPlan lowered(state_->plan, &spec_, &seccomp);
  Result<PlanRun> run = Clone(lowered);
  if (!run.ok()) return ExplainClone(std::move(run).error());
  state_->init.emplace(std::move(run.value().process));
  state_->status = std::move(status);
  TRY(child_sync.Close());
  TRY(child_status.Close());
  state_->report = std::move(run.value().report);
  state_->sync = std::move(sync);
  const Status released = Release(state_->sync);
  return released.ok() ? Ok() : ExplainRelease(released);
}

Result<PlanRun> Launcher::Clone(const LoweredPlan& plan) const {
  std::optional<Dumpable> dumpable;
  if (inputs_.tier == Tier::kRootless) dumpable.emplace();
  return StartPlan(plan,
                   {.flags = NamespaceFlags(spec_.network), .cgroup = state_->cgroup->leaf()});
}

// Gives the waiting child its ids and its limits, and lets it go on.
Status Launcher::Release(const Fd& sync) {
  const pid_t pid = state_->init->pid();
  const IdMaps maps = Maps();
  if (maps.uids.front().outside == kRootUid || maps.gids.front().outside == kRootUid) {
    return Error(ErrorCode::kUnsupported, "a sandbox must not run as uid or gid 0");
  }
  const bool privileged = inputs_.tier == Tier::kPrivileged;
  TRY(WriteIdMaps(pid, maps, privileged ? SetGroups::kAllow : SetGroups::kDeny));
  if (!privileged) state_->user_namespace = TRY(OpenUserNamespace(pid));
  if (!state_->cgroup->limits_cpu()) TRY(LimitProcessors(pid, spec_.limits.cpus));
  return SendMessage(sync, "G");
}

// A child that failed before we were ready for it is gone, which is all that we noticed. It knows
// why. One that waits still has to be ended, so that its report does.
Status Launcher::ExplainRelease(const Status& failed) {
  TRY(state_->init->Kill());
  TRY(AwaitPlan(state_->plan, state_->report));
  return failed;
}

}  // namespace

Status PrepareSandbox(const SandboxSpec& spec, const SandboxFds& fds, SandboxState* state) {
  TRY(CheckSpec(spec));
  state->limits = spec.limits;
  const Status prepared = Launcher(spec, fds, state).Run();
  if (!prepared.ok()) return Error(prepared.error()).WithContext("start sandbox");
  return Ok();
}

Status StartSandbox(SandboxState* state) {
  const Status started = [&]() -> Status {
    std::optional<Message> message;
    if (state->guarantees.tier == Tier::kRootless) message = TRY(ReceiveMessage(state->sync));
    // When it has died, its report tells why.
    (void)SendMessage(state->sync, "G");
    TRY(AwaitPlan(state->plan, state->report));
    state->started = SystemClock().Steady();
    if (state->guarantees.tier == Tier::kPrivileged) return Ok();
    if (!message.has_value() || message->fds.size() != 1) {
      return Error(ErrorCode::kIo, "the sandbox ended before it had started");
    }
    state->upper = std::move(message->fds.front());
    if (!state->disk.has_value()) return Ok();
    state->meter.emplace(TRY(Meter::Start(state->upper, state->user_namespace)));
    return Ok();
  }();
  if (!started.ok()) return Error(started.error()).WithContext("start sandbox");
  return Ok();
}

}  // namespace bailiff
