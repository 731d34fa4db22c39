#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "store/sqlite.h"
#include "store/store.h"

// Hand-written plans as they were submitted. What became of one is its proposal's to tell. Errors:
// those of class Store.

namespace bailiff {

struct PlanRow {
  std::int64_t seq = 0;  // Order of insertion; given by the store.
  std::string id;
  std::int64_t created_ns = 0;
  std::string created_by;  // The principal.
  std::string case_name;   // Empty: none.
  std::string document;    // JSON text.
};

struct PlanFilter {
  std::int64_t limit = 50;
  std::int64_t before_seq = 0;  // As in ExecutionFilter.
  std::optional<Sight> sight{};
};

// Errors: kConflict when there is one with this id.
Status InsertPlan(const Connection& connection, const PlanRow& row);
Result<PlanRow> GetPlanRow(const Connection& connection, const std::string& id);  // kNotFound.
// Newest first.
Result<std::vector<PlanRow>> ListPlanRows(const Connection& connection, const PlanFilter& filter);

}  // namespace bailiff
