#include "changeset/capture_dirs.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

#include "base/check.h"
#include "workspace/tree.h"

namespace bailiff {
namespace {

// What more directories have in common tells none of them from the others.
constexpr std::size_t kSameTraitMax = 16;

// A directory's time, or an entry's name, type, time and size, in a form that compares.
std::string Trait(std::string_view name, char type, std::int64_t mtime_ns, std::int64_t size) {
  std::string trait(name);
  trait += '/';
  trait += type;
  return trait + std::to_string(mtime_ns) + '/' + std::to_string(size);
}

std::string TraitOfDir(std::int64_t mtime_ns) {
  return Trait("", 'D', mtime_ns, 0);
}

std::string TraitOfEntry(std::string_view name, const Identity& identity) {
  switch (identity.type) {
    case EntryType::kDir:
      return Trait(name, 'd', identity.mtime_ns, 0);
    case EntryType::kFile:
      return Trait(name, 'f', identity.mtime_ns, identity.size);
    case EntryType::kSymlink:
      return Trait(name, 'l', identity.mtime_ns, 0);
  }
  CheckFailed("EntryType out of range", __FILE__, __LINE__);
}

std::string TraitOfNode(const Node& node) {
  const std::string_view name = NameOf(node.path);
  switch (node.kind) {
    case Node::Kind::kDir:
      return Trait(name, 'd', node.mtime_ns(), 0);
    case Node::Kind::kFile:
      return Trait(name, 'f', node.mtime_ns(), node.st.st_size);
    case Node::Kind::kSymlink:
      return Trait(name, 'l', node.mtime_ns(), 0);
    case Node::Kind::kWhiteout:
    case Node::Kind::kSpecial:
      return "";
  }
  CheckFailed("Node::Kind out of range", __FILE__, __LINE__);
}

bool IsClosed(const Node& node) {
  constexpr mode_t kLook = S_IRUSR | S_IXUSR;
  return node.kind == Node::Kind::kDir && !node.is_root() && (node.st.st_mode & kLook) != kLook;
}

std::vector<bool> FindClosed(const std::vector<Node>& nodes) {
  std::vector<bool> below(nodes.size());
  std::vector<bool> holds(nodes.size());
  for (std::size_t i = 1; i < nodes.size(); ++i)
    below[i] = below[nodes[i].parent] || IsClosed(nodes[i]);
  for (std::size_t i = nodes.size(); i-- > 1;) {
    if (holds[i] || IsClosed(nodes[i])) holds[nodes[i].parent] = true;
  }
  for (std::size_t i = 0; i < nodes.size(); ++i) below[i] = below[i] || holds[i];
  return below;
}

struct Votes {
  std::size_t entries = 0;  // Unchanged ones in both.
  bool same_time = false;
};

bool Suffice(const Votes& votes, std::size_t names, std::size_t ours, std::size_t theirs) {
  if (votes.same_time) return names > 0 || (ours == 0 && theirs == 0);
  return votes.entries > 0 && names * 2 >= ours && names * 2 >= theirs;
}

}  // namespace

Result<MovedDirs> MovedDirs::Find(const Pairs& pairs, Base* base, const CaptureOptions& options) {
  MovedDirs moved;
  moved.base_ = base;
  const std::vector<Node>& nodes = pairs.upper.nodes;
  moved.closed_ = FindClosed(nodes);
  moved.children_.resize(nodes.size());
  for (std::size_t i = 1; i < nodes.size(); ++i) {
    const Node& node = nodes[i];
    moved.children_[node.parent].push_back(i);
    if (node.paired || !nodes[node.parent].merged || !node.own.Is(EntryType::kDir)) continue;
    moved.Add(node.own_base, node.own);
  }
  // Each entry is gone, which is a change, or is in the upper layer too.
  moved.entries_max_ = static_cast<std::size_t>(options.files_max) + nodes.size();
  for (std::size_t dir = 0; dir < moved.dirs_.size(); ++dir) TRY(moved.AddBelow(dir));
  return moved;
}

void MovedDirs::Add(const std::string& path, const BaseEntry& entry) {
  by_trait_[TraitOfDir(entry.identity.mtime_ns)].push_back(dirs_.size());
  dirs_.push_back({{path, entry.identity}, {}});
}

Status MovedDirs::AddBelow(std::size_t dir) {
  const std::string at = dirs_[dir].match.path;
  const std::vector<std::string> names = TRY(base_->List(at));
  entries_ += names.size();
  if (entries_ > entries_max_) {
    return Error(
        ErrorCode::kResourceExhausted,
        "capture: more than " + std::to_string(entries_max_) + " entries are gone or have moved");
  }
  dirs_[dir].names = names;
  for (const std::string& name : names) {
    const std::string path = JoinPath(at, name);
    const BaseEntry entry = TRY(base_->Look(path));
    if (entry.state != BaseEntry::State::kPresent) continue;
    by_trait_[TraitOfEntry(name, entry.identity)].push_back(dir);
    if (entry.Is(EntryType::kDir)) Add(path, entry);
  }
  return Ok();
}

// Names alone, which many directories have in common, make no candidate. Of candidates only the
// first are looked into, so that the work is in proportion to the entries.
std::optional<MovedDirs::Match> MovedDirs::For(const Pairs& pairs, std::size_t index) const {
  const Node& node = pairs.upper.nodes[index];
  if (closed_[index]) return std::nullopt;
  const std::vector<std::size_t>& children = children_[index];
  std::map<std::size_t, Votes> votes;
  const auto vote = [&](const std::string& trait, const auto& count) {
    const auto found = by_trait_.find(trait);
    if (found == by_trait_.end() || found->second.size() > kSameTraitMax) return;
    for (const std::size_t dir : found->second) {
      if (!pairs.by_base.contains(dirs_[dir].match.path)) count(&votes[dir]);
    }
  };
  vote(TraitOfDir(node.mtime_ns()), [](Votes* of) { of->same_time = true; });
  for (const std::size_t child : children) {
    vote(TraitOfNode(pairs.upper.nodes[child]), [](Votes* of) { ++of->entries; });
  }
  std::vector<std::pair<std::tuple<std::size_t, bool, bool, bool>, std::size_t>> candidates;
  for (const auto& [dir, found] : votes) {
    const std::string& path = dirs_[dir].match.path;
    candidates.push_back({std::tuple(found.entries, found.same_time, path == node.own_base,
                                     NameOf(path) == NameOf(node.path)),
                          dir});
  }
  std::stable_sort(candidates.begin(), candidates.end(),
                   [](const auto& left, const auto& right) { return left.first > right.first; });
  candidates.resize(std::min(candidates.size(), kSameTraitMax));
  for (const auto& [rank, dir] : candidates) {
    const std::vector<std::string>& theirs = dirs_[dir].names;
    std::size_t names = 0;
    for (const std::size_t child : children) {
      const std::string name(NameOf(pairs.upper.nodes[child].path));
      if (std::binary_search(theirs.begin(), theirs.end(), name)) ++names;
    }
    if (Suffice(votes[dir], names, children.size(), theirs.size())) return dirs_[dir].match;
  }
  return std::nullopt;
}

}  // namespace bailiff
