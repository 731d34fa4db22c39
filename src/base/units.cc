#include "base/units.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cmath>

namespace bailiff {
namespace {

struct Unit {
  std::string_view suffix;
  double factor;
};

constexpr std::array<Unit, 6> kDurations = {
    {{"ms", 1}, {"s", 1e3}, {"m", 60e3}, {"h", 3600e3}, {"d", 86400e3}, {"", 1e3}}};
constexpr std::array<Unit, 6> kSizes = {{{"", 1},
                                         {"k", 1024.0},
                                         {"m", 1024.0 * 1024},
                                         {"g", 1024.0 * 1024 * 1024},
                                         {"t", 1024.0 * 1024 * 1024 * 1024},
                                         {"b", 1}}};

// Reads "<decimal number><suffix>" and returns the number times the suffix's factor, or a negative
// number when `text` is anything else.
template <std::size_t kCount>
double Scale(std::string_view text, const std::array<Unit, kCount>& units) {
  double number = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number, std::chars_format::fixed);
  if (error != std::errc() || !std::isfinite(number)) return -1;
  const std::string_view suffix(rest, static_cast<std::size_t>(end - rest));
  for (const Unit& unit : units) {
    if (unit.suffix == suffix) return number * unit.factor;
  }
  return -1;
}

Error Bad(std::string_view text, std::string_view expected) {
  return Error(ErrorCode::kInvalidArgument, fmt::format("'{}' is not {}", text, expected));
}

}  // namespace

Result<std::chrono::milliseconds> ParseDuration(std::string_view text) {
  const double millis = Scale(text, kDurations);
  if (millis < 1 || millis > 1e14) {
    return Bad(text, "a duration above zero; write seconds or a unit, for example 300, 5m or 1h");
  }
  return std::chrono::milliseconds(static_cast<std::int64_t>(millis));
}

Result<std::int64_t> ParseSize(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  const double bytes = Scale(std::string_view(lower), kSizes);
  if (bytes < 1 || bytes > 9e18) {
    return Bad(text, "a size above zero; write bytes or a unit, for example 65536, 512m or 2g");
  }
  return static_cast<std::int64_t>(bytes);
}

Result<std::int64_t> ParseCount(std::string_view text, std::int64_t max) {
  std::int64_t number = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool whole = error == std::errc() && rest == text.data() + text.size();
  if (!whole || number < 1 || number > max) {
    return Bad(text, fmt::format("a whole number from 1 to {}", max));
  }
  return number;
}

Result<double> ParsePositive(std::string_view text) {
  constexpr std::array<Unit, 1> kPlain = {{{"", 1}}};
  const double number = Scale(text, kPlain);
  if (number <= 0) return Bad(text, "a number above zero, for example 1 or 0.5");
  return number;
}

void AddSize(std::int64_t bytes, std::int64_t* sum) {
  if (__builtin_add_overflow(*sum, bytes, sum)) *sum = std::numeric_limits<std::int64_t>::max();
}

std::string FormatSize(std::int64_t bytes) {
  if (bytes < 1024) return fmt::format("{} B", bytes);
  constexpr std::array<std::string_view, 4> kUnits = {"KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes) / 1024;
  std::size_t unit = 0;
  while (value >= 1024 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  return fmt::format("{:.1f} {}", value, kUnits[unit]);
}

}  // namespace bailiff
