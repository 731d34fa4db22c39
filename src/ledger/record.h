#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "ledger/ledger.h"
#include "sys/fd.h"

// One line of a segment, and the names of segments. Shared by the appender and the verifier.

namespace bailiff {

constexpr std::uint32_t kSegmentsMax = 1'000'000;
constexpr std::size_t kSegmentReadMax = 256UL << 20;

std::string SegmentName(std::uint32_t number);  // "00000001.jsonl"

// The numbers of the segments in `dir`, ascending.
Result<std::vector<std::uint32_t>> ListSegments(const Fd& dir);

// The whole of a small or a segment file. Errors: kNotFound; kUnsupported for what is no file; kIo.
Result<std::string> ReadWhole(const Fd& dir, const std::string& name, std::size_t bytes_max);

// What the first record's `prev` is: it ties the chain to one ledger.
std::string GenesisHash(std::string_view ledger_id);

struct ChainedRecord {
  Record record;
  std::string prev;  // Raw, as the record states it.
};

// The line for a record, newline included; `record->hash` becomes its hash.
std::string FormatLine(Record* record, std::string_view prev);

// Reads a line without its newline, and checks that its hash is right for what it says itself.
// Errors: kInvalidArgument, in words.
Result<ChainedRecord> ParseLine(std::string_view line);

// A signed statement that record `seq` of a ledger has the hash `head`.
struct SignedHead {
  std::string ledger_id;
  std::uint64_t seq = 0;
  std::string head;  // Raw.
};

std::string SignHead(const SignedHead& head, const SigningKey& key);

// Reads what SignHead() makes. Errors: kInvalidArgument.
Result<SignedHead> ParseSignedHead(std::string_view text);

// Whether `text` is, to the byte, what the owner of `key` makes of `head`.
bool IsSignedBy(std::string_view text, const SignedHead& head, const PublicKey& key);

}  // namespace bailiff
