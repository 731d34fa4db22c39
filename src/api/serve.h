#pragma once

#include "base/result.h"
#include "core/serve_options.h"

namespace bailiff {

// `bailiff serve`: opens the sockets, starts the threads, and serves until SIGTERM or SIGINT. Then
// accepts nothing more, gives requests a few seconds, lets what runs finish or cancels it, and
// leaves what is queued for the next start. `context` is open and its process has one thread.
//
// Errors: kConflict when another server serves this state; those of HttpServer::Listen().
Status Serve(Context& context, ServeOptions options);

}  // namespace bailiff
