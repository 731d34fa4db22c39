#include "changeset/capture_compare.h"

#include <fcntl.h>

#include <optional>
#include <utility>

#include "base/bytes.h"
#include "base/check.h"
#include "base/units.h"
#include "changeset/capture_attributes.h"
#include "sys/file.h"
#include "workspace/tree.h"

namespace bailiff {
namespace {

constexpr std::uint32_t kPermissions = 0777;
constexpr std::uint32_t kDirMode = 01777;
constexpr std::uint32_t kSetid = 06000;
constexpr std::uint32_t kAnyExecute = 0111;
constexpr std::uint32_t kSymlinkMode = 0777;

// A directory's time is the script's own doing only if it is not one that the run itself gave.
constexpr std::int64_t kDirTimeSlackNs = 10'000'000;

// A hole costs a script nothing and us the hashing of its zeros; so all holes of one change set
// are bounded.
constexpr std::int64_t kHoleBytesMax = std::int64_t{16} << 30;

class Comparer {
 public:
  Comparer(const Pairs& pairs, const Fd& upper, Base* base, const CaptureOptions& options,
           std::vector<PathProblem>* conflicts)
      : pairs_(pairs), upper_(upper), base_(*base), options_(options), conflicts_(*conflicts) {}

  Result<std::vector<Draft>> Run() {
    for (const Node& node : pairs_.upper.nodes) {
      if (!node.is_root() && !node.lost) TRY(CompareNode(node));
    }
    for (const Pairs::Gone& gone : pairs_.gone) TRY(AddDelete(gone));
    return std::move(drafts_);
  }

 private:
  Status CompareNode(const Node& node) {
    switch (node.kind) {
      case Node::Kind::kWhiteout:
        return Ok();
      case Node::Kind::kSpecial:
        return AddSpecial(node);
      case Node::Kind::kDir:
        if (!node.paired) return AddCreatedDir(node);
        if (node.unseen) return Ok();
        break;
      case Node::Kind::kFile:
        if (node.link_of.has_value()) return AddLink(node);
        if (!node.paired) return AddCreated(node);
        break;
      case Node::Kind::kSymlink:
        if (!node.paired) return AddCreated(node);
        break;
    }
    if (!node.in_place()) TRY(AddMove(node));
    if (node.kind == Node::Kind::kDir) return CompareDir(node);
    return CompareFile(node);
  }

  Draft Start(ChangeOp op, const Node& node) {
    Draft draft;
    draft.change.op = op;
    draft.change.path = node.path;
    draft.own_base = node.own_base;
    draft.change.type = node.kind == Node::Kind::kDir       ? EntryType::kDir
                        : node.kind == Node::Kind::kSymlink ? EntryType::kSymlink
                                                            : EntryType::kFile;
    if (op == ChangeOp::kCreate) return draft;
    draft.change.base = node.base;
    // A move may end at the path it came from, in a directory that took the place of the old one.
    if (op == ChangeOp::kMove || node.base_path != node.path) draft.change.from = node.base_path;
    return draft;
  }

  Status Add(Draft draft) {
    if (static_cast<std::int64_t>(drafts_.size()) == options_.files_max) {
      return Error(ErrorCode::kResourceExhausted,
                   "capture: more than " + std::to_string(options_.files_max) + " changes");
    }
    drafts_.push_back(std::move(draft));
    return Ok();
  }

  Status AddDelete(const Pairs::Gone& gone) {
    Draft draft;
    draft.change.op = ChangeOp::kDelete;
    draft.change.type = gone.entry.identity.type;
    draft.change.path = gone.path;
    draft.change.base = gone.entry.identity;
    if (gone.entry.state == BaseEntry::State::kMount) draft.refused = "is a mount point";
    if (gone.entry.state == BaseEntry::State::kSpecial) {
      draft.refused = "is a device, socket or FIFO of the workspace";
    }
    return Add(std::move(draft));
  }

  Status AddSpecial(const Node& node) {
    Draft draft = Start(ChangeOp::kCreate, node);
    draft.refused = S_ISFIFO(node.st.st_mode)   ? "is a FIFO"
                    : S_ISSOCK(node.st.st_mode) ? "is a socket"
                                                : "is a device";
    return Add(std::move(draft));
  }

  Status AddCreatedDir(const Node& node) {
    Draft draft = Start(ChangeOp::kCreate, node);
    draft.change.mode = (node.st.st_mode & kDirMode) | InheritedSetgid(node);
    SetDirTime(node, 0, &draft.change);
    if (SetsSetid(node, 0)) draft.change.Set(ChangeFlag::kStrippedSetid);
    TRY(SetXattrFlag(node, "", &draft.change));
    return Add(std::move(draft));
  }

  Status AddCreated(const Node& node) {
    Draft draft = Start(ChangeOp::kCreate, node);
    FillNewState(node, &draft);
    TRY(FillDigest(node, &draft));
    TRY(SetXattrFlag(node, "", &draft.change));
    return Add(std::move(draft));
  }

  // Another name of a file that stands elsewhere in the final tree, changed or not.
  Status AddLink(const Node& node) {
    const Node& target = pairs_.upper.nodes[*node.link_of];
    Draft draft = Start(ChangeOp::kCreate, node);
    FillNewState(target, &draft);
    draft.bytes = Draft::Bytes::kNone;
    draft.change.link_to = target.path;
    return Add(std::move(draft));
  }

  Status AddMove(const Node& node) {
    Draft draft = Start(ChangeOp::kMove, node);
    if (node.kind == Node::Kind::kSymlink && LeavesWorkspace(node.path, node.base.link_target)) {
      draft.change.Set(ChangeFlag::kEscapingSymlink);
    }
    if (node.kind == Node::Kind::kDir) TRY(DigestTree(&draft));
    return Add(std::move(draft));
  }

  Status DigestTree(Draft* draft) {
    const std::string& from = draft->change.from;
    Result<std::vector<TreeEntry>> listed = ListTree(base_.root(), from);
    if (!listed.ok() && listed.error().code() == ErrorCode::kUnsupported) {
      draft->refused = "cannot move: " + listed.error().message();
      return Ok();
    }
    const std::vector<TreeEntry> entries = TRY(std::move(listed));
    for (const TreeEntry& entry : entries) {
      if (!ChangedSince(entry.identity, options_.started_ns, base_.stability())) continue;
      conflicts_.push_back({JoinPath(from, entry.path), kChangedMeanwhile});
    }
    draft->change.base->tree_sha256 = TreeDigest(entries, base_.stability());
    return Ok();
  }

  Status CompareDir(const Node& node) {
    Draft draft = Start(ChangeOp::kMetadata, node);
    draft.change.mode =
        (node.st.st_mode & kDirMode) | (node.base.mode & kSetid) | InheritedSetgid(node);
    SetDirTime(node, node.base.mtime_ns, &draft.change);
    if (SetsSetid(node, node.base.mode)) draft.change.Set(ChangeFlag::kStrippedSetid);
    const bool foreign = TRY(SetXattrFlag(node, node.base_path, &draft.change));
    const bool same_mode = draft.change.mode == (node.base.mode & 07777);
    const bool same = same_mode && !draft.change.sets_mtime && !foreign;
    if (same && !draft.change.Has(ChangeFlag::kStrippedSetid)) return Ok();
    return Add(std::move(draft));
  }

  Status CompareFile(const Node& node) {
    Draft draft = Start(ChangeOp::kModify, node);
    FillNewState(node, &draft);
    Change& change = draft.change;
    const bool same_content = TRY(HasBaseContent(node, &change));
    const bool foreign = TRY(SetXattrFlag(node, node.base_path, &change));
    const bool is_link = node.kind == Node::Kind::kSymlink;
    const bool same_mode = is_link || change.mode == (node.base.mode & 07777);
    const bool same_time = change.mtime_ns == node.base.mtime_ns;
    const bool same_meta = same_mode && same_time && !change.Has(ChangeFlag::kStrippedSetid);
    if (same_content && same_meta && !foreign) return Ok();
    const bool shared = node.base.nlink > 1;
    if (shared) change.Set(ChangeFlag::kBreaksHardLink);
    // New metadata of one name of several makes it a file of its own, as new content does.
    if (same_content && (!shared || (same_mode && same_time))) {
      ToMetadata(same_time, &draft);
      return Add(std::move(draft));
    }
    // New content does not inherit the right to run as someone else.
    if (!is_link && (node.st.st_mode & kSetid) != 0) change.Set(ChangeFlag::kStrippedSetid);
    change.mode &= kPermissions;
    TRY(FillDigest(node, &draft));
    return Add(std::move(draft));
  }

  void ToMetadata(bool same_time, Draft* draft) {
    Change& change = draft->change;
    change.op = ChangeOp::kMetadata;
    change.sets_mtime = !same_time;
    if (same_time) change.mtime_ns = 0;
    change.size = 0;
    change.sha256.clear();
    change.link_target.clear();
    change.flags &= ~static_cast<std::uint32_t>(ChangeFlag::kBreaksHardLink);
    change.flags &= ~static_cast<std::uint32_t>(ChangeFlag::kEscapingSymlink);
    const bool gains = (change.mode & ~change.base->mode & kAnyExecute) != 0;
    if (!gains) change.flags &= ~static_cast<std::uint32_t>(ChangeFlag::kExecutable);
    draft->bytes = Draft::Bytes::kNone;
  }

  // Mode, time, target and size of a file or link as the upper layer has them.
  void FillNewState(const Node& node, Draft* draft) {
    Change& change = draft->change;
    change.mtime_ns = node.mtime_ns();
    change.sets_mtime = true;
    if (node.kind == Node::Kind::kSymlink) {
      change.mode = kSymlinkMode;
      change.link_target = node.link_target;
      change.size = static_cast<std::int64_t>(node.link_target.size());
      if (LeavesWorkspace(node.path, node.link_target)) change.Set(ChangeFlag::kEscapingSymlink);
      return;
    }
    change.size = node.st.st_size;
    change.mode = node.st.st_mode & kPermissions;
    const std::uint32_t base_mode = node.paired ? node.base.mode : 0;
    if (SetsSetid(node, base_mode)) change.Set(ChangeFlag::kStrippedSetid);
    // A bit that the base has and the script left alone is no change.
    if ((node.st.st_mode & 07777) == base_mode) change.mode = base_mode;
    if ((change.mode & kAnyExecute) != 0) change.Set(ChangeFlag::kExecutable);
    draft->bytes = node.metacopy ? Draft::Bytes::kBase : Draft::Bytes::kUpper;
  }

  // The kernel itself passes setgid on from a directory to one in it.
  std::uint32_t InheritedSetgid(const Node& node) {
    if (node.kind != Node::Kind::kDir) return 0;
    return node.st.st_mode & pairs_.upper.nodes[node.parent].st.st_mode & S_ISGID;
  }

  bool SetsSetid(const Node& node, std::uint32_t base_mode) {
    const std::uint32_t inherited = base_mode | InheritedSetgid(node);
    return (node.st.st_mode & kSetid & ~inherited) != 0;
  }

  void SetDirTime(const Node& node, std::int64_t base_ns, Change* change) {
    const std::int64_t mtime_ns = node.mtime_ns();
    const bool during_run = mtime_ns >= options_.started_ns - kDirTimeSlackNs &&
                            mtime_ns <= options_.ended_ns + kDirTimeSlackNs;
    // Where another writer was at work, the time may be the one that the base had before.
    const bool base_moved_on = base_ns > options_.started_ns;
    change->sets_mtime = !during_run && !base_moved_on && mtime_ns != base_ns;
    if (change->sets_mtime) change->mtime_ns = mtime_ns;
  }

  Result<bool> HasBaseContent(const Node& node, Change* change) {
    if (node.kind == Node::Kind::kSymlink) return node.link_target == node.base.link_target;
    if (node.metacopy) return true;
    if (node.st.st_size != node.base.size) return false;
    if (!HasRoomForHoles(node)) return false;
    change->base->sha256 = TRY(HashBeneath(base_.root(), node.base_path));
    change->sha256 = TRY(HashBeneath(upper_, node.path));
    return change->sha256 == change->base->sha256;
  }

  static std::int64_t HolesOf(const Node& node) {
    return node.st.st_size - node.st.st_blocks * kStatBlockBytes;
  }

  bool HasRoomForHoles(const Node& node) const {
    return node.metacopy || HolesOf(node) <= kHoleBytesMax - hole_bytes_;
  }

  // With staging the digest comes from the pass that copies the bytes.
  Status FillDigest(const Node& node, Draft* draft) {
    if (node.kind == Node::Kind::kSymlink) return Ok();
    if (!HasRoomForHoles(node)) {
      draft->refused = "has more than " + FormatSize(kHoleBytesMax) + " of holes";
      return Ok();
    }
    if (!node.metacopy && HolesOf(node) > 0) hole_bytes_ += HolesOf(node);
    if (options_.stage || !draft->change.sha256.empty()) return Ok();
    draft->change.sha256 = node.metacopy ? TRY(HashBeneath(base_.root(), node.base_path))
                                         : TRY(HashBeneath(upper_, node.path));
    return Ok();
  }

  // Sets kDroppedXattrs where attributes differ from those at `base_path` ("": a new entry). True
  // when they alone are worth a change: an ACL is not, its copy may differ by mapped ids.
  Result<bool> SetXattrFlag(const Node& node, const std::string& base_path, Change* change) {
    if (!node.has_other_xattrs) return false;
    const Entry entry = TRY(OpenParent(upper_, node.path));
    const Fd fd = TRY(OpenEntry(entry, O_RDONLY | O_NONBLOCK));
    Fd base_fd;
    if (!base_path.empty()) base_fd = TRY(base_.OpenToRead(base_path));
    const ForeignXattrs foreign = TRY(FindForeignXattrs(fd, base_fd, options_.attributes));
    // A new entry gets its ACL from its directory, here as where it is committed.
    const bool inherits = base_path.empty() && pairs_.upper.nodes[node.parent].has_default_acl;
    const bool acl = foreign.acl && !inherits;
    if (foreign.user || acl) change->Set(ChangeFlag::kDroppedXattrs);
    return foreign.user;
  }

  const Pairs& pairs_;
  const Fd& upper_;
  Base& base_;
  const CaptureOptions& options_;
  std::vector<PathProblem>& conflicts_;
  std::int64_t hole_bytes_ = 0;
  std::vector<Draft> drafts_;
};

}  // namespace

bool LeavesWorkspace(std::string_view path, std::string_view target) {
  constexpr std::string_view kMountPoint = "/workspace";
  std::int64_t depth = 0;
  if (target.starts_with('/')) {
    if (target != kMountPoint && !IsBelow(target, kMountPoint)) return true;
    target.remove_prefix(kMountPoint.size());
  } else {
    for (const char c : path) depth += c == '/' ? 1 : 0;
  }
  while (!target.empty()) {
    const std::size_t slash = target.find('/');
    const std::string_view name = target.substr(0, slash);
    target.remove_prefix(slash == std::string_view::npos ? target.size() : slash + 1);
    if (name.empty() || name == ".") continue;
    depth += name == ".." ? -1 : 1;
    if (depth < 0) return true;
  }
  return false;
}

Result<std::vector<Draft>> CompareWithBase(const Pairs& pairs, const Fd& upper, Base* base,
                                           const CaptureOptions& options,
                                           std::vector<PathProblem>* conflicts) {
  return Comparer(pairs, upper, base, options, conflicts).Run();
}

}  // namespace bailiff
