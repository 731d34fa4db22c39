#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "sys/fd.h"

namespace bailiff {

// Gives up everything that file work does not need, in a freshly forked process: all capabilities
// but SYS_ADMIN (for trusted.* attributes), DAC_READ_SEARCH, DAC_OVERRIDE, FOWNER, CHOWN and
// FSETID, every way to get others, most system calls (no network, no mounts, no programs), and, on
// a kernel with Landlock ABI 2 or newer, every file that is not beneath one of the directories in
// `places`. Descriptors that are open already stay usable.
//
// Without privilege it joins `user_namespace` if that is valid, else makes one in which only its
// own ids are mapped: files of its own user that it made unreadable are then open to it.
Status ConfineClerk(const Fd& user_namespace, const std::vector<const Fd*>& places);

// Runs `work` and sends its answer over `socket` as one message: kAnswer or kFailed.
void Answer(const Fd& socket, const std::function<Result<std::string>()>& work);

// Waits for such a message. Errors: those of the work; kInternal when the other end closed first.
Result<std::string> AwaitAnswer(const Fd& socket);

}  // namespace bailiff
