#pragma once

#include <string>
#include <vector>

#include "cli/session.h"

// `bailiff token ...`. Each returns the exit status.

namespace bailiff {

struct TokenCreateOptions {
  std::string name;
  std::string role;
  std::vector<std::string> cases;  // Empty: all of the workspace.
  std::string expires;             // A duration, or "never"; empty: what the role has.
};
// Prints the token, this once.
int TokenCreateCommand(Session& session, const TokenCreateOptions& options);

int TokenListCommand(Session& session);

int TokenRevokeCommand(Session& session, const std::string& name_or_id);

}  // namespace bailiff
