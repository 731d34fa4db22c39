#pragma once

#include <boost/json/object.hpp>

namespace bailiff {

// The shapes that the OpenAPI document refers to, by name.
boost::json::object Schemas();

}  // namespace bailiff
