#include "ledger/ledger.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <cerrno>
#include <optional>
#include <utility>

#include "base/bytes.h"
#include "base/ids.h"
#include "ledger/record.h"
#include "ledger/tail.h"
#include "sys/file.h"
#include "sys/retry.h"

namespace bailiff {
namespace {

namespace json = boost::json;

constexpr char kCheckpointFile[] = "checkpoint";
constexpr std::size_t kCheckpointBytesMax = 4096;
constexpr std::size_t kHeaderBytesMax = 16 * 1024;
constexpr std::size_t kLedgerIdBytes = 16;

Error Damaged(const std::string& what) {
  return Error(ErrorCode::kIo, what +
                                   "; nothing is recorded until this is resolved. See: bailiff "
                                   "audit verify");
}

Error DamagedSegment(std::uint32_t segment, const std::string& what) {
  return Damaged(SegmentName(segment) + ": " + what);
}

Result<Fd> OpenSegment(const Fd& dir, std::uint32_t segment) {
  return OpenBeneath(dir, SegmentName(segment), O_RDWR | O_APPEND | O_NOFOLLOW);
}

Status Truncate(const Fd& file, std::int64_t size) {
  if (RetryInterrupted([&] { return ::ftruncate(file.get(), size); }) != 0)
    return Error::FromErrno(errno, "truncate");
  return Ok();
}

// Keeps what a crash left of a record, then cuts it off. In this order, a second crash loses
// nothing and FinishRepair() still sees that there was one.
Status CutTornLine(const Fd& dir, const Fd& file, const SegmentEnd& end, std::uint64_t next_seq) {
  TRY(ReplaceFile(dir, "torn-" + std::to_string(next_seq), end.torn, 0600));
  TRY(Truncate(file, end.whole_size));
  return Fsync(file);
}

// Whether there is no ledger yet: nothing, or a creation that a crash cut short.
Result<bool> IsNew(const Fd& dir, const std::vector<std::uint32_t>& segments) {
  const std::optional<struct stat> checkpoint = TRY(StatAt(dir, kCheckpointFile));
  if (segments.empty() && checkpoint.has_value()) {
    return Damaged("there is a checkpoint but no segment: the records are gone");
  }
  if (segments.empty()) return true;
  if (segments.size() > 1 || checkpoint.has_value()) return false;
  const Fd file = TRY(OpenSegment(dir, segments.front()));
  const SegmentEnd end = TRY(ReadSegmentEnd(file));
  return !end.last_line.has_value();
}

}  // namespace

Ledger::Ledger(Fd dir, SigningKey key, const Clock& clock, const LedgerOptions& options)
    : dir_(std::move(dir)), key_(std::move(key)), clock_(&clock), options_(options) {}

Result<Ledger> Ledger::Open(const Fd& dir, std::string_view workspace_id, const Clock& clock,
                            const LedgerOptions& options) {
  Result<Ledger> opened = [&]() -> Result<Ledger> {
    Fd own = TRY(OpenDirBeneath(dir, ""));
    const Fd lock = TRY(LockLedger(own, LockMode::kExclusive, options.lock_wait_ms));
    const std::vector<std::uint32_t> segments = TRY(ListSegments(own));
    const bool is_new = TRY(IsNew(own, segments));
    SigningKey key = TRY(
        SigningKey::Load(own, is_new ? SigningKey::MayCreate::kYes : SigningKey::MayCreate::kNo));
    Ledger ledger(std::move(own), std::move(key), clock, options);
    if (is_new) {
      TRY(ledger.Create(workspace_id));
    } else {
      TRY(ledger.CheckIdentity(workspace_id));
      TRY(ledger.LoadTail(segments.back()));
      TRY(ledger.CheckCheckpoint());
      TRY(ledger.FinishRepair());
    }
    return ledger;
  }();
  if (!opened.ok()) return std::move(opened).error().WithContext("open ledger");
  return opened;
}

Status Ledger::Create(std::string_view workspace_id) {
  id_ = ToHex(RandomBytes(kLedgerIdBytes));
  const std::optional<struct stat> remains = TRY(StatAt(dir_, SegmentName(1)));
  if (remains.has_value()) TRY(Unlink(dir_, SegmentName(1)));
  TRY(StartSegment(1));
  Tail after = tail_;
  after.hash = GenesisHash(id_);
  json::object header;
  header["version"] = 1;
  header["ledger_id"] = id_;
  header["workspace_id"] = workspace_id;
  header["public_key"] = key_.PublicPem();
  std::string lines;
  TRY(AddLine("ledger", header, &after, &lines));
  TRY(WriteLines(lines, after));
  return ReplaceFile(dir_, kCheckpointFile, Sign(tail_), 0644);
}

// The first record says whose ledger this is.
Status Ledger::CheckIdentity(std::string_view workspace_id) {
  const Fd file = TRY(OpenSegment(dir_, 1));
  const std::string start = TRY(ReadAt(file, 0, kHeaderBytesMax));
  const std::string_view line = std::string_view(start).substr(0, start.find('\n'));
  Result<ChainedRecord> first = ParseLine(line);
  if (!first.ok()) return DamagedSegment(1, "line 1: " + first.error().message());
  const auto field = [&](std::string_view name) -> std::string {
    const json::value* value = first.value().record.data.if_contains(name);
    return value != nullptr && value->is_string() ? std::string(value->get_string()) : "";
  };
  id_ = field("ledger_id");
  if (first.value().record.type != "ledger" || first.value().prev != GenesisHash(id_)) {
    return DamagedSegment(1, "line 1: is not a ledger's first record");
  }
  if (field("workspace_id") != workspace_id) {
    return Error(ErrorCode::kConflict, "it belongs to workspace " + field("workspace_id") +
                                           ", this one is " + std::string(workspace_id));
  }
  if (field("public_key") != key_.PublicPem()) {
    return Damaged("key.pem: is not the key that this ledger began with");
  }
  return Ok();
}

// Finds most accidents with a restored or truncated directory at once; Verify() finds the rest.
Status Ledger::CheckCheckpoint() {
  const std::optional<struct stat> st = TRY(StatAt(dir_, kCheckpointFile));
  if (!st.has_value()) {
    if (tail_.seq == 1) return ReplaceFile(dir_, kCheckpointFile, Sign(tail_), 0644);
    return Damaged("the file checkpoint is gone");
  }
  const std::string text = TRY(ReadWhole(dir_, kCheckpointFile, kCheckpointBytesMax));
  const Result<SignedHead> head = ParseSignedHead(text);
  const PublicKey key = TRY(PublicKey::FromPem(key_.PublicPem()));
  if (!head.ok() || head.value().ledger_id != id_ || !IsSignedBy(text, head.value(), key)) {
    return Damaged("the file checkpoint is not signed by this ledger's key");
  }
  if (head.value().seq > tail_.seq) {
    return Damaged("the ledger ends at record " + std::to_string(tail_.seq) + ", but record " +
                   std::to_string(head.value().seq) + " is signed in the file checkpoint");
  }
  if (head.value().seq == tail_.seq && head.value().head != tail_.hash) {
    return Damaged("the last record is not the one that was signed in the file checkpoint");
  }
  return Ok();
}

// Reads on from what other processes wrote since this one last looked.
Status Ledger::Refresh() {
  const std::optional<struct stat> st = TRY(StatAt(dir_, SegmentName(tail_.segment)));
  if (!st.has_value() || st->st_ino != tail_.ino || st->st_size < tail_.size) {
    return DamagedSegment(tail_.segment, "was replaced or cut off since it was last read");
  }
  std::uint32_t last = tail_.segment;
  for (;; ++last) {
    const std::optional<struct stat> next = TRY(StatAt(dir_, SegmentName(last + 1)));
    if (!next.has_value()) break;
  }
  if (last == tail_.segment && st->st_size == tail_.size) return Ok();
  const std::uint64_t seen = tail_.seq;
  TRY(LoadTail(last));
  if (tail_.seq < seen) return DamagedSegment(last, "ends before what was already read");
  return FinishRepair();
}

Status Ledger::LoadTail(std::uint32_t segment) {
  Fd file = TRY(OpenSegment(dir_, segment));
  SegmentEnd end = TRY(ReadSegmentEnd(file));
  std::uint32_t line_segment = segment;
  std::string line;
  if (end.last_line.has_value()) {
    line = *end.last_line;
  } else {
    // A crash came between the creation of this segment and its first record.
    if (segment == 1) return DamagedSegment(1, "has no first record");
    line_segment = segment - 1;
    const Fd previous = TRY(OpenSegment(dir_, line_segment));
    const SegmentEnd previous_end = TRY(ReadSegmentEnd(previous));
    line = previous_end.last_line.value_or("");
  }
  Result<ChainedRecord> last = ParseLine(line);
  if (!last.ok()) {
    return DamagedSegment(line_segment, "the last record: " + last.error().message());
  }
  const Record& record = last.value().record;
  if (!end.torn.empty()) TRY(CutTornLine(dir_, file, end, record.seq + 1));
  tail_ = Tail{segment, end.whole_size, end.ino, record.seq, record.hash};
  segment_file_ = std::move(file);
  unsynced_ = true;  // Whoever wrote it may have left that to a later append.
  kept_size_ = end.whole_size;
  return Ok();
}

// A torn-<seq> file whose number is the next record's has no record that tells of it yet.
Status Ledger::FinishRepair() {
  const std::string name = "torn-" + std::to_string(tail_.seq + 1);
  const std::optional<struct stat> torn = TRY(StatAt(dir_, name));
  if (!torn.has_value()) return Ok();
  json::object data;
  data["file"] = name;
  data["bytes"] = torn->st_size;
  data["reason"] = "a record was cut short by a crash; its writer was not told that it is recorded";
  Tail after = tail_;
  std::string lines;
  TRY(AddLine("repaired", data, &after, &lines));
  return WriteLines(lines, after);
}

Status Ledger::StartSegment(std::uint32_t segment) {
  segment_file_ = TRY(OpenBeneath(dir_, SegmentName(segment),
                                  O_RDWR | O_APPEND | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
  TRY(Fsync(dir_));
  const struct stat st = TRY(Stat(segment_file_));
  tail_.ino = st.st_ino;
  tail_.segment = segment;
  tail_.size = 0;
  kept_size_ = 0;
  return Ok();
}

// Closes a full segment with a signed record, and begins the next.
Status Ledger::Roll() {
  Tail after = tail_;
  const std::string note = Sign(tail_);
  std::string lines;
  TRY(AddLine("checkpoint", {{"note", note}}, &after, &lines));
  TRY(WriteLines(lines, after));
  TRY(ReplaceFile(dir_, kCheckpointFile, note, 0644));
  return StartSegment(tail_.segment + 1);
}

Result<RecordRef> Ledger::Append(std::string_view type, const json::object& data, Sync sync) {
  return AppendAll({NewRecord{std::string(type), data}}, sync);
}

Result<RecordRef> Ledger::AppendAll(const std::vector<NewRecord>& records, Sync sync) {
  Result<RecordRef> appended = [&]() -> Result<RecordRef> {
    if (records.empty() || records.size() > kLedgerGroupRecordsMax) {
      return Error(ErrorCode::kInvalidArgument,
                   "a group has 1 to " + std::to_string(kLedgerGroupRecordsMax) + " records");
    }
    TRY(CheckNotBroken());
    const Fd lock = TRY(LockLedger(dir_, LockMode::kExclusive, options_.lock_wait_ms));
    TRY(Refresh());
    return AppendLocked(records, sync);
  }();
  if (!appended.ok()) return std::move(appended).error().WithContext("append to ledger");
  return appended;
}

Result<RecordRef> Ledger::AppendLocked(const std::vector<NewRecord>& records, Sync sync) {
  if (tail_.size >= options_.segment_bytes_max) TRY(Roll());
  Tail after = tail_;
  std::string lines;
  for (const NewRecord& record : records) {
    TRY(AddLine(record.type, record.data, &after, &lines));
    if (lines.size() > kLedgerGroupBytesMax) {
      return Error(ErrorCode::kInvalidArgument, "the records are larger together than " +
                                                    std::to_string(kLedgerGroupBytesMax) +
                                                    " bytes");
    }
  }
  RecordRef ref{after.seq, after.hash};
  std::string note;
  if (tail_.seq / options_.checkpoint_interval != after.seq / options_.checkpoint_interval) {
    note = Sign(after);
    TRY(AddLine("checkpoint", {{"note", note}}, &after, &lines));
  }
  TRY(WriteLines(lines, after, note.empty() ? sync : Sync::kNow));
  if (!note.empty()) {
    // The same note is safe in the record. An older file here only signs less.
    (void)ReplaceFile(dir_, kCheckpointFile, note, 0644);
  }
  return ref;
}

// `after` is what the tail is once `lines` are written.
Status Ledger::WriteLines(std::string_view lines, const Tail& after, Sync sync) {
  const std::int64_t size = tail_.size + static_cast<std::int64_t>(lines.size());
  const Status done = [&]() -> Status {
    const Status written = WriteAll(segment_file_, lines);
    unsynced_ = true;
    if (written.ok()) return sync == Sync::kNow ? SyncSegment(size) : Ok();
    if (!Truncate(segment_file_, tail_.size).ok()) broken_ = true;
    return written;
  }();
  if (!done.ok()) return Error(done.error()).WithContext(SegmentName(tail_.segment));
  const std::uint64_t ino = tail_.ino;
  tail_ = after;
  tail_.size = size;
  tail_.ino = ino;
  return Ok();
}

Status Ledger::CheckNotBroken() const {
  if (!broken_) return Ok();
  return Error(ErrorCode::kIo, "an earlier write could not be synced; start again");
}

// `size`: of the segment. After a failed sync nobody knows what is on the disk: the kernel may have
// dropped the pages, and the next process would find them in its cache and sync them with success.
// So they are cut off.
Status Ledger::SyncSegment(std::int64_t size) {
  if (!unsynced_) return Ok();
  Status synced = Fsync(segment_file_);
  if (synced.ok()) {
    unsynced_ = false;
    kept_size_ = size;
    return synced;
  }
  broken_ = true;
  const Status cut = Truncate(segment_file_, kept_size_);
  if (cut.ok()) return synced;
  return std::move(synced).error().WithContext("records that may be lost could not be cut off (" +
                                               cut.error().message() + ")");
}

Status Ledger::AddLine(std::string_view type, const json::object& data, Tail* tail,
                       std::string* lines) const {
  const bool type_ok = !type.empty() && type.size() <= 64 &&
                       type.find_first_not_of("abcdefghijklmnopqrstuvwxyz_") == type.npos;
  if (!type_ok) {
    return Error(ErrorCode::kInvalidArgument, "record type '" +
                                                  EscapeForTerminal(type, Lines::kSingle) +
                                                  "': use lower-case letters and underscores");
  }
  Record record{tail->seq + 1, FormatTimestamp(clock_->Now()), std::string(type), data, {}};
  const std::string line = FormatLine(&record, tail->hash);
  // What cannot be read back (not UTF-8, not a number, too deep, too large) must never get in: it
  // would spoil the whole ledger.
  const Result<ChainedRecord> read_back =
      ParseLine(std::string_view(line).substr(0, line.size() - 1));
  if (!read_back.ok()) {
    return Error(ErrorCode::kInvalidArgument,
                 "record of type " + std::string(type) + ": " + read_back.error().message());
  }
  lines->append(line);
  tail->seq = record.seq;
  tail->hash = record.hash;
  return Ok();
}

std::string Ledger::Sign(const Tail& tail) const {
  return SignHead({id_, tail.seq, tail.hash}, key_);
}

Result<std::string> Ledger::Checkpoint() {
  Result<std::string> signed_head = [&]() -> Result<std::string> {
    TRY(CheckNotBroken());
    const Fd lock = TRY(LockLedger(dir_, LockMode::kExclusive, options_.lock_wait_ms));
    TRY(Refresh());
    TRY(SyncSegment(tail_.size));
    std::string note = Sign(tail_);
    TRY(ReplaceFile(dir_, kCheckpointFile, note, 0644));
    return note;
  }();
  if (!signed_head.ok()) return std::move(signed_head).error().WithContext("sign checkpoint");
  return signed_head;
}

Status Ledger::ForEach(const Fd& dir, std::uint64_t from_seq,
                       const std::function<bool(const Record&)>& visit) {
  std::uint64_t seq = 0;
  const std::vector<std::uint32_t> segments = TRY(ListSegments(dir));
  for (const std::uint32_t segment : segments) {
    const std::string bytes = TRY(ReadWhole(dir, SegmentName(segment), kSegmentReadMax));
    std::string_view rest = bytes;
    for (std::size_t end = 0; (end = rest.find('\n')) != rest.npos; rest.remove_prefix(end + 1)) {
      if (++seq < from_seq) continue;
      const Result<ChainedRecord> record = ParseLine(rest.substr(0, end));
      if (!record.ok()) {
        return DamagedSegment(segment,
                              "record " + std::to_string(seq) + ": " + record.error().message());
      }
      if (!visit(record.value().record)) return Ok();
    }
  }
  return Ok();
}

}  // namespace bailiff
