#include "journal/format.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/sha256.h"
#include "journal/files.h"
#include "sys/file.h"
#include "sys/retry.h"

namespace bailiff {
namespace {

constexpr std::uint32_t kVersion = 1;
constexpr std::uint32_t kMagic = 0x314a4c42;  // "BLJ1"
constexpr std::size_t kHeaderChecked = 4 + 1 + 4;
constexpr std::size_t kHeaderSize = kHeaderChecked + 4;
constexpr std::size_t kTrailerSize = Sha256::kSize;
constexpr std::size_t kRecordBytesMax = 1UL << 31;
constexpr std::size_t kPathsBelowMax = 10'000'000;

// What is appended to `written` bytes is shorter than they are, and must not meet a full disk.
// Errors: kResourceExhausted; a file system that cannot reserve is no reason to refuse.
Status Reserve(const Fd& file, std::size_t written) {
  const auto reserved = static_cast<off_t>(2 * written + 4096);
  const int rc =
      RetryInterrupted([&] { return ::fallocate(file.get(), FALLOC_FL_KEEP_SIZE, 0, reserved); });
  if (rc == 0 || (errno != ENOSPC && errno != EDQUOT)) return Ok();
  return Error::FromErrno(errno, "reserve");
}

std::string Header(RecordType type, std::size_t size) {
  ByteWriter writer;
  writer.U32(kMagic);
  writer.U8(static_cast<std::uint8_t>(type));
  writer.U32(static_cast<std::uint32_t>(size));
  return writer.data() + Sha256::Of(writer.data()).substr(0, 4);
}

// `size`: of what `payload` writes. The record of a large change set is never in memory as a whole.
void WriteRecord(RecordType type, std::size_t size, const Encoding& payload, ByteWriter* writer) {
  Sha256 hash;
  ByteWriter checked([&](std::string_view bytes) {
    hash.Update(bytes);
    writer->Raw(bytes);
  });
  checked.Raw(Header(type, size));
  payload(&checked);
  checked.Flush();
  writer->Raw(hash.Finish());
}

Status WriteTo(const Fd& file, const Encoding& encoding) {
  Status written = Ok();
  ByteWriter writer([&](std::string_view bytes) {
    if (written.ok()) written = WriteAll(file, bytes);
  });
  encoding(&writer);
  writer.Flush();
  return written;
}

void WriteStep(const Step& step, ByteWriter* writer) {
  writer->U8(static_cast<std::uint8_t>(step.kind));
  writer->U64(step.change);
  writer->Bytes(step.path);
  writer->Bytes(step.store);
  writer->Bytes(step.slot);
  writer->Bytes(step.target);
  writer->Bytes(step.mark);
  Write(step.before, writer);
  Write(step.after, writer);
  writer->U8(step.sets_mtime ? 1 : 0);
  writer->U8(step.unlocks ? 1 : 0);
}

bool ReadBool(ByteReader* reader) {
  const std::uint8_t value = reader->U8();
  if (value > 1) reader->Fail();
  return value == 1;
}

Step ReadStep(ByteReader* reader) {
  Step step;
  const std::uint8_t kind = reader->U8();
  if (kind < 1 || kind > 7) reader->Fail();
  step.kind = static_cast<StepKind>(kind < 1 || kind > 7 ? 1 : kind);
  step.change = reader->U64();
  step.path = reader->Bytes();
  step.store = reader->Bytes();
  step.slot = reader->Bytes();
  step.target = reader->View();
  step.mark = reader->View();
  step.before = ReadIdentity(reader);
  step.after = ReadIdentity(reader);
  step.sets_mtime = ReadBool(reader);
  step.unlocks = ReadBool(reader);
  return step;
}

void WriteBegin(const Begin& begin, ByteWriter* writer) {
  writer->U32(kVersion);
  writer->Bytes(begin.rolls_back);
  writer->U8(begin.stability == Stability::kStrong ? 1 : 0);
  writer->U64(begin.root_ino);
  writer->Bytes(begin.digest);
  WriteEncoded(begin.set, writer);
  writer->U64(begin.steps.size());
  for (const Step& step : begin.steps) WriteStep(step, writer);
}

bool DecodeBegin(std::string_view payload, Begin* begin) {
  ByteReader reader(payload);
  if (reader.U32() != kVersion) return false;
  begin->rolls_back = reader.Bytes();
  begin->stability = ReadBool(&reader) ? Stability::kStrong : Stability::kWeak;
  begin->root_ino = reader.U64();
  begin->digest = reader.Bytes();
  Result<ChangeSet> set = Decode(reader.View());
  if (!set.ok()) return false;
  begin->set = std::move(set).value();
  const std::uint64_t count = reader.U64();
  for (std::uint64_t i = 0; i < count && reader.ok(); ++i) {
    begin->steps.push_back(ReadStep(&reader));
    const std::uint64_t change = begin->steps.back().change;
    if (change != Step::kNoChange && change >= begin->set.changes.size()) reader.Fail();
  }
  return reader.ok() && reader.AtEnd();
}

void WriteLeft(const std::vector<Left>& left, ByteWriter* writer) {
  writer->U64(left.size());
  for (const Left& entry : left) {
    writer->U8(entry.present ? 1 : 0);
    Write(entry.identity, writer);
    writer->U64(entry.below.size());
    for (const std::string& path : entry.below) writer->Bytes(path);
  }
}

bool DecodeLeft(std::string_view payload, std::vector<Left>* left) {
  ByteReader reader(payload);
  const std::uint64_t count = reader.U64();
  for (std::uint64_t i = 0; i < count && reader.ok(); ++i) {
    Left entry;
    entry.present = ReadBool(&reader);
    entry.identity = ReadIdentity(&reader);
    const std::uint64_t below = reader.U64();
    if (below > kPathsBelowMax) reader.Fail();
    for (std::uint64_t j = 0; j < below && reader.ok(); ++j) entry.below.push_back(reader.Bytes());
    left->push_back(std::move(entry));
  }
  return reader.ok() && reader.AtEnd();
}

// What may follow what: anything else is no journal of ours.
bool CanFollow(JournalState state, bool begun, RecordType type) {
  switch (type) {
    case RecordType::kBegin:
      return !begun;
    case RecordType::kDecided:
      return begun && state == JournalState::kUndecided;
    case RecordType::kApplied:
    case RecordType::kUndo:
      return state == JournalState::kDecided;
    case RecordType::kUndone:
    case RecordType::kAttention:
      return state == JournalState::kUndoing;
    case RecordType::kRolledBack:
      return state == JournalState::kApplied;
  }
  return false;
}

JournalState StateAfter(RecordType type) {
  switch (type) {
    case RecordType::kBegin:
      return JournalState::kUndecided;
    case RecordType::kDecided:
      return JournalState::kDecided;
    case RecordType::kApplied:
      return JournalState::kApplied;
    case RecordType::kUndo:
      return JournalState::kUndoing;
    case RecordType::kUndone:
      return JournalState::kUndone;
    case RecordType::kAttention:
      return JournalState::kNeedsAttention;
    case RecordType::kRolledBack:
      return JournalState::kRolledBack;
  }
  CheckFailed("RecordType out of range", __FILE__, __LINE__);
}

// Takes one record's payload into the journal.
bool Accept(RecordType type, std::string_view payload, Journal* journal) {
  switch (type) {
    case RecordType::kBegin:
      return DecodeBegin(payload, &journal->begin);
    case RecordType::kDecided:
      return payload == journal->begin.digest && payload == Digest(journal->begin.set);
    case RecordType::kApplied:
      return DecodeLeft(payload, &journal->left) &&
             journal->left.size() == journal->begin.set.changes.size();
    case RecordType::kUndo: {
      ByteReader reader(payload);
      journal->undo_from = reader.U64();
      journal->problems = ReadProblems(&reader);
      return reader.ok() && reader.AtEnd() && journal->undo_from < journal->begin.steps.size();
    }
    case RecordType::kAttention: {
      ByteReader reader(payload);
      journal->problems = ReadProblems(&reader);
      return reader.ok() && reader.AtEnd();
    }
    case RecordType::kUndone:
    case RecordType::kRolledBack:
      return payload.empty();
  }
  return false;
}

bool IsZero(std::string_view bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](char c) { return c == '\0'; });
}

enum class Framing : std::uint8_t { kWhole, kTorn, kDamaged };

struct Frame {
  Framing framing = Framing::kTorn;
  RecordType type = RecordType::kBegin;
  std::size_t size = 0;                  // Of the payload.
  std::size_t whole_size = kHeaderSize;  // Of the record, as far as its header can be believed.

  std::size_t record_size() const { return kHeaderSize + size + kTrailerSize; }
};

// Judges a header. A crash while a record is appended leaves less of it, or zeros that were never
// written; bytes that are there and wrong are damage, which no crash makes.
Frame ReadHeader(std::string_view rest) {
  Frame frame;
  if (rest.size() < kHeaderSize || IsZero(rest.substr(0, kHeaderSize))) return frame;
  ByteReader reader(rest.substr(0, kHeaderChecked));
  const std::uint32_t magic = reader.U32();
  const std::uint8_t type = reader.U8();
  frame.size = reader.U32();
  const std::string check = Sha256::Of(rest.substr(0, kHeaderChecked)).substr(0, 4);
  frame.framing = Framing::kDamaged;
  if (magic != kMagic || type < 1 || type > 7 || frame.size > kRecordBytesMax) return frame;
  if (check != rest.substr(kHeaderChecked, 4)) return frame;
  frame.type = static_cast<RecordType>(type);
  frame.framing = Framing::kWhole;
  return frame;
}

Frame ReadFrame(std::string_view rest) {
  Frame frame = ReadHeader(rest);
  if (frame.framing != Framing::kWhole) return frame;
  const std::size_t checked = kHeaderSize + frame.size;
  frame.whole_size = checked + kTrailerSize;
  const bool is_short = rest.size() < checked + kTrailerSize;
  if (is_short || IsZero(rest.substr(checked, kTrailerSize))) {
    frame.framing = Framing::kTorn;
  } else if (Sha256::Of(rest.substr(0, checked)) != rest.substr(checked, kTrailerSize)) {
    frame.framing = Framing::kDamaged;
  }
  return frame;
}

// Whether a record of `size` bytes ends in zeros from a sector within it on, as far as the file
// goes: a disk wrote the sectors before, and the file's size, when the power went. `rest` is the
// file from `offset`, where the record begins, to its end.
bool IsCut(std::string_view rest, std::size_t offset, std::size_t size) {
  constexpr std::size_t kSectorBytes = 512;
  const std::size_t written = offset + rest.find_last_not_of('\0') + 1;
  const std::size_t cut = (written + kSectorBytes - 1) / kSectorBytes * kSectorBytes;
  return offset < cut && cut < offset + size;
}

Error Damaged(const std::string& id, std::size_t offset) {
  return Error(ErrorCode::kIo, JournalName(id) + ": damaged at byte " + std::to_string(offset) +
                                   ". Nothing was done for it; it needs inspection");
}

}  // namespace

bool IsFinal(JournalState state) {
  switch (state) {
    case JournalState::kUndecided:
    case JournalState::kDecided:
    case JournalState::kUndoing:
      return false;
    case JournalState::kApplied:
    case JournalState::kUndone:
    case JournalState::kNeedsAttention:
    case JournalState::kRolledBack:
      return true;
  }
  CheckFailed("JournalState out of range", __FILE__, __LINE__);
}

Result<Journal> ReadJournal(const Fd& dir, const std::string& id) {
  const Fd file = TRY(OpenJournal(dir, id, O_RDONLY));
  const auto end = static_cast<std::size_t>(TRY(Stat(file)).st_size);
  Journal journal;
  bool begun = false;
  while (journal.size < end) {
    const auto at = static_cast<std::int64_t>(journal.size);
    std::string record = TRY(ReadAt(file, at, kHeaderSize));
    Frame frame = ReadHeader(record);
    if (frame.framing == Framing::kWhole) {
      record = TRY(ReadAt(file, at, std::min(frame.record_size(), end - journal.size)));
      frame = ReadFrame(record);
    }
    if (frame.framing == Framing::kTorn) break;
    if (frame.framing == Framing::kDamaged) {
      record = TRY(ReadAt(file, at, end - journal.size));
      if (IsCut(record, journal.size, frame.whole_size)) break;
      return Damaged(id, journal.size);
    }
    const std::string_view payload = std::string_view(record).substr(kHeaderSize, frame.size);
    const bool sound =
        CanFollow(journal.state, begun, frame.type) && Accept(frame.type, payload, &journal);
    if (!sound) return Damaged(id, journal.size);
    begun = true;
    journal.state = StateAfter(frame.type);
    journal.size += frame.record_size();
  }
  if (journal.state != JournalState::kUndecided && journal.begin.set.id != id) {
    return Damaged(id, 0);
  }
  return journal;
}

Result<JournalEnd> PeekJournal(const Fd& dir, const std::string& id) {
  const Fd file = TRY(OpenJournal(dir, id, O_RDONLY));
  const struct stat st = TRY(Stat(file));
  const auto end = static_cast<std::size_t>(st.st_size);
  JournalState state = JournalState::kUndecided;
  std::size_t offset = 0;
  while (offset < end) {
    const auto at = static_cast<std::int64_t>(offset);
    const std::string header = TRY(ReadAt(file, at, kHeaderSize));
    const Frame frame = ReadHeader(header);
    if (frame.framing == Framing::kTorn) break;
    if (frame.framing == Framing::kDamaged) {
      const std::string rest = TRY(ReadAt(file, at, end - offset));
      if (IsCut(rest, offset, frame.whole_size)) break;
      return Damaged(id, offset);
    }
    const std::size_t size = frame.record_size();
    if (size > end - offset) break;
    const std::size_t trailer = size - kTrailerSize;
    const std::string check =
        TRY(ReadAt(file, at + static_cast<std::int64_t>(trailer), kTrailerSize));
    if (IsZero(check)) break;
    if (size == end - offset && IsCut(check, offset + trailer, kTrailerSize)) {
      const std::string record = TRY(ReadAt(file, at, size));
      if (ReadFrame(record).framing != Framing::kWhole) break;
    }
    state = StateAfter(frame.type);
    offset += size;
  }
  return JournalEnd{state, offset};
}

Result<JournalFile> JournalFile::Create(const Fd& dir, const Begin& begin) {
  const std::string id = begin.set.id;
  const Encoding begins = [&](ByteWriter* writer) { WriteBegin(begin, writer); };
  const Encoding decides = [&](ByteWriter* writer) { writer->Raw(begin.digest); };
  const std::size_t size = EncodedSize(begins);
  if (size > kRecordBytesMax) {
    return Error(ErrorCode::kResourceExhausted, "journal: change set is too large");
  }
  constexpr std::size_t kFrameBytes = kHeaderSize + kTrailerSize;
  const std::size_t written_size = size + begin.digest.size() + 2 * kFrameBytes;
  JournalFile journal(TRY(MakeJournal(dir, id)));
  const Status written = [&]() -> Status {
    Status reserved = Reserve(journal.file_, written_size);
    if (!reserved.ok()) return std::move(reserved).error().WithContext(JournalName(id));
    TRY(WriteTo(journal.file_, [&](ByteWriter* writer) {
      WriteRecord(RecordType::kBegin, size, begins, writer);
      WriteRecord(RecordType::kDecided, begin.digest.size(), decides, writer);
    }));
    TRY(Fsync(journal.file_));
    return Fsync(dir);
  }();
  if (!written.ok()) {
    // Not decided for anyone who reads the directory after this; the first error is what matters.
    (void)RemoveJournal(dir, id);
    return written.error();
  }
  return journal;
}

Result<JournalFile> JournalFile::Open(const Fd& dir, const std::string& id, std::size_t size) {
  Fd file = TRY(OpenJournal(dir, id, O_RDWR | O_APPEND));
  const auto sound = static_cast<off_t>(size);
  // Also when it changes no size, a truncation gives up what is reserved behind the end.
  if (TRY(Stat(file)).st_size > sound) {
    if (RetryInterrupted([&] { return ::ftruncate(file.get(), sound); }) != 0) {
      return Error::FromErrno(errno, "truncate " + JournalName(id));
    }
    // Decided is decided: on a full disk the little that follows may still fit.
    (void)Reserve(file, size);
  }
  return JournalFile(std::move(file));
}

Status JournalFile::Append(RecordType type, const Encoding& payload) {
  const struct stat st = TRY(Stat(file_));
  const Status written = WriteTo(
      file_, [&](ByteWriter* writer) { WriteRecord(type, EncodedSize(payload), payload, writer); });
  if (!written.ok()) {
    // A torn end is ignored by readers anyway; the first error is what matters.
    [[maybe_unused]] const int cut = ::ftruncate(file_.get(), st.st_size);
    return written;
  }
  return Fsync(file_);
}

Status JournalFile::AppendApplied(const std::vector<Left>& left) {
  return Append(RecordType::kApplied, [&](ByteWriter* writer) { WriteLeft(left, writer); });
}

Status JournalFile::AppendUndo(std::uint64_t undo_from, const std::vector<PathProblem>& problems) {
  return Append(RecordType::kUndo, [&](ByteWriter* writer) {
    writer->U64(undo_from);
    WriteProblems(problems, writer);
  });
}

Status JournalFile::AppendUndone() {
  return Append(RecordType::kUndone, [](ByteWriter*) {});
}

Status JournalFile::AppendAttention(const std::vector<PathProblem>& problems) {
  return Append(RecordType::kAttention,
                [&](ByteWriter* writer) { WriteProblems(problems, writer); });
}

Status JournalFile::AppendRolledBack() {
  return Append(RecordType::kRolledBack, [](ByteWriter*) {});
}

}  // namespace bailiff
