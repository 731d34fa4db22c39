#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/result.h"
#include "sys/fd.h"
#include "sys/process.h"

namespace bailiff {

// What an upper layer holds.
struct ScratchUse {
  std::int64_t bytes = 0;    // Of disk, as stat(2) counts blocks.
  std::int64_t entries = 0;  // Files, directories and other names.
};

// A directory on disk for the upper layer of a sandbox whose tmpfs cannot hold one. Destruction
// removes it with all that is in it.
class DiskScratch {
 public:
  // Makes `name` in the directory `parent`, for the caller alone.
  // Errors: kUnsupported when the file system keeps no user attributes, which the overlay needs;
  //         kIo.
  static Result<DiskScratch> Make(const Fd& parent, std::string name);

  DiskScratch(DiskScratch&& other) noexcept;
  DiskScratch& operator=(DiskScratch&&) = delete;
  ~DiskScratch();

  const Fd& dir() const { return dir_; }

 private:
  DiskScratch(Fd parent, std::string name);

  Fd parent_;
  std::string name_;  // Empty: moved from.
  Fd dir_;
};

// Adds up what is in a directory tree that a script is writing to. A process of its own in the
// sandbox's user namespace, since a script can close directories to their owner; confined as a
// clerk is. One question at a time.
class Meter {
 public:
  // Both are borrowed until this returns.
  static Result<Meter> Start(const Fd& tree, const Fd& user_namespace);

  // Has it begin to count. Nothing happens while an answer is due.
  void Ask();

  bool asked() const { return asked_; }
  const Fd& answer() const { return answer_; }  // Readable when the count is there.

  // The count that was asked for; waits for it. What cannot be counted is more than any limit.
  ScratchUse Take();

 private:
  Meter(Fd question, Fd answer, Process process);

  Fd question_;
  Fd answer_;
  Process process_;
  bool asked_ = false;
};

}  // namespace bailiff
