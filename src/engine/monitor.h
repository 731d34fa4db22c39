#pragma once

#include "sys/fd.h"

namespace bailiff {

// The life of one sandbox, in a process of its own, told over `control` (engine/protocol.h):
// kLaunch once, or kPrepare and kStart; then kKill at any time; after kEnded, kCapture any number
// of times. Returns when `control` is closed at its other end, with the sandbox gone.
void RunMonitor(const Fd& control);

}  // namespace bailiff
