#pragma once

#include <cstdint>

#include "base/result.h"
#include "sys/fd.h"

// What a sync could not write the kernel may drop from its cache while the cache still shows it,
// and a second sync would succeed without a word. So after an input/output error no commit and no
// recovery believes what it reads until the machine was restarted. The mark is the file
// "quarantine" in the journal directory: a boot id, then the reason. Where such a file cannot be
// made it is a symbolic link to the boot id.

namespace bailiff {

enum class Quarantine : std::uint8_t {
  kNone,
  kInForce,  // Marked since this machine was started, or with no word of when.
  kOver,     // Marked, and the machine was restarted since: Recover() lifts it.
};

Result<Quarantine> QuarantineOf(const Fd& journal);

// Errors: kIo while it is in force, with the reason and what ends it.
Status CheckNoQuarantine(const Fd& journal);

// Marks the workspace if `error` is an input/output error, and returns it. When no mark can be made
// it says so too.
Error QuarantineIfLost(const Fd& journal, Error error);

Status LiftQuarantine(const Fd& journal);

}  // namespace bailiff
