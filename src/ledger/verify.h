#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "sys/fd.h"

namespace bailiff {

enum class LedgerFinding : std::uint8_t {
  kOk,
  kEdited,        // A record is not what was written, or was put in.
  kMissing,       // A record, a segment or the checkpoint file is gone.
  kReordered,     // A record is there twice or not in its place.
  kBadSignature,  // A checkpoint is not signed by the ledger's key.
  kTruncated,     // The ledger ends before what a checkpoint signed, or within a line.
  kWrongKey,      // The ledger names another key than the one given.
  kWrongLedger,   // A checkpoint is another ledger's.
  kUnreadable,    // A file cannot be read.
};

std::string_view Name(LedgerFinding finding);  // "ok", "edited", ..., "bad_signature", ...

// The first thing that is wrong, or what was found to be right.
struct VerifyReport {
  LedgerFinding finding = LedgerFinding::kOk;
  std::string detail;      // In words. Empty for kOk.
  std::string file;        // Where: "00000003.jsonl", "checkpoint", "the given checkpoint".
  std::uint64_t line = 0;  // In that file, from 1; 0 for the file as a whole.
  std::uint64_t seq = 0;   // The record that should be there; 0 where none is concerned.

  std::string ledger_id;
  std::string workspace_id;
  std::uint64_t records = 0;     // That were found right before the first wrong one.
  std::string head;              // Raw hash of the last of these.
  std::uint64_t signed_seq = 0;  // The last of these that a valid checkpoint covers.
};

// Checks the whole ledger in `dir` without writing to it: every hash, the chain across segments,
// every signature, the file `checkpoint`, and `kept_checkpoint` (one that was kept elsewhere).
//
// Finds every edit, deletion, insertion, reordering and duplicate, and the loss of a tail that a
// checkpoint covers. What only the newest records say, after the last checkpoint (`signed_seq`),
// could be rewritten by someone who can write the directory: keep checkpoints elsewhere.
//
// Errors: kInvalidArgument when `public_key_pem` is not a key; kIo when `dir` cannot be listed.
//         A ledger that is wrong is a report, not an error.
Result<VerifyReport> Verify(const Fd& dir, std::string_view public_key_pem,
                            const std::optional<std::string>& kept_checkpoint = std::nullopt);

// The report as a sentence for people.
std::string Describe(const VerifyReport& report);

}  // namespace bailiff
