#include "sys/memory.h"

#include <malloc.h>

namespace bailiff {

void ReleaseFreeMemory() {
  ::malloc_trim(0);
}

}  // namespace bailiff
