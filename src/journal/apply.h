#pragma once

#include "journal/format.h"
#include "journal/inspect.h"
#include "journal/prepare.h"

namespace bailiff {

enum class Pass : std::uint8_t {
  kFirst,     // Nothing of this was done before.
  kResuming,  // Anything up to here may have been done already, or undone already.
};

// Does and undoes single steps. Looks before and after each: what is not as recorded is another
// writer's, is left alone, and is told as a problem. Borrows everything.
class Applier {
 public:
  Applier(const JournalDirs& dirs, const Begin& begin, const SetIndex& index,
          const CommitOptions& options);

  // No problems: the step is done, now or already. After a problem or an error, Undo() of this step
  // puts back what it displaced.
  Result<Problems> Do(const Step& step, Pass pass);

  // Undoes a step if it is done. Problems: what another writer is in the way of. `reached` is false
  // for the step that met the problem: it may never have been done.
  Result<Problems> Undo(const Step& step, bool reached);

  // Before an undo from step `from` that was cut short is done again: puts back what it had taken
  // back. A disk that lost the power may have a directory taken back although what is in it was
  // not.
  Status Reattach(std::size_t from);

 private:
  Result<Problems> DoDetach(const Step& step, Pass pass);
  Result<Problems> DoAttach(const Step& step);
  Result<Problems> DoExchange(const Step& step);
  Result<Problems> ExchangeByTwoRenames(const Step& step);
  Result<Problems> FinishExchange(const Step& step);
  Result<Problems> DoReplace(const Step& step);
  Result<Problems> DoLink(const Step& step);
  Result<Problems> DoMetadata(const Step& step, Pass pass);
  Result<Problems> DoMark(const Step& step);
  Result<Problems> UndoDetach(const Step& step);
  Result<Problems> UndoAttach(const Step& step, bool reached);
  Result<Problems> UndoExchange(const Step& step);
  Result<Problems> UndoReplace(const Step& step);
  Result<Problems> UndoDisplaced(const Step& step);
  Result<Problems> UndoKept(const Step& step);
  Result<Problems> UndoLink(const Step& step, bool reached);
  Result<Problems> UndoMetadata(const Step& step, bool reached);
  Result<Problems> UndoMark(const Step& step);

  Result<std::string> FindWithin(const Step& step) const;
  Result<Problems> CheckDetached(const Step& step, const Seen& aside);
  Result<Problems> CheckTakenBack(const Step& step);
  Status SetMetadata(const Step& step, const Identity& to);
  Result<std::string> Move(std::string_view what, const Place& from, const Place& to);
  Result<bool> Swap(std::string_view what, const Place& one, const Place& other);
  Result<bool> IsOtherName(const Step& step, const Seen& seen);

  Place InWorkspace(const std::string& path) const { return {dirs_.workspace, path}; }
  Place InPrivate(const std::string& path) const { return {dirs_.private_dir, path}; }
  Result<bool> IsSame(const Place& place, const Seen& seen, const Identity& want) const;
  Result<bool> IsUnchanged(const Place& place, const Seen& seen, const Identity& want) const;
  void Before(std::string_view what, const std::string& path) const;

  const JournalDirs& dirs_;
  const Begin& begin_;
  const SetIndex& index_;
  const CommitOptions& options_;
  const std::string stage_dir_;
  ParentCache staged_;  // For entries of `stage_dir_` alone.
  Recognizer recognizer_;
  RenameFlags flags_;
};

}  // namespace bailiff
