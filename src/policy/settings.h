#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/toml.h"

// Values of settings, checked. Errors: kInvalidArgument; the message says what is wrong and what
// would be right, without the setting's name.

namespace bailiff {

inline constexpr std::size_t kSettingItemsMax = 256;
inline constexpr std::size_t kSettingBytesMax = 1024;

Result<bool> BoolSetting(const TomlValue& value);
Result<std::string> TextSetting(const TomlValue& value);

// A text, or a list of some.
Result<std::vector<std::string>> TextsSetting(const TomlValue& value);

// As above, each of them one of `known`.
Result<std::vector<std::string>> ChoicesSetting(const TomlValue& value,
                                                const std::vector<std::string_view>& known);

// A whole number from 0 to `max`, or a list of some.
Result<std::vector<std::int64_t>> NumbersSetting(const TomlValue& value, std::int64_t max);
Result<std::int64_t> NumberSetting(const TomlValue& value, std::int64_t max);

// A size as text ("100m") or as a number of bytes.
Result<std::int64_t> SizeSetting(const TomlValue& value);

// A number from 0 to below 1.
Result<double> ShareSetting(const TomlValue& value);

// "a, b or c"
std::string OneOf(const std::vector<std::string_view>& words);
std::string OneOf(const std::vector<std::string>& words);

}  // namespace bailiff
