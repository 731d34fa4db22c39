#include "base/timestamp.h"

#include <charconv>
#include <chrono>
#include <cstdint>

namespace bailiff {

namespace chrono = std::chrono;

namespace {

constexpr int kYearMin = 1970;
constexpr int kYearMax = 2261;  // Of 64 bits of nanoseconds.
constexpr std::size_t kFractionDigits = 9;

// Takes exactly `digits` digits off the front.
std::optional<int> TakeNumber(std::size_t digits, std::string_view* text) {
  if (text->size() < digits) return std::nullopt;
  int value = 0;
  const char* const end = text->data() + digits;
  const auto [stop, error] = std::from_chars(text->data(), end, value);
  if (error != std::errc() || stop != end || text->front() == '-') return std::nullopt;
  text->remove_prefix(digits);
  return value;
}

bool Take(char expected, std::string_view* text) {
  if (text->empty() || text->front() != expected) return false;
  text->remove_prefix(1);
  return true;
}

// ".123456" as nanoseconds; 0 where there is no point.
std::optional<std::int64_t> TakeFraction(std::string_view* text) {
  if (!Take('.', text)) return 0;
  std::size_t digits = 0;
  std::int64_t nanos = 0;
  for (; !text->empty() && text->front() >= '0' && text->front() <= '9'; ++digits) {
    if (digits == kFractionDigits) return std::nullopt;
    nanos = nanos * 10 + (text->front() - '0');
    text->remove_prefix(1);
  }
  if (digits == 0) return std::nullopt;
  for (; digits < kFractionDigits; ++digits) nanos *= 10;
  return nanos;
}

}  // namespace

std::optional<WallTime> ParseTimestamp(std::string_view text) {
  const std::optional<int> y = TakeNumber(4, &text);
  if (!y || !Take('-', &text)) return std::nullopt;
  const std::optional<int> mo = TakeNumber(2, &text);
  if (!mo || !Take('-', &text)) return std::nullopt;
  const std::optional<int> d = TakeNumber(2, &text);
  if (!d || !Take('T', &text)) return std::nullopt;
  const std::optional<int> h = TakeNumber(2, &text);
  if (!h || !Take(':', &text)) return std::nullopt;
  const std::optional<int> mi = TakeNumber(2, &text);
  if (!mi || !Take(':', &text)) return std::nullopt;
  const std::optional<int> s = TakeNumber(2, &text);
  if (!s) return std::nullopt;
  const std::optional<std::int64_t> nanos = TakeFraction(&text);
  if (!nanos || text != "Z") return std::nullopt;
  const chrono::year_month_day date{chrono::year{*y}, chrono::month{static_cast<unsigned>(*mo)},
                                    chrono::day{static_cast<unsigned>(*d)}};
  const bool in_range =
      *y >= kYearMin && *y <= kYearMax && date.ok() && *h < 24 && *mi < 60 && *s < 60;
  if (!in_range) return std::nullopt;
  return WallTime(
      chrono::duration_cast<chrono::nanoseconds>(chrono::sys_days(date).time_since_epoch()) +
      chrono::hours(*h) + chrono::minutes(*mi) + chrono::seconds(*s) + chrono::nanoseconds(*nanos));
}

}  // namespace bailiff
