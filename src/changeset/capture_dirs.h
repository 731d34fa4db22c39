#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "changeset/capture_pairs.h"

namespace bailiff {

// Directories of the base that moved, in an upper layer that has no redirects: there a new
// directory with the same content stands for each of them.
class MovedDirs {
 public:
  // Reads the base directories that are not where they were, and those below them; no content.
  // Bounded by CaptureOptions::files_max, which counts every entry that is looked at. Errors: as
  // Capture().
  static Result<MovedDirs> Find(const Pairs& pairs, Base* base, const CaptureOptions& options);

  struct Match {
    std::string path;
    Identity identity;
  };
  // The base directory that the unpaired upper directory `index` most likely is: one with the same
  // time, or one with which it has an unchanged entry and at least half of the names in common.
  // Nothing when there is none that `pairs` has not paired yet, or when its owner may not look at
  // all of the tree: a directory moves only as a tree that can be compared.
  std::optional<Match> For(const Pairs& pairs, std::size_t index) const;

 private:
  struct Dir {
    Match match;
    std::vector<std::string> names;  // Sorted.
  };

  void Add(const std::string& path, const BaseEntry& entry);
  Status AddBelow(std::size_t dir);

  Base* base_ = nullptr;
  std::vector<Dir> dirs_;
  std::size_t entries_ = 0;  // That were looked at.
  std::size_t entries_max_ = 0;
  std::unordered_map<std::string, std::vector<std::size_t>> by_trait_;
  std::vector<std::vector<std::size_t>> children_;  // Of each upper node.
  std::vector<bool> closed_;  // Upper nodes that are, hold or lie below a closed directory.
};

}  // namespace bailiff
