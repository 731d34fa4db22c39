#include "changeset/capture.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "changeset/capture_base.h"
#include "changeset/capture_compare.h"
#include "changeset/capture_pairs.h"
#include "changeset/capture_refuse.h"
#include "changeset/capture_stage.h"
#include "changeset/capture_upper.h"
#include "sys/process.h"
#include "workspace/tree.h"

namespace bailiff {
namespace {

Status CheckOptions(const CaptureOptions& options) {
  if (!ValidatePath(options.id).ok() || options.id.find('/') != std::string::npos) {
    return Error(ErrorCode::kInvalidArgument, "capture: id: '" + options.id + "' is not a name");
  }
  for (const std::string& path : options.reserved) TRY(ValidatePath(path));
  return Ok();
}

void SortProblems(std::vector<PathProblem>* problems) {
  std::stable_sort(problems->begin(), problems->end(),
                   [](const PathProblem& left, const PathProblem& right) {
                     return PathLess(left.path, right.path);
                   });
  // The first reason for a path is the most direct one.
  const auto same_path = [](const PathProblem& left, const PathProblem& right) {
    return left.path == right.path;
  };
  problems->erase(std::unique(problems->begin(), problems->end(), same_path), problems->end());
}

void FillDigestsOfLinks(std::vector<Draft>* drafts) {
  std::unordered_map<std::string_view, const CompactString*> digests;
  for (const Draft& draft : *drafts) {
    if (!draft.change.sha256.empty()) digests.emplace(draft.change.path, &draft.change.sha256);
  }
  for (Draft& draft : *drafts) {
    if (draft.change.link_to.empty()) continue;
    const auto found = digests.find(draft.change.link_to);
    if (found != digests.end()) draft.change.sha256 = *found->second;
  }
}

bool CanonicalLess(const Draft& left, const Draft& right) {
  if (left.change.path != right.change.path) return PathLess(left.change.path, right.change.path);
  return left.change.op < right.change.op;
}

// What differs, with what is refused and what conflicts in `result`. What was read of the two trees
// is in memory no longer when it returns.
Result<std::vector<Draft>> FindDrafts(const Fd& upper, Base* base, const CaptureOptions& options,
                                      CaptureResult* result) {
  Upper read = TRY(ReadUpper(upper, options));
  const Pairs pairs = TRY(PairWithBase(std::move(read), upper, base, options));
  result->conflicts = pairs.conflicts;
  std::vector<Draft> drafts = TRY(CompareWithBase(pairs, upper, base, options, &result->conflicts));
  result->refused = TRY(TakeRefused(pairs, base, options, &drafts));
  const std::vector<PathProblem> found = TRY(FindConflicts(pairs, base, options, drafts));
  result->conflicts.insert(result->conflicts.end(), found.begin(), found.end());
  SortProblems(&result->refused);
  SortProblems(&result->conflicts);
  return drafts;
}

}  // namespace

Result<CaptureResult> Capture(const Fd& upper, const Fd& workspace, const Fd& holder,
                              const CaptureOptions& options) {
  TRY(CheckOptions(options));
  RaiseDescriptorLimit();  // A moved directory is walked with a descriptor per level.
  Base base = TRY(Base::Open(workspace, options.view.has_value() ? &*options.view : nullptr));
  CaptureResult result;
  result.set.id = options.id;
  std::vector<Draft> drafts = TRY(FindDrafts(upper, &base, options, &result));
  std::sort(drafts.begin(), drafts.end(), CanonicalLess);
  if (options.stage) TRY(StageBytes(upper, &base, holder, options.id, &drafts));
  FillDigestsOfLinks(&drafts);
  result.set.changes.reserve(drafts.size());
  for (Draft& draft : drafts) result.set.changes.push_back(std::move(draft.change));
  return result;
}

}  // namespace bailiff
