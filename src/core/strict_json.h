#pragma once

#include <boost/json/value.hpp>
#include <string_view>

#include "base/result.h"

namespace bailiff {

// Parses JSON from strangers: UTF-8, at most 32 levels deep, no key twice in one object.
// Errors: kInvalidArgument, with the byte where it goes wrong.
Result<boost::json::value> ParseStrictJson(std::string_view text);

}  // namespace bailiff
