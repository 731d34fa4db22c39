#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/result.h"
#include "sys/fd.h"
#include "sys/file.h"

namespace bailiff {

// How a segment ends.
struct SegmentEnd {
  std::optional<std::string> last_line;  // The last whole line, without its newline.
  std::int64_t whole_size = 0;           // Of the whole lines.
  std::string torn;                      // What follows them: a write that a crash cut short.
  std::uint64_t ino = 0;
};

// Reads backwards from the end, so the time it takes does not depend on the segment's size.
// Errors: kIo, also when there is no newline where one must be.
Result<SegmentEnd> ReadSegmentEnd(const Fd& file);

// Waits for the ledger's lock, for at most `wait_ms`; it is held until the descriptor is closed.
// kShared does not make the lock file. Errors: kNotFound; kResourceExhausted when somebody else
// keeps it; kIo.
Result<Fd> LockLedger(const Fd& dir, LockMode mode, int wait_ms);

}  // namespace bailiff
