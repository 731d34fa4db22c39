#pragma once

#include <boost/json/object.hpp>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "changeset/plan.h"
#include "core/strict_json.h"

// Plans as people and agents write them: docs/plans.md.

namespace bailiff {

inline constexpr std::size_t kPlanTextBytesMax = 32UL << 20;
inline constexpr std::size_t kPlanOperationsMax = 10'000;
inline constexpr std::size_t kPlanContentBytesMax = 16UL << 20;  // Of all operations together.
inline constexpr std::size_t kPlanPathBytesMax = 4096;
inline constexpr std::size_t kPlanDescriptionBytesMax = 16UL << 10;
inline constexpr std::size_t kPlanFaultsMax = 100;  // Further ones are not told.

struct Plan {
  // kMutation: operations have source, destination and content, relative to the case.
  // kFileOps: from, to and path, which begin with the case's folder.
  enum class Shape : std::uint8_t { kMutation, kFileOps };

  Shape shape = Shape::kMutation;
  std::string case_name;  // Empty: none, and paths are relative to the workspace.
  std::string description;
  std::string created_by;         // As the plan has it, which proves nothing.
  bool requires_approval = true;  // Held for review whatever policy says.
  bool dry_run = false;           // To be looked at only.
  std::vector<PlanOperation> operations;
  std::string sha256;  // Raw, of the text.
};

struct ParsedPlan {
  Plan plan;
  std::vector<JsonFault> faults;  // Empty: `plan` is whole.
};

// The plan that `text` is. No file is looked at.
ParsedPlan ParsePlan(std::string_view text);

// Operations for a document: as they were given, content replaced by {"size", "sha256"}. And back,
// from an object with case_name and operations; what is written has no content then.
// Errors: kInvalidArgument for what OperationsToJson() does not make.
boost::json::array OperationsToJson(const Plan& plan);
Result<Plan> PlanFromDocument(const boost::json::object& document);

}  // namespace bailiff
