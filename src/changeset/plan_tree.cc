#include "changeset/plan_tree.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "workspace/tree.h"

namespace bailiff {
namespace {

constexpr std::uint32_t kPermissions = 0777;
constexpr std::uint32_t kDirMode = 01777;
constexpr std::uint32_t kSetid = 06000;
constexpr std::uint32_t kNewFileMode = 0644;
constexpr std::uint32_t kNewDirMode = 0755;

std::string Text(std::string_view what, std::string_view path) {
  std::string text(what);
  text += path;
  return text;
}

bool IsAtOrBelow(std::string_view path, std::string_view top) {
  return path == top || IsBelow(path, top);
}

std::size_t ComponentsOf(std::string_view path) {
  if (path.empty()) return 0;
  return 1 + static_cast<std::size_t>(std::count(path.begin(), path.end(), '/'));
}

std::unique_ptr<PlanNode> NodeOf(const BaseEntry& entry, std::string path) {
  auto node = std::make_unique<PlanNode>();
  node->is_base = true;
  node->base_path = std::move(path);
  node->identity = entry.identity;
  if (entry.state == BaseEntry::State::kMount) node->unusable = "is a mount point";
  if (entry.state == BaseEntry::State::kSpecial) node->unusable = "is a device, socket or FIFO";
  node->type = entry.identity.type;
  node->mode = entry.identity.mode;
  node->size = entry.identity.size;
  node->mtime_ns = entry.identity.mtime_ns;
  node->link_target = entry.identity.link_target.str();
  return node;
}

std::unique_ptr<PlanNode> NewDir(std::uint32_t mode) {
  auto node = std::make_unique<PlanNode>();
  node->type = EntryType::kDir;
  node->mode = mode;
  return node;
}

}  // namespace

PlanTree::PlanTree(Base* base, const PlanRequest& request) : base_(*base), request_(request) {
  root_.is_base = true;
}

Result<bool> PlanTree::EnterScope() {
  scope_ = &root_;
  if (request_.scope.empty()) return true;
  const Place place = TRY(Find(request_.scope));
  const bool is_dir = place.node != nullptr && place.node->type == EntryType::kDir;
  if (!place.wrong.empty() || !is_dir || !place.node->unusable.empty()) return false;
  scope_ = place.node;
  return true;
}

Result<std::string> PlanTree::Apply(std::size_t index, std::vector<std::string>* warnings) {
  const PlanOperation& operation = request_.operations[index];
  warnings_ = warnings;
  for (const std::string* path : {&operation.source, &operation.destination}) {
    if (!path->empty() && IsReserved(*path)) {
      return Text("Path is reserved for Bailiff: ", *path);
    }
  }
  std::string wrong;
  switch (operation.op) {
    case PlanOp::kMove:
      wrong = TRY(Move(operation));
      break;
    case PlanOp::kCopy:
      wrong = TRY(Copy(operation));
      break;
    case PlanOp::kDelete:
      wrong = TRY(Delete(operation));
      break;
    case PlanOp::kCreateDir:
      wrong = TRY(CreateDir(operation));
      break;
    case PlanOp::kWriteFile:
      wrong = TRY(WriteFile(index));
      break;
  }
  return wrong.empty() ? CheckReserved() : Result<std::string>(std::move(wrong));
}

Result<std::string> PlanTree::Move(const PlanOperation& operation) {
  const std::string& target = operation.destination;
  Place from = TRY(FindSource(operation));
  if (!from.wrong.empty()) return from.wrong;
  if (operation.source == target) {
    warnings_->push_back(Text("Source and destination are the same: ", target));
    return std::string();
  }
  if (IsBelow(target, operation.source) && from.node->type == EntryType::kDir) {
    return Text("Cannot move a directory into itself: ", operation.source + " -> " + target);
  }
  const Place to = TRY(FindTarget(operation));
  if (!to.wrong.empty()) return to.wrong;
  std::string wrong = TRY(CheckDepth(operation, *from.node));
  if (wrong.empty()) wrong = TRY(DigestTree(from.node));
  if (!wrong.empty()) return wrong;
  if (to.node != nullptr) warnings_->push_back(Text("Will be overwritten: ", target));
  return Put(target, std::exchange(from.dir->children[from.name], nullptr));
}

Result<std::string> PlanTree::Copy(const PlanOperation& operation) {
  const std::string& target = operation.destination;
  const Place from = TRY(FindSource(operation));
  if (!from.wrong.empty()) return from.wrong;
  if (operation.source == target) return Text("Source and destination are the same: ", target);
  if (IsBelow(target, operation.source) && from.node->type == EntryType::kDir) {
    return Text("Cannot copy a directory into itself: ", operation.source + " -> " + target);
  }
  const Place to = TRY(FindTarget(operation));
  if (!to.wrong.empty()) return to.wrong;
  std::unique_ptr<PlanNode> clone;
  std::string wrong = TRY(Clone(from.node, &clone));
  if (wrong.empty()) wrong = TRY(CheckDepth(operation, *clone));
  if (!wrong.empty()) return wrong;
  if (to.node != nullptr) warnings_->push_back(Text("Will be overwritten: ", target));
  const bool rewrites =
      to.node != nullptr && to.node->type == EntryType::kFile && clone->type == EntryType::kFile;
  if (!rewrites) return Put(target, std::move(clone));
  to.node->content = std::move(clone->content);
  to.node->mode = clone->mode;
  to.node->size = clone->size;
  to.node->mtime_ns = clone->mtime_ns;
  to.node->stripped_setid = clone->stripped_setid;
  return std::string();
}

Result<std::string> PlanTree::Delete(const PlanOperation& operation) {
  const Place place = TRY(Find(operation.source));
  if (!place.wrong.empty()) return place.wrong;
  if (place.node == nullptr) {
    warnings_->push_back(Text("File already deleted: ", operation.source));
    return std::string();
  }
  const bool is_dir = place.node->type == EntryType::kDir;
  std::int64_t entries = -1;  // Itself does not count.
  std::string wrong = TRY(Bury(place.node, &entries));
  if (!wrong.empty()) return wrong;
  place.dir->children[place.name] = nullptr;
  if (is_dir && entries > 0) {
    warnings_->push_back("Deletes a directory with " + std::to_string(entries) +
                         (entries == 1 ? " entry: " : " entries: ") + operation.source);
  }
  return std::string();
}

Result<std::string> PlanTree::CreateDir(const PlanOperation& operation) {
  const std::string& target = operation.destination;
  const Place place = TRY(Find(target));
  if (!place.wrong.empty()) return place.wrong;
  if (place.node != nullptr) {
    const bool is_dir = place.node->type == EntryType::kDir && place.node->unusable.empty();
    if (!is_dir) return Text("Destination exists and is not a directory: ", target);
    warnings_->push_back(Text("Directory already exists: ", target));
    return std::string();
  }
  std::unique_ptr<PlanNode> dir = NewDir(kNewDirMode);
  std::string wrong = TRY(CheckDepth(operation, *dir));
  if (!wrong.empty()) return wrong;
  return Put(target, std::move(dir));
}

Result<std::string> PlanTree::WriteFile(std::size_t index) {
  const PlanOperation& operation = request_.operations[index];
  const Place place = TRY(FindTarget(operation));
  if (!place.wrong.empty()) return place.wrong;
  auto made = std::make_unique<PlanNode>();
  made->type = EntryType::kFile;
  made->mode = kNewFileMode;
  std::string wrong = TRY(CheckDepth(operation, *made));
  if (!wrong.empty()) return wrong;
  if (place.node != nullptr) {
    warnings_->push_back(Text("File will be overwritten: ", operation.destination));
  }
  const bool rewrites = place.node != nullptr && place.node->type == EntryType::kFile;
  PlanNode* file = rewrites ? place.node : made.get();
  // New content does not inherit the right to run as someone else.
  if ((file->mode & kSetid) != 0) file->stripped_setid = true;
  file->mode &= kPermissions;
  file->content = PlanContent();
  file->content.kind = PlanContent::Kind::kGiven;
  file->content.operation = index;
  file->size = operation.size;
  file->mtime_ns = request_.now_ns;
  return rewrites ? std::string() : Put(operation.destination, std::move(made));
}

Result<PlanTree::Place> PlanTree::Find(std::string_view path) {
  Place place;
  PlanNode* at = scope_;
  std::string_view rest = path;
  for (;;) {
    const std::size_t slash = rest.find('/');
    place.dir = at;
    place.name = std::string(rest.substr(0, slash));
    place.node = nullptr;
    if (at != nullptr) place.node = TRY(Child(at, place.name));
    if (slash == std::string_view::npos) return place;
    rest.remove_prefix(slash + 1);
    at = place.node;
    if (at == nullptr) continue;
    const std::string_view so_far = path.substr(0, path.size() - rest.size() - 1);
    if (!at->unusable.empty()) {
      place.wrong = std::string(so_far) + " " + at->unusable;
    } else if (at->type == EntryType::kSymlink) {
      place.wrong = Text("Path leads through a symbolic link: ", so_far);
    } else if (at->type == EntryType::kFile) {
      place.wrong = Text("Not a directory: ", so_far);
    }
    if (!place.wrong.empty()) return place;
  }
}

Result<PlanTree::Place> PlanTree::FindSource(const PlanOperation& operation) {
  Place place = TRY(Find(operation.source));
  if (!place.wrong.empty()) return place;
  if (place.node == nullptr) place.wrong = Text("Source not found: ", operation.source);
  if (place.node != nullptr && !place.node->unusable.empty()) {
    place.wrong = operation.source + " " + place.node->unusable;
  }
  return place;
}

// A directory is not overwritten: whoever names one as destination may mean a place in it.
Result<PlanTree::Place> PlanTree::FindTarget(const PlanOperation& operation) {
  Place place = TRY(Find(operation.destination));
  if (!place.wrong.empty() || place.node == nullptr) return place;
  if (!place.node->unusable.empty()) {
    place.wrong = operation.destination + " " + place.node->unusable;
  } else if (place.node->type == EntryType::kDir) {
    place.wrong = "Destination is a directory: " + operation.destination +
                  " (name the whole new path, or delete the directory first)";
  }
  return place;
}

Result<PlanNode*> PlanTree::Child(PlanNode* dir, const std::string& name) {
  const auto known = dir->children.find(name);
  if (known != dir->children.end()) return known->second.get();
  if (!dir->is_base || dir->is_complete) return static_cast<PlanNode*>(nullptr);
  TRY(Count(1));
  std::string path = JoinPath(dir->base_path, name);
  const BaseEntry entry = TRY(base_.Look(path));
  if (!entry.exists()) return static_cast<PlanNode*>(nullptr);
  std::unique_ptr<PlanNode> node = NodeOf(entry, std::move(path));
  return dir->children.emplace(name, std::move(node)).first->second.get();
}

// The directory that `path` lies in. What is on the way was found to be directories or missing.
Result<PlanNode*> PlanTree::MakeParent(std::string_view path) {
  PlanNode* at = scope_;
  for (std::size_t slash = path.find('/'); slash != std::string_view::npos;
       slash = path.find('/')) {
    const std::string name(path.substr(0, slash));
    path.remove_prefix(slash + 1);
    PlanNode* below = TRY(Child(at, name));
    if (below == nullptr) {
      TRY(Count(1));
      std::unique_ptr<PlanNode>& slot = at->children[name];
      slot = NewDir(kNewDirMode);
      below = slot.get();
    }
    at = below;
  }
  return at;
}

Status PlanTree::LoadAll(PlanNode* dir) {
  if (!dir->is_base || dir->is_complete) return Ok();
  for (const std::string& name : TRY(base_.List(dir->base_path))) TRY(Child(dir, name));
  dir->is_complete = true;
  return Ok();
}

// At `path`, in place of what is there.
Result<std::string> PlanTree::Put(std::string_view path, std::unique_ptr<PlanNode> node) {
  PlanNode* dir = TRY(MakeParent(path));
  const std::string name(NameOf(path));
  PlanNode* old = TRY(Child(dir, name));
  std::int64_t entries = 0;
  if (old != nullptr) TRY(Bury(old, &entries));
  TRY(Count(1));
  dir->children[name] = std::move(node);
  return std::string();
}

Result<std::string> PlanTree::Bury(PlanNode* node, std::int64_t* entries) {
  if (!node->unusable.empty()) return node->base_path + " " + node->unusable;
  ++*entries;
  if (node->is_base) gone_.push_back({node->base_path, node->identity});
  TRY(LoadAll(node));
  for (const auto& [name, child] : node->children) {
    if (child == nullptr) continue;
    std::string wrong = TRY(Bury(child.get(), entries));
    if (!wrong.empty()) return wrong;
  }
  return std::string();
}

Result<std::string> PlanTree::Clone(PlanNode* node, std::unique_ptr<PlanNode>* clone) {
  if (!node->unusable.empty()) return node->base_path + " " + node->unusable;
  TRY(Count(1));
  *clone = std::make_unique<PlanNode>();
  PlanNode& made = **clone;
  made.type = node->type;
  made.mode = node->mode & (node->type == EntryType::kDir ? kDirMode : kPermissions);
  made.size = node->size;
  made.mtime_ns = node->mtime_ns;
  made.link_target = node->link_target;
  // The kernel itself passes setgid on from a directory to one in it.
  made.stripped_setid = node->type == EntryType::kFile && (node->mode & kSetid) != 0;
  made.content = node->content;
  if (node->type == EntryType::kFile && node->content.kind == PlanContent::Kind::kOwn) {
    made.content.kind = PlanContent::Kind::kCopied;
    made.content.path = node->base_path;
    made.content.from = node->identity;
  }
  TRY(LoadAll(node));
  for (const auto& [name, child] : node->children) {
    if (child == nullptr) continue;
    std::string wrong = TRY(Clone(child.get(), &made.children[name]));
    if (!wrong.empty()) return wrong;
  }
  return std::string();
}

// A base directory is known by what lies in it, from its first move on.
Result<std::string> PlanTree::DigestTree(PlanNode* dir) {
  const bool known = !dir->identity.tree_sha256.empty();
  if (dir->type != EntryType::kDir || !dir->is_base || known) return std::string();
  Result<std::vector<TreeEntry>> listed = ListTree(base_.root(), dir->base_path);
  if (!listed.ok() && listed.error().code() == ErrorCode::kUnsupported) {
    return "Cannot move " + dir->base_path + ": " + listed.error().message();
  }
  const std::vector<TreeEntry> entries = TRY(std::move(listed));
  TRY(Count(entries.size()));
  dir->identity.tree_sha256 = TreeDigest(entries, base_.stability());
  return std::string();
}

Result<std::string> PlanTree::CheckDepth(const PlanOperation& operation, const PlanNode& node) {
  const std::size_t above = ComponentsOf(request_.scope) + ComponentsOf(operation.destination);
  const std::size_t below = TRY(HeightOf(node));
  if (above + below <= kTreeDepthMax) return std::string();
  return "Deeper than " + std::to_string(kTreeDepthMax) + " directories: " + operation.destination;
}

// As far as its entries were looked at.
Result<std::size_t> PlanTree::HeightOf(const PlanNode& node) {
  std::size_t height = 0;
  TRY(Count(node.children.size()));
  for (const auto& [name, child] : node.children) {
    if (child == nullptr) continue;
    const std::size_t below = TRY(HeightOf(*child));
    height = std::max(height, below + 1);
  }
  return height;
}

bool PlanTree::IsReserved(std::string_view path) const {
  const std::string full = JoinPath(request_.scope, path);
  if (IsAtOrBelow(full, kPrivateName)) return true;
  return std::any_of(request_.reserved.begin(), request_.reserved.end(),
                     [&](const std::string& reserved) { return IsAtOrBelow(full, reserved); });
}

// Whether each reserved path still is what the base has there, and can become what it is for.
Result<std::string> PlanTree::CheckReserved() {
  for (const std::string& reserved : request_.reserved) {
    const BaseEntry entry = TRY(base_.Look(reserved));
    PlanNode* at = &root_;
    for (std::size_t end = 0; at != nullptr && end < reserved.size();) {
      const std::size_t begin = end == 0 ? 0 : end + 1;
      end = std::min(reserved.find('/', begin), reserved.size());
      at = TRY(Child(at, reserved.substr(begin, end - begin)));
      const std::string_view so_far = std::string_view(reserved).substr(0, end);
      const bool blocks =
          at != nullptr && at->type != EntryType::kDir && !(at->is_base && at->base_path == so_far);
      if (blocks) return Text("Stands where a path belongs that is reserved for Bailiff: ", so_far);
    }
    const bool as_it_was =
        entry.exists() ? at != nullptr && at->is_base && at->base_path == reserved : at == nullptr;
    if (!as_it_was) return Text("Concerns a path that is reserved for Bailiff: ", reserved);
  }
  return std::string();
}

Status PlanTree::Count(std::size_t entries) {
  entries_ += entries;
  if (entries_ <= kTreeEntriesMax) return Ok();
  return Error(ErrorCode::kResourceExhausted, "plan: its operations concern more than " +
                                                  std::to_string(kTreeEntriesMax) + " entries");
}

}  // namespace bailiff
