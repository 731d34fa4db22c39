#pragma once

#include <functional>

#include "journal/inspect.h"
#include "journal/plan.h"

namespace bailiff {

using StepHook = std::function<void(std::string_view step)>;

// Whether everything that `set` brings is what it says. Reads content only where the identity says
// that it may have changed. Errors: kInvalidArgument, naming the path.
Status VerifyStaged(const Fd& private_dir, const ChangeSet& set, const SetIndex& index);

// Makes what steps rename into place and nobody staged (directories, symbolic links), gives new
// entries what they inherit, completes the identities in `steps`, and adds the steps that open
// directories to their owner where this process needs that. Changes only the private directory.
Status Prepare(const JournalDirs& dirs, const ChangeSet& set, const SetIndex& index,
               const StepHook& before, std::vector<Step>* steps);

// Gives all that is staged a new time of change, so that VerifyStaged() reads it again.
Status DistrustStaged(const Fd& private_dir);

// Removes what Prepare() made.
Status RemovePrepared(const Fd& private_dir, const std::string& id);

// Makes a directory path below `root` as needed, each with `mode`, and returns the last one.
Result<Fd> EnsureDir(const Fd& root, std::string_view path, mode_t mode);

}  // namespace bailiff
