#include "changeset/capture_refuse.h"

#include <unordered_set>
#include <utility>

#include "changeset/capture_view.h"
#include "workspace/tree.h"

namespace bailiff {
namespace {

constexpr const char* kIsPrivate = "is the private directory of the workspace";
constexpr const char* kIsReserved = "is reserved: scripts may not change it";
constexpr const char* kHoldsReserved = "holds a reserved path, which scripts may not move";
constexpr const char* kUnfinished = "is a tree that a rename left unfinished";
constexpr const char* kOutsideCases = "lies outside of the cases that this run may see";
constexpr const char* kOutsideView = "lies where this run may not look";
constexpr const char* kExistsUnseen = "exists already, where this run may not look";
constexpr const char* kDepends = "depends on another change that was refused";

// So is named what a rename rebuilds a directory in (sandbox/child_movable.cc), which it removes.
constexpr std::string_view kUnfinishedPrefix = ".bailiff-moving-";

// A chain of changes that depend on each other needs one round per link. A script that makes a
// longer one has the whole rest refused.
constexpr int kRoundsMax = 64;

using PathSet = std::unordered_set<std::string>;

bool IsAtOrBelow(std::string_view path, std::string_view top) {
  return path == top || IsBelow(path, top);
}

bool LiesInUnfinished(std::string_view path) {
  for (; !path.empty(); path = ParentOf(path)) {
    if (NameOf(path).starts_with(kUnfinishedPrefix)) return true;
  }
  return false;
}

bool HoldsSelfOrAncestor(const PathSet& set, std::string_view path) {
  while (!path.empty()) {
    if (set.contains(std::string(path))) return true;
    path = ParentOf(path);
  }
  return false;
}

class Refuser {
 public:
  Refuser(const Pairs& pairs, Base* base, const CaptureOptions& options)
      : pairs_(pairs), base_(*base), options_(options) {}

  Result<std::vector<PathProblem>> Run(std::vector<Draft>* drafts) {
    for (Draft& draft : *drafts) {
      if (draft.refused.empty()) draft.refused = TRY(ReasonFor(draft.change));
      if (!draft.refused.empty()) Refuse(draft);
    }
    bool again = !result_.empty();
    for (int round = 0; again; ++round) {
      again = false;
      for (Draft& draft : *drafts) {
        if (!draft.refused.empty()) continue;
        if (round < kRoundsMax && !Depends(draft.change)) continue;
        draft.refused = kDepends;
        Refuse(draft);
        again = true;
      }
    }
    std::erase_if(*drafts, [](const Draft& draft) { return !draft.refused.empty(); });
    return std::move(result_);
  }

 private:
  Result<std::string> ReasonFor(const Change& change) {
    const bool made = change.op == ChangeOp::kCreate || change.op == ChangeOp::kMove;
    if (IsAtOrBelow(change.path, kPrivateName)) return std::string(kIsPrivate);
    if (made && LiesInUnfinished(change.path)) return std::string(kUnfinished);
    for (const std::string& reserved : options_.reserved) {
      if (IsAtOrBelow(change.path, reserved)) return std::string(kIsReserved);
      if (!change.from.empty() && IsAtOrBelow(change.from, reserved)) {
        return std::string(kIsReserved);
      }
      const bool leaves = change.op == ChangeOp::kDelete || change.op == ChangeOp::kMove;
      if (leaves && IsBelow(reserved, change.base_path())) {
        const BaseEntry entry = TRY(base_.Look(reserved));
        if (entry.exists()) return std::string(kHoldsReserved);
      }
      if (!made || !IsBelow(reserved, change.path)) continue;
      if (change.type != EntryType::kDir)
        return std::string("stands where a reserved path belongs");
      if (change.op != ChangeOp::kMove) continue;
      const BaseEntry brought = TRY(base_.Look(change.from + reserved.substr(change.path.size())));
      if (brought.exists()) return std::string(kIsReserved);
    }
    if (base_.view() == nullptr) return std::string();
    return ReasonInView(*base_.view(), change, made);
  }

  // Nothing that the run did not see may be changed, nor may what it was given as a whole go.
  Result<std::string> ReasonInView(const CaptureView& view, const Change& change, bool made) {
    const bool uses_base = change.op != ChangeOp::kCreate;
    if (uses_base && WholeFolderOf(view, change.base_path()).empty()) {
      return std::string(MayMake(view, change.base_path()) ? kOutsideView : kOutsideCases);
    }
    const bool leaves = change.op == ChangeOp::kDelete || change.op == ChangeOp::kMove;
    if (leaves && IsFolder(view, change.base_path())) return std::string(kOutsideView);
    if (!made || !WholeFolderOf(view, change.path).empty()) return std::string();
    if (!MayMake(view, change.path)) return std::string(kOutsideCases);
    const BaseEntry unseen = TRY(base_.LookUnseen(change.path));
    return std::string(unseen.exists() ? kExistsUnseen : "");
  }

  void Refuse(const Draft& draft) {
    const Change& change = draft.change;
    result_.push_back({change.path, draft.refused});
    switch (change.op) {
      case ChangeOp::kCreate:
        blocked_.insert(change.path);
        // What a special file replaced stays with all below it.
        if (!draft.own_base.empty()) replaced_.insert(draft.own_base);
        return;
      case ChangeOp::kMove:
        blocked_.insert(change.path);
        if (!draft.own_base.empty()) replaced_.insert(draft.own_base);
        Keep(change.from);
        return;
      case ChangeOp::kDelete:
        Keep(change.path);
        return;
      case ChangeOp::kModify:
      case ChangeOp::kMetadata:
        return;
    }
  }

  // The base entry stays: so its directories stay, and nothing else can take its place.
  void Keep(const std::string& base_path) {
    blocked_.insert(pairs_.PlaceOf(base_path));
    for (std::string_view dir = ParentOf(base_path); !dir.empty(); dir = ParentOf(dir)) {
      if (!kept_dirs_.emplace(dir).second) break;
    }
  }

  bool Depends(const Change& change) const {
    if (change.op == ChangeOp::kDelete) {
      return kept_dirs_.contains(change.path) || HoldsSelfOrAncestor(replaced_, change.path);
    }
    if (HoldsSelfOrAncestor(blocked_, change.path)) return true;
    return !change.link_to.empty() && HoldsSelfOrAncestor(blocked_, change.link_to);
  }

  const Pairs& pairs_;
  Base& base_;
  const CaptureOptions& options_;
  PathSet blocked_;    // Final paths at or below which nothing can be.
  PathSet kept_dirs_;  // Base directories that cannot be deleted.
  PathSet replaced_;   // Base paths whose replacement is refused, and so their deletion.
  std::vector<PathProblem> result_;
};

class ConflictFinder {
 public:
  ConflictFinder(const Pairs& pairs, Base* base, const CaptureOptions& options)
      : pairs_(pairs), base_(*base), options_(options) {}

  Result<std::vector<PathProblem>> Run(const std::vector<Draft>& drafts) {
    for (const Draft& draft : drafts) {
      const Change& change = draft.change;
      if (change.base.has_value()) TRY(Touch(change.base_path(), *change.base));
      TRY(Pass(ParentOf(draft.own_base)));
      const Node* target = pairs_.upper.Find(change.link_to.str());
      if (!change.link_to.empty() && target != nullptr && target->paired) {
        TRY(Touch(target->base_path, target->base));
      }
    }
    return std::move(result_);
  }

 private:
  Status Touch(const std::string& path, const Identity& base) {
    if (ChangedSince(base, options_.started_ns, base_.stability())) {
      result_.push_back({path, kChangedMeanwhile});
    }
    return Pass(ParentOf(path));
  }

  // Looks at a directory on the way and at all above it.
  Status Pass(std::string_view dir) {
    if (base_.stability() == Stability::kWeak) return Ok();
    for (; !dir.empty() && passed_.emplace(dir).second; dir = ParentOf(dir)) {
      const std::string path(dir);
      const BaseEntry entry = TRY(base_.Look(path));
      if (!entry.Is(EntryType::kDir)) continue;  // Told by what lies in it.
      // Entries that come and go set both times; being renamed or put in place only the ctime.
      const bool renamed = entry.identity.ctime_ns > options_.started_ns &&
                           entry.identity.mtime_ns <= options_.started_ns;
      const std::int64_t born_ns = TRY(base_.BirthTimeOf(path));
      if (renamed || born_ns > options_.started_ns) result_.push_back({path, kChangedMeanwhile});
    }
    return Ok();
  }

  const Pairs& pairs_;
  Base& base_;
  const CaptureOptions& options_;
  PathSet passed_;
  std::vector<PathProblem> result_;
};

}  // namespace

Result<std::vector<PathProblem>> TakeRefused(const Pairs& pairs, Base* base,
                                             const CaptureOptions& options,
                                             std::vector<Draft>* drafts) {
  return Refuser(pairs, base, options).Run(drafts);
}

Result<std::vector<PathProblem>> FindConflicts(const Pairs& pairs, Base* base,
                                               const CaptureOptions& options,
                                               const std::vector<Draft>& drafts) {
  return ConflictFinder(pairs, base, options).Run(drafts);
}

}  // namespace bailiff
