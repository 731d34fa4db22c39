#include "base/toml.h"

#include <algorithm>
#include <optional>

#define TOML_EXCEPTIONS 0
#include <toml++/toml.h>

#include "base/bytes.h"

namespace bailiff {
namespace {

bool IsBeyondAscii(char c) {
  return static_cast<unsigned char>(c) >= 0x80;
}

// Everything beyond ASCII as %xx, and % itself, so that toml++ sees nothing else: where 3.3 asks
// whether such a character is white space, most of them are undefined behaviour, and it asks in
// strings too. Outside of strings and comments a % is an error, as those characters are.
std::string ToAscii(std::string_view text) {
  constexpr const char* kDigits = "0123456789abcdef";
  std::string ascii;
  for (const char c : text) {
    if (!IsBeyondAscii(c) && c != '%') {
      ascii += c;
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    ascii += {'%', kDigits[byte >> 4], kDigits[byte & 15]};
  }
  return ascii;
}

// The value of a digit that ToAscii() writes; nothing for other characters.
std::optional<int> HexValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return std::nullopt;
}

// What ToAscii() was given. A key or value has each % from there, since an escape of toml's that
// gives one is refused before; a message of toml++ may have cut it off from its digits.
std::string FromAscii(std::string_view ascii) {
  std::string text;
  for (std::size_t at = 0; at < ascii.size(); ++at) {
    const bool marked = ascii[at] == '%' && at + 2 < ascii.size();
    const std::optional<int> high = marked ? HexValue(ascii[at + 1]) : std::nullopt;
    const std::optional<int> low = marked ? HexValue(ascii[at + 2]) : std::nullopt;
    if (!high.has_value() || !low.has_value()) {
      text += ascii[at];
      continue;
    }
    text += static_cast<char>(*high * 16 + *low);
    at += 2;
  }
  return text;
}

bool HasEscapedPercent(std::string_view text) {
  return text.find("\\u0025") != std::string_view::npos ||
         text.find("\\U00000025") != std::string_view::npos;
}

Result<TomlTable> TableFrom(const toml::table& table, std::size_t depth);

Result<TomlValue> ValueFrom(const toml::node& node, std::size_t depth) {
  if (depth > kTomlDepthMax) return Error(ErrorCode::kInvalidArgument, ": is nested too deep");
  if (const auto* value = node.as_boolean()) return TomlValue{value->get()};
  if (const auto* value = node.as_integer()) return TomlValue{value->get()};
  if (const auto* value = node.as_floating_point()) return TomlValue{value->get()};
  if (const auto* value = node.as_string()) return TomlValue{FromAscii(value->get())};
  if (const auto* table = node.as_table()) return TomlValue{TRY(TableFrom(*table, depth + 1))};
  const auto* items = node.as_array();
  if (items == nullptr) return TomlValue{};
  TomlArray array;
  for (const toml::node& item : *items) array.push_back(TRY(ValueFrom(item, depth + 1)));
  return TomlValue{std::move(array)};
}

Result<TomlTable> TableFrom(const toml::table& table, std::size_t depth) {
  TomlTable entries;
  for (const auto& [key, node] : table) {
    entries.push_back({FromAscii(key.str()), TRY(ValueFrom(node, depth))});
  }
  return entries;
}

}  // namespace

Result<TomlTable> ParseToml(std::string_view text, const std::string& name) {
  const auto bad = [&](const std::string& what) {
    return Error(ErrorCode::kInvalidArgument, name + what);
  };
  if (!IsUtf8(text)) return bad(": is not UTF-8");
  if (HasEscapedPercent(text)) return bad(": writes % as \\u0025; write % itself");
  const bool has_mark = text.starts_with("\xef\xbb\xbf");
  const std::string ascii = ToAscii(text.substr(has_mark ? 3 : 0));
  const toml::parse_result parsed = toml::parse(ascii);
  if (!parsed) {
    const bool plain = std::none_of(text.begin(), text.end(), IsBeyondAscii);
    return bad(":" + std::to_string(parsed.error().source().begin.line) + ": " +
               FromAscii(parsed.error().description()) +
               (plain ? "" : " (what is not ASCII may only be in strings and comments)"));
  }
  Result<TomlTable> table = TableFrom(parsed.table(), 0);
  if (!table.ok()) return bad(table.error().message());
  return table;
}

}  // namespace bailiff
