#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "changeset/model.h"
#include "sys/fd.h"

namespace bailiff {

// Where the two sides of a change's content are. Each returns at most `bytes_max` bytes from the
// beginning; nothing when the content is gone or is not what the change was made from.
struct DiffSources {
  using Read =
      std::function<Result<std::optional<std::string>>(const Change&, std::size_t bytes_max)>;
  Read old_content;  // Of a file that is deleted or modified.
  Read new_content;  // Of a file that is created or modified.
};

// The sources of a change set that is not committed: the old content is in the workspace, for as
// long as Compare() finds it the same, the new one is below `holder`. The descriptors must
// outlive the result. New content that is no longer what the set says is kConflict.
DiffSources UncommittedSources(const Fd& workspace, const Fd& holder);

// The beginning of the file `path` below `root`, if it still is what `expected` recorded; nothing
// otherwise. Links are not followed. `sha256` (raw; may be empty) settles what Compare() cannot.
Result<std::optional<std::string>> ReadIfSame(const Fd& root, std::string_view path,
                                              const Identity& expected, std::string_view sha256,
                                              std::size_t bytes_max);

struct DiffOptions {
  // Only the changes at this path or below, by old or new name, and moves of what is above it.
  std::optional<std::string> path;
  std::vector<std::string> protected_paths;  // Changes at or around these are marked.

  // Beyond these limits, what is left out is counted and said.
  std::size_t bytes_max = 4UL * 1024 * 1024;  // Of content, all files together.
  std::size_t file_bytes_max = 256UL * 1024;
  std::size_t file_lines_max = 5'000;
  std::size_t changes_max = 20'000;
};

// A change set for a person to read before it is approved: a line for each change, in the set's
// order, and below it a unified diff where there is text. Everything from the set is escaped for a
// terminal. Ends with a summary that says what is not shown.
//
// What cannot be read is said in the text. Reads files, at most kTextBytesMax of each.
// Errors: kNotFound when `options.path` is given and no change is there.
Result<std::string> RenderDiff(const ChangeSet& set, const DiffSources& sources,
                               const DiffOptions& options = {});

// The same without content: one line for each change and nothing else, without limits.
std::string RenderChanges(const ChangeSet& set,
                          const std::vector<std::string>& protected_paths = {});

// A path in a line for people: escaped, and in double quotes where it would be ambiguous without.
std::string QuotePath(std::string_view path);

// "3 created, 1 modified, 2 moved"; "no changes".
std::string Describe(const ChangeCounts& counts);

}  // namespace bailiff
