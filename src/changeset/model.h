#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/compact_string.h"
#include "base/result.h"
#include "workspace/identity.h"

namespace bailiff {

enum class ChangeOp : std::uint8_t {
  kDelete = 1,
  kMove = 2,
  kCreate = 3,
  kModify = 4,    // New content of a file, or new target of a symbolic link.
  kMetadata = 5,  // Mode or mtime alone.
};

std::string_view Name(ChangeOp op);  // "delete", "move", "create", "modify", "metadata"

// What a reviewer should notice about a change. Bits of Change::flags.
enum class ChangeFlag : std::uint32_t {
  kExecutable = 1,       // A new or changed file that may be executed.
  kEscapingSymlink = 2,  // A link that leads out of the workspace.
  kBreaksHardLink = 4,   // The base file has other names; they keep the old content.
  kStrippedSetid = 8,    // A setuid or setgid bit that the script set is left out.
  kDroppedXattrs = 16,   // Extended attributes that the script set are left out.
  kRestored = 32,        // Brought back by a rollback from what a commit had put aside.
};

// "executable", "escaping_symlink", ...: the set bits of `flags`, in order.
std::vector<std::string_view> FlagNames(std::uint32_t flags);

// Where the bytes (or the whole entry) that a change brings lie until it is committed, and what was
// there when it was put there. Not part of the canonical form, which says what the bytes are.
struct Content {
  // "stage/<id>/<n>" below what holds them: the workspace's .bailiff, or a directory of the state;
  // "undo/<id>/..." below .bailiff for a rollback. Empty: none.
  std::string path;
  Identity identity;
};

// One change. Paths are bytes, relative to the workspace, without "." and "..".
//
// A change set takes the tree it is based on (base) to the tree that the script left (final).
// Deletes and the sources of moves are base paths; every other path is a final one. So, for a
// directory `a` that moved to `b` and in which f was rewritten, g removed and h made:
//   move b (from a), modify b/f (from a/f), delete a/g, create b/h.
// What changes its type is a delete and a create of the same path.
struct Change {
  ChangeOp op = ChangeOp::kCreate;
  EntryType type = EntryType::kFile;
  std::string path;
  // kMove: the base path. kModify, kMetadata: the base path where it is not `path`.
  std::string from;
  std::optional<Identity> base;  // What the base has there. Absent for kCreate.

  // The new state. Unused by kDelete; kMove keeps what `base` says.
  std::int64_t size = 0;
  std::uint32_t mode = 0;
  std::int64_t mtime_ns = 0;  // Directories and kMetadata: only if `sets_mtime`.
  bool sets_mtime = false;
  CompactString sha256;       // kCreate, kModify of a file: raw digest of its content.
  CompactString link_target;  // kCreate, kModify of a symbolic link.
  CompactString link_to;      // kCreate of a file: the final path of which this is another name.
  std::uint32_t flags = 0;

  Content content;

  bool Has(ChangeFlag flag) const { return (flags & static_cast<std::uint32_t>(flag)) != 0; }
  void Set(ChangeFlag flag) { flags |= static_cast<std::uint32_t>(flag); }
  const std::string& base_path() const { return from.empty() ? path : from; }
};

struct ChangeSet {
  std::string id;               // Of the execution, plan or rollback that it comes from.
  std::vector<Change> changes;  // In canonical order.
};

struct ChangeCounts {
  std::int64_t created = 0;
  std::int64_t modified = 0;
  std::int64_t deleted = 0;
  std::int64_t moved = 0;
  std::int64_t metadata = 0;
  std::int64_t bytes_written = 0;  // Content of creates and modifies.

  std::int64_t total() const { return created + modified + deleted + moved + metadata; }
};
ChangeCounts Count(const ChangeSet& set);

// Sorts by path (PathLess), then by op.
void SortCanonically(ChangeSet* set);

// The bytes that identify a change set: everything above but Content and the change set's id.
// `set` must be sorted. Format: docs/formats/changeset.md.
std::string CanonicalForm(const ChangeSet& set);

// SHA-256 (raw) of the canonical form: what an approval binds to.
std::string Digest(const ChangeSet& set);

// A whole change set, Content included, as bytes for a file or another process, and back.
// Errors of the latter: kInvalidArgument for anything that Encode() does not make. The paths in it
// are checked as ValidatePath() does.
std::string Encode(const ChangeSet& set);
void WriteEncoded(const ChangeSet& set, ByteWriter* writer);  // As Bytes(Encode(set)).
Result<ChangeSet> Decode(std::string_view bytes);

// A workspace path: not empty, no leading or trailing or doubled slash, no "." or ".." component,
// no zero byte. Any other bytes are a name. Errors: kInvalidArgument.
Status ValidatePath(std::string_view path);

// An Identity within a larger encoding (the journal's records use it too).
void Write(const Identity& identity, ByteWriter* writer);
Identity ReadIdentity(ByteReader* reader);  // A type out of range makes `reader` fail.

}  // namespace bailiff
