#pragma once

#include <string>

#include "base/result.h"
#include "sys/fd.h"

namespace bailiff {

// The unix socket <state>/run/<id>.sock of a running execution: to connect is to ask for its end,
// and the connection closes when it has ended. The process that runs it holds a lock on
// <id>.lock, so that others can tell whether it is still there without disturbing it.
class CancelSocket {
 public:
  static Result<CancelSocket> Make(const Fd& run_dir, const std::string& id);
  CancelSocket(CancelSocket&&) = default;
  ~CancelSocket();

  const Fd& fd() const { return socket_; }  // Listening.

  // Asks and waits until the end is recorded. False when nothing listens there.
  static Result<bool> Ask(const Fd& run_dir, const std::string& id);

  static Result<bool> IsAlive(const Fd& run_dir, const std::string& id);

  // What a dead process left.
  static Status Remove(const Fd& run_dir, const std::string& id);

 private:
  CancelSocket(Fd run_dir, std::string id, Fd lock, Fd socket);

  Fd run_dir_;
  std::string id_;
  Fd lock_;
  Fd socket_;
};

}  // namespace bailiff
