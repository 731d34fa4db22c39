#pragma once

#include "base/result.h"
#include "core/context.h"

namespace bailiff {

// What the process that serves has kept.
struct ServeConfinement {
  bool files = false;      // Landlock is in force.
  bool reads_all = false;  // CAP_DAC_READ_SEARCH.
};

// Gives up what serving does not need (engine/confine.h): every capability; programs, processes,
// mounts and namespaces; and every file but the state directory, the workspace (to read), its lock,
// and what name resolution and TLS read for webhooks. Those are the files that are there now: one
// that is replaced later, such as a webhook's key, is out of reach. The launcher is another process
// and keeps its privilege.
//
// As root it keeps CAP_DAC_READ_SEARCH where the workspace is another user's, or a look at its
// first 20,000 entries finds one that only this capability can read, or no end.
//
// Call it when everything is open, after ProveAhead() (core/proof.h) and before there are threads.
// Errors: kPermissionDenied when the state is another user's; those of ConfineServer().
Result<ServeConfinement> ConfineServing(const Context& context);

}  // namespace bailiff
