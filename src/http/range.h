#pragma once

#include <cstdint>
#include <string_view>

namespace bailiff {

// What a Range header asks for (RFC 9110).
struct ByteRange {
  enum class Kind {
    kWhole,          // Answer 200 with everything.
    kPart,           // Answer 206 with `size` bytes from `first`.
    kUnsatisfiable,  // Answer 416 with "Content-Range: bytes */<size of everything>".
  };
  Kind kind = Kind::kWhole;
  std::int64_t first = 0;
  std::int64_t size = 0;
};

// `size` is of everything there is. A header that is malformed, or has another unit or several
// ranges, is ignored, as the standard allows: kWhole.
ByteRange ParseRange(std::string_view header, std::int64_t size);

}  // namespace bailiff
