#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/compact_string.h"
#include "base/result.h"
#include "sys/file.h"

namespace bailiff {

enum class EntryType : std::uint8_t { kFile = 1, kDir = 2, kSymlink = 3 };

std::string_view Name(EntryType type);  // "file", "dir", "symlink"

// The type of what stat(2) found; nothing for a device, socket or FIFO.
std::optional<EntryType> TypeOf(mode_t mode);

// One entry of a workspace as it was found: enough to tell later whether it is still the same.
struct Identity {
  EntryType type = EntryType::kFile;
  std::uint32_t mode = 0;  // Permission bits, 07777.
  std::uint64_t dev = 0;
  std::uint64_t ino = 0;
  std::int64_t size = 0;  // Bytes; 0 for a directory.
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint64_t nlink = 1;    // Names of a file; 1 for a directory.
  std::int64_t mtime_ns = 0;  // Since 1970; may be negative.
  std::int64_t ctime_ns = 0;
  CompactString link_target;  // Of a symbolic link.
  CompactString sha256;       // Raw digest of a file's content; empty when it was not read.
  CompactString tree_sha256;  // Of a directory that moves: see TreeDigest().

  bool operator==(const Identity&) const = default;
};

// The identity of `name` in `dir`, content not read. Nothing when there is no such entry.
// Errors: kUnsupported for a device, socket or FIFO; kIo.
Result<std::optional<Identity>> IdentityAt(const Fd& dir, const std::string& name);

// The same of a path below `root`; also nothing when a directory on the way is missing or is not a
// directory (a symbolic link included).
Result<std::optional<Identity>> IdentityBeneath(const Fd& root, std::string_view path);
Result<std::optional<Identity>> IdentityBeneath(ParentCache* parents, std::string_view path);

// How much of an identity means anything on the file system that a workspace lies on.
enum class Stability : std::uint8_t {
  kStrong,  // Local: inode numbers and ctime are the kernel's.
  kWeak,    // FUSE, NFS: compare type, size, mtime and content only.
};

// By statfs(2). Errors: kIo.
Result<Stability> StabilityOf(const Fd& fd);

enum class Same : std::uint8_t {
  kYes,
  kNo,
  kReadContent,  // All but ctime agrees; only the content tells, if its digest is known.
};

// Whether `now` is still what `then` recorded: by type, mode, link target; for files also size,
// mtime and (where kStrong) inode; for directories the inode alone where kStrong (entries come and
// go in a directory without making it another one). Never reads content.
Same Compare(const Identity& then, const Identity& now, Stability stability);

// SHA-256 (raw) of an open file's content from its beginning. Holes are read as the zeros they are.
Result<std::string> HashFile(const Fd& file);

// Opens the file `path` below `root` and hashes it. Errors: as OpenParent(); kConflict if it is no
// longer a regular file.
Result<std::string> HashBeneath(const Fd& root, std::string_view path);

}  // namespace bailiff
