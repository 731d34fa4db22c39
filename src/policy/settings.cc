#include "policy/settings.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "base/units.h"
#include "policy/words.h"

namespace bailiff {
namespace {

Error Invalid(std::string message) {
  return Error(ErrorCode::kInvalidArgument, std::move(message));
}

template <typename Text>
std::string Joined(const std::vector<Text>& words) {
  std::string text;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (i > 0) text += i + 1 == words.size() ? " or " : ", ";
    text += Shown(words[i]);
  }
  return text;
}

// The value itself, or each item of a list.
Result<std::vector<const TomlValue*>> Items(const TomlValue& value) {
  const auto* array = value.As<TomlArray>();
  if (array == nullptr) return std::vector<const TomlValue*>{&value};
  if (array->empty()) return Invalid("is an empty list; name at least one");
  if (array->size() > kSettingItemsMax) {
    return Invalid(fmt::format("has {} items; at most {}", array->size(), kSettingItemsMax));
  }
  std::vector<const TomlValue*> items;
  for (const TomlValue& item : *array) items.push_back(&item);
  return items;
}

}  // namespace

Result<bool> BoolSetting(const TomlValue& value) {
  const auto* flag = value.As<bool>();
  if (flag == nullptr) return Invalid("must be true or false");
  return *flag;
}

Result<std::string> TextSetting(const TomlValue& value) {
  const auto* text = value.As<std::string>();
  if (text == nullptr) return Invalid("must be a string");
  if (text->empty()) return Invalid("must not be empty");
  if (text->size() > kSettingBytesMax) {
    return Invalid(fmt::format("is longer than {} bytes", kSettingBytesMax));
  }
  return *text;
}

Result<std::vector<std::string>> TextsSetting(const TomlValue& value) {
  std::vector<std::string> texts;
  for (const TomlValue* item : TRY(Items(value))) {
    if (item->As<std::string>() == nullptr) return Invalid("must be a string or a list of strings");
    texts.push_back(TRY(TextSetting(*item)));
  }
  return texts;
}

Result<std::vector<std::string>> ChoicesSetting(const TomlValue& value,
                                                const std::vector<std::string_view>& known) {
  std::vector<std::string> chosen = TRY(TextsSetting(value));
  for (const std::string& word : chosen) {
    if (std::find(known.begin(), known.end(), word) != known.end()) continue;
    return Invalid("'" + Shown(word) + "' is not known; use " + OneOf(known));
  }
  return chosen;
}

Result<std::vector<std::int64_t>> NumbersSetting(const TomlValue& value, std::int64_t max) {
  std::vector<std::int64_t> numbers;
  for (const TomlValue* item : TRY(Items(value))) {
    const auto* number = item->As<std::int64_t>();
    if (number == nullptr || *number < 0 || *number > max) {
      return Invalid(fmt::format("must be a whole number from 0 to {}", max));
    }
    numbers.push_back(*number);
  }
  return numbers;
}

Result<std::int64_t> NumberSetting(const TomlValue& value, std::int64_t max) {
  if (value.As<TomlArray>() != nullptr) return Invalid("must be one number, not a list");
  return TRY(NumbersSetting(value, max)).front();
}

Result<std::int64_t> SizeSetting(const TomlValue& value) {
  const auto* text = value.As<std::string>();
  if (text != nullptr) return ParseSize(*text);
  if (value.As<std::int64_t>() == nullptr) {
    return Invalid("must be a size such as \"100m\", or a number of bytes");
  }
  return NumberSetting(value, std::numeric_limits<std::int64_t>::max());
}

Result<double> ShareSetting(const TomlValue& value) {
  const auto* real = value.As<double>();
  const auto* whole = value.As<std::int64_t>();
  const double share = real != nullptr    ? *real
                       : whole != nullptr ? static_cast<double>(*whole)
                                          : -1;
  if (!(share >= 0 && share < 1)) return Invalid("must be a number from 0 to below 1, like 0.25");
  return share;
}

std::string OneOf(const std::vector<std::string_view>& words) {
  return Joined(words);
}

std::string OneOf(const std::vector<std::string>& words) {
  return Joined(words);
}

}  // namespace bailiff
