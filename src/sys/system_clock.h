#pragma once

#include "base/clock.h"

namespace bailiff {

// The machine's own clocks. Steady time is CLOCK_BOOTTIME, which goes on while the machine sleeps.
class SystemClock : public Clock {
 public:
  WallTime Now() const override;
  SteadyTime Steady() const override;
};

}  // namespace bailiff
