#include "store/strings.h"

#include <boost/json.hpp>

namespace bailiff {

std::string EncodeStrings(const std::vector<std::string>& strings) {
  boost::json::array array;
  for (const std::string& text : strings) array.emplace_back(text);
  return boost::json::serialize(array);
}

}  // namespace bailiff
