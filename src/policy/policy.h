#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "changeset/capture.h"
#include "changeset/model.h"

namespace bailiff {

enum class Verdict : std::uint8_t { kCommit, kReview, kDeny };

std::string_view Name(Verdict verdict);  // "commit", "review", "deny"

enum class Mode : std::uint8_t { kCommit, kReview, kDiscard };

std::string_view Name(Mode mode);  // "commit", "review", "discard"
Result<Mode> ParseMode(std::string_view name);

// What policy may look at, beside the change set. Pure data: deciding reads no file.
struct PolicyContext {
  Mode mode = Mode::kCommit;
  bool succeeded = true;  // The script exited with 0.
  std::string case_name;  // Empty: none.
  bool host_network = false;
  bool is_rollback = false;
  std::int64_t case_files = 0;  // Files of the case (or of the workspace) before the run.
  std::vector<PathProblem> refused;
  // Base paths below directories that move as a whole: one move stands for all of these, and rules
  // see each of them under its old and its new name.
  std::vector<std::string> moved_below;
};

struct Decision {
  Verdict verdict = Verdict::kReview;
  std::string rule;                  // Its name in docs/policy.md.
  std::vector<std::string> reasons;  // In words, for a person; empty when committed.
};

// What the rules that ship with Bailiff say: docs/policy.md. The first rule that matches decides
// and gives its name; the reasons are those of every rule that matches, in the rules' order. Never
// denies; holds when in doubt. Mode kDiscard has nothing to decide and is held like kReview.
Decision Decide(const ChangeSet& set, const PolicyContext& context);

// True for paths that something runs later, outside of any sandbox: .git/hooks, .envrc, ...
// Case-insensitive. Also true for anything below such a directory.
bool IsProtected(std::string_view path);

// The protected paths that `set` changes, under their old and new names, those below moved
// directories included; and symbolic links that lie where a directory with such paths would. Sorted
// by PathLess(). For flags in documents and for RenderDiff().
std::vector<std::string> ProtectedPathsIn(const ChangeSet& set, const PolicyContext& context);

}  // namespace bailiff
