#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "changeset/capture.h"
#include "journal/journal.h"
#include "workspace/identity.h"

// What is where, and moving it: the journal's view of a workspace.

namespace bailiff {

using Problems = std::vector<PathProblem>;

// What lies at a path.
struct Seen {
  bool present = false;
  bool known = false;  // False for what no change set can hold: a device, a mount point's inside.
  Identity identity;
};

Result<Seen> Look(const Fd& root, std::string_view path);
Result<Seen> Look(ParentCache* parents, std::string_view path);  // `parents`: opened with O_PATH.

// How entries are recognised. Device numbers never count: everything lies on one file system, and
// they change when a machine restarts.
class Recognizer {
 public:
  explicit Recognizer(Stability stability) : stability_(stability) {}

  Stability stability() const { return stability_; }

  // Whether what was seen at `path` is the entry `want`, possibly written to since.
  Result<bool> IsSame(const Fd& root, std::string_view path, const Seen& seen,
                      const Identity& want) const;

  // The same, and nobody wrote to it. A directory's mode and entries do not count.
  Result<bool> IsUnchanged(const Fd& root, std::string_view path, const Seen& seen,
                           const Identity& want) const;

  // Whether the file at `path` has the content of `want`, as far as that is known.
  Result<bool> HasContent(const Fd& root, std::string_view path, const Identity& want) const;

 private:
  Stability stability_;
};

// A path below one of the two roots.
struct Place {
  const Fd& root;
  const std::string& path;
};

// Renames. Returns why that is impossible because of what others did, or "" when it is done.
// Without `flags` support (FUSE) it looks before it renames.
enum class RenameFlags : std::uint8_t { kUsable, kAvoid };
Result<std::string> MoveToNothing(const Place& from, const Place& to, RenameFlags flags);
Result<std::string> MoveToNothing(ParentCache* from_parents, const std::string& from,
                                  const Place& to, RenameFlags flags);

// Renames over what is at `to`, if that still is what was last seen there: looked at once more
// right before. Returns why not, or "" when it is done.
Result<std::string> MoveOver(const Place& from, const Place& to, const Seen& seen);

// Exchanges two entries. False where the file system cannot.
Result<bool> Exchange(const Place& one, const Place& other, RenameFlags flags);

// True for errors after which nothing further must be tried on this disk.
bool IsMachineFailure(const Error& error);

// True when the error says that another file took the place of the one that was seen. FUSE may say
// so of a name that is there all the time.
bool IsReplacedFile(const Error& error);

// True when the error says that a path's directory is gone or is not one any more.
bool IsGoneParent(const Error& error);

}  // namespace bailiff
