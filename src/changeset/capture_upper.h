#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "changeset/capture.h"
#include "changeset/capture_base.h"
#include "sys/fd.h"

namespace bailiff {

// One entry of the upper layer. Its place there is its place in the final tree.
struct Node {
  enum class Kind : std::uint8_t { kDir, kFile, kSymlink, kWhiteout, kSpecial };

  std::string path;
  std::size_t parent = 0;  // Index of its directory; the root is its own.
  std::size_t depth = 0;
  Kind kind = Kind::kDir;
  struct stat st {};
  std::string link_target;

  // Overlay attributes.
  bool opaque = false;
  bool metacopy = false;
  std::string redirect;
  bool copied_up = false;  // From a base entry, not made by the script.
  std::string origin;      // As HandleAt() gives it; empty when unknown.

  bool has_default_acl = false;
  bool has_other_xattrs = false;  // Any that a script could have set.

  // What follows is found out by pairing with the base.

  // The path at which the base has (or would have) what this entry stands for when it did not
  // move; empty below a directory that is new.
  std::string own_base;
  BaseEntry own;
  // A directory that the run made without seeing that the base has one there.
  bool unseen = false;
  // The base entry that this one is now, possibly moved.
  bool paired = false;
  std::string base_path;
  Identity base;
  // A paired directory: base entries that the upper layer does not mention show through.
  bool merged = false;
  // A file that is another name of this node; that one carries the pairing and the content.
  std::optional<std::size_t> link_of;
  // Its base is gone from the workspace, so what it holds cannot be known. A conflict says so, but
  // for a directory in which the run did nothing.
  bool lost = false;

  bool is_root() const { return depth == 0; }
  // False: it moved.
  bool in_place() const { return paired && base_path == own_base; }
  std::int64_t mtime_ns() const;
};

struct Upper {
  std::vector<Node> nodes;  // Directories before what is in them; the root first.
  std::unordered_map<std::string, std::size_t> by_path;

  const Node* Find(const std::string& path) const;
};

// Reads the whole upper layer but the content of its files. Gives its owner the right to read
// entries that a script took away. Errors: as Capture().
Result<Upper> ReadUpper(const Fd& upper, const CaptureOptions& options);

// Counts the bytes of paths against what a capture may hold of them: deep trees of long names have
// more path than anything else.
class PathBudget {
 public:
  explicit PathBudget(std::int64_t files_max);

  // Errors: kResourceExhausted when it is used up.
  Status Take(std::string_view path);

 private:
  std::int64_t bytes_max_;
  std::int64_t bytes_ = 0;
};

}  // namespace bailiff
