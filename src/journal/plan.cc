#include "journal/plan.h"

#include <algorithm>

#include "base/bytes.h"
#include "base/check.h"
#include "base/ids.h"
#include "workspace/tree.h"

namespace bailiff {
namespace {

constexpr std::string_view kPrivateName = ".bailiff";

Error Invalid(const Change& change, std::string_view why) {
  return Error(ErrorCode::kInvalidArgument, "change set: " + std::string(Name(change.op)) + " " +
                                                EscapeForTerminal(change.path, Lines::kSingle) +
                                                ": " + std::string(why));
}

bool IsReserved(std::string_view path) {
  return path == kPrivateName || IsBelow(path, kPrivateName);
}

// "stage/<id of the set>/..." or, for what a rollback brings, "undo/<some id>/...".
bool MayHold(const ChangeSet& set, const Change& change) {
  const std::string& path = change.content.path;
  if (!ValidatePath(path).ok()) return false;
  if (!change.Has(ChangeFlag::kRestored)) return IsBelow(path, "stage/" + set.id);
  if (!IsBelow(path, "undo")) return false;
  const std::size_t end = path.find('/', 5);
  return end != std::string::npos && IsId(std::string_view(path).substr(5, end - 5));
}

Status ValidateChange(const ChangeSet& set, const Change& change) {
  if (!ValidatePath(change.path).ok()) return Invalid(change, "not a path in a workspace");
  if (!change.from.empty() && !ValidatePath(change.from).ok()) {
    return Invalid(change, "'from' is not a path in a workspace");
  }
  if (!change.link_to.empty() && !ValidatePath(change.link_to).ok()) {
    return Invalid(change, "'link_to' is not a path in a workspace");
  }
  if (IsReserved(change.path) || IsReserved(change.from) || IsReserved(change.link_to)) {
    return Invalid(change, "lies in .bailiff, which no change set may touch");
  }
  if (change.base.has_value() != (change.op != ChangeOp::kCreate)) {
    return Invalid(change, "a base is needed, but for a create");
  }
  if (change.op == ChangeOp::kMove && change.from.empty()) return Invalid(change, "has no source");
  const bool brings = change.op == ChangeOp::kCreate || change.op == ChangeOp::kModify;
  if (!brings) return Ok();
  if (change.op == ChangeOp::kModify && change.type == EntryType::kDir) {
    return Invalid(change, "a directory has no content");
  }
  if (!change.content.path.empty()) {
    return MayHold(set, change) ? Ok() : Invalid(change, "its content lies outside stage/<id>");
  }
  const bool needs = change.type == EntryType::kFile && change.link_to.empty();
  return needs ? Invalid(change, "its content is not staged") : Ok();
}

Status ValidateTogether(const ChangeSet& set) {
  const SetIndex index(set);
  std::unordered_map<std::string, int> bases;
  std::unordered_map<std::string, int> finals;
  for (const Change& change : set.changes) {
    const bool leaves = change.op == ChangeOp::kDelete || change.op == ChangeOp::kMove;
    const bool arrives = change.op == ChangeOp::kCreate || change.op == ChangeOp::kMove;
    if (leaves && ++bases[change.base_path()] > 1) return Invalid(change, "leaves twice");
    if (arrives && ++finals[change.path] > 1) return Invalid(change, "arrives twice");
    if (leaves || arrives) continue;
    if (index.ToFinal(change.base_path()) != change.path) {
      return Invalid(change, "its base is elsewhere in the final tree");
    }
  }
  return Ok();
}

class Planner {
 public:
  Planner(const ChangeSet& set, const SetIndex& index, Stability stability)
      : set_(set), index_(index), stability_(stability) {
    for (std::size_t i = 0; i < set.changes.size(); ++i) {
      const Change& change = set.changes[i];
      if (change.op == ChangeOp::kModify) modified_.emplace(change.path, i);
    }
  }

  std::vector<Step> Plan() {
    Detach();
    const bool moves = std::any_of(steps_.begin(), steps_.end(),
                                   [](const Step& step) { return !step.mark.empty(); });
    if (moves) Add(StepKind::kMark, Step::kNoChange, "").store = Mark();
    for (std::size_t i = 0; i < set_.changes.size(); ++i) Attach(i);
    for (std::size_t i = 0; i < set_.changes.size(); ++i) Exchange(i);
    for (std::size_t i = 0; i < set_.changes.size(); ++i) Link(i);
    for (std::size_t i = 0; i < set_.changes.size(); ++i) Metadata(i);
    OrderMetadata(&steps_);
    return std::move(steps_);
  }

 private:
  Step& Add(StepKind kind, std::size_t change, const std::string& path) {
    Step step;
    step.kind = kind;
    step.change = change;
    step.path = path;
    steps_.push_back(std::move(step));
    return steps_.back();
  }

  std::string Mark() const { return "undo/" + set_.id + "/detached"; }
  std::string NextSlot() { return "undo/" + set_.id + "/" + std::to_string(slots_++); }
  std::string Staged(std::string_view kind, std::size_t change) const {
    return "stage/" + set_.id + "/" + std::string(kind) + std::to_string(change);
  }

  // A file that moves and changes is not exchanged where it arrives: the old one stays aside, and
  // the new one arrives.
  bool IsReplacedOnTheWay(const Change& move) const { return modified_.contains(move.path); }

  void Detach() {
    std::vector<std::size_t> leaving;
    for (std::size_t i = 0; i < set_.changes.size(); ++i) {
      const ChangeOp op = set_.changes[i].op;
      const bool leaves = op == ChangeOp::kDelete || op == ChangeOp::kMove;
      if (leaves && !index_.IsCarried(i)) leaving.push_back(i);
    }
    std::sort(leaving.begin(), leaving.end(), [this](std::size_t left, std::size_t right) {
      return PathLess(set_.changes[right].base_path(), set_.changes[left].base_path());
    });
    slot_of_.resize(set_.changes.size());
    for (const std::size_t i : leaving) {
      const Change& change = set_.changes[i];
      slot_of_[i] = NextSlot();
      Step& step = Add(StepKind::kDetach, i, change.base_path());
      step.store = slot_of_[i];
      step.before = *change.base;
      if (change.op == ChangeOp::kMove && !IsReplacedOnTheWay(change)) step.mark = Mark();
    }
  }

  void Attach(std::size_t i) {
    const Change& change = set_.changes[i];
    if (change.op == ChangeOp::kMove) {
      const auto modified = modified_.find(change.path);
      const bool replaced = modified != modified_.end();
      Step& step = Add(StepKind::kAttach, replaced ? modified->second : i, change.path);
      step.store = replaced ? Source(modified->second) : slot_of_[i];
      if (!replaced) {
        step.mark = Mark();
        step.after = *change.base;
      }
    }
    const bool made = change.op == ChangeOp::kCreate && change.link_to.empty();
    if (made && !index_.IsCarried(i)) Add(StepKind::kAttach, i, change.path).store = Source(i);
  }

  std::string Source(std::size_t i) const {
    const std::string& path = set_.changes[i].content.path;
    return path.empty() ? Staged("new-", i) : path;
  }

  void Exchange(std::size_t i) {
    const Change& change = set_.changes[i];
    if (change.op != ChangeOp::kModify) return;
    const Change* moved = index_.AttachedAt(change.path);
    if (moved != nullptr && moved->op == ChangeOp::kMove) return;
    const bool weak = stability_ == Stability::kWeak;
    Step& step = Add(weak ? StepKind::kReplace : StepKind::kExchange, i, change.path);
    // A replacement cannot be taken back to where it was kept: a copy of it is used.
    const bool copied = weak && change.Has(ChangeFlag::kRestored);
    step.store = copied ? Staged("new-", i) : Source(i);
    step.slot = NextSlot();
    step.before = *change.base;
  }

  void Link(std::size_t i) {
    const Change& change = set_.changes[i];
    if (change.op != ChangeOp::kCreate || change.link_to.empty()) return;
    if (index_.IsCarried(i)) return;
    Step& step = Add(StepKind::kLink, i, change.path);
    step.store = Staged("link-", i);
    step.target = change.link_to;
  }

  void Metadata(std::size_t i) {
    const Change& change = set_.changes[i];
    const bool is_dir = change.type == EntryType::kDir;
    const bool made = change.op == ChangeOp::kCreate && is_dir && !index_.IsCarried(i);
    if (!made && change.op != ChangeOp::kMetadata) return;
    Step& step = Add(StepKind::kMetadata, i, change.path);
    if (change.base.has_value()) step.before = *change.base;
    step.before.type = change.type;
    step.after = step.before;
    step.after.mode = change.mode;
    if (change.sets_mtime) step.after.mtime_ns = change.mtime_ns;
    step.sets_mtime = change.sets_mtime;
  }

  const ChangeSet& set_;
  const SetIndex& index_;
  const Stability stability_;
  std::vector<Step> steps_;
  std::vector<std::string> slot_of_;  // By change.
  std::unordered_map<std::string, std::size_t> modified_;
  std::size_t slots_ = 0;
};

}  // namespace

SetIndex::SetIndex(const ChangeSet& set) : set_(set), unit_of_(set.changes.size()) {
  for (std::size_t i = 0; i < set.changes.size(); ++i) {
    const Change& change = set.changes[i];
    unit_of_[i] = i;
    if (change.op == ChangeOp::kDelete) deleted_.emplace(change.path, i);
    if (change.op == ChangeOp::kMove) moved_.emplace(change.from, i);
    if (change.op == ChangeOp::kMove || change.op == ChangeOp::kCreate) {
      attached_.emplace(change.path, i);
    }
  }
  // In canonical order a directory comes before what is in it, so its own unit is known by then.
  for (std::size_t i = 0; i < set.changes.size(); ++i) {
    const Change& change = set.changes[i];
    const std::string parent(ParentOf(change.path));
    std::size_t unit = i;
    if (change.op == ChangeOp::kDelete) {
      const auto above = deleted_.find(parent);
      if (above != deleted_.end()) unit = unit_of_[above->second];
    }
    if (change.op == ChangeOp::kCreate && !change.content.path.empty()) {
      const auto above = attached_.find(parent);
      const Change* dir = above == attached_.end() ? nullptr : &set.changes[above->second];
      const bool within = dir != nullptr && dir->op == ChangeOp::kCreate &&
                          !dir->content.path.empty() && dir->type == EntryType::kDir &&
                          change.content.path == JoinPath(dir->content.path, NameOf(change.path));
      if (within) unit = unit_of_[above->second];
    }
    unit_of_[i] = unit;
    if (unit != i) carried_[unit].push_back(i);
  }
}

std::optional<std::string> SetIndex::ToFinal(std::string_view base_path) const {
  std::string prefix(base_path);
  while (!prefix.empty()) {
    if (deleted_.contains(prefix)) return std::nullopt;
    const auto moved = moved_.find(prefix);
    if (moved != moved_.end()) {
      return set_.changes[moved->second].path + std::string(base_path.substr(prefix.size()));
    }
    prefix.resize(ParentOf(prefix).size());
  }
  return std::string(base_path);
}

std::optional<std::string> SetIndex::ToBase(std::string_view final_path) const {
  std::string prefix(final_path);
  while (!prefix.empty()) {
    const Change* attached = AttachedAt(prefix);
    if (attached != nullptr && attached->op == ChangeOp::kCreate) return std::nullopt;
    if (attached != nullptr) return attached->from + std::string(final_path.substr(prefix.size()));
    prefix.resize(ParentOf(prefix).size());
  }
  return std::string(final_path);
}

bool SetIndex::IsGone(const std::string& base_path) const {
  return deleted_.contains(base_path) || moved_.contains(base_path);
}

const Change* SetIndex::AttachedAt(const std::string& final_path) const {
  const auto found = attached_.find(final_path);
  return found == attached_.end() ? nullptr : &set_.changes[found->second];
}

const std::vector<std::size_t>& SetIndex::CarriedBy(std::size_t change) const {
  static const std::vector<std::size_t> kNothing;
  const auto found = carried_.find(change);
  return found == carried_.end() ? kNothing : found->second;
}

Status ValidateSet(const ChangeSet& set) {
  if (!IsId(set.id)) {
    return Error(
        ErrorCode::kInvalidArgument,
        "change set: id: '" + EscapeForTerminal(set.id, Lines::kSingle) + "' is not an id");
  }
  for (std::size_t i = 0; i < set.changes.size(); ++i) {
    const Change& change = set.changes[i];
    TRY(ValidateChange(set, change));
    if (i == 0) continue;
    const Change& previous = set.changes[i - 1];
    const bool ordered = previous.path == change.path ? previous.op < change.op
                                                      : PathLess(previous.path, change.path);
    if (!ordered) return Invalid(change, "is not in canonical order");
  }
  return ValidateTogether(set);
}

std::vector<Step> PlanSteps(const ChangeSet& set, const SetIndex& index, Stability stability) {
  return Planner(set, index, stability).Plan();
}

void OrderMetadata(std::vector<Step>* steps) {
  const auto is_last = [](const Step& step) {
    return step.kind == StepKind::kMetadata && step.before.type == EntryType::kDir && !step.unlocks;
  };
  const auto dirs = std::stable_partition(steps->begin(), steps->end(),
                                          [&](const Step& step) { return !is_last(step); });
  std::stable_sort(dirs, steps->end(), [](const Step& left, const Step& right) {
    return PathLess(right.path, left.path);
  });
}

std::string Describe(const Step& step) {
  const std::string path = EscapeForTerminal(step.path, Lines::kSingle);
  switch (step.kind) {
    case StepKind::kDetach:
      return "detach " + path + " -> " + step.store;
    case StepKind::kAttach:
      return "attach " + step.store + " -> " + path;
    case StepKind::kExchange:
      return "exchange " + step.store + " <-> " + path + ", keep " + step.slot;
    case StepKind::kReplace:
      return "replace " + path + " by " + step.store + ", copy at " + step.slot;
    case StepKind::kLink:
      return "link " + EscapeForTerminal(step.target, Lines::kSingle) + " -> " + path;
    case StepKind::kMetadata:
      return (step.unlocks ? "unlock " : "metadata ") + path;
    case StepKind::kMark:
      return "mark " + step.store;
  }
  CheckFailed("StepKind out of range", __FILE__, __LINE__);
}

}  // namespace bailiff
