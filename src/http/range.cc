#include "http/range.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <optional>

#include "http/message.h"

namespace bailiff {
namespace {

// Digits alone. A number that is too large is as good as the largest: both lie past every end.
std::optional<std::int64_t> Number(std::string_view text) {
  const bool digits = !text.empty() && std::all_of(text.begin(), text.end(),
                                                   [](char c) { return c >= '0' && c <= '9'; });
  if (!digits) return std::nullopt;
  std::int64_t value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  return parsed.ec == std::errc() ? value : std::numeric_limits<std::int64_t>::max();
}

}  // namespace

ByteRange ParseRange(std::string_view header, std::int64_t size) {
  constexpr std::string_view kUnit = "bytes=";
  const ByteRange whole{ByteRange::Kind::kWhole, 0, size};
  const ByteRange unsatisfiable{ByteRange::Kind::kUnsatisfiable, 0, 0};
  if (!SameWord(header.substr(0, kUnit.size()), kUnit)) return whole;
  header.remove_prefix(kUnit.size());
  const std::size_t dash = header.find('-');
  if (dash == std::string_view::npos) return whole;
  const std::string_view last_text = header.substr(dash + 1);
  const std::optional<std::int64_t> last = Number(last_text);
  if (dash == 0) {
    if (!last) return whole;
    const std::int64_t length = std::min(*last, size);
    if (length == 0) return unsatisfiable;
    return {ByteRange::Kind::kPart, size - length, length};
  }
  const std::optional<std::int64_t> first = Number(header.substr(0, dash));
  if (!first || (!last && !last_text.empty()) || (last && *last < *first)) return whole;
  if (*first >= size) return unsatisfiable;
  const std::int64_t end = last ? std::min(*last, size - 1) : size - 1;
  return {ByteRange::Kind::kPart, *first, end - *first + 1};
}

}  // namespace bailiff
