#pragma once

namespace bailiff {

// Gives memory that was freed back to the system, which malloc(3) else keeps for later: worth its
// walk through the heap after something large.
void ReleaseFreeMemory();

}  // namespace bailiff
