#pragma once

#include <boost/json/object.hpp>
#include <cstdint>
#include <vector>

#include "policy/policy.h"

// What a decision was made from, as it is kept beside a proposal, so that other rules can be tried
// on it later. What was refused is kept apart: StoredProblems.

namespace bailiff {

// More paths than these are left out of what is kept.
inline constexpr std::size_t kMovedPathsKeptMax = 10'000;

struct PolicyFacts {
  PolicyContext context;
  std::int64_t moved_omitted = 0;     // Paths below moved directories that are not kept.
  std::int64_t files_counted_to = 0;  // PolicyContext::case_files is exact below this.
};

boost::json::object ToJson(const PolicyFacts& facts);

// Never fails: what is missing or is something else has its default.
PolicyFacts PolicyFactsFrom(const boost::json::object& object);

boost::json::array ToJson(const std::vector<LintFact>& facts);
std::vector<LintFact> LintFrom(const boost::json::value* value);

}  // namespace bailiff
