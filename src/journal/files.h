#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "sys/fd.h"

// Where the journal of a commit lies: <id>.journal in the journal's directory while the commit goes
// on, in its ended/ afterwards. docs/formats/journal.md.

namespace bailiff {

std::string JournalName(const std::string& id);

// Wherever it is. Errors: kNotFound.
Result<Fd> OpenJournal(const Fd& dir, const std::string& id, int flags);

// A new one, open for appending. Durable once `dir` is synced. Errors: kConflict when there is one.
Result<Fd> MakeJournal(const Fd& dir, const std::string& id);

// The ids whose journal was not put aside, sorted.
Result<std::vector<std::string>> ListJournals(const Fd& dir);

// Moves the journal of a commit that ended to where NeedsRecovery() and Recover() need not look at
// it; the other functions find it there. Not durable: it may be back after a power cut.
// Errors: kNotFound.
Status PutAside(const Fd& dir, const std::string& id);

// Durably. No error when there is none.
Status RemoveJournal(const Fd& dir, const std::string& id);

}  // namespace bailiff
