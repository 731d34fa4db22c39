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

// toml++ 3.3 asserts what is wrong of these when it looks for white space (undefined behaviour).
// U+FB26 to U+FEFE, in UTF-8 from EF AC A6 to EF BB BE: presentation forms, which nobody types.
bool HasUnreadableCharacter(std::string_view text) {
  for (std::size_t at = text.find('\xef'); at != text.npos; at = text.find('\xef', at + 1)) {
    const std::string_view character = text.substr(at, 3);
    if (character >= "\xef\xac\xa6" && character <= "\xef\xbb\xbe") return true;
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
  if (HasUnreadableCharacter(text)) {
    return Error(ErrorCode::kInvalidArgument,
                 path + ": holds a character from U+FB26 to U+FEFE, which cannot be read here");
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
