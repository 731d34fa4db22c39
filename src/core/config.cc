#include "core/config.h"

#include <fcntl.h>

#define TOML_EXCEPTIONS 0
#include <toml++/toml.h>

#include "base/units.h"
#include "changeset/model.h"
#include "sys/file.h"

namespace bailiff {
namespace {

constexpr std::size_t kConfigBytesMax = 1UL << 20;

Error Bad(const std::string& path, const std::string& key, const std::string& what) {
  return Error(ErrorCode::kInvalidArgument, path + ": " + key + ": " + what);
}

// Whether there is a byte beyond ASCII outside of strings and comments. No setting needs one, and
// where toml++ 3.3 looks for white space there, most of them are undefined behaviour.
bool HasBareNonAscii(std::string_view text) {
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  std::string quote;  // Of the string that goes on; "\n" for a comment.
  for (std::size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    const std::string_view rest = text.substr(at);
    if (!quote.empty()) {
      if (c == '\\' && quote.front() == '"') {
        ++at;
      } else if (rest.starts_with(quote)) {
        at += quote.size() - 1;
        quote.clear();
      }
      continue;
    }
    if (static_cast<unsigned char>(c) >= 0x80) return true;
    if (c == '#') quote = "\n";
    if (c != '"' && c != '\'') continue;
    quote.assign(rest.starts_with(std::string(3, c)) ? 3 : 1, c);
    at += quote.size() - 1;
  }
  return false;
}

Result<std::string> Text(const toml::node& node, const std::string& path, const std::string& key) {
  const auto* text = node.as_string();
  if (text == nullptr) return Bad(path, key, "must be a string");
  return text->get();
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
  if (HasBareNonAscii(text)) {
    return Error(
        ErrorCode::kInvalidArgument,
        path + ": is not ASCII outside of strings and comments; settings have plain names");
  }
  const toml::parse_result parsed = toml::parse(text);
  if (!parsed) {
    return Error(ErrorCode::kInvalidArgument,
                 path + ":" + std::to_string(parsed.error().source().begin.line) + ": " +
                     std::string(parsed.error().description()));
  }
  for (const auto& [section, node] : parsed.table()) {
    const std::string name(section.str());
    const toml::table* table = node.as_table();
    if (table == nullptr)
      return Bad(path, name, "is not a section; known: sandbox, retention, records");
    for (const auto& [key, value] : *table) {
      const std::string full = name + "." + std::string(key.str());
      if (!TRY(Set(full, value, path, &config))) return Bad(path, full, "is not a known setting");
    }
  }
  return config;
}

}  // namespace bailiff
