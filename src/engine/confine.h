#pragma once

#include <span>
#include <vector>

#include "base/result.h"
#include "sys/fd.h"

// What a process gives up for good, for itself and the threads that it starts: those of a clerk
// (engine/clerk.h) and of the process that serves.

namespace bailiff {

// Drops every capability but `kept` (of linux/capability.h), from every set, also the bounding set
// where the process may; of `kept` it has what it had. Errors: kPermissionDenied; kIo.
Status KeepCapabilities(std::span<const int> kept);

enum class Access { kRead, kReadWrite };
struct FilePlace {
  const Fd* at;  // A file, or a directory: everything beneath it.
  Access access;
};

// Whom a process may still send signals to.
enum class Signals { kAnywhere, kItself };  // kItself: where the kernel has Landlock ABI 6.

// By Landlock, opens no file but at `places`; what is open stays usable. Programs can be started
// nowhere. False, and nothing is confined, on a kernel without Landlock ABI 2 (Linux 5.19).
// PR_SET_NO_NEW_PRIVS must be set.
Result<bool> ConfineFiles(const std::vector<FilePlace>& places, Signals signals);

// The whole of it for a process that parses what strangers send: `capabilities` are kept,
// no_new_privs, no core dump, hidden from its own user's other processes, `places`, its own
// signals, and the server's filter (sandbox/seccomp_filters.h). Call it before there are threads.
// The answer is that of ConfineFiles(); a filter that cannot be had is an error.
Result<bool> ConfineServer(std::span<const int> capabilities, const std::vector<FilePlace>& places);

}  // namespace bailiff
