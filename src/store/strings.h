#pragma once

#include <string>
#include <vector>

namespace bailiff {

// A list as a JSON array of strings: for a column, or for a parameter that json_each() takes apart.
std::string EncodeStrings(const std::vector<std::string>& strings);

}  // namespace bailiff
