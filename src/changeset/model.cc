#include "changeset/model.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/check.h"
#include "base/sha256.h"
#include "base/units.h"
#include "workspace/tree.h"

namespace bailiff {
namespace {

constexpr std::string_view kCanonicalMagic = "bailiff-changeset-1\n";
constexpr std::string_view kEncodedMagic = "bailiff-changeset-with-content-1\n";

constexpr std::array<std::pair<ChangeFlag, std::string_view>, 6> kFlagNames = {{
    {ChangeFlag::kExecutable, "executable"},
    {ChangeFlag::kEscapingSymlink, "escaping_symlink"},
    {ChangeFlag::kBreaksHardLink, "breaks_hard_link"},
    {ChangeFlag::kStrippedSetid, "stripped_setid"},
    {ChangeFlag::kDroppedXattrs, "dropped_xattrs"},
    {ChangeFlag::kRestored, "restored"},
}};

void WriteChange(const Change& change, ByteWriter* writer) {
  writer->U8(static_cast<std::uint8_t>(change.op));
  writer->U8(static_cast<std::uint8_t>(change.type));
  writer->Bytes(change.path);
  writer->Bytes(change.from);
  writer->U8(change.base.has_value() ? 1 : 0);
  if (change.base.has_value()) Write(*change.base, writer);
  writer->I64(change.size);
  writer->U32(change.mode);
  writer->I64(change.mtime_ns);
  writer->U8(change.sets_mtime ? 1 : 0);
  writer->Bytes(change.sha256);
  writer->Bytes(change.link_target);
  writer->Bytes(change.link_to);
  writer->U32(change.flags);
}

EntryType ReadType(ByteReader* reader) {
  const std::uint8_t value = reader->U8();
  if (value < 1 || value > 3) reader->Fail();
  return static_cast<EntryType>(value < 1 || value > 3 ? 1 : value);
}

bool ReadBool(ByteReader* reader) {
  const std::uint8_t value = reader->U8();
  if (value > 1) reader->Fail();
  return value == 1;
}

Change ReadChange(ByteReader* reader) {
  Change change;
  const std::uint8_t op = reader->U8();
  if (op < 1 || op > 5) reader->Fail();
  change.op = static_cast<ChangeOp>(op < 1 || op > 5 ? 1 : op);
  change.type = ReadType(reader);
  change.path = reader->Bytes();
  change.from = reader->Bytes();
  if (ReadBool(reader)) change.base = ReadIdentity(reader);
  change.size = reader->I64();
  change.mode = reader->U32();
  change.mtime_ns = reader->I64();
  change.sets_mtime = ReadBool(reader);
  change.sha256 = reader->View();
  change.link_target = reader->View();
  change.link_to = reader->View();
  change.flags = reader->U32();
  return change;
}

bool IsDigestOrEmpty(std::string_view digest) {
  return digest.empty() || digest.size() == Sha256::kSize;
}

// What every reader of a change relies on. Content paths are ours, but they come from a file too.
bool IsSound(const Change& change) {
  if (!ValidatePath(change.path).ok()) return false;
  if (!change.from.empty() && !ValidatePath(change.from).ok()) return false;
  if (!change.link_to.empty() && !ValidatePath(change.link_to).ok()) return false;
  if (!change.content.path.empty() && !ValidatePath(change.content.path).ok()) return false;
  if (change.base.has_value() != (change.op != ChangeOp::kCreate)) return false;
  if ((change.op == ChangeOp::kMove) && change.from.empty()) return false;
  return IsDigestOrEmpty(change.sha256) && change.mode <= 07777 && change.size >= 0;
}

void WriteCanonicalForm(const ChangeSet& set, ByteWriter* writer) {
  writer->Bytes(kCanonicalMagic);
  writer->U64(set.changes.size());
  for (const Change& change : set.changes) WriteChange(change, writer);
}

void WriteWithContent(const ChangeSet& set, ByteWriter* writer) {
  writer->Bytes(kEncodedMagic);
  writer->Bytes(set.id);
  writer->U64(set.changes.size());
  for (const Change& change : set.changes) {
    WriteChange(change, writer);
    writer->Bytes(change.content.path);
    Write(change.content.identity, writer);
  }
}

}  // namespace

std::string_view Name(ChangeOp op) {
  switch (op) {
    case ChangeOp::kDelete:
      return "delete";
    case ChangeOp::kMove:
      return "move";
    case ChangeOp::kCreate:
      return "create";
    case ChangeOp::kModify:
      return "modify";
    case ChangeOp::kMetadata:
      return "metadata";
  }
  CheckFailed("ChangeOp out of range", __FILE__, __LINE__);
}

std::vector<std::string_view> FlagNames(std::uint32_t flags) {
  std::vector<std::string_view> names;
  for (const auto& [flag, name] : kFlagNames) {
    if ((flags & static_cast<std::uint32_t>(flag)) != 0) names.push_back(name);
  }
  return names;
}

ChangeCounts Count(const ChangeSet& set) {
  ChangeCounts counts;
  for (const Change& change : set.changes) {
    switch (change.op) {
      case ChangeOp::kDelete:
        ++counts.deleted;
        break;
      case ChangeOp::kMove:
        ++counts.moved;
        break;
      case ChangeOp::kCreate:
        ++counts.created;
        if (change.link_to.empty()) AddSize(change.size, &counts.bytes_written);
        break;
      case ChangeOp::kModify:
        ++counts.modified;
        AddSize(change.size, &counts.bytes_written);
        break;
      case ChangeOp::kMetadata:
        ++counts.metadata;
        break;
    }
  }
  return counts;
}

void SortCanonically(ChangeSet* set) {
  std::sort(set->changes.begin(), set->changes.end(), [](const Change& left, const Change& right) {
    if (left.path != right.path) return PathLess(left.path, right.path);
    return left.op < right.op;
  });
}

std::string CanonicalForm(const ChangeSet& set) {
  ByteWriter writer;
  WriteCanonicalForm(set, &writer);
  return writer.Take();
}

std::string Digest(const ChangeSet& set) {
  Sha256 hash;
  ByteWriter writer([&hash](std::string_view bytes) { hash.Update(bytes); });
  WriteCanonicalForm(set, &writer);
  writer.Flush();
  return hash.Finish();
}

std::string Encode(const ChangeSet& set) {
  return Encoded([&](ByteWriter* writer) { WriteWithContent(set, writer); });
}

void WriteEncoded(const ChangeSet& set, ByteWriter* writer) {
  const std::size_t size =
      EncodedSize([&](ByteWriter* counter) { WriteWithContent(set, counter); });
  CHECK(size <= UINT32_MAX);
  writer->U32(static_cast<std::uint32_t>(size));
  WriteWithContent(set, writer);
}

Result<ChangeSet> Decode(std::string_view bytes) {
  ByteReader reader(bytes);
  if (reader.View() != kEncodedMagic) {
    return Error(ErrorCode::kInvalidArgument, "not an encoded change set");
  }
  ChangeSet set;
  set.id = reader.Bytes();
  const std::uint64_t count = reader.U64();
  constexpr std::uint64_t kChangeBytesMin =
      64;  // The count is believed as far as bytes bear it out.
  set.changes.reserve(std::min(count, bytes.size() / kChangeBytesMin));
  for (std::uint64_t i = 0; i < count && reader.ok(); ++i) {
    Change change = ReadChange(&reader);
    change.content.path = reader.Bytes();
    change.content.identity = ReadIdentity(&reader);
    if (reader.ok() && !IsSound(change)) reader.Fail();
    if (reader.ok()) set.changes.push_back(std::move(change));
  }
  if (!reader.ok() || !reader.AtEnd()) {
    return Error(ErrorCode::kInvalidArgument,
                 "change set: damaged at change " + std::to_string(set.changes.size()));
  }
  return set;
}

Status ValidatePath(std::string_view path) {
  const Error bad(ErrorCode::kInvalidArgument,
                  "'" + EscapeForTerminal(path, Lines::kSingle) + "' is not a path in a workspace");
  if (path.empty() || path.find('\0') != std::string_view::npos) return bad;
  while (true) {
    const std::size_t slash = path.find('/');
    const std::string_view name = path.substr(0, slash);
    if (name.empty() || name == "." || name == ".." || name.size() > 255) return bad;
    if (slash == std::string_view::npos) return Ok();
    path.remove_prefix(slash + 1);
  }
}

void Write(const Identity& identity, ByteWriter* writer) {
  writer->U8(static_cast<std::uint8_t>(identity.type));
  writer->U64(identity.dev);
  writer->U64(identity.ino);
  writer->I64(identity.size);
  writer->U32(identity.mode);
  writer->U32(identity.uid);
  writer->U32(identity.gid);
  writer->U64(identity.nlink);
  writer->I64(identity.mtime_ns);
  writer->I64(identity.ctime_ns);
  writer->Bytes(identity.link_target);
  writer->Bytes(identity.sha256);
  writer->Bytes(identity.tree_sha256);
}

Identity ReadIdentity(ByteReader* reader) {
  Identity identity;
  identity.type = ReadType(reader);
  identity.dev = reader->U64();
  identity.ino = reader->U64();
  identity.size = reader->I64();
  identity.mode = reader->U32();
  identity.uid = reader->U32();
  identity.gid = reader->U32();
  identity.nlink = reader->U64();
  identity.mtime_ns = reader->I64();
  identity.ctime_ns = reader->I64();
  identity.link_target = reader->View();
  identity.sha256 = reader->View();
  identity.tree_sha256 = reader->View();
  if (!IsDigestOrEmpty(identity.sha256) || !IsDigestOrEmpty(identity.tree_sha256)) reader->Fail();
  if (identity.size < 0) reader->Fail();
  return identity;
}

}  // namespace bailiff
