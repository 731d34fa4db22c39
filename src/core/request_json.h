#pragma once

#include <boost/json/object.hpp>

#include "base/result.h"
#include "core/request.h"

namespace bailiff {

// What `run` and `exec` take, as the execution document spells it (docs/server.md has the list).
// Values are checked for their type and shape here, and for what they mean by Admit().
//
// Errors: kInvalidArgument; the message begins with the JSON pointer of what is wrong and ": ".
Result<RunRequest> RequestFromJson(const boost::json::object& body);

}  // namespace bailiff
