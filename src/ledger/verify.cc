#include "ledger/verify.h"

#include <algorithm>
#include <boost/json.hpp>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "ledger/record.h"
#include "ledger/tail.h"
#include "sys/file.h"

namespace bailiff {
namespace {

namespace json = boost::json;

constexpr std::size_t kCheckpointBytesMax = 4096;
constexpr int kLockWaitMs = 2000;

std::string TextField(const json::object& data, std::string_view name) {
  const json::value* value = data.if_contains(name);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : "";
}

// A checkpoint that lies beside the chain.
struct OuterCheckpoint {
  std::string source;
  std::string text;
  SignedHead head;
  std::string found;  // The hash of record head.seq, once seen.
};

class Verifier {
 public:
  Verifier(const Fd& dir, const PublicKey& key) : dir_(dir), key_(key) {}

  // False when something is wrong, as is every function below; the report then says what.
  bool AddCheckpoint(std::string source, std::string text);
  bool CheckSegments(const std::vector<std::uint32_t>& segments);
  bool CheckOuterCheckpoints();

  bool Fail(LedgerFinding finding, std::string detail);
  bool FailAt(std::string file, std::uint64_t seq, LedgerFinding finding, std::string detail);

  VerifyReport& report() { return report_; }

 private:
  Result<std::string> ReadSegment(const std::string& name, bool is_last) const;
  bool CheckSegment(std::size_t index);
  bool CheckLine(std::string_view line, std::string_view rest, std::size_t index);
  bool CheckPlace(const Record& record, std::string_view rest, std::size_t index);
  bool CheckHeader(const ChainedRecord& first);
  bool CheckInnerCheckpoint(const Record& record);
  bool ComesLater(std::uint64_t seq, std::string_view rest, std::size_t index) const;

  const Fd& dir_;
  const PublicKey& key_;
  std::vector<std::uint32_t> segments_;
  std::vector<OuterCheckpoint> outer_;
  std::uint64_t expected_ = 1;
  std::string prev_;  // The hash of record expected_ - 1.
  VerifyReport report_;
};

bool Verifier::Fail(LedgerFinding finding, std::string detail) {
  report_.finding = finding;
  report_.detail = std::move(detail);
  return false;
}

bool Verifier::FailAt(std::string file, std::uint64_t seq, LedgerFinding finding,
                      std::string detail) {
  report_.file = std::move(file);
  report_.line = 0;
  report_.seq = seq;
  return Fail(finding, std::move(detail));
}

bool Verifier::AddCheckpoint(std::string source, std::string text) {
  Result<SignedHead> head = ParseSignedHead(text);
  if (!head.ok()) {
    return FailAt(source, 0, LedgerFinding::kBadSignature, head.error().message());
  }
  outer_.push_back({std::move(source), std::move(text), std::move(head).value(), ""});
  return true;
}

bool Verifier::CheckSegments(const std::vector<std::uint32_t>& segments) {
  segments_ = segments;
  for (std::size_t i = 0; i < segments_.size(); ++i) {
    report_.file = SegmentName(segments_[i]);
    report_.line = 0;
    report_.seq = expected_;
    if (segments_[i] != i + 1) {
      const std::string missing = SegmentName(static_cast<std::uint32_t>(i + 1));
      return FailAt(missing, expected_, LedgerFinding::kMissing, "the segment is missing");
    }
    if (!CheckSegment(i)) return false;
  }
  if (report_.records == 0) {
    return FailAt(SegmentName(1), 1, LedgerFinding::kMissing, "there is no record at all");
  }
  return true;
}

Result<std::string> Verifier::ReadSegment(const std::string& name, bool is_last) const {
  // So as not to see half of what a running process appends. A copy of a ledger has no lock, and
  // needs none.
  Fd lock;
  if (is_last) {
    Result<Fd> locked = LockLedger(dir_, LockMode::kShared, kLockWaitMs);
    if (locked.ok()) lock = std::move(locked).value();
  }
  return ReadWhole(dir_, name, kSegmentReadMax);
}

bool Verifier::CheckSegment(std::size_t index) {
  const bool is_last = index + 1 == segments_.size();
  const Result<std::string> bytes = ReadSegment(report_.file, is_last);
  if (!bytes.ok()) return Fail(LedgerFinding::kUnreadable, bytes.error().message());
  std::string_view rest = bytes.value();
  if (rest.empty() && !is_last) return Fail(LedgerFinding::kMissing, "the segment is empty");
  while (!rest.empty()) {
    ++report_.line;
    report_.seq = expected_;
    const std::size_t end = rest.find('\n');
    if (end == rest.npos) {
      if (!is_last) return Fail(LedgerFinding::kEdited, "the line has no end");
      return Fail(LedgerFinding::kTruncated,
                  "the last line is cut short, as by a crash; the next append mends that");
    }
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(end + 1);
    if (!CheckLine(line, rest, index)) return false;
  }
  return true;
}

bool Verifier::CheckLine(std::string_view line, std::string_view rest, std::size_t index) {
  const Result<ChainedRecord> parsed = ParseLine(line);
  if (!parsed.ok()) return Fail(LedgerFinding::kEdited, parsed.error().message());
  const Record& record = parsed.value().record;
  if (record.seq != expected_) return CheckPlace(record, rest, index);
  if (expected_ == 1) {
    if (!CheckHeader(parsed.value())) return false;
  } else if (parsed.value().prev != prev_) {
    return Fail(LedgerFinding::kEdited, "the record does not follow from the one before it");
  }
  if (record.type == "checkpoint" && !CheckInnerCheckpoint(record)) return false;

  prev_ = record.hash;
  report_.records = expected_;
  report_.head = record.hash;
  for (OuterCheckpoint& outer : outer_) {
    if (outer.head.seq == expected_) outer.found = record.hash;
  }
  ++expected_;
  return true;
}

// Words what it means that a sound record with another number is here.
bool Verifier::CheckPlace(const Record& record, std::string_view rest, std::size_t index) {
  const std::string found = std::to_string(record.seq);
  const std::string expected = std::to_string(expected_);
  if (record.seq < expected_) {
    return Fail(
        LedgerFinding::kReordered,
        "record " + found + " is here again, or too late; record " + expected + " belongs here");
  }
  if (ComesLater(expected_, rest, index)) {
    return Fail(LedgerFinding::kReordered,
                "record " + found + " is here too early; record " + expected + " belongs here");
  }
  const std::string last_missing = std::to_string(record.seq - 1);
  return Fail(LedgerFinding::kMissing,
              expected == last_missing
                  ? "record " + expected + " is missing"
                  : "records " + expected + " to " + last_missing + " are missing");
}

bool Verifier::ComesLater(std::uint64_t seq, std::string_view rest, std::size_t index) const {
  std::string bytes;
  for (;;) {
    for (std::size_t end = 0; (end = rest.find('\n')) != rest.npos; rest.remove_prefix(end + 1)) {
      const Result<ChainedRecord> later = ParseLine(rest.substr(0, end));
      if (later.ok() && later.value().record.seq == seq) return true;
    }
    if (++index >= segments_.size()) return false;
    Result<std::string> next = ReadWhole(dir_, SegmentName(segments_[index]), kSegmentReadMax);
    if (!next.ok()) return false;
    bytes = std::move(next).value();
    rest = bytes;
  }
}

bool Verifier::CheckHeader(const ChainedRecord& first) {
  report_.ledger_id = TextField(first.record.data, "ledger_id");
  report_.workspace_id = TextField(first.record.data, "workspace_id");
  if (first.record.type != "ledger" || first.prev != GenesisHash(report_.ledger_id)) {
    return Fail(LedgerFinding::kEdited, "this is not the first record of a ledger");
  }
  const Result<PublicKey> key = PublicKey::FromPem(TextField(first.record.data, "public_key"));
  if (!key.ok() || key.value().Raw() != key_.Raw()) {
    return Fail(LedgerFinding::kWrongKey, "the ledger names another key than the one given");
  }
  return true;
}

bool Verifier::CheckInnerCheckpoint(const Record& record) {
  const std::string note = TextField(record.data, "note");
  const Result<SignedHead> head = ParseSignedHead(note);
  if (!head.ok() || !IsSignedBy(note, head.value(), key_)) {
    return Fail(LedgerFinding::kBadSignature, "the checkpoint is not signed by the ledger's key");
  }
  if (head.value().ledger_id != report_.ledger_id) {
    return Fail(LedgerFinding::kWrongLedger, "the checkpoint is of another ledger");
  }
  if (head.value().seq != expected_ - 1 || head.value().head != prev_) {
    return Fail(LedgerFinding::kEdited, "the records before are not those that were signed");
  }
  report_.signed_seq = head.value().seq;
  return true;
}

bool Verifier::CheckOuterCheckpoints() {
  for (const OuterCheckpoint& outer : outer_) {
    const std::uint64_t seq = outer.head.seq;
    if (outer.head.ledger_id != report_.ledger_id) {
      return FailAt(outer.source, 0, LedgerFinding::kWrongLedger,
                    "it is a checkpoint of ledger " +
                        EscapeForTerminal(outer.head.ledger_id, Lines::kSingle));
    }
    if (!IsSignedBy(outer.text, outer.head, key_)) {
      return FailAt(outer.source, seq, LedgerFinding::kBadSignature,
                    "it is not signed by the ledger's key");
    }
    if (seq > report_.records) {
      return FailAt(outer.source, seq, LedgerFinding::kTruncated,
                    "it signs record " + std::to_string(seq) + ", but the ledger ends at record " +
                        std::to_string(report_.records));
    }
    if (outer.found != outer.head.head) {
      return FailAt(outer.source, seq, LedgerFinding::kEdited,
                    "record " + std::to_string(seq) + " is not the one that was signed");
    }
    report_.signed_seq = std::max(report_.signed_seq, seq);
  }
  report_.file.clear();
  report_.line = 0;
  report_.seq = 0;
  return true;
}

}  // namespace

std::string_view Name(LedgerFinding finding) {
  switch (finding) {
    case LedgerFinding::kOk:
      return "ok";
    case LedgerFinding::kEdited:
      return "edited";
    case LedgerFinding::kMissing:
      return "missing";
    case LedgerFinding::kReordered:
      return "reordered";
    case LedgerFinding::kBadSignature:
      return "bad_signature";
    case LedgerFinding::kTruncated:
      return "truncated";
    case LedgerFinding::kWrongKey:
      return "wrong_key";
    case LedgerFinding::kWrongLedger:
      return "wrong_ledger";
    case LedgerFinding::kUnreadable:
      return "unreadable";
  }
  CheckFailed("LedgerFinding out of range", __FILE__, __LINE__);
}

Result<VerifyReport> Verify(const Fd& dir, std::string_view public_key_pem,
                            const std::optional<std::string>& kept_checkpoint) {
  const PublicKey key = TRY(PublicKey::FromPem(public_key_pem));
  Verifier verifier(dir, key);
  // The checkpoint is read before the segments: a process that appends meanwhile moves it on.
  const Result<std::string> own = ReadWhole(dir, "checkpoint", kCheckpointBytesMax);
  const std::vector<std::uint32_t> segments = TRY(ListSegments(dir));
  (void)(  // Each of them leaves its finding in the report.
      (!own.ok() || verifier.AddCheckpoint("checkpoint", own.value())) &&
      (!kept_checkpoint.has_value() ||
       verifier.AddCheckpoint("the given checkpoint", *kept_checkpoint)) &&
      verifier.CheckSegments(segments) && verifier.CheckOuterCheckpoints() &&
      (own.ok() ||
       verifier.FailAt("checkpoint", 0,
                       own.error().code() == ErrorCode::kNotFound ? LedgerFinding::kMissing
                                                                  : LedgerFinding::kUnreadable,
                       own.error().message())));
  return std::move(verifier.report());
}

std::string Describe(const VerifyReport& report) {
  if (report.finding == LedgerFinding::kOk) {
    return "ok: " + std::to_string(report.records) + " records, signed up to record " +
           std::to_string(report.signed_seq) + ", head " + ToHex(report.head);
  }
  std::string text(Name(report.finding));
  text += ": " + report.file;
  if (report.line != 0) text += ", line " + std::to_string(report.line);
  if (report.seq != 0) text += ", record " + std::to_string(report.seq);
  return text + ": " + report.detail + " (" + std::to_string(report.records) +
         " records before it are sound)";
}

}  // namespace bailiff
