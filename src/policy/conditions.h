#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "base/toml.h"
#include "policy/rule.h"

namespace bailiff {

// What a table `when` asks for.
struct Conditions {
  std::vector<Condition> conditions;
  bool needs_lint = false;
  double least_share = 0;  // Of deletes; 0: none above 0 is asked for.
};

// Errors: kInvalidArgument, "KEY: what is wrong; what would be right".
Result<Conditions> ParseConditions(const TomlTable& when);

}  // namespace bailiff
