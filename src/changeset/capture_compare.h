#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "changeset/capture_pairs.h"

namespace bailiff {

// A change before its bytes are staged.
struct Draft {
  enum class Bytes : std::uint8_t {
    kNone,
    kUpper,  // Of the upper layer's file `change.path`.
    kBase,   // Of the base file: a metacopy that must become a file of its own.
    kCopy,   // Of the base file `source`.
    kGiven,  // `source` itself.
  };

  Change change;
  Bytes bytes = Bytes::kNone;
  CompactString source;
  std::string own_base;  // Node::own_base, for the directories on the way to it.
  std::string refused;   // Why it cannot be part of the change set; empty if it can.
};

// Everything that differs between the base and the final tree, in no particular order; also what
// is to be refused because of what it is (special files, mount points, endless holes). `conflicts`
// gets what was changed meanwhile below moved directories.
Result<std::vector<Draft>> CompareWithBase(const Pairs& pairs, const Fd& upper, Base* base,
                                           const CaptureOptions& options,
                                           std::vector<PathProblem>* conflicts);

// True when a link at `path` to `target` leads out of the workspace, which scripts see as
// /workspace. Links on the way are not followed.
bool LeavesWorkspace(std::string_view path, std::string_view target);

}  // namespace bailiff
