#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "changeset/model.h"
#include "sys/fd.h"

// Plans: change sets that somebody wrote by hand, as operations that are done one after the other.

namespace bailiff {

enum class PlanOp : std::uint8_t {
  kMove = 1,
  kCopy = 2,
  kDelete = 3,
  kCreateDir = 4,
  kWriteFile = 5,
};

std::string_view Name(PlanOp op);  // "move", "copy", "delete", "create_dir", "write_file"

// Paths are relative to PlanRequest::scope, as ValidatePath() wants them.
struct PlanOperation {
  PlanOp op = PlanOp::kMove;
  std::string source;       // Of kMove, kCopy, kDelete.
  std::string destination;  // Of all but kDelete.
  // kWriteFile: what the file is to hold. Without `stage` the content itself is not needed.
  std::string content;
  std::string sha256;  // Raw.
  std::int64_t size = 0;
};

struct PlanRequest {
  std::string id;                     // Of the proposal; names the staging directory.
  bool stage = true;                  // False: nothing is copied, and copies are not hashed.
  std::string scope;                  // The case's folder, to which all keeps; empty: none.
  std::int64_t now_ns = 0;            // Wall clock: the time of files that the plan writes.
  std::int64_t files_max = 0;         // Changes.
  std::int64_t bytes_max = 0;         // Of new content, copies included.
  std::vector<std::string> reserved;  // Paths that no plan may change, with all below.
  std::vector<PlanOperation> operations;
};

struct PlanEffect {
  ChangeSet set;                      // Sorted. Empty where there are errors.
  std::vector<std::string> errors;    // "Op 3: Source not found: a/b"; operations count from 0.
  std::vector<std::string> warnings;  // The same for what is possible and may not be meant.
  std::int64_t size_change = 0;       // Bytes; negative when the workspace gets smaller.
};

// What a plan comes to in the workspace as it is now: each operation sees what those before it did,
// and the result is the difference between the workspace and the tree after the last one. Nothing
// in the workspace changes. Links are never followed: they move, are copied and go as links.
//
// A moved file or directory is not read. With `stage`, new content is put below `holder` as
// Capture() does; a copy has the content that its source has now.
//
// Errors: kResourceExhausted when the operations look at more than kTreeEntriesMax entries
//         together, or staging meets a full disk; kConflict when stage/<id> exists or what is
//         copied changes meanwhile; kIo. After an error stage/<id> is as it was.
Result<PlanEffect> BuildPlan(const Fd& workspace, const Fd& holder, const PlanRequest& request);

// Both as bytes for another process, and back. Errors of the latter: kInvalidArgument.
std::string EncodePlanRequest(const PlanRequest& request);
Result<PlanRequest> DecodePlanRequest(std::string_view bytes);
std::string EncodePlanEffect(const PlanEffect& effect);
Result<PlanEffect> DecodePlanEffect(std::string_view bytes);

}  // namespace bailiff
