#include "journal/conflicts.h"

#include <fcntl.h>

#include <algorithm>
#include <tuple>
#include <unordered_map>

#include "base/bytes.h"
#include "workspace/tree.h"

namespace bailiff {
namespace {

class Checker {
 public:
  Checker(const Fd& workspace, const ChangeSet& set, const SetIndex& index, Stability stability)
      : workspace_(workspace),
        parents_(workspace, O_PATH),
        set_(set),
        index_(index),
        recognizer_(stability) {}

  Result<Problems> Run() {
    for (std::size_t i = 0; i < set_.changes.size(); ++i) {
      const Change& change = set_.changes[i];
      if (change.base.has_value()) TRY(CheckBase(change));
      const bool leaves = change.op == ChangeOp::kDelete && !index_.IsCarried(i);
      if (leaves && change.type == EntryType::kDir) {
        const Result<Problems> below =
            CheckUnit(workspace_, change.path, index_, i, recognizer_, Below::kInPlace);
        TRY(Take(below));
      }
      const bool arrives = change.op == ChangeOp::kMove || change.op == ChangeOp::kCreate;
      if (arrives && !index_.IsCarried(i)) TRY(CheckTarget(change));
      if (!change.link_to.empty()) TRY(CheckLinked(change));
    }
    SortProblems(&problems_);
    return std::move(problems_);
  }

 private:
  void Add(const std::string& path, std::string reason) {
    problems_.push_back({path, std::move(reason)});
  }

  Status Take(const Result<Problems>& more) {
    if (!more.ok()) return more.error();
    problems_.insert(problems_.end(), more.value().begin(), more.value().end());
    return Ok();
  }

  Status CheckBase(const Change& change) {
    const std::string& path = change.base_path();
    const Seen seen = TRY(Look(&parents_, path));
    if (!seen.present) {
      Add(path, "is gone");
      return Ok();
    }
    const bool same = TRY(IsBase(path, seen, *change.base));
    if (!same) {
      Add(path, "changed since");
      return Ok();
    }
    const bool moves_tree = change.op == ChangeOp::kMove && change.type == EntryType::kDir;
    if (moves_tree && !change.base->tree_sha256.empty()) return CheckTree(path, *change.base);
    return Ok();
  }

  Result<bool> IsBase(const std::string& path, const Seen& seen, const Identity& base) {
    if (!seen.known) return false;
    Identity then = base;
    then.dev = seen.identity.dev;  // See Recognizer.
    switch (Compare(then, seen.identity, recognizer_.stability())) {
      case Same::kYes:
        return true;
      case Same::kNo:
        return false;
      case Same::kReadContent:
        break;
    }
    if (base.sha256.empty()) {
      return recognizer_.stability() == Stability::kWeak || then.ctime_ns == seen.identity.ctime_ns;
    }
    return recognizer_.HasContent(workspace_, path, base);
  }

  Status CheckTree(const std::string& path, const Identity& base) {
    const Result<std::vector<TreeEntry>> entries = ListTree(workspace_, path);
    if (!entries.ok()) return TakeUnlistable(path, entries.error());
    if (TreeDigest(entries.value(), recognizer_.stability()) != base.tree_sha256) {
      Add(path, "something in it changed since");
    }
    return Ok();
  }

  Status TakeUnlistable(const std::string& path, const Error& error) {
    if (error.code() != ErrorCode::kUnsupported) return error;
    Add(path, error.message());
    return Ok();
  }

  // Whether the directory that `path` arrives in will be there, and nothing at `path`.
  Status CheckTarget(const Change& change) {
    const std::string parent(ParentOf(change.path));
    const Change* arriving = parent.empty() ? nullptr : index_.AttachedAt(parent);
    if (arriving != nullptr && arriving->type != EntryType::kDir) {
      Add(change.path, "its directory is not one");
      return Ok();
    }
    if (arriving != nullptr && arriving->op == ChangeOp::kCreate) return Ok();
    const std::optional<std::string> base_parent = index_.ToBase(parent);
    const bool kept =
        base_parent.has_value() && (arriving != nullptr || index_.ToFinal(*base_parent) == parent);
    if (!kept) {
      Add(change.path, "its directory is not there");
      return Ok();
    }
    const bool is_there = TRY(HasDir(*base_parent));
    if (!is_there) {
      Add(change.path, "its directory is gone");
      return Ok();
    }
    const std::string occupant = JoinPath(*base_parent, NameOf(change.path));
    if (index_.IsGone(occupant)) return Ok();
    const Seen seen = TRY(Look(&parents_, occupant));
    if (seen.present) Add(change.path, "exists already");
    return Ok();
  }

  // Remembers the last answer: entries of one directory follow each other.
  Result<bool> HasDir(const std::string& path) {
    if (path.empty() || path == known_dir_) return true;
    const Seen dir = TRY(Look(workspace_, path));
    const bool is_there = dir.known && dir.identity.type == EntryType::kDir;
    if (is_there) known_dir_ = path;
    return is_there;
  }

  Status CheckLinked(const Change& change) {
    const Change* arriving = index_.AttachedAt(change.link_to.str());
    if (arriving != nullptr) return Ok();
    const std::optional<std::string> base = index_.ToBase(change.link_to);
    Seen seen;
    if (base.has_value() && index_.ToFinal(*base) == change.link_to) {
      seen = TRY(Look(workspace_, *base));
    }
    if (!seen.known || seen.identity.type != EntryType::kFile) {
      Add(change.path, "the file that it is to be another name of is gone");
    }
    return Ok();
  }

  const Fd& workspace_;
  ParentCache parents_;
  std::string known_dir_;
  const ChangeSet& set_;
  const SetIndex& index_;
  Recognizer recognizer_;
  Problems problems_;
};

bool LeavesByItself(const SetIndex& index, const std::string& unit_path,
                    std::string_view relative) {
  std::string path = JoinPath(unit_path, relative);
  while (path.size() > unit_path.size()) {
    if (index.IsMovedAway(path)) return true;
    path.resize(ParentOf(path).size());
  }
  return false;
}

}  // namespace

void SortProblems(Problems* problems) {
  std::sort(problems->begin(), problems->end(), [](const PathProblem& l, const PathProblem& r) {
    if (l.path != r.path) return PathLess(l.path, r.path);
    return l.reason < r.reason;
  });
  problems->erase(std::unique(problems->begin(), problems->end()), problems->end());
}

Result<Problems> CheckConflicts(const Fd& workspace, const ChangeSet& set, const SetIndex& index,
                                Stability stability) {
  return Checker(workspace, set, index, stability).Run();
}

Result<Problems> CheckUnit(const Fd& root, const std::string& path, const SetIndex& index,
                           std::size_t unit, const Recognizer& recognizer, Below below) {
  const ChangeSet& set = index.set();
  const std::string& top = set.changes[unit].path;
  Problems problems;
  const Result<std::vector<TreeEntry>> entries = ListTree(root, path);
  if (!entries.ok()) {
    const bool told = entries.error().code() == ErrorCode::kUnsupported;
    if (!told && !IsGoneParent(entries.error())) return entries.error();
    problems.push_back({top, told ? entries.error().message() : "is gone"});
    return problems;
  }
  std::unordered_map<std::string_view, std::size_t> expected;
  for (const std::size_t i : index.CarriedBy(unit)) {
    expected.emplace(std::string_view(set.changes[i].path).substr(top.size() + 1), i);
  }
  for (const TreeEntry& entry : entries.value()) {
    const auto found = expected.find(entry.path);
    if (found == expected.end()) {
      if (below == Below::kInPlace && LeavesByItself(index, top, entry.path)) continue;
      problems.push_back({JoinPath(top, entry.path), "is new in a directory that goes or moves"});
      continue;
    }
    const Change& change = set.changes[found->second];
    expected.erase(found);
    if (below == Below::kInPlace) continue;
    const Identity& want = below == Below::kAside ? *change.base : change.content.identity;
    const Seen seen{true, true, entry.identity};
    const bool same = TRY(recognizer.IsUnchanged(root, JoinPath(path, entry.path), seen, want));
    if (!same) problems.push_back({change.path, "changed since"});
  }
  if (below == Below::kInPlace) return problems;
  for (const auto& [relative, i] : expected) {
    problems.push_back({JoinPath(top, relative), "is gone"});
  }
  return problems;
}

}  // namespace bailiff
