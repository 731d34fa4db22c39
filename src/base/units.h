#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace bailiff {

// "300" (seconds), "1.5s", "250ms", "5m", "1h", "7d". Zero and negative values are refused.
// Errors: kInvalidArgument; the message says what would be right, without the field's name.
Result<std::chrono::milliseconds> ParseDuration(std::string_view text);

// "4096" (bytes), "512k", "512m", "2g", "1t"; powers of 1024. Errors: as above.
Result<std::int64_t> ParseSize(std::string_view text);

// A positive whole number of at most `max`. Errors: as above.
Result<std::int64_t> ParseCount(std::string_view text, std::int64_t max);

// A positive decimal number such as "0.5". Errors: as above.
Result<double> ParsePositive(std::string_view text);

// Adds a size to others. A sum that is too large stays at what fits: two sparse files may have 8
// EiB each.
void AddSize(std::int64_t bytes, std::int64_t* sum);

// "512 B", "1.5 KiB", "2.0 GiB".
std::string FormatSize(std::int64_t bytes);

}  // namespace bailiff
