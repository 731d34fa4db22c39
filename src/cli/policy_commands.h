#pragma once

#include <string>

#include "cli/session.h"

// The commands about policy. Each returns the exit status.

namespace bailiff {

// Validates a bailiff.toml and says in words what its rules do. Needs no workspace.
int PolicyCheckCommand(Session& session, const std::string& path);

// What a recorded change set would get today, rule by rule.
int PolicyTestCommand(Session& session, const std::string& id);

}  // namespace bailiff
