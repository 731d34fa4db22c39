#pragma once

#include <boost/asio/awaitable.hpp>
#include <variant>
#include <vector>

#include "api/api.h"
#include "core/plans.h"
#include "core/strict_json.h"

namespace bailiff {

// What is wrong with a plan's text: the first fault as the problem's field, all of them as
// "faults". `faults` is not empty.
HttpResponse ProblemOfPlan(const std::vector<JsonFault>& faults);

// Submits the plan that the body of `call` is, which outlives the answer; or why it was not.
boost::asio::awaitable<std::variant<PlanDocument, HttpResponse>> SubmitPlanText(
    ApiParts* parts, const ApiCall* call);

}  // namespace bailiff
