#include "changeset/capture_upper.h"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <optional>
#include <unordered_map>
#include <utility>

#include "base/bytes.h"
#include "base/units.h"
#include "changeset/capture_attributes.h"
#include "changeset/capture_view.h"
#include "sys/file.h"
#include "workspace/tree.h"

namespace bailiff {
namespace {

constexpr std::array<std::string_view, 5> kKnown = {"opaque", "whiteout", "metacopy", "redirect",
                                                    "origin"};

// Of all paths together. Each is held some ten times over until its change set is recorded.
constexpr std::int64_t kPathBytesMin = std::int64_t{32} << 20;
constexpr std::int64_t kPathBytesPerFile = 320;

Error Strange(const Node& node, std::string_view what) {
  return Error(
      ErrorCode::kInternal,
      "upper layer: " + EscapeForTerminal(node.path, Lines::kSingle) + ": " + std::string(what));
}

Node::Kind KindOf(const struct stat& st) {
  if (S_ISDIR(st.st_mode)) return Node::Kind::kDir;
  if (S_ISREG(st.st_mode)) return Node::Kind::kFile;
  if (S_ISLNK(st.st_mode)) return Node::Kind::kSymlink;
  if (S_ISCHR(st.st_mode) && st.st_rdev == 0) return Node::Kind::kWhiteout;
  return Node::Kind::kSpecial;
}

// A script may have made the entry unreadable for its owner. Nothing runs any more that could
// notice the mode, and the one to capture is in Node::st.
Result<Fd> OpenNode(const Fd& dir, const std::string& name, const Node& node) {
  if (node.kind == Node::Kind::kSymlink) return OpenEntry(dir, name, O_PATH);
  const bool is_dir = node.kind == Node::Kind::kDir;
  const mode_t wanted = is_dir ? S_IRWXU : S_IRUSR;
  if ((node.st.st_mode & wanted) != wanted) {
    // Where this fails and matters, opening it fails too.
    [[maybe_unused]] const int tried =
        ::fchmodat(dir.get(), name.c_str(), (node.st.st_mode & 07777) | wanted, 0);
  }
  return OpenEntry(dir, name, O_RDONLY | O_NONBLOCK | (is_dir ? O_DIRECTORY : 0));
}

class Reader {
 public:
  Reader(const Fd& upper, const CaptureOptions& options)
      : upper_(upper),
        attributes_(options.attributes),
        prefix_(OverlayPrefix(attributes_)),
        view_(options.view.has_value() ? &*options.view : nullptr),
        paths_(options.files_max) {}

  Result<Upper> Read() {
    Node root;
    root.st = TRY(Stat(upper_));
    root.paired = true;
    root.merged = true;
    upper_dev_ = root.st.st_dev;
    Add(std::move(root));
    // Grows while it is walked: breadth first, so that a directory stands before its entries.
    for (std::size_t i = 0; i < result_.nodes.size(); ++i) {
      if (result_.nodes[i].kind == Node::Kind::kDir) TRY(ReadDir(i));
    }
    return std::move(result_);
  }

 private:
  void Add(Node node) {
    result_.by_path.emplace(node.path, result_.nodes.size());
    result_.nodes.push_back(std::move(node));
  }

  Status ReadDir(std::size_t index) {
    const std::string path = result_.nodes[index].path;
    const std::size_t depth = result_.nodes[index].depth;
    const Fd dir = TRY(OpenDirBeneath(upper_, path, O_RDONLY));
    std::vector<std::string> names = TRY(ListDir(dir, kTreeEntriesMax));
    if (!names.empty() && depth + 1 > kTreeDepthMax) {
      return Error(ErrorCode::kResourceExhausted,
                   "capture: deeper than " + std::to_string(kTreeDepthMax) + " directories");
    }
    std::sort(names.begin(), names.end());
    for (const std::string& name : names) {
      Node node = TRY(ReadNode(dir, name, JoinPath(path, name)));
      TRY(paths_.Take(node.path));
      node.parent = index;
      node.depth = depth + 1;
      Add(std::move(node));
    }
    return Ok();
  }

  Result<Node> ReadNode(const Fd& dir, const std::string& name, std::string path) {
    Node node;
    node.path = std::move(path);
    const std::optional<struct stat> st = TRY(StatAt(dir, name));
    if (!st.has_value()) return Strange(node, "disappears while it is read");
    if (st->st_dev != upper_dev_) return Strange(node, "lies on another file system");
    node.st = *st;
    node.kind = KindOf(*st);
    if (node.kind == Node::Kind::kWhiteout && !HasLower(node)) node.kind = Node::Kind::kSpecial;
    if (node.kind == Node::Kind::kWhiteout || node.kind == Node::Kind::kSpecial) return node;
    if (node.kind == Node::Kind::kSymlink) node.link_target = TRY(ReadLink(dir, name));
    if (node.kind == Node::Kind::kFile && st->st_nlink > 1) {
      // Opening its first name may have changed the mode.
      node.st.st_mode = modes_.emplace(st->st_ino, st->st_mode).first->second;
    }
    const Fd fd = TRY(OpenNode(dir, name, node));
    TRY(ReadAttributes(fd, &node));
    return node;
  }

  // False where no overlay had anything below: what looks like its marks says nothing there.
  bool HasLower(const Node& node) const {
    if (view_ == nullptr) return true;
    const std::string_view folder = WholeFolderOf(*view_, node.path);
    return !folder.empty() && folder != node.path;
  }

  // An overlay of a part calls the part's root "/".
  std::string InWorkspace(const Node& node, const std::string& redirect) const {
    if (view_ == nullptr || !redirect.starts_with('/')) return redirect;
    return "/" + std::string(WholeFolderOf(*view_, node.path)) + redirect;
  }

  Status ReadAttributes(const Fd& fd, Node* node) {
    const std::vector<std::string> names = TRY(ListXattrs(fd));
    for (const std::string& name : names) {
      if (name == "system.posix_acl_default") node->has_default_acl = true;
      // FindForeignXattrs() looks closer.
      if (!name.starts_with("trusted.") && node->kind != Node::Kind::kSymlink) {
        node->has_other_xattrs = true;
      }
      if (!name.starts_with(prefix_) || !HasLower(*node)) continue;
      const std::string_view short_name = std::string_view(name).substr(prefix_.size());
      if (std::find(kKnown.begin(), kKnown.end(), short_name) == kKnown.end()) continue;
      const std::string value = TRY(GetXattr(fd, name)).value_or("");
      TRY(TakeAttribute(short_name, value, node));
    }
    return Ok();
  }

  Status TakeAttribute(std::string_view name, const std::string& value, Node* node) {
    const bool is_dir = node->kind == Node::Kind::kDir;
    if (name == "opaque") {
      if (!is_dir || value != "y") return Strange(*node, "has an opaque attribute out of place");
      node->opaque = true;
    } else if (name == "whiteout") {
      return Strange(*node, "is a whiteout by attribute, which no kernel makes here");
    } else if (name == "metacopy" || name == "redirect") {
      if (attributes_ == OverlayAttributes::kUser) {
        return Strange(*node, "has an attribute that a user overlay does not make");
      }
      if (name == "metacopy") node->metacopy = true;
      if (name == "redirect") node->redirect = InWorkspace(*node, value);
      if (name == "redirect" && value.empty()) return Strange(*node, "has an empty redirect");
      if (node->metacopy && node->kind != Node::Kind::kFile) {
        return Strange(*node, "is no regular file and has the metacopy attribute");
      }
    } else if (name == "origin") {
      node->copied_up = true;
      // A user overlay has a handle here only where it was mounted with more rights than usual.
      if (attributes_ == OverlayAttributes::kTrusted) node->origin = HandleOfOrigin(value);
    }
    return Ok();
  }

  const Fd& upper_;
  OverlayAttributes attributes_;
  std::string_view prefix_;
  const CaptureView* view_;  // May be null.
  PathBudget paths_;
  dev_t upper_dev_ = 0;
  std::unordered_map<ino_t, mode_t> modes_;  // Of files with several names.
  Upper result_;
};

}  // namespace

std::int64_t Node::mtime_ns() const {
  return ToNanos(st.st_mtim);
}

const Node* Upper::Find(const std::string& path) const {
  const auto found = by_path.find(path);
  return found == by_path.end() ? nullptr : &nodes[found->second];
}

Result<Upper> ReadUpper(const Fd& upper, const CaptureOptions& options) {
  if (options.attributes == OverlayAttributes::kTrusted) TRY(ProveTrustedAttributesAreSeen(upper));
  return Reader(upper, options).Read();
}

PathBudget::PathBudget(std::int64_t files_max)
    : bytes_max_(std::max(kPathBytesMin, files_max * kPathBytesPerFile)) {}

Status PathBudget::Take(std::string_view path) {
  bytes_ += static_cast<std::int64_t>(path.size());
  if (bytes_ <= bytes_max_) return Ok();
  return Error(
      ErrorCode::kResourceExhausted,
      "capture: the paths of what changed are longer than " + FormatSize(bytes_max_) + " together");
}

}  // namespace bailiff
