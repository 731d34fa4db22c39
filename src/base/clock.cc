#include "base/clock.h"

#include <fmt/format.h>

#include <ctime>

namespace bailiff {
namespace {

std::tm ToUtc(WallTime time) {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(time.time_since_epoch()).count();
  const std::time_t unix_time = static_cast<std::time_t>(seconds);
  std::tm utc{};
  ::gmtime_r(&unix_time, &utc);
  return utc;
}

}  // namespace

std::string FormatTimestamp(WallTime time) {
  const std::tm utc = ToUtc(time);
  const auto since_epoch = time.time_since_epoch();
  const auto fraction = since_epoch - std::chrono::floor<std::chrono::seconds>(since_epoch);
  const auto micros = std::chrono::duration_cast<std::chrono::microseconds>(fraction).count();
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z", utc.tm_year + 1900,
                     utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec, micros);
}

std::string FormatCompact(WallTime time) {
  const std::tm utc = ToUtc(time);
  return fmt::format("{:04}{:02}{:02}_{:02}{:02}{:02}", utc.tm_year + 1900, utc.tm_mon + 1,
                     utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec);
}

}  // namespace bailiff
