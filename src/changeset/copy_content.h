#pragma once

#include <string>

#include "base/result.h"
#include "sys/fd.h"

namespace bailiff {

// Copies all of a regular file into an empty one, holes as holes, and returns the SHA-256 (raw) of
// its content. Nothing is synced.
//
// Errors: kConflict when `from` is no regular file or becomes shorter meanwhile; kResourceExhausted
//         when the disk is full; kIo.
Result<std::string> CopyContent(const Fd& from, const Fd& to);

}  // namespace bailiff
