#pragma once

#include <boost/json/object.hpp>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "ledger/signing_key.h"
#include "sys/fd.h"

// The append-only record of everything that happened: segment files of hash-chained JSON lines,
// with signed checkpoints. Format: docs/formats/ledger.md. Verification: ledger/verify.h.

namespace bailiff {

// One record of at most this many bytes of JSON; a group of at most so many records and bytes.
constexpr std::size_t kLedgerRecordBytesMax = 1UL << 20;
constexpr std::size_t kLedgerGroupRecordsMax = 1024;
constexpr std::size_t kLedgerGroupBytesMax = 8UL << 20;

struct LedgerOptions {
  // A segment that has reached this size is closed; it may exceed it by one group.
  std::int64_t segment_bytes_max = 8LL << 20;
  // A signed checkpoint record follows at least every so many records.
  std::uint64_t checkpoint_interval = 256;
  int lock_wait_ms = 10'000;
};

struct NewRecord {
  std::string type;  // "submitted", "committed", ...: lower-case letters and underscores.
  boost::json::object data{};
};

// Names a record: its number and its raw hash. An auditor who keeps one can prove it later.
struct RecordRef {
  std::uint64_t seq = 0;
  std::string hash;
};

struct Record {
  std::uint64_t seq = 0;
  std::string time;  // As FormatTimestamp() makes it.
  std::string type;
  boost::json::object data;
  std::string hash;  // Raw.
};

// Appends to the ledger in one directory. Several processes may each have one of these open on the
// same directory; appends take a file lock and read on from what the others wrote. One thread at a
// time; not to be used on both sides of a fork.
class Ledger {
 public:
  // Makes the ledger and its key when `dir` is empty, and mends a record that a crash cut short
  // (its bytes are kept in torn-<seq>, and a "repaired" record says so). Checks the last record,
  // the key, the workspace and the last checkpoint, in constant time; Verify() checks everything.
  //
  // `clock` must outlive the ledger. `dir` is a local directory that only its owner can write.
  //
  // Errors: kConflict when it belongs to another workspace; kPermissionDenied when others can read
  //         the key; kResourceExhausted; kIo, also when its files contradict each other (something
  //         else changed them).
  static Result<Ledger> Open(const Fd& dir, std::string_view workspace_id, const Clock& clock,
                             const LedgerOptions& options = {});

  Ledger(Ledger&&) = default;
  Ledger& operator=(Ledger&&) = default;

  // A record is durable when its append returns, or else with the next one of this process that is:
  // for what is soon followed by another record and about which nothing else is done meanwhile. If
  // that one's sync fails, both are gone.
  enum class Sync : std::uint8_t { kNow, kWithNext };

  // Appends one record. The time it takes does not depend on the size of the ledger.
  //
  // Errors: kInvalidArgument for a type or data that cannot be recorded (too large, not UTF-8);
  //         kResourceExhausted when the disk is full or the lock stays taken; kIo, also when
  //         something else changed the files. After a failed sync, every later call fails too,
  //         Checkpoint() included, and what was not synced before is cut off.
  Result<RecordRef> Append(std::string_view type, const boost::json::object& data,
                           Sync sync = Sync::kNow);

  // All of `records` in order, with one write and one sync; the last one's name. None is there when
  // it fails, unless the machine crashes: then the first few may be. Errors: as Append().
  Result<RecordRef> AppendAll(const std::vector<NewRecord>& records, Sync sync = Sync::kNow);

  // Signs the present head, writes that to the file `checkpoint` and returns it: what a person
  // keeps elsewhere, to detect the loss of the tail later. Errors: as Append().
  Result<std::string> Checkpoint();

  // Calls `visit` for each record from `from_seq` on, oldest first, until it returns false. Takes
  // no lock; a record being written at this moment is left out. Checks only that records can be
  // read. Errors: kIo, also for a line that is no record.
  static Status ForEach(const Fd& dir, std::uint64_t from_seq,
                        const std::function<bool(const Record&)>& visit);

  const std::string& id() const { return id_; }
  std::string PublicKeyPem() const { return key_.PublicPem(); }

 private:
  // The end of the ledger as this process last saw it.
  struct Tail {
    std::uint32_t segment = 0;
    std::int64_t size = 0;  // Of the segment.
    std::uint64_t ino = 0;
    std::uint64_t seq = 0;  // Of the last record.
    std::string hash;       // Of the last record, raw.
  };

  Ledger(Fd dir, SigningKey key, const Clock& clock, const LedgerOptions& options);

  Status Create(std::string_view workspace_id);
  Status CheckIdentity(std::string_view workspace_id);
  Status CheckCheckpoint();

  // The rest is called with the lock held.
  Status Refresh();
  Status LoadTail(std::uint32_t segment);
  Status FinishRepair();
  Status StartSegment(std::uint32_t segment);
  Status Roll();
  Result<RecordRef> AppendLocked(const std::vector<NewRecord>& records, Sync sync);
  Status WriteLines(std::string_view lines, const Tail& after, Sync sync = Sync::kNow);
  Status CheckNotBroken() const;
  Status SyncSegment(std::int64_t size);
  Status AddLine(std::string_view type, const boost::json::object& data, Tail* tail,
                 std::string* lines) const;
  std::string Sign(const Tail& tail) const;

  Fd dir_;
  Fd segment_file_;  // tail_.segment, opened for appending.
  SigningKey key_;
  const Clock* clock_;
  LedgerOptions options_;
  std::string id_;
  Tail tail_;
  bool unsynced_ = false;  // Records up to tail_ may not be durable: ours or another process's.
  std::int64_t kept_size_ = 0;  // Of the segment: synced, or what others may have told already.
  bool broken_ = false;         // A sync failed: what is on disk is unknown until the next Open().
};

}  // namespace bailiff
