#pragma once

#include "base/result.h"
#include "sys/fd.h"

namespace bailiff {

// Removes what sandboxes left whose owner died before it could: their cgroups, with every process
// in them. Mounts and uids need nothing, they end with the processes. For the start of a server.
//
// Errors: kIo, after everything that can be removed is.
Status CleanStale();

// The same for what they left in the directory that SandboxFds::scratch names.
Status CleanStaleScratch(const Fd& scratch);

}  // namespace bailiff
