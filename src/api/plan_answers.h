#pragma once

#include <vector>

#include "core/strict_json.h"
#include "http/message.h"

namespace bailiff {

// What is wrong with a plan's text: the first fault as the problem's field, all of them as
// "faults". `faults` is not empty.
HttpResponse ProblemOfPlan(const std::vector<JsonFault>& faults);

}  // namespace bailiff
