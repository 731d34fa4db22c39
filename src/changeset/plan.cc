#include "changeset/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <unordered_map>
#include <utility>

#include "base/check.h"
#include "base/units.h"
#include "changeset/capture_attributes.h"
#include "changeset/capture_compare.h"
#include "changeset/capture_stage.h"
#include "changeset/capture_upper.h"
#include "changeset/plan_tree.h"
#include "sys/file.h"
#include "sys/process.h"
#include "workspace/tree.h"

namespace bailiff {
namespace {

constexpr std::uint32_t kAnyExecute = 0111;
constexpr std::uint32_t kSymlinkMode = 0777;

// Above these a plan may be other than it was meant.
constexpr std::size_t kManyOperations = 1'000;
constexpr std::int64_t kLargeChangeBytes = 100LL << 20;

// Finds what the tree of a plan and the base differ in.
class Collector {
 public:
  Collector(const PlanTree& tree, Base* base, const PlanRequest& request)
      : tree_(tree), base_(*base), request_(request), budget_(request.files_max) {}

  Status Run() {
    TRY(VisitBelow(tree_.root(), ""));
    for (const PlanTree::Gone& gone : tree_.gone()) {
      Draft draft;
      draft.change.op = ChangeOp::kDelete;
      draft.change.type = gone.identity.type;
      draft.change.path = gone.path;
      draft.change.base = gone.identity;
      TRY(Add(std::move(draft)));
    }
    return Ok();
  }

  std::vector<Draft>& drafts() { return drafts_; }
  std::int64_t bytes() const { return bytes_; }

  // Whether what is copied still is what it was when it was looked at.
  Status CheckCopied() {
    for (const auto& [path, identity] : copied_) {
      const BaseEntry now = TRY(base_.Look(path));
      const bool same = now.state == BaseEntry::State::kPresent &&
                        Compare(identity, now.identity, base_.stability()) != Same::kNo &&
                        identity.ctime_ns == now.identity.ctime_ns;
      if (!same) return Error(ErrorCode::kConflict, path + ": changed while it was copied");
    }
    return Ok();
  }

 private:
  Status VisitBelow(const PlanNode& dir, const std::string& path) {
    for (const auto& [name, child] : dir.children) {
      if (child == nullptr) continue;
      const bool in_place =
          dir.is_base && child->is_base && child->base_path == JoinPath(dir.base_path, name);
      const std::string child_path = JoinPath(path, name);
      TRY(Visit(*child, child_path, in_place));
      TRY(VisitBelow(*child, child_path));
    }
    return Ok();
  }

  Status Visit(const PlanNode& node, const std::string& path, bool in_place) {
    if (!node.is_base) return AddNew(node, path, Start(ChangeOp::kCreate, node, path));
    if (!in_place) {
      Draft draft = Start(ChangeOp::kMove, node, path);
      const bool escapes =
          node.type == EntryType::kSymlink && LeavesWorkspace(path, node.link_target);
      if (escapes) draft.change.Set(ChangeFlag::kEscapingSymlink);
      TRY(Add(std::move(draft)));
    }
    if (node.content.kind == PlanContent::Kind::kOwn) return Ok();
    Draft draft = Start(ChangeOp::kModify, node, path);
    if (node.identity.nlink > 1) draft.change.Set(ChangeFlag::kBreaksHardLink);
    const bool same = TRY(HasBaseContent(node, &*draft.change.base));
    return same ? Ok() : AddNew(node, path, std::move(draft));
  }

  static Draft Start(ChangeOp op, const PlanNode& node, const std::string& path) {
    Draft draft;
    draft.change.op = op;
    draft.change.type = node.type;
    draft.change.path = path;
    if (op == ChangeOp::kCreate) return draft;
    draft.change.base = node.identity;
    if (op == ChangeOp::kMove || node.base_path != path) draft.change.from = node.base_path;
    return draft;
  }

  // New content that is the old one, with the same mode, is no change.
  Result<bool> HasBaseContent(const PlanNode& node, Identity* base) {
    if (node.size != node.identity.size) return false;
    base->sha256 = TRY(HashBeneath(base_.root(), node.base_path));
    std::string sha256;
    if (node.content.kind == PlanContent::Kind::kCopied) {
      sha256 = TRY(HashBeneath(base_.root(), node.content.path));
    } else {
      sha256 = request_.operations[node.content.operation].sha256;
    }
    return base->sha256 == sha256 && node.mode == node.identity.mode;
  }

  Status AddNew(const PlanNode& node, const std::string& path, Draft draft) {
    Change& change = draft.change;
    if (node.type == EntryType::kDir) {
      change.mode = node.mode;
      return Add(std::move(draft));
    }
    change.mtime_ns = node.mtime_ns;
    change.sets_mtime = true;
    if (node.type == EntryType::kSymlink) {
      change.mode = kSymlinkMode;
      change.link_target = node.link_target;
      change.size = static_cast<std::int64_t>(node.link_target.size());
      if (LeavesWorkspace(path, node.link_target)) change.Set(ChangeFlag::kEscapingSymlink);
      return Add(std::move(draft));
    }
    change.mode = node.mode;
    change.size = node.size;
    if ((change.mode & kAnyExecute) != 0) change.Set(ChangeFlag::kExecutable);
    if (node.stripped_setid) change.Set(ChangeFlag::kStrippedSetid);
    AddSize(node.size, &bytes_);
    if (node.content.kind == PlanContent::Kind::kCopied) {
      TRY(SetCopied(node.content, &draft));
    } else {
      const PlanOperation& given = request_.operations[node.content.operation];
      draft.bytes = Draft::Bytes::kGiven;
      draft.change.sha256 = given.sha256;
      if (request_.stage) draft.source = given.content;
    }
    return Add(std::move(draft));
  }

  Status SetCopied(const PlanContent& content, Draft* draft) {
    draft->bytes = Draft::Bytes::kCopy;
    draft->source = content.path;
    copied_.emplace(content.path, content.from);
    const Fd file = TRY(base_.OpenToRead(content.path));
    const ForeignXattrs foreign = TRY(FindForeignXattrs(file, Fd(), OverlayAttributes::kTrusted));
    if (foreign.user || foreign.acl) draft->change.Set(ChangeFlag::kDroppedXattrs);
    return Ok();
  }

  Status Add(Draft draft) {
    TRY(budget_.Take(draft.change.path));
    if (static_cast<std::int64_t>(drafts_.size()) == request_.files_max) {
      return Error(ErrorCode::kResourceExhausted,
                   fmt::format("plan: changes more than {} entries", request_.files_max));
    }
    drafts_.push_back(std::move(draft));
    return Ok();
  }

  const PlanTree& tree_;
  Base& base_;
  const PlanRequest& request_;
  PathBudget budget_;
  std::int64_t bytes_ = 0;
  std::unordered_map<std::string, Identity> copied_;
  std::vector<Draft> drafts_;
};

void ApplyAll(const PlanRequest& request, PlanTree* tree, Status* failed, PlanEffect* effect) {
  for (std::size_t i = 0; i < request.operations.size(); ++i) {
    const std::string label = "Op " + std::to_string(i) + ": ";
    std::vector<std::string> warnings;
    const Result<std::string> wrong = tree->Apply(i, &warnings);
    if (!wrong.ok()) {
      *failed = wrong.error();
      return;
    }
    if (!wrong.value().empty()) effect->errors.push_back(label + wrong.value());
    for (const std::string& warning : warnings) effect->warnings.push_back(label + warning);
  }
}

std::int64_t SizeChange(const ChangeSet& set) {
  std::int64_t added = 0;
  std::int64_t removed = 0;
  for (const Change& change : set.changes) {
    const bool brings = change.op == ChangeOp::kCreate || change.op == ChangeOp::kModify;
    const bool takes = change.op == ChangeOp::kDelete || change.op == ChangeOp::kModify;
    if (brings) AddSize(change.size, &added);
    if (takes) AddSize(change.base->size, &removed);
  }
  return added - removed;
}

bool CanonicalLess(const Draft& left, const Draft& right) {
  if (left.change.path != right.change.path) return PathLess(left.change.path, right.change.path);
  return left.change.op < right.change.op;
}

Status Stage(const Fd& workspace, Base* base, const Fd& holder, const PlanRequest& request,
             Collector* collector) {
  // Nothing of a plan lies in an upper layer.
  TRY(StageBytes(workspace, base, holder, request.id, &collector->drafts()));
  Status same = collector->CheckCopied();
  if (same.ok()) return same;
  const Result<Fd> stage = OpenDirBeneath(holder, "stage");
  // The error that brought us here is the one to report; `gc` removes what stays.
  if (stage.ok()) (void)RemoveTree(stage.value(), request.id);
  return same;
}

Status CheckRequest(const PlanRequest& request) {
  if (!ValidatePath(request.id).ok() || request.id.find('/') != std::string::npos) {
    return Error(ErrorCode::kInvalidArgument, "plan: id: '" + request.id + "' is not a name");
  }
  if (!request.scope.empty()) TRY(ValidatePath(request.scope));
  for (const std::string& path : request.reserved) TRY(ValidatePath(path));
  for (const PlanOperation& operation : request.operations) {
    const bool has_source = operation.op == PlanOp::kMove || operation.op == PlanOp::kCopy ||
                            operation.op == PlanOp::kDelete;
    if (has_source) TRY(ValidatePath(operation.source));
    if (operation.op != PlanOp::kDelete) TRY(ValidatePath(operation.destination));
  }
  return Ok();
}

}  // namespace

std::string_view Name(PlanOp op) {
  switch (op) {
    case PlanOp::kMove:
      return "move";
    case PlanOp::kCopy:
      return "copy";
    case PlanOp::kDelete:
      return "delete";
    case PlanOp::kCreateDir:
      return "create_dir";
    case PlanOp::kWriteFile:
      return "write_file";
  }
  CheckFailed("PlanOp out of range", __FILE__, __LINE__);
}

Result<PlanEffect> BuildPlan(const Fd& workspace, const Fd& holder, const PlanRequest& request) {
  TRY(CheckRequest(request));
  RaiseDescriptorLimit();  // A directory that moves is walked with a descriptor per level.
  Base base = TRY(Base::Open(workspace, nullptr));
  PlanTree tree(&base, request);
  PlanEffect effect;
  effect.set.id = request.id;
  if (!TRY(tree.EnterScope())) {
    effect.errors.push_back("Case directory not found: " + std::string(NameOf(request.scope)));
    return effect;
  }
  Status failed;
  ApplyAll(request, &tree, &failed, &effect);
  TRY(std::move(failed));
  if (request.operations.size() > kManyOperations) {
    effect.warnings.push_back(fmt::format("Large operation count: {}", request.operations.size()));
  }
  if (!effect.errors.empty()) return effect;

  Collector collector(tree, &base, request);
  TRY(collector.Run());
  if (collector.bytes() > request.bytes_max) {
    effect.errors.push_back(fmt::format("The plan writes {} and may write {}",
                                        FormatSize(collector.bytes()),
                                        FormatSize(request.bytes_max)));
    return effect;
  }
  std::vector<Draft>& drafts = collector.drafts();
  std::sort(drafts.begin(), drafts.end(), CanonicalLess);
  if (request.stage) TRY(Stage(workspace, &base, holder, request, &collector));
  effect.set.changes.reserve(drafts.size());
  for (Draft& draft : drafts) effect.set.changes.push_back(std::move(draft.change));
  effect.size_change = SizeChange(effect.set);
  if (std::abs(effect.size_change) > kLargeChangeBytes) {
    effect.warnings.push_back(
        fmt::format("Large size change: {:.2f} MB",
                    static_cast<double>(effect.size_change) / static_cast<double>(1 << 20)));
  }
  return effect;
}

}  // namespace bailiff
