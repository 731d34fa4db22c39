#pragma once

#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "changeset/capture.h"
#include "changeset/capture_base.h"
#include "changeset/capture_upper.h"

namespace bailiff {

// Which base entry each entry of the upper layer is now, and which base entries are no more.
struct Pairs {
  Upper upper;
  std::unordered_map<std::string, std::size_t> by_base;  // Paired base path to its node.
  struct Gone {
    std::string path;
    BaseEntry entry;
  };
  // Base entries that the final tree has neither in place nor moved, each descendant on its own;
  // mount points and special files too, without what is below them.
  std::vector<Gone> gone;
  std::vector<PathProblem> conflicts;

  // True when the final tree no longer has the base entry `path` where it was, seen from the
  // directory that holds it (which may have moved as a whole).
  bool IsGone(const std::string& path) const;

  // The final path of the place that the base entry `path` has or had.
  std::string PlaceOf(const std::string& path) const;
};

// Pairs the upper layer with the base. A directory or metacopy file names its base entry, by its
// place or by a redirect. Any other file is what its origin says, or else what the base has at its
// place, or else (user overlays) a file that is gone and has the same content: these are guesses,
// and a wrong one makes a change set that is longer but no less exact.
//
// Errors: as Capture().
Result<Pairs> PairWithBase(Upper upper, const Fd& upper_root, Base* base,
                           const CaptureOptions& options);

// What pairing and comparing say of a base entry that another writer changed.
inline constexpr const char* kChangedMeanwhile = "changed in the workspace while the script ran";

// True when `base` changed after the run began, as far as its file system tells.
bool ChangedSince(const Identity& base, std::int64_t started_ns, Stability stability);

}  // namespace bailiff
