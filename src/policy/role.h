#pragma once

#include <cstdint>
#include <string_view>

#include "base/result.h"

namespace bailiff {

// What somebody may do: an agent proposes, a reviewer decides on what others propose, an admin may
// do all of it. Each may what those before may.
enum class Role : std::uint8_t { kAgent, kReviewer, kAdmin };

std::string_view Name(Role role);  // "agent", "reviewer", "admin"

// Errors: kInvalidArgument; the message says what would be right.
Result<Role> ParseRole(std::string_view name);

}  // namespace bailiff
