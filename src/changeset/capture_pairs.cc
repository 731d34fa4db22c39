#include "changeset/capture_pairs.h"

#include <algorithm>
#include <utility>

#include "base/bytes.h"
#include "base/check.h"
#include "changeset/capture_dirs.h"
#include "changeset/capture_files.h"
#include "changeset/capture_view.h"
#include "sys/file.h"
#include "workspace/tree.h"

namespace bailiff {
namespace {

Error Strange(const std::string& path, std::string_view what) {
  return Error(ErrorCode::kInternal, "upper layer: " + EscapeForTerminal(path, Lines::kSingle) +
                                         ": " + std::string(what));
}

// Pairs everything that the kernel itself says, from the top down.
class Pairer {
 public:
  Pairer(Pairs* pairs, Base* base, const CaptureOptions& options)
      : pairs_(*pairs), base_(*base), options_(options) {}

  Status PairWhatTheKernelSays() {
    for (std::size_t i = 1; i < nodes().size(); ++i) {
      const Node& parent = nodes()[nodes()[i].parent];
      if (parent.merged) TRY(LookAtOwnBase(parent, &nodes()[i]));
      TRY(PairNode(parent, i));
    }
    return Ok();
  }

  // Without redirects a directory that moved is a new one.
  Status PairDirsByContent() {
    if (options_.attributes != OverlayAttributes::kUser) return Ok();
    const MovedDirs moved = TRY(MovedDirs::Find(pairs_, &base_, options_));
    for (std::size_t i = 1; i < nodes().size(); ++i) {
      TRY(LookBelowNewDir(i));
      if (nodes()[i].kind != Node::Kind::kDir || nodes()[i].paired) continue;
      const std::optional<MovedDirs::Match> match = moved.For(pairs_, i);
      if (match.has_value()) PairNewDir(i, match->path, match->identity);
    }
    return Ok();
  }

  // A directory that was removed and made again stands for the old one, unless that moved away.
  Status PairDirsMadeAgain() {
    for (std::size_t i = 1; i < nodes().size(); ++i) {
      TRY(LookBelowNewDir(i));
      const Node& node = nodes()[i];
      if (node.kind != Node::Kind::kDir || node.paired || !nodes()[node.parent].paired) continue;
      if (node.own.Is(EntryType::kDir)) PairNewDir(i, node.own_base, node.own.identity);
    }
    return Ok();
  }

 private:
  std::vector<Node>& nodes() { return pairs_.upper.nodes; }

  Status LookAtOwnBase(const Node& parent, Node* node) {
    node->own_base = JoinPath(parent.base_path, NameOf(node->path));
    node->own = TRY(base_.Look(node->own_base));
    if (base_.view() == nullptr || node->own.exists() || node->kind != Node::Kind::kDir) {
      return Ok();
    }
    BaseEntry entry = TRY(base_.LookUnseen(node->own_base));
    if (!entry.Is(EntryType::kDir) || !MayMake(*base_.view(), node->own_base)) return Ok();
    node->own = std::move(entry);
    node->unseen = true;
    return Ok();
  }

  // Nothing in the base shows through it, and nothing in the base goes.
  void PairUnseen(std::size_t index) {
    Node& node = nodes()[index];
    pairs_.by_base.emplace(node.own_base, index);
    node.paired = true;
    node.merged = true;
    node.base_path = node.own_base;
    node.base = node.own.identity;
  }

  Status PairNode(const Node& parent, std::size_t index) {
    Node& node = nodes()[index];
    if (node.own.state == BaseEntry::State::kMount) return Ok();
    if (node.unseen) {
      PairUnseen(index);
      return Ok();
    }
    switch (node.kind) {
      case Node::Kind::kDir:
        return node.opaque ? Ok() : PairDir(parent, index);
      case Node::Kind::kFile:
        return node.metacopy ? PairMetacopy(parent, &node) : Ok();
      case Node::Kind::kWhiteout:
        return CheckWhiteout(parent, node);
      case Node::Kind::kSymlink:
      case Node::Kind::kSpecial:
        return Ok();
    }
    CheckFailed("Node::Kind out of range", __FILE__, __LINE__);
  }

  bool IsEmpty(std::size_t index) {
    return std::none_of(nodes().begin() + 1, nodes().end(),
                        [&](const Node& node) { return node.parent == index; });
  }

  // The base path that the overlay looks up for a merged directory or a metacopy file.
  Result<std::string> LookupPath(const Node& parent, const Node& node) {
    const bool absolute = node.redirect.starts_with('/');
    if (!absolute && !parent.merged) {
      return Strange(node.path, "refers to a lower directory that its parent has not");
    }
    std::string path = node.own_base;
    if (absolute) path = node.redirect.substr(1);
    if (!absolute && !node.redirect.empty()) path = JoinPath(parent.base_path, node.redirect);
    const bool nested = !absolute && node.redirect.find('/') != std::string::npos;
    if (nested || !ValidatePath(path).ok()) {
      return Strange(node.path, "has a redirect that is no path");
    }
    return path;
  }

  Status PairDir(const Node& parent, std::size_t index) {
    Node& node = nodes()[index];
    // A new directory needs an opaque mark only where it hides another one.
    if (!parent.merged && node.redirect.empty()) return Ok();
    const std::string path = TRY(LookupPath(parent, node));
    const BaseEntry entry = TRY(base_.Look(path));
    const bool was_there = base_.view() != nullptr && IsFolder(*base_.view(), node.path);
    const bool is_new = node.redirect.empty() && !node.copied_up && !was_there;
    if (is_new && !entry.Is(EntryType::kDir)) return Ok();
    if (!entry.Is(EntryType::kDir)) {
      node.lost = was_there;
      return was_there && IsEmpty(index) ? Ok() : Unresolved(path, &node);
    }
    if (!pairs_.by_base.emplace(path, index).second) {
      return Strange(node.path, "is a second directory for one in the base");
    }
    node.paired = true;
    node.merged = true;
    node.base_path = path;
    node.base = entry.identity;
    return CheckOrigin(node);
  }

  Status PairMetacopy(const Node& parent, Node* node) {
    const std::string path = TRY(LookupPath(parent, *node));
    const BaseEntry entry = TRY(base_.Look(path));
    if (!entry.Is(EntryType::kFile)) return Unresolved(path, node);
    node->base_path = path;
    node->base = entry.identity;
    return CheckOrigin(*node);
  }

  Status CheckOrigin(const Node& node) {
    if (node.origin.empty() || base_.stability() == Stability::kWeak) return Ok();
    const std::string handle = TRY(base_.Handle(node.base_path));
    if (!handle.empty() && handle != node.origin) {
      pairs_.conflicts.push_back({node.base_path, kChangedMeanwhile});
    }
    return Ok();
  }

  Status CheckWhiteout(const Node& parent, const Node& node) {
    if (!parent.merged || node.own.exists() || node.own_base == kPrivateName) return Ok();
    return Unresolved(node.own_base, nullptr);
  }

  // The upper layer relies on a base entry that is not there. That is either another writer's work
  // or an upper layer that no kernel makes.
  Status Unresolved(const std::string& path, Node* node) {
    std::string_view dir = path;
    BaseEntry entry;
    while (!entry.Is(EntryType::kDir) && !dir.empty()) {
      dir = ParentOf(dir);
      if (!dir.empty()) entry = TRY(base_.Look(std::string(dir)));
    }
    const std::int64_t mtime_ns =
        dir.empty() ? ToNanos(TRY(Stat(base_.root())).st_mtim) : entry.identity.mtime_ns;
    if (mtime_ns <= options_.started_ns) {
      return Strange(path, "is relied upon, and the workspace has no such entry");
    }
    pairs_.conflicts.push_back({path, "was deleted in the workspace while the script ran"});
    if (node != nullptr && node->kind == Node::Kind::kFile) node->lost = true;
    return Ok();
  }

  // What a directory that is paired now has the base entries of, if it was not before.
  Status LookBelowNewDir(std::size_t index) {
    Node& node = nodes()[index];
    const Node& parent = nodes()[node.parent];
    if (!parent.paired || parent.merged || !node.own_base.empty()) return Ok();
    return LookAtOwnBase(parent, &node);
  }

  // Nothing of the base shows through it.
  void PairNewDir(std::size_t index, const std::string& path, const Identity& identity) {
    if (!pairs_.by_base.emplace(path, index).second) return;
    Node& node = nodes()[index];
    node.paired = true;
    node.base_path = path;
    node.base = identity;
  }

  Pairs& pairs_;
  Base& base_;
  const CaptureOptions& options_;
};

// A script cannot remove what is a mount point to it.
Status CheckFolders(const Upper& upper, const CaptureView& view) {
  for (const CaptureView::Paths* paths : {&view.whole, &view.hollow}) {
    for (const std::string& path : *paths) {
      const Node* node = upper.Find(path);
      if (node == nullptr || node->kind != Node::Kind::kDir) {
        return Strange(path, "was a directory of its own for the run, and is none any more");
      }
    }
  }
  return Ok();
}

}  // namespace

bool Pairs::IsGone(const std::string& path) const {
  std::string at = path;
  while (!at.empty()) {
    const std::string dir(ParentOf(at));
    const auto found = by_base.find(dir);
    if (found != by_base.end()) {
      const Node& node = upper.nodes[found->second];
      const Node* child = upper.Find(JoinPath(node.path, NameOf(at)));
      if (child == nullptr) return !node.merged;
      return !(child->in_place() && child->base_path == at);
    }
    at = dir;
  }
  return false;
}

std::string Pairs::PlaceOf(const std::string& path) const {
  std::string_view dir = ParentOf(path);
  for (;;) {
    const auto found = by_base.find(std::string(dir));
    if (found != by_base.end()) {
      const std::size_t skip = dir.empty() ? 0 : dir.size() + 1;
      return JoinPath(upper.nodes[found->second].path, std::string_view(path).substr(skip));
    }
    if (dir.empty()) return path;
    dir = ParentOf(dir);
  }
}

bool ChangedSince(const Identity& base, std::int64_t started_ns, Stability stability) {
  if (stability == Stability::kStrong) return base.ctime_ns > started_ns;
  // Entries come and go in a directory without making it another one.
  return base.type != EntryType::kDir && base.mtime_ns > started_ns;
}

Result<Pairs> PairWithBase(Upper upper, const Fd& upper_root, Base* base,
                           const CaptureOptions& options) {
  Pairs pairs;
  if (base->view() != nullptr) TRY(CheckFolders(upper, *base->view()));
  pairs.upper = std::move(upper);
  pairs.by_base.emplace("", 0);
  Pairer pairer(&pairs, base, options);
  TRY(pairer.PairWhatTheKernelSays());
  TRY(pairer.PairDirsByContent());
  TRY(pairer.PairDirsMadeAgain());
  TRY(PairFiles(&pairs, upper_root, base, options));
  for (const auto& [path, index] : pairs.by_base) {
    const Node& node = pairs.upper.nodes[index];
    if (node.is_root() || node.in_place() || pairs.IsGone(path)) continue;
    return Strange(node.path, "takes the place of a base entry that is still in its own");
  }
  return pairs;
}

}  // namespace bailiff
