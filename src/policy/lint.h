#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

// What a script's text gives away about what it may do. Anyone can write it otherwise, and what a
// run did is in its change set: lint informs the one who reviews and protects nothing.

namespace bailiff {

inline constexpr std::size_t kLintScriptBytesMax = 1UL << 20;
inline constexpr std::size_t kLintFactsMax = 50;
inline constexpr std::size_t kLintTextBytesMax = 120;

struct LintFact {
  std::string name;  // One of LintNames().
  int line = 0;      // From 1.
  std::string text;  // That line, without the space around it, cut to kLintTextBytesMax; UTF-8.

  bool operator==(const LintFact&) const = default;
};

std::span<const std::string_view> LintNames();  // docs/policy.md. Names do not change.
bool IsLintName(std::string_view name);

// A Python script that was not parsed; its text says why, or where.
inline constexpr std::string_view kLintNotParsed = "not-parsed";

// Facts by patterns, line by line, of a script in any language. At most kLintFactsMax, by line;
// nothing is looked for beyond kLintScriptBytesMax.
std::vector<LintFact> LintText(std::string_view script);

// The program that reads a Python script from standard input, parses it without running it, and
// prints its facts, one to a line: "NAME LINE". To be run in a sandbox.
std::string_view LintProgram();

// Facts from what LintProgram() printed about `script`, which nobody vouches for. Errors:
// kInvalidArgument for anything that it does not print.
Result<std::vector<LintFact>> ParseLintOutput(std::string_view output, std::string_view script);

LintFact NotParsed(std::string_view why);

// Both, each name once a line, in order of lines, at most kLintFactsMax.
std::vector<LintFact> MergeLint(std::vector<LintFact> first, std::vector<LintFact> second);

// "line 3: os-system: os.system('ls')", for the first few; empty without facts.
std::string LintSentence(const std::vector<LintFact>& facts);

}  // namespace bailiff
