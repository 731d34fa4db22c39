#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "journal/apply.h"
#include "journal/durability.h"
#include "journal/format.h"
#include "journal/inspect.h"
#include "journal/journal.h"

namespace bailiff {

// Does what was decided, or undoes it: the part that Commit() and Recover() share. Borrows all but
// the file.
class DecidedCommit {
 public:
  DecidedCommit(const JournalDirs& dirs, const Begin& begin, const SetIndex& index,
                JournalFile file, const CommitOptions& options);

  // Does every step. What cannot be done has all of them undone.
  // Errors: kIo where it was cut short; whatever is half done stays for Recover().
  Result<CommitReport> Forward(Pass pass);

  // Undoes the steps, of which `from` met the problems. None: something else than a conflict was in
  // the way. Errors: as Forward().
  Result<CommitReport> Backward(std::size_t from, Problems problems, Pass pass);

  // Why it was undone, where that was no conflict: it may be tried again.
  const std::optional<Error>& cause() const { return cause_; }

 private:
  // What has come to the path of a change, if anything has.
  struct Arrival {
    const Step* step = nullptr;
    const Step* metadata = nullptr;  // What was done to it afterwards.

    Identity Is() const;
  };

  void Before(std::string_view what);
  Error Halted(const Error& error) const;
  Status SyncBefore(std::string_view what, Ended ended);
  Status SyncTurn(const Step& step);
  Status OpenUndoDir();
  Status Finish();
  std::vector<Arrival> Arrivals() const;
  Result<std::vector<Left>> WhatIsLeft();
  Status EndUndo(bool may_be_tried_again, Problems* left);
  void PutJournalAside();
  Status RemoveCopies();

  const JournalDirs& dirs_;
  const Begin& begin_;
  const SetIndex& index_;
  JournalFile file_;
  const CommitOptions& options_;
  Applier applier_;
  CommitReport report_;
  std::optional<Error> cause_;
};

// Where a commit puts aside what it replaces, below .bailiff.
std::string UndoDir(const std::string& id);

// No error where there is none, or where its directory is gone.
Status RemoveIfEmpty(const Fd& private_dir, const std::string& path);

// What an attempt that was not decided leaves behind. Staged content stays: it may be tried again.
Status DropUndecided(const JournalDirs& dirs, const std::string& id);

// What remains to be done for a commit that is applied. Its staging directory goes last: while it
// is there, Recover() does this again.
Status EndApplied(const JournalDirs& dirs, const Begin& begin);

}  // namespace bailiff
