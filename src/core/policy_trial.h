#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "core/context.h"
#include "policy/policy.h"

namespace bailiff {

// What the present policy says of a change set that was decided before.
struct PolicyTrial {
  std::string id;
  std::optional<Decision> then;  // Absent where nothing was decided: mode discard, a conflict.
  Decision now;
  std::vector<RuleTrace> rules;
  std::vector<std::string> unknown;  // Sentences about what was not recorded, and so is assumed.
};

// Decides again, from what was recorded: the workspace is not looked at, and nothing is changed.
// Errors: kNotFound, also for an execution that changed nothing.
Result<PolicyTrial> TryPolicy(Context& context, const std::string& id);

}  // namespace bailiff
