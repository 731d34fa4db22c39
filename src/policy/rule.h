#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "policy/policy.h"

// How rules are kept within this module.

namespace bailiff {

// What one condition finds in a change set. `words` are for a person; those of a shipped rule that
// does not match are empty.
struct Finding {
  bool holds = false;
  std::string words;
};

struct Condition {
  std::string words;  // "some changed path matches Filings/**"
  std::function<Finding(const ChangeSet& set, const PolicyContext& context)> look;
};

// A rule matches when each of its conditions holds.
struct Rule {
  std::string name;
  Verdict verdict = Verdict::kReview;
  Role review_by = Role::kReviewer;
  std::string reason;  // Empty: what its conditions found is told alone.
  std::vector<Condition> conditions;
  bool is_shipped = false;
};

// The share of deletes from which the rules that ship hold.
inline constexpr double kShippedDeletedShare = 0.25;

struct PolicyRules {
  std::vector<Rule> rules;
  std::vector<Rule> floor;  // Empty where the rules that ship are all there is.
  bool is_shipped = true;
  bool self_approval = false;
  bool needs_lint = false;
  double least_share = kShippedDeletedShare;  // The smallest above 0 that a rule asks for.
};

// The rules that ship, in their order; docs/policy.md has the same table.
std::vector<Rule> ShippedRules();

// Those of them that no operator's rule can put aside.
std::vector<Rule> FloorRules();

}  // namespace bailiff
