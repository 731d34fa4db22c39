#pragma once

#include <string>
#include <vector>

#include "core/context.h"
#include "policy/lint.h"

namespace bailiff {

// What there is to look at.
struct LintInput {
  std::string text;  // A script, or a command's words; beyond kLintScriptBytesMax it is not parsed.
  bool is_python = false;
};

// Facts by patterns; and of a Python script those of its parse, in a sandbox of its own with small
// limits. Where that fails the fact `not-parsed` says so, with the reason: lint never stops a run.
// Blocks for some tens of milliseconds, at most for the sandbox's five seconds.
std::vector<LintFact> Lint(Context& context, const LintInput& input);

}  // namespace bailiff
