#pragma once

#include <cstddef>
#include <string>

#include "base/result.h"
#include "core/context.h"

namespace bailiff {

// What GET /metrics answers, in Prometheus' text format 0.0.4. Written here, because Debian's
// prometheus-cpp comes as a shared library only, which a static program cannot use.
Result<std::string> MetricsText(Context& context, std::size_t workers, std::size_t busy);

}  // namespace bailiff
