#pragma once

#include <chrono>
#include <string>

namespace bailiff {

// Wall-clock time: nanoseconds since 1970-01-01 UTC.
using WallTime = std::chrono::time_point<std::chrono::system_clock, std::chrono::nanoseconds>;
using SteadyTime = std::chrono::time_point<std::chrono::steady_clock, std::chrono::nanoseconds>;

// Where time comes from. Tests hand in a fake; the real one is sys/system_clock.h.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual WallTime Now() const = 0;
  virtual SteadyTime Steady() const = 0;
};

// "2026-11-21T10:15:00.123456Z": always UTC, always six digits.
std::string FormatTimestamp(WallTime time);

// "20261121_101500", the middle of an id.
std::string FormatCompact(WallTime time);

}  // namespace bailiff
