#pragma once

#include "base/result.h"

namespace bailiff {

// Removes what sandboxes left whose owner died before it could: their cgroups, with every process
// in them. Mounts and uids need nothing, they end with the processes. For the start of a server.
//
// Errors: kIo, after everything that can be removed is.
Status CleanStale();

}  // namespace bailiff
