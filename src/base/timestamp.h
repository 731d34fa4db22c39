#pragma once

#include <optional>
#include <string_view>

#include "base/clock.h"

namespace bailiff {

// "2026-11-21T10:15:00Z", with up to nine digits of a fraction: what FormatTimestamp() writes, and
// no other zone than UTC. Nothing for anything else, and for years before 1970 or after 2261.
std::optional<WallTime> ParseTimestamp(std::string_view text);

}  // namespace bailiff
