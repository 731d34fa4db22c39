#include "base/bytes.h"
#include "base/sha256.h"
#include "journal/files.h"
#include "journal/format.h"
#include "tests/fuzz/fuzzing.h"

// A journal file. The first byte chooses between the bytes of a file and a list of records (type,
// length, payload) that are framed here, so that a search gets past their checksums.

namespace bailiff {
namespace {

constexpr const char* kId = "exec_20260101_000000_00000000";

std::string Framed(std::string_view input) {
  std::string file;
  ByteReader reader(input);
  while (reader.ok() && !reader.AtEnd()) {
    const std::uint8_t type = reader.U8();
    const std::string payload = reader.Bytes();
    if (!reader.ok()) break;
    ByteWriter header;
    header.U32(0x314a4c42);
    header.U8(type);
    header.U32(static_cast<std::uint32_t>(payload.size()));
    std::string record = header.data() + Sha256::Of(header.data()).substr(0, 4) + payload;
    record += Sha256::Of(record);
    file += record;
  }
  return file;
}

std::string FileOf(const MemoryDir& dir) {
  const Result<Fd> file = OpenPath(dir.path() + "/" + kId + ".journal", O_RDONLY);
  CHECK(file.ok());
  return ReadAll(file.value(), std::size_t{1} << 30).value();
}

// What was read is written again, by the way that wrote it: the same bytes.
void CheckCanonical(const Journal& journal, std::string_view file) {
  if (journal.state == JournalState::kUndecided) return;
  static const MemoryDir again;
  (void)RemoveJournal(again.fd(), kId);
  Result<JournalFile> made = JournalFile::Create(again.fd(), journal.begin);
  CHECK(made.ok());
  switch (journal.state) {
    case JournalState::kUndecided:
    case JournalState::kDecided:
      break;
    case JournalState::kApplied:
    case JournalState::kRolledBack:
      CHECK(made.value().AppendApplied(journal.left).ok());
      if (journal.state == JournalState::kRolledBack) CHECK(made.value().AppendRolledBack().ok());
      break;
    case JournalState::kUndoing:
      CHECK(made.value().AppendUndo(journal.undo_from, journal.problems).ok());
      break;
    case JournalState::kUndone:
      CHECK(made.value().AppendUndo(journal.undo_from, journal.problems).ok());
      CHECK(made.value().AppendUndone().ok());
      break;
    case JournalState::kNeedsAttention:
      return;  // Its second list of problems takes the place of the first.
  }
  CHECK(FileOf(again) == file.substr(0, journal.size));
}

}  // namespace
}  // namespace bailiff

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace bailiff;
  static const MemoryDir dir;
  std::string_view input = TextOf(data, size);
  const bool is_file = Choose(&input, 2) == 0;
  const std::string file = is_file ? std::string(input) : Framed(input);
  dir.Put(std::string(kId) + ".journal", file);
  const Result<Journal> journal = ReadJournal(dir.fd(), kId);
  const Result<JournalEnd> peeked = PeekJournal(dir.fd(), kId);
  if (!journal.ok()) return 0;
  CHECK(journal.value().size <= file.size());
  CHECK(peeked.ok() && peeked.value().state == journal.value().state);
  CHECK(peeked.value().size == journal.value().size);
  CheckCanonical(journal.value(), file);
  return 0;
}
