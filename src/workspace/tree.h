#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "workspace/identity.h"

namespace bailiff {

// Deeper trees are refused: each level holds a descriptor while it is walked.
inline constexpr std::size_t kTreeDepthMax = 1000;
inline constexpr std::size_t kTreeEntriesMax = 2'000'000;

// Orders paths so that a directory comes right before what is in it: by components, as bytes.
bool PathLess(std::string_view left, std::string_view right);

// True when `path` lies below `dir` ("a" has "a/b" below it, but neither "a" nor "ab").
bool IsBelow(std::string_view path, std::string_view dir);

// "a" and "b" give "a/b"; "" and "b" give "b".
std::string JoinPath(std::string_view dir, std::string_view name);

// "a/b/c" lies in "a/b" under the name "c"; "a" lies in "".
std::string_view ParentOf(std::string_view path);
std::string_view NameOf(std::string_view path);

struct TreeEntry {
  std::string path;  // Relative to the directory that was walked.
  Identity identity;
};

// Every entry below the directory `path` of `root`, itself not included, in the order of
// PathLess(). Content is not read; mount points are not crossed.
//
// Errors: kUnsupported for a device, socket, FIFO or mount point, named; kResourceExhausted beyond
//         kTreeDepthMax or kTreeEntriesMax; as OpenDirBeneath().
Result<std::vector<TreeEntry>> ListTree(const Fd& root, std::string_view path);

// SHA-256 (raw) over the names and identities (type, inode, size, mode, mtime, link target) of the
// entries below a directory: what a moved directory is known by. Inode numbers count only where
// they are stable (Stability::kStrong).
std::string TreeDigest(const std::vector<TreeEntry>& entries, Stability stability);

}  // namespace bailiff
