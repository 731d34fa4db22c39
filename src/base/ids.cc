#include "base/ids.h"

#include <sys/random.h>

#include <algorithm>

#include "base/bytes.h"
#include "base/check.h"

namespace bailiff {

std::string RandomBytes(std::size_t size) {
  std::string bytes(size, '\0');
  // Requests of up to 256 bytes are never cut short once the pool is initialised: getrandom(2).
  CHECK(size <= 256);
  CHECK(::getrandom(bytes.data(), size, 0) == static_cast<ssize_t>(size));
  return bytes;
}

std::string MakeId(std::string_view kind, WallTime time) {
  return std::string(kind) + "_" + FormatCompact(time) + "_" + ToHex(RandomBytes(4));
}

bool IsId(std::string_view text) {
  const std::size_t kind_end = text.find('_');
  if (kind_end == std::string_view::npos || kind_end == 0 || kind_end > 16) return false;
  const auto is_letter = [](char c) { return c >= 'a' && c <= 'z'; };
  if (!std::all_of(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(kind_end), is_letter)) {
    return false;
  }
  // _dddddddd_dddddd_xxxxxxxx
  const std::string_view rest = text.substr(kind_end);
  constexpr std::string_view kShape = "_dddddddd_dddddd_xxxxxxxx";
  if (rest.size() != kShape.size()) return false;
  for (std::size_t i = 0; i < rest.size(); ++i) {
    const char c = rest[i];
    const bool digit = c >= '0' && c <= '9';
    const bool hex = digit || (c >= 'a' && c <= 'f');
    if (kShape[i] == '_' ? c != '_' : kShape[i] == 'd' ? !digit : !hex) return false;
  }
  return true;
}

}  // namespace bailiff
