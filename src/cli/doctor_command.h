#pragma once

#include "cli/session.h"

namespace bailiff {

// What this host can enforce: what the kernel offers, and what a script in a real sandbox is then
// refused. 0 when scripts can run with every layer that is mandatory, 1 when not.
int DoctorCommand(Session& session);

}  // namespace bailiff
