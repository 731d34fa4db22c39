#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "changeset/model.h"
#include "sys/fd.h"

namespace bailiff {

// Which attributes the overlay was mounted with, and so which the kernel keeps and a script cannot
// forge. Only that namespace is honoured.
enum class OverlayAttributes : std::uint8_t {
  kTrusted,  // trusted.overlay.*, with redirect_dir and metacopy.
  kUser,     // user.overlay.*, without.
};

// What a run saw of the workspace, where that was not all of it. Each directory in `whole` was an
// overlay of its own; the others, and the root, were empty.
struct CaptureView {
  using Paths = std::set<std::string, std::less<>>;
  Paths whole;    // Directories that it saw with all below.
  Paths hollow;   // Directories that were there for it and seemed empty.
  Paths closed;   // Of those, the ones below which it may make nothing,
  Paths allowed;  // but at and below these paths.
};

struct CaptureOptions {
  std::string id;  // Of the proposal; names the staging directory.
  OverlayAttributes attributes = OverlayAttributes::kTrusted;
  bool stage = true;  // False: list and hash only (mode discard).
  // Wall clock before the overlay was mounted, and after the last process was gone.
  std::int64_t started_ns = 0;
  std::int64_t ended_ns = 0;
  std::int64_t files_max = 100'000;   // Changes.
  std::vector<std::string> reserved;  // Paths that scripts may not change, with all below.
  std::optional<CaptureView> view;    // Nothing: the run saw all of the workspace.
};

struct PathProblem {
  std::string path;
  std::string reason;

  bool operator==(const PathProblem&) const = default;
};

struct CaptureResult {
  ChangeSet set;                       // Sorted.
  std::vector<PathProblem> refused;    // Left out: devices, sockets, reserved paths, mount points.
  std::vector<PathProblem> conflicts;  // Touched by the run and changed in the workspace meanwhile.
};

// Reads what a run changed off its upper layer: the exact difference between `workspace` as it is
// and the tree that the script saw at its end.
//
// Walks by descriptors only. Content is read from the upper layer, never through the overlay, and
// (with `stage`) copied to `holder`/stage/<id>/<n> while it is hashed; unchanged content is not
// read. `holder` is the workspace's .bailiff directory, or one on local disk. Nothing is synced.
//
// With a `view` the base is what the run saw of it, and nothing that it did not see is changed:
// what it made where it could not look is a create if the workspace has nothing at that path, else
// refused. A directory that it made there and the workspace has too is that one, as it is.
//
// A directory's time is a change only if it is not one that the run itself gave: see
// CaptureOptions. The workspace's own root directory is never part of a change set.
//
// Errors: kResourceExhausted beyond `files_max`, kTreeDepthMax or what paths may come to together
//         (PathBudget), or when staging meets a full disk; kConflict when stage/<id> exists;
//         kPermissionDenied without CAP_SYS_ADMIN for kTrusted; kInvalidArgument for `id`;
//         kInternal for an upper layer that no kernel makes; kIo. After an error stage/<id> is as
//         it was.
Result<CaptureResult> Capture(const Fd& upper, const Fd& workspace, const Fd& holder,
                              const CaptureOptions& options);

// Problems within a larger encoding. A path that is not one makes `reader` fail.
void WriteProblems(const std::vector<PathProblem>& problems, ByteWriter* writer);
std::vector<PathProblem> ReadProblems(ByteReader* reader);

// A CaptureResult as bytes for another process, and back. Errors of the latter: kInvalidArgument.
std::string EncodeCapture(const CaptureResult& result);
Result<CaptureResult> DecodeCapture(std::string_view bytes);

}  // namespace bailiff
