#include "core/config.h"

#include <fcntl.h>

#include <algorithm>
#include <optional>

#define TOML_EXCEPTIONS 0
#include <toml++/toml.h>

#include "base/bytes.h"
#include "base/units.h"
#include "changeset/model.h"
#include "sys/file.h"

namespace bailiff {
namespace {

constexpr std::size_t kConfigBytesMax = 1UL << 20;

Error Bad(const std::string& path, const std::string& key, const std::string& what) {
  return Error(ErrorCode::kInvalidArgument, path + ": " + key + ": " + what);
}

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

Result<std::string> Text(const toml::node& node, const std::string& path, const std::string& key) {
  const auto* text = node.as_string();
  if (text == nullptr) return Bad(path, key, "must be a string");
  return FromAscii(text->get());
}

// One setting; false when the key is unknown.
Result<bool> Set(const std::string& key, const toml::node& node, const std::string& path,
                 Config* config) {
  if (key == "sandbox.host_network") {
    const auto* value = node.as_boolean();
    if (value == nullptr) return Bad(path, key, "must be true or false");
    config->host_network = value->get();
    return true;
  }
  if (key == "sandbox.scratch") {
    const std::string where = TRY(Text(node, path, key));
    if (where != "memory" && where != "disk") return Bad(path, key, "must be memory or disk");
    config->scratch_on_disk = where == "disk";
    return true;
  }
  if (key == "retention.held_bytes_max") {
    const Result<std::int64_t> size = ParseSize(TRY(Text(node, path, key)));
    if (!size.ok()) return Bad(path, key, size.error().message());
    config->held_bytes_max = size.value();
    return true;
  }
  if (key == "retention.rollback") {
    const Result<std::chrono::milliseconds> time = ParseDuration(TRY(Text(node, path, key)));
    if (!time.ok()) return Bad(path, key, time.error().message());
    config->rollback_retention = std::chrono::duration_cast<std::chrono::hours>(time.value());
    return true;
  }
  if (key == "records.execution_logs") {
    const std::string folder = TRY(Text(node, path, key));
    const bool off = folder == "off";
    if (!off && !ValidatePath(folder).ok()) {
      return Bad(path, key, "must be a folder of the workspace, or \"off\"");
    }
    config->execution_logs = off ? "" : folder;
    return true;
  }
  return false;
}

}  // namespace

Result<Config> LoadConfig(const std::string& path, ConfigFile presence) {
  Config config;
  Result<Fd> file = OpenPath(path, O_RDONLY);
  if (!file.ok()) {
    const bool missing = file.error().code() == ErrorCode::kNotFound;
    if (missing && presence == ConfigFile::kMayBeMissing) return config;
    return std::move(file).error();
  }
  const std::string text = TRY(ReadAll(file.value(), kConfigBytesMax));
  const auto bad = [&](const std::string& what) {
    return Error(ErrorCode::kInvalidArgument, path + what);
  };
  if (!IsUtf8(text)) return bad(": is not UTF-8");
  if (HasEscapedPercent(text)) return bad(": writes % as \\u0025; write % itself");
  const bool has_mark = text.starts_with("\xef\xbb\xbf");
  const std::string ascii = ToAscii(std::string_view(text).substr(has_mark ? 3 : 0));
  const toml::parse_result parsed = toml::parse(ascii);
  if (!parsed) {
    const bool plain = std::none_of(text.begin(), text.end(), IsBeyondAscii);
    return bad(":" + std::to_string(parsed.error().source().begin.line) + ": " +
               FromAscii(parsed.error().description()) +
               (plain ? "" : " (what is not ASCII may only be in strings and comments)"));
  }
  for (const auto& [section, node] : parsed.table()) {
    const std::string name = FromAscii(section.str());
    const toml::table* table = node.as_table();
    if (table == nullptr)
      return Bad(path, name, "is not a section; known: sandbox, retention, records");
    for (const auto& [key, value] : *table) {
      const std::string full = name + "." + FromAscii(key.str());
      if (!TRY(Set(full, value, path, &config))) return Bad(path, full, "is not a known setting");
    }
  }
  return config;
}

}  // namespace bailiff
