#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"

namespace bailiff {

struct TomlValue;
struct TomlEntry;
using TomlArray = std::vector<TomlValue>;
using TomlTable = std::vector<TomlEntry>;  // By key, each once.

// A value of a TOML document. Dates and times are std::monostate: no setting of ours is one.
struct TomlValue {
  using Data =
      std::variant<std::monostate, bool, std::int64_t, double, std::string, TomlArray, TomlTable>;
  Data data;

  // Null when the value is of another type.
  template <typename T>
  const T* As() const {
    return std::get_if<T>(&data);
  }
};

// No std::pair: clang has to know all of one before it knows TomlValue.
struct TomlEntry {
  std::string key;
  TomlValue value;
};

inline constexpr std::size_t kTomlDepthMax = 16;

// Reads a document. `name` is how messages call it. Errors: kInvalidArgument ("NAME:3: what is
// wrong"), also for text that is not UTF-8 or nests deeper than kTomlDepthMax.
Result<TomlTable> ParseToml(std::string_view text, const std::string& name);

}  // namespace bailiff
