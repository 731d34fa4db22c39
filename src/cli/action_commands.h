#pragma once

#include <string>

#include "cli/session.h"
#include "core/proposals.h"

// The commands that change something, but `run` and `exec`. Each returns the exit status.

namespace bailiff {

// Answers with what came of an action: `text` where it was done, else what stood in the way.
// Returns the exit status.
int AnswerAction(const Session& session, const Action& action, std::string text);

struct InitCommandOptions {
  std::string path;
  bool adopt = false;
  bool new_id = false;
};
int InitCommand(Session& session, const InitCommandOptions& options);

int ApproveCommand(Session& session, const std::string& id, const std::string& digest,
                   const std::string& wait_lock);
int RejectCommand(Session& session, const std::string& id, const std::string& reason,
                  const std::string& wait_lock);
int RollbackCommand(Session& session, const std::string& id, const std::string& wait_lock);

// `id` is empty with `all`.
int CancelCommand(Session& session, const std::string& id, bool all);

// `older_than`: empty for what the configuration says.
int GcCommand(Session& session, const std::string& older_than, const std::string& wait_lock);

}  // namespace bailiff
