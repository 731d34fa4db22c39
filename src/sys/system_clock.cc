#include "sys/system_clock.h"

#include <ctime>

#include "base/check.h"

namespace bailiff {
namespace {

std::chrono::nanoseconds Read(clockid_t clock) {
  timespec time{};
  CHECK(::clock_gettime(clock, &time) == 0);
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

}  // namespace

WallTime SystemClock::Now() const {
  return WallTime(Read(CLOCK_REALTIME));
}

SteadyTime SystemClock::Steady() const {
  return SteadyTime(Read(CLOCK_BOOTTIME));
}

}  // namespace bailiff
