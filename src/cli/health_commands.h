#pragma once

#include <string>

#include "cli/session.h"

// How things go: statistics, and the queue. Each returns the exit status.

namespace bailiff {

int StatsCommand(Session& session, const std::string& hours);

int QueueShowCommand(Session& session);
int QueuePauseCommand(Session& session);
int QueueResumeCommand(Session& session);

}  // namespace bailiff
