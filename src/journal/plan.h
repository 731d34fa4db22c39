#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/compact_string.h"
#include "changeset/model.h"
#include "workspace/identity.h"

// From a change set to the steps that make it real. Pure: no disk.

namespace bailiff {

enum class StepKind : std::uint8_t {
  kDetach = 1,    // Rename `path` into the private directory, to `store`.
  kAttach = 2,    // Rename `store` to `path`, where nothing is.
  kExchange = 3,  // Exchange `store` and `path`, then keep what was displaced at `slot`.
  kLink = 4,      // Make `path` another name of `target`.
  kMetadata = 5,  // Set mode (and mtime) of `path`.
  kMark = 6,  // Make the file `store`: all is detached. Tells later what was moved on from there.
  kReplace = 7,  // Rename `store` over `path`, of which `slot` is a copy: instead of kExchange.
};

// One step. Each can be done, found done, or undone by looking at the disk alone.
struct Step {
  static constexpr std::uint64_t kNoChange = ~std::uint64_t{0};

  StepKind kind = StepKind::kDetach;
  std::uint64_t change = kNoChange;  // Index into the set; none for a directory's temporary mode.
  std::string path;                  // In the workspace; of a kDetach in base coordinates.
  std::string store;     // In the private directory. kLink: where undoing puts the name.
  std::string slot;      // kExchange, kReplace.
  CompactString target;  // kLink: another path in the workspace.
  // Of a move's kDetach and kAttach: the kMark between them, by its `store`.
  CompactString mark;
  Identity before;  // kDetach, kExchange, kReplace: what is at `path`. kMetadata: the old mode and
                    // mtime.
  Identity after;   // kAttach, kExchange, kReplace: what arrives there. kMetadata: the new mode and
                    // mtime.
  bool sets_mtime = false;  // kMetadata.
  bool unlocks = false;     // kMetadata that gives the owner access to a directory in the base.
};

// A change set's two trees, by path. Borrows the set, which must be sorted and stay as it is.
class SetIndex {
 public:
  explicit SetIndex(const ChangeSet& set);

  const ChangeSet& set() const { return set_; }

  // Where a base entry is in the final tree; nothing when it (or what it is in) is deleted.
  std::optional<std::string> ToFinal(std::string_view base_path) const;

  // Where a final entry was in the base; nothing when it lies in, or is, something created.
  std::optional<std::string> ToBase(std::string_view final_path) const;

  // Whether the entry at a base path is itself deleted or moved away.
  bool IsGone(const std::string& base_path) const;
  bool IsMovedAway(const std::string& base_path) const { return moved_.contains(base_path); }

  // The create or move that puts something at a final path.
  const Change* AttachedAt(const std::string& final_path) const;

  // True for a delete within a deleted directory and a restored entry within a restored one: they
  // have no step of their own.
  bool IsCarried(std::size_t change) const { return unit_of_[change] != change; }

  // What goes with the delete or create of a directory, itself not included.
  const std::vector<std::size_t>& CarriedBy(std::size_t change) const;

 private:
  const ChangeSet& set_;
  std::unordered_map<std::string_view, std::size_t> deleted_;   // By base path.
  std::unordered_map<std::string_view, std::size_t> moved_;     // By base path.
  std::unordered_map<std::string_view, std::size_t> attached_;  // By final path.
  std::vector<std::size_t> unit_of_;  // A change's own index: not carried.
  std::unordered_map<std::size_t, std::vector<std::size_t>> carried_;
};

// Whether `set` is one that the journal can work with: sorted, paths valid and outside .bailiff,
// content where it may lie, no path claimed twice. Errors: kInvalidArgument, naming the path.
Status ValidateSet(const ChangeSet& set);

// The steps, in the order in which they are done:
//   1. detach, base coordinates, deepest first: topmost deletes and the sources of moves
//   2. attach, final coordinates, shallowest first: moves, creates
//   3. exchange, or replace where `stability` is weak: modifies
//   4. links   5. metadata: files, then directories deepest first
// so that swaps, cycles, moves out of what goes and changes of type need no cases of their own.
// Identities come from the set; Prepare() fills in what it does not know.
std::vector<Step> PlanSteps(const ChangeSet& set, const SetIndex& index, Stability stability);

// Puts the metadata steps of directories last, deepest first.
void OrderMetadata(std::vector<Step>* steps);

// One line per step: "detach a/b -> undo/<id>/0".
std::string Describe(const Step& step);

}  // namespace bailiff
