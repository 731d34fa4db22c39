#pragma once

#include "base/result.h"
#include "sys/fd.h"

namespace bailiff {

// The two ends of a new pipe, both close-on-exec.
struct Pipe {
  Fd read;
  Fd write;
};
Result<Pipe> MakePipe();

}  // namespace bailiff
