#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace re2 {
class RE2;
}

namespace bailiff {

inline constexpr std::size_t kGlobBytesMax = 1024;

// A list of patterns for paths and names. Bytes count, and so do upper and lower case; a name that
// begins with a dot is like any other.
//   *    any bytes within a segment     ?  one byte, but no slash
//   **   as a whole segment: any number of segments, none included; `a/**` is `a` with all below
//   [a-z]  [!a-z]  one byte (not) among these
//   \    takes what follows as it is
// Matching takes time in proportion to the text, whatever the patterns. Copies share.
class Globs {
 public:
  // Errors: kInvalidArgument; the message quotes the pattern, without the setting's name.
  static Result<Globs> Parse(const std::vector<std::string>& patterns);

  bool Match(std::string_view text) const;

  const std::vector<std::string>& patterns() const { return patterns_; }

 private:
  Globs() = default;

  std::vector<std::string> patterns_;
  std::shared_ptr<const re2::RE2> matcher_;
};

}  // namespace bailiff
