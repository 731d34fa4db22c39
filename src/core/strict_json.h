#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace bailiff {

// What is wrong with a JSON document from outside, and where.
struct JsonFault {
  std::string pointer;  // RFC 6901: "/operations/3/destination"; "" is the whole document.
  std::string message;  // "is given twice; give it once"

  bool operator==(const JsonFault&) const = default;
};

// "/operations/3/destination: is empty"; the message alone for the whole document.
std::string Describe(const JsonFault& fault);

// `pointer` and one more step: a member's name, or an index as text.
std::string PointerTo(std::string_view pointer, std::string_view member);

// Nesting deeper than this is a fault.
inline constexpr int kJsonDepthMax = 32;

// Whether `text` is JSON that means one thing only: RFC 8259 in valid UTF-8, no name twice in one
// object, nothing after the end. What passes here, boost::json::parse() takes.
std::optional<JsonFault> CheckJson(std::string_view text);

}  // namespace bailiff
