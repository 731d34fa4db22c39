#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace bailiff {

// "a%20b" as "a b"; nothing when a percent sign is not followed by two hexadecimal digits.
std::optional<std::string> PercentDecode(std::string_view text);

struct Target {
  std::string path;  // As it came.
  std::vector<std::pair<std::string, std::string>> query;
};

// The target of a request line, in origin form only ("/path?query"). Sound is a path of visible
// ASCII characters that starts with "/" and, decoded, has no "." or ".." between slashes, encoded
// ones included. No part of a target may stand for a NUL.
// Errors: kInvalidArgument.
Result<Target> ParseTarget(std::string_view text);

}  // namespace bailiff
