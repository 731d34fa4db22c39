#pragma once

#include <sys/types.h>

#include <cstdint>

namespace bailiff {

// The anonymous and shared memory that process `root` and its descendants have in use, as far as
// they still exist while they are counted. For the watchdog that stands in for a memory cgroup.
std::int64_t TreeMemoryBytes(pid_t root);

}  // namespace bailiff
