#pragma once

#include <string>
#include <string_view>

#include "base/clock.h"

namespace bailiff {

// An id: "<kind>_YYYYMMDD_HHMMSS_<8 hex>", UTC. Kinds: "exec" for an execution and the proposal it
// makes, "plan" for a hand-written plan, "roll" for a rollback.
std::string MakeId(std::string_view kind, WallTime time);

// True for what MakeId() makes, with any kind of lower-case letters. Ids become file names, so
// nothing that fails this test may be used as one.
bool IsId(std::string_view text);

// `size` bytes from the kernel's random source.
std::string RandomBytes(std::size_t size);

}  // namespace bailiff
