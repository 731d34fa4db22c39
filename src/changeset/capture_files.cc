#include "changeset/capture_files.h"

#include <algorithm>
#include <map>
#include <set>
#include <unordered_map>
#include <utility>

#include "base/bytes.h"
#include "base/check.h"
#include "workspace/tree.h"

namespace bailiff {
namespace {

// All names of one upper inode. A symbolic link stands alone: its names cannot be told apart from
// links that are equal.
struct Group {
  std::vector<std::size_t> names;  // In the order of PathLess().
  bool done = false;
};

EntryType TypeOfNode(const Node& node) {
  return node.kind == Node::Kind::kFile ? EntryType::kFile : EntryType::kSymlink;
}

// Base files with one content that are gone.
class Candidates {
 public:
  void Add(const Pairs::Gone* gone) {
    by_path_.insert(gone);
    by_time_[gone->entry.identity.mtime_ns].insert(gone);
  }

  // Takes the first by path of those with the same time, or else of all; null when there is none.
  // All empty files are equal, so of those only the time tells.
  const Pairs::Gone* Take(const Node& node) {
    const auto same_time = by_time_.find(node.mtime_ns());
    if (same_time != by_time_.end()) return Remove(*same_time->second.begin());
    if (node.st.st_size == 0 || by_path_.empty()) return nullptr;
    return Remove(*by_path_.begin());
  }

 private:
  struct Less {
    bool operator()(const Pairs::Gone* left, const Pairs::Gone* right) const {
      return PathLess(left->path, right->path);
    }
  };
  using Set = std::set<const Pairs::Gone*, Less>;

  const Pairs::Gone* Remove(const Pairs::Gone* gone) {
    const auto same_time = by_time_.find(gone->entry.identity.mtime_ns);
    same_time->second.erase(gone);
    if (same_time->second.empty()) by_time_.erase(same_time);
    by_path_.erase(gone);
    return gone;
  }

  Set by_path_;
  std::unordered_map<std::int64_t, Set> by_time_;
};

class FilePairer {
 public:
  FilePairer(Pairs* pairs, const Fd& upper, Base* base, const CaptureOptions& options)
      : pairs_(*pairs), upper_(upper), base_(*base), options_(options), paths_(options.files_max) {}

  Status Pair() {
    MakeGroups();
    TRY(PairMetacopies());
    TRY(PairByOriginInPlace());
    TRY(CollectGone());
    TRY(PairByOriginElsewhere());
    PairByPlace();
    if (options_.attributes == OverlayAttributes::kUser) TRY(PairByContent());
    for (Group& group : groups_) {
      if (!group.done) Finish(&group, group.names.front());
    }
    std::erase_if(pairs_.gone,
                  [&](const Pairs::Gone& gone) { return pairs_.by_base.contains(gone.path); });
    return Ok();
  }

 private:
  Node& At(std::size_t index) { return pairs_.upper.nodes[index]; }
  Node& First(const Group& group) { return At(group.names.front()); }

  void MakeGroups() {
    std::map<ino_t, std::size_t> by_inode;
    for (std::size_t i = 1; i < pairs_.upper.nodes.size(); ++i) {
      const Node& node = At(i);
      if (node.kind != Node::Kind::kFile && node.kind != Node::Kind::kSymlink) continue;
      if (node.kind == Node::Kind::kFile && node.st.st_nlink > 1) {
        const auto [known, is_new] = by_inode.emplace(node.st.st_ino, groups_.size());
        if (!is_new) {
          groups_[known->second].names.push_back(i);
          continue;
        }
      }
      groups_.push_back(Group{{i}, false});
    }
    for (Group& group : groups_) {
      std::sort(group.names.begin(), group.names.end(), [&](std::size_t left, std::size_t right) {
        return PathLess(At(left).path, At(right).path);
      });
    }
  }

  void Finish(Group* group, std::size_t carrier) {
    group->done = true;
    for (const std::size_t index : group->names) {
      if (index != carrier) At(index).link_of = carrier;
    }
  }

  // False when another group has the base entry already.
  bool Claim(Group* group, const std::string& path, const Identity& identity) {
    std::size_t carrier = group->names.front();
    for (const std::size_t index : group->names) {
      if (At(index).own_base == path) carrier = index;
    }
    if (!pairs_.by_base.emplace(path, carrier).second) return false;
    Node& node = At(carrier);
    node.paired = true;
    node.base_path = path;
    node.base = identity;
    Finish(group, carrier);
    return true;
  }

  Status PairMetacopies() {
    for (Group& group : groups_) {
      bool lost = false;
      for (const std::size_t index : group.names) lost = lost || At(index).lost;
      if (lost) {
        for (const std::size_t index : group.names) At(index).lost = true;
        group.done = true;
        continue;
      }
      if (!First(group).metacopy) continue;
      const std::string path = First(group).base_path;
      const Identity identity = First(group).base;
      for (const std::size_t index : group.names) {
        if (At(index).base_path != path) return Strange(At(index), "shares an inode, not its base");
      }
      if (!Claim(&group, path, identity)) {
        return Strange(First(group), "is a second file for one in the base");
      }
    }
    return Ok();
  }

  Status PairByOriginInPlace() {
    for (Group& group : groups_) {
      if (group.done || First(group).origin.empty()) continue;
      for (const std::size_t index : group.names) {
        const Node& node = At(index);
        if (!node.own.Is(TypeOfNode(node))) continue;
        const std::string handle = TRY(base_.Handle(node.own_base));
        if (handle != node.origin) continue;
        if (Claim(&group, node.own_base, node.own.identity)) break;
      }
    }
    return Ok();
  }

  Status CollectGone() {
    for (std::size_t i = 1; i < pairs_.upper.nodes.size(); ++i) {
      const Node& node = At(i);
      if (!At(node.parent).merged || !node.own.exists() || node.in_place()) continue;
      TRY(AddGone({node.own_base, node.own}));
    }
    for (std::size_t i = 1; i < pairs_.upper.nodes.size(); ++i) {
      const Node& dir = At(i);
      if (dir.kind == Node::Kind::kDir && dir.paired && !dir.merged) TRY(AddGoneBelow(dir));
    }
    return Ok();
  }

  // Of a directory that was made again, every base entry that was not made again too.
  Status AddGoneBelow(const Node& dir) {
    const std::vector<std::string> names = TRY(base_.List(dir.base_path));
    for (const std::string& name : names) {
      const Node* node = pairs_.upper.Find(JoinPath(dir.path, name));
      if (node != nullptr && node->in_place()) continue;
      const std::string path = JoinPath(dir.base_path, name);
      const BaseEntry entry = TRY(base_.Look(path));
      if (entry.exists()) TRY(AddGone({path, entry}));
    }
    return Ok();
  }

  // `top` and everything below it, except what is somewhere else now.
  Status AddGone(Pairs::Gone top) {
    const std::size_t gone_max =
        static_cast<std::size_t>(options_.files_max) + pairs_.upper.nodes.size();
    std::vector<Pairs::Gone> rest;
    rest.push_back(std::move(top));
    while (!rest.empty()) {
      Pairs::Gone gone = std::move(rest.back());
      rest.pop_back();
      if (pairs_.by_base.contains(gone.path)) continue;
      if (pairs_.gone.size() + rest.size() > gone_max) {
        return Error(ErrorCode::kResourceExhausted,
                     "capture: more than " + std::to_string(options_.files_max) + " changes");
      }
      TRY(paths_.Take(gone.path));
      if (gone.entry.Is(EntryType::kDir)) TRY(AddChildren(gone.path, &rest));
      pairs_.gone.push_back(std::move(gone));
    }
    return Ok();
  }

  Status AddChildren(const std::string& dir, std::vector<Pairs::Gone>* rest) {
    const std::vector<std::string> names = TRY(base_.List(dir));
    for (const std::string& name : names) {
      std::string path = JoinPath(dir, name);
      BaseEntry entry = TRY(base_.Look(path));
      if (entry.exists()) rest->push_back({std::move(path), std::move(entry)});
    }
    return Ok();
  }

  // A file that was copied up before it moved has no redirect, but the handle of its base file; and
  // one whose base has several names has no handle, but may have kept a redirect.
  Status PairByOriginElsewhere() {
    std::unordered_map<std::string, const Pairs::Gone*> by_path;
    std::unordered_map<std::string, const Pairs::Gone*> by_handle;
    for (Group& group : groups_) {
      const Node& node = First(group);
      if (group.done || (node.origin.empty() && node.redirect.empty())) continue;
      if (by_path.empty()) TRY(IndexGone(&by_path, &by_handle));
      const Pairs::Gone* match = nullptr;
      if (!node.origin.empty()) {
        const auto found = by_handle.find(node.origin);
        if (found != by_handle.end()) match = found->second;
      } else if (node.redirect.starts_with('/')) {
        const auto found = by_path.find(node.redirect.substr(1));
        if (found != by_path.end()) match = found->second;
      }
      if (match == nullptr || !match->entry.Is(TypeOfNode(node))) continue;
      (void)Claim(&group, match->path, match->entry.identity);  // Else it is paired otherwise.
    }
    return Ok();
  }

  Status IndexGone(std::unordered_map<std::string, const Pairs::Gone*>* by_path,
                   std::unordered_map<std::string, const Pairs::Gone*>* by_handle) {
    for (const Pairs::Gone& gone : pairs_.gone) {
      if (gone.entry.state != BaseEntry::State::kPresent) continue;
      by_path->emplace(gone.path, &gone);
      if (gone.entry.identity.type == EntryType::kDir) continue;
      const std::string handle = TRY(base_.Handle(gone.path));
      if (!handle.empty()) by_handle->emplace(handle, &gone);
    }
    return Ok();
  }

  void PairByPlace() {
    for (Group& group : groups_) {
      for (const std::size_t index : group.names) {
        const Node& node = At(index);
        if (group.done || !node.own.Is(TypeOfNode(node))) continue;
        (void)Claim(&group, node.own_base, node.own.identity);  // Else the next name may.
      }
    }
  }

  // Without redirects and handles a moved file is a new one with the content of one that is gone.
  Status PairByContent() {
    std::unordered_map<std::int64_t, std::vector<const Pairs::Gone*>> by_size;
    for (const Pairs::Gone& gone : pairs_.gone) {
      if (!gone.entry.Is(EntryType::kFile) || pairs_.by_base.contains(gone.path)) continue;
      by_size[gone.entry.identity.size].push_back(&gone);
    }
    std::unordered_map<std::string, Candidates> by_digest;
    for (Group& group : groups_) {
      if (group.done || First(group).kind != Node::Kind::kFile) continue;
      const auto same_size = by_size.find(First(group).st.st_size);
      if (same_size == by_size.end()) continue;
      // Each file that is gone is read once, and only when a new one has its size.
      for (const Pairs::Gone* gone : std::exchange(same_size->second, {})) {
        by_digest[TRY(HashBeneath(base_.root(), gone->path))].Add(gone);
      }
      const std::string digest = TRY(HashBeneath(upper_, First(group).path));
      const auto found = by_digest.find(digest);
      if (found == by_digest.end()) continue;
      const Pairs::Gone* match = found->second.Take(First(group));
      if (match == nullptr) continue;
      (void)Claim(&group, match->path, match->entry.identity);  // It is free: see above.
    }
    return Ok();
  }

  static Error Strange(const Node& node, std::string_view what) {
    return Error(
        ErrorCode::kInternal,
        "upper layer: " + EscapeForTerminal(node.path, Lines::kSingle) + ": " + std::string(what));
  }

  Pairs& pairs_;
  const Fd& upper_;
  Base& base_;
  const CaptureOptions& options_;
  PathBudget paths_;
  std::vector<Group> groups_;
};

}  // namespace

Status PairFiles(Pairs* pairs, const Fd& upper_root, Base* base, const CaptureOptions& options) {
  return FilePairer(pairs, upper_root, base, options).Pair();
}

}  // namespace bailiff
