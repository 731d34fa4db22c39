#pragma once

#include "sandbox/plan.h"

// The parts of a plan that build the file system.

namespace bailiff {

// How many inodes a sandbox's changes, /tmp and /dev/shm may take together.
std::int64_t ScratchInodes(const Limits& limits);

// Scratch space with its directories, attached on `point`; the workspace, which is in
// Slot::kWorkspace, over it; and the overlay of both in Slot::kOverlay, not attached.
void AddOverlay(const PlanInputs& inputs, const std::string& point, Plan* plan);

// A new root with everything in it but the overlay, made current. /proc must be the host's.
void AddRoot(const PlanInputs& inputs, Plan* plan);

}  // namespace bailiff
