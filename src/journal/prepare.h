#pragma once

#include "journal/inspect.h"
#include "journal/plan.h"

namespace bailiff {

// Whether everything that `set` brings is what it says. Reads content only where the identity says
// that it may have changed, or says nothing (`stability` of the private directory). Errors:
// kInvalidArgument, naming the path.
Status VerifyStaged(const JournalDirs& dirs, const ChangeSet& set, const SetIndex& index,
                    Stability stability);

// What becomes undo/<id> once it is decided: until then, "undo/<id>" proves that it was. Holds
// copies of what is going to be replaced (StepKind::kReplace), and nothing else.
std::string NewUndoDir(const std::string& id);

// Whether content waits elsewhere than in the private directory.
Result<bool> IsHeldElsewhere(const JournalDirs& dirs);

// Makes what steps rename into place and nobody staged there (directories, symbolic links, copies
// of what is held elsewhere or is going to be replaced), gives new entries what they inherit,
// completes the identities in `steps`, and adds the steps that open directories to their owner
// where this process needs that. Changes only the private directory.
Status Prepare(const JournalDirs& dirs, const ChangeSet& set, const SetIndex& index,
               const CommitOptions& options, std::vector<Step>* steps);

// Gives all that is staged in `folder` ("stage", or below) a new time of change, so that
// VerifyStaged() reads it again.
Status DistrustStaged(const Fd& holder, const std::string& folder);

// Removes what Prepare() made in stage/<id>.
Status RemovePrepared(const JournalDirs& dirs, const std::string& id);

// Makes a directory path below `root` as needed, each with `mode`, and returns the last one.
Result<Fd> EnsureDir(const Fd& root, std::string_view path, mode_t mode);

}  // namespace bailiff
