#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "changeset/capture.h"
#include "changeset/model.h"
#include "journal/plan.h"
#include "sys/fd.h"

// The bytes of <id>.journal: docs/formats/journal.md.

namespace bailiff {

// What is decided, and all that is needed to do it, find it done, or undo it.
struct Begin {
  std::string rolls_back;  // The commit that this one undoes, if any.
  Stability stability = Stability::kStrong;
  std::uint64_t root_ino = 0;  // Of the workspace.
  std::string digest;
  ChangeSet set;
  std::vector<Step> steps;
};

// What a commit left at a change's path, for a rollback.
struct Left {
  bool present = false;
  Identity identity;
  std::vector<std::string> below;  // Of a directory that moved: what was in it, relative.
};

enum class JournalState : std::uint8_t {
  kUndecided,
  kDecided,
  kApplied,
  kUndoing,
  kUndone,
  kNeedsAttention,
  kRolledBack,
};

// True when there is nothing left to do for Recover().
bool IsFinal(JournalState state);

struct Journal {
  JournalState state = JournalState::kUndecided;
  Begin begin;                        // Unless kUndecided.
  std::vector<Left> left;             // kApplied, kRolledBack: one per change.
  std::uint64_t undo_from = 0;        // From kUndoing on: the step that could not be done.
  std::vector<PathProblem> problems;  // From kUndoing on.
  std::size_t size = 0;               // Up to where the file is sound; what follows is torn.
};

// Errors: kNotFound; kIo for a damaged file, naming it.
Result<Journal> ReadJournal(const Fd& dir, const std::string& id);

// The state and size alone, from the records' headers: whole records are not read.
struct JournalEnd {
  JournalState state = JournalState::kUndecided;
  std::size_t size = 0;  // As Journal::size.
};
Result<JournalEnd> PeekJournal(const Fd& dir, const std::string& id);

enum class RecordType : std::uint8_t {
  kBegin = 1,
  kDecided = 2,
  kApplied = 3,
  kUndo = 4,
  kUndone = 5,
  kAttention = 6,
  kRolledBack = 7,
};

// Appends to a journal file. Each append is durable when it returns.
class JournalFile {
 public:
  // Makes the file with the decision in it and room for what has to follow it. An error with code
  // kResourceExhausted leaves no file.
  static Result<JournalFile> Create(const Fd& dir, const Begin& begin);

  // Cuts off a torn end.
  static Result<JournalFile> Open(const Fd& dir, const std::string& id, std::size_t size);

  Status AppendApplied(const std::vector<Left>& left);
  Status AppendUndo(std::uint64_t undo_from, const std::vector<PathProblem>& problems);
  Status AppendUndone();
  Status AppendAttention(const std::vector<PathProblem>& problems);
  Status AppendRolledBack();

 private:
  explicit JournalFile(Fd file) : file_(std::move(file)) {}
  Status Append(RecordType type, const Encoding& payload);

  Fd file_;
};

}  // namespace bailiff
