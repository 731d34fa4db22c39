#include "sandbox/plan_mounts.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <linux/openat2.h>

#include <string_view>

namespace bailiff {
namespace {

constexpr std::uint64_t kSafe = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
constexpr std::uint64_t kReadOnly = kSafe | MOUNT_ATTR_RDONLY;
constexpr std::uint64_t kDevice = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_RDONLY;

// Inodes beyond the limit on files: a changed file may need one more for its directory's copy, and
// /tmp shares the space.
constexpr std::int64_t kInodesPerFile = 2;
constexpr std::int64_t kInodesSpare = 4096;

constexpr const char* kDiskDir = "disk";
constexpr const char* kDevices[] = {"null", "zero", "full", "random", "urandom"};
constexpr const char* kWorkspaceLinks[] = {"projects", "Tools", "Database", "Reports"};
constexpr const char* kRootDirs[] = {"usr", "proc", "dev", "dev/shm", "tmp",     "workspace",
                                     "run", "var",  "etc", "etc/ssl", ".scratch"};

constexpr std::string_view kPasswd =
    "root:x:0:0:root:/:/usr/sbin/nologin\n"
    "bailiff:x:1000:1000:bailiff:/tmp:/bin/sh\n"
    "nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n";
constexpr std::string_view kGroup = "root:x:0:\nbailiff:x:1000:\nnogroup:x:65534:\n";
constexpr std::string_view kNameServices =
    "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n";
constexpr std::string_view kMachineId = "00000000000000000000000000000000\n";

std::string SlotPath(Slot slot) {
  return "/proc/self/fd/" + std::to_string(SlotFd(slot));
}

void MakeDir(Slot in, const std::string& name, std::uint64_t mode, Plan* plan) {
  plan->push_back({.kind = ChildOpKind::kMakeDir,
                   .from = in,
                   .path = name,
                   .number = mode,
                   .what = "make directory " + name});
}

void MakeFile(const std::string& name, std::string_view text, Plan* plan) {
  plan->push_back({.kind = ChildOpKind::kCreateFile,
                   .path = name,
                   .text = std::string(text),
                   .number = 0644,
                   .what = "make /" + name});
}

void MakeLink(const std::string& name, const std::string& target, Plan* plan) {
  plan->push_back(
      {.kind = ChildOpKind::kMakeLink, .path = name, .text = target, .what = "make link /" + name});
}

void Attach(Slot mount, Slot to, const std::string& path, Plan* plan) {
  plan->push_back({.kind = ChildOpKind::kAttach,
                   .from = mount,
                   .to = to,
                   .path = path,
                   .what = "attach " + path});
}

// What the overlay writes to: on disk, or with the rest of the scratch space.
std::string InLayers(const PlanInputs& inputs, const std::string& name) {
  return inputs.disk.has_value() ? std::string(kDiskDir) + "/" + name : name;
}

std::string PartName(const char* what, std::size_t index) {
  return std::string(what) + "-" + std::to_string(index);
}

void GiveAway(const PlanInputs& inputs, const std::string& path, const ViewFolder& as, Plan* plan) {
  if (inputs.tier != Tier::kPrivileged) return;
  plan->push_back({.kind = ChildOpKind::kChangeOwner,
                   .from = Slot::kScratch,
                   .path = path,
                   .number = as.uid.value_or(inputs.outside_uid),
                   .extra = as.gid.value_or(inputs.outside_gid),
                   .what = "give " + path + " to its owner"});
}

void SetMode(const std::string& path, mode_t mode, Plan* plan) {
  plan->push_back({.kind = ChildOpKind::kSetMode,
                   .from = Slot::kScratch,
                   .path = path,
                   .number = mode,
                   .what = "set mode of " + path});
}

// In the upper layer a directory for each one that is seen, which no script can remove: each gets a
// mount. Those that are seen whole are overlays of their own, so each needs a place to work, and
// one to wait for the root's overlay, which must be made last: the kernel minds an upper layer
// within one that is in use.
void AddFolders(const PlanInputs& inputs, Plan* plan) {
  for (std::size_t i = 0; i < inputs.view->size(); ++i) {
    const ViewFolder& folder = (*inputs.view)[i];
    const std::string upper = InLayers(inputs, "upper/" + folder.path);
    MakeDir(Slot::kScratch, upper, 0700, plan);
    GiveAway(inputs, upper, folder, plan);
    SetMode(upper, folder.mode, plan);
    if (!folder.whole) continue;
    MakeDir(Slot::kScratch, InLayers(inputs, PartName("work", i)), 0700, plan);
    MakeDir(Slot::kScratch, PartName("part", i), 0700, plan);
  }
  if (!inputs.view->empty()) MakeDir(Slot::kScratch, "view", 0700, plan);
}

void AddScratch(const PlanInputs& inputs, const std::string& point, Plan* plan) {
  const Limits& limits = inputs.spec->limits;
  plan->push_back({.kind = ChildOpKind::kNewFilesystem,
                   .to = Slot::kScratch,
                   .text = "tmpfs",
                   .flags = kSafe,
                   .list = {"source", "scratch", "size", std::to_string(limits.scratch_bytes),
                            "nr_inodes", std::to_string(ScratchInodes(limits)), "mode", "0700"},
                   .what = "mount scratch space"});
  Attach(Slot::kScratch, Slot::kNone, point, plan);
  if (inputs.disk.has_value()) {
    MakeDir(Slot::kScratch, kDiskDir, 0755, plan);
    Attach(Slot::kDisk, Slot::kScratch, kDiskDir, plan);
  }
  for (const std::string& name : {InLayers(inputs, "upper"), InLayers(inputs, "work"),
                                  std::string("mask"), std::string("lower")}) {
    MakeDir(Slot::kScratch, name, 0755, plan);
  }
  for (const char* name : {"tmp", "shm"}) {
    MakeDir(Slot::kScratch, name, 0777, plan);
    // mkdir(2) drops the sticky bit for some file systems; chmod does not.
    SetMode(name, 01777, plan);
  }
  GiveAway(inputs, InLayers(inputs, "upper"), ViewFolder{}, plan);
  SetMode(InLayers(inputs, "upper"), inputs.root_mode, plan);
  if (inputs.view.has_value()) AddFolders(inputs, plan);
  plan->push_back({.kind = ChildOpKind::kMakeWhiteout,
                   .from = Slot::kScratch,
                   .path = "mask/.bailiff",
                   .what = "hide .bailiff"});
}

void OpenScratchDir(const std::string& path, Slot to, Plan* plan) {
  plan->push_back({.kind = ChildOpKind::kOpenDir,
                   .from = Slot::kScratch,
                   .to = to,
                   .path = path,
                   .what = "open layer " + path});
}

// Layers by descriptor: mountinfo, which the program may read, then has no path of the host.
void AddNewOverlay(const PlanInputs& inputs, const std::string& lower, const std::string& what,
                   Plan* plan) {
  std::vector<std::string> options = {
      "source",  "workspace",           "lowerdir", lower, "upperdir", SlotPath(Slot::kUpper),
      "workdir", SlotPath(Slot::kWork), "index",    "off", "xino",     "off"};
  if (inputs.tier == Tier::kPrivileged) {
    for (const char* word : {"redirect_dir", "on", "metacopy", "on"}) options.emplace_back(word);
  } else {
    options.emplace_back("userxattr");
    options.emplace_back("");
  }
  plan->push_back({.kind = ChildOpKind::kNewFilesystem,
                   .to = Slot::kOverlay,
                   .text = "overlay",
                   .flags = kSafe,
                   .list = std::move(options),
                   .what = "mount overlay over " + what});
}

// What is seen whole, each as an overlay that is attached where it waits.
void AddParts(const PlanInputs& inputs, Plan* plan) {
  for (std::size_t i = 0; i < inputs.view->size(); ++i) {
    const ViewFolder& folder = (*inputs.view)[i];
    if (!folder.whole) continue;
    plan->push_back({.kind = ChildOpKind::kOpenDir,
                     .from = Slot::kLower,
                     .to = Slot::kFolder,
                     .path = folder.path,
                     .number = RESOLVE_NO_XDEV,
                     .what = "open " + folder.path});
    OpenScratchDir(InLayers(inputs, "upper/" + folder.path), Slot::kUpper, plan);
    OpenScratchDir(InLayers(inputs, PartName("work", i)), Slot::kWork, plan);
    AddNewOverlay(inputs, SlotPath(Slot::kFolder), folder.path, plan);
    Attach(Slot::kOverlay, Slot::kScratch, PartName("part", i), plan);
  }
}

void CloneScratch(const std::string& path, Slot to, std::uint64_t flags, Plan* plan) {
  plan->push_back({.kind = ChildOpKind::kCloneTree,
                   .from = Slot::kScratch,
                   .to = to,
                   .path = path,
                   .flags = flags,
                   .what = "clone scratch " + path});
}

// Attaches the parts to the root's overlay. What is seen empty is mounted on itself, since a mount
// point can be neither moved nor removed.
void JoinParts(const PlanInputs& inputs, Plan* plan) {
  if (inputs.view->empty()) return;
  Attach(Slot::kOverlay, Slot::kScratch, "view", plan);
  for (std::size_t i = 0; i < inputs.view->size(); ++i) {
    const ViewFolder& folder = (*inputs.view)[i];
    const std::string place = "view/" + folder.path;
    CloneScratch(folder.whole ? PartName("part", i) : place, Slot::kOverlay, 0, plan);
    Attach(Slot::kOverlay, Slot::kScratch, place, plan);
  }
  CloneScratch("view", Slot::kOverlay, AT_RECURSIVE, plan);
}

}  // namespace

std::int64_t ScratchInodes(const Limits& limits) {
  return kInodesPerFile * limits.files + kInodesSpare;
}

void AddOverlay(const PlanInputs& inputs, const std::string& point, Plan* plan) {
  AddScratch(inputs, point, plan);
  Attach(Slot::kWorkspace, Slot::kScratch, "lower", plan);
  OpenScratchDir("mask", Slot::kMask, plan);
  OpenScratchDir("lower", Slot::kLower, plan);
  if (inputs.view.has_value()) AddParts(inputs, plan);
  OpenScratchDir(InLayers(inputs, "upper"), Slot::kUpper, plan);
  OpenScratchDir(InLayers(inputs, "work"), Slot::kWork, plan);
  if (inputs.tier == Tier::kRootless) {
    plan->push_back({.kind = ChildOpKind::kProveAttributes,
                     .from = Slot::kUpper,
                     .what = "set user attributes in the upper layer"});
  }
  const std::string mask = SlotPath(Slot::kMask);
  // Nothing of the workspace is below the root where only parts of it are seen.
  const bool sees_all = !inputs.view.has_value();
  AddNewOverlay(inputs, sees_all ? mask + ":" + SlotPath(Slot::kLower) : mask, "the workspace",
                plan);
  if (!sees_all) JoinParts(inputs, plan);
  CloneScratch("tmp", Slot::kTmp, 0, plan);
  CloneScratch("shm", Slot::kShm, 0, plan);
}

namespace {

void AddEtc(const PlanInputs& inputs, Plan* plan) {
  MakeFile("etc/passwd", kPasswd, plan);
  MakeFile("etc/group", kGroup, plan);
  MakeFile("etc/hosts", inputs.host.hosts, plan);
  MakeFile("etc/hostname", "bailiff\n", plan);
  MakeFile("etc/nsswitch.conf", kNameServices, plan);
  MakeFile("etc/resolv.conf", inputs.host.resolv_conf, plan);
  MakeFile("etc/machine-id", kMachineId, plan);
}

void AddDevices(Plan* plan) {
  for (const char* name : kDevices) {
    const std::string path = std::string("dev/") + name;
    MakeFile(path, "", plan);
    plan->push_back({.kind = ChildOpKind::kBind,
                     .path = path,
                     .text = "/" + path,
                     .flags = kDevice,
                     .what = "bind /" + path});
  }
  MakeLink("dev/fd", "/proc/self/fd", plan);
  MakeLink("dev/stdin", "/proc/self/fd/0", plan);
  MakeLink("dev/stdout", "/proc/self/fd/1", plan);
  MakeLink("dev/stderr", "/proc/self/fd/2", plan);
}

void AddHostParts(const HostLayout& host, Plan* plan) {
  for (const HostLayout::Link& link : host.links) {
    MakeLink(link.path.substr(1), link.target, plan);
  }
  for (const HostLayout::Bind& bind : host.binds) {
    const std::string target = bind.path.substr(1);
    if (bind.is_directory) {
      MakeDir(Slot::kNone, target, 0755, plan);
    } else {
      MakeFile(target, "", plan);
    }
    plan->push_back({.kind = ChildOpKind::kBind,
                     .path = target,
                     .text = bind.path,
                     .flags = kReadOnly,
                     .what = "bind " + bind.path});
  }
}

// In the new mount namespace the caller's descriptor belongs to another one: the directory is
// opened again, and checked to be the same.
void AddByPath(const PlaceOnHost& place, const std::string& name, Slot to, std::uint64_t flags,
               Plan* plan) {
  plan->push_back({.kind = ChildOpKind::kCloneTree,
                   .to = to,
                   .path = place.path,
                   .flags = AT_SYMLINK_NOFOLLOW,
                   .what = "clone the mount of " + name});
  plan->push_back({.kind = ChildOpKind::kCheckIdentity,
                   .from = to,
                   .number = place.device,
                   .extra = place.inode,
                   .what = "find " + name + " again at " + place.path});
  plan->push_back({.kind = ChildOpKind::kSetMountFlags,
                   .from = to,
                   .flags = flags,
                   .what = "set mount flags of " + name});
}

void AddPlacesOfHost(const PlanInputs& inputs, Plan* plan) {
  AddByPath(inputs.workspace_place, "the workspace", Slot::kWorkspace, kReadOnly, plan);
  if (!inputs.disk.has_value()) return;
  AddByPath(*inputs.disk, "the upper layer", Slot::kDisk, kSafe, plan);
}

// The new root is attached over /usr, which surely exists and of which a clone was taken before.
void AddEmptyRoot(Plan* plan) {
  plan->push_back({.kind = ChildOpKind::kCloneTree,
                   .to = Slot::kUsr,
                   .path = "/usr",
                   .flags = AT_RECURSIVE,
                   .what = "clone /usr"});
  plan->push_back({.kind = ChildOpKind::kSetMountFlags,
                   .from = Slot::kUsr,
                   .flags = kReadOnly,
                   .number = AT_RECURSIVE,
                   .what = "make /usr read-only"});
  plan->push_back({.kind = ChildOpKind::kNewFilesystem,
                   .to = Slot::kRoot,
                   .text = "tmpfs",
                   .flags = kSafe,
                   .list = {"source", "root", "size", "1m", "nr_inodes", "512", "mode", "0755"},
                   .what = "mount root"});
  Attach(Slot::kRoot, Slot::kNone, "/usr", plan);
  plan->push_back({.kind = ChildOpKind::kEnter, .from = Slot::kRoot, .what = "enter root"});
  for (const char* name : kRootDirs) MakeDir(Slot::kNone, name, 0755, plan);
}

// The mount of the scratch space itself goes: the program sees only its parts.
void AddOverlayInside(const PlanInputs& inputs, Plan* plan) {
  AddOverlay(inputs, ".scratch", plan);
  plan->push_back({.kind = ChildOpKind::kDetach, .path = ".scratch", .what = "detach scratch"});
}

}  // namespace

void AddRoot(const PlanInputs& inputs, Plan* plan) {
  plan->push_back({.kind = ChildOpKind::kMakePrivate, .what = "make mounts private"});
  if (inputs.tier == Tier::kRootless) AddPlacesOfHost(inputs, plan);
  AddEmptyRoot(plan);
  if (inputs.tier == Tier::kRootless) AddOverlayInside(inputs, plan);
  plan->push_back({.kind = ChildOpKind::kRemoveDir, .path = ".scratch", .what = "remove .scratch"});
  plan->push_back({.kind = ChildOpKind::kNewFilesystem,
                   .to = Slot::kProc,
                   .text = "proc",
                   .flags = kSafe | MOUNT_ATTR_NOEXEC,
                   .list = {"source", "proc", "subset", "pid", "hidepid", "2"},
                   .what = "mount /proc"});
  Attach(Slot::kUsr, Slot::kNone, "usr", plan);
  Attach(Slot::kProc, Slot::kNone, "proc", plan);
  Attach(Slot::kOverlay, Slot::kNone, "workspace", plan);
  Attach(Slot::kTmp, Slot::kNone, "tmp", plan);
  Attach(Slot::kShm, Slot::kNone, "dev/shm", plan);
  AddEtc(inputs, plan);
  AddDevices(plan);
  AddHostParts(inputs.host, plan);
  MakeLink("var/tmp", "/tmp", plan);
  for (const char* name : kWorkspaceLinks) {
    MakeLink(name, std::string("/workspace/") + name, plan);
  }
  plan->push_back({.kind = ChildOpKind::kSetMountFlags,
                   .from = Slot::kRoot,
                   .flags = MOUNT_ATTR_RDONLY,
                   .what = "make root read-only"});
  plan->push_back({.kind = ChildOpKind::kPivot, .what = "change root"});
}

}  // namespace bailiff
