#include "core/config.h"

#include <fcntl.h>

#include <utility>

#include "base/toml.h"
#include "base/units.h"
#include "changeset/model.h"
#include "sys/file.h"

namespace bailiff {
namespace {

constexpr std::size_t kConfigBytesMax = 1UL << 20;

Error Bad(const std::string& path, const std::string& key, const std::string& what) {
  return Error(ErrorCode::kInvalidArgument, path + ": " + key + ": " + what);
}

Result<std::string> Text(const TomlValue& value, const std::string& path, const std::string& key) {
  const auto* text = value.As<std::string>();
  if (text == nullptr) return Bad(path, key, "must be a string");
  return *text;
}

Result<std::chrono::milliseconds> Duration(const TomlValue& value, const std::string& path,
                                           const std::string& key) {
  const Result<std::chrono::milliseconds> time = ParseDuration(TRY(Text(value, path, key)));
  if (!time.ok()) return Bad(path, key, time.error().message());
  return time;
}

Result<std::int64_t> RunCount(const TomlValue& value, const std::string& path,
                              const std::string& key) {
  const auto* count = value.As<std::int64_t>();
  if (count != nullptr && *count >= 0) return *count;
  return Bad(path, key, "must be a whole number, 0 or more");
}

// As Set(), for the section [health].
Result<bool> SetHealth(const std::string& key, const TomlValue& node, const std::string& path,
                       HealthThresholds* health) {
  if (key == "health.failure_rate") {
    const auto* rate = node.As<double>();
    const auto* whole = node.As<std::int64_t>();  // 0 or 1, without a point.
    if (rate == nullptr && whole == nullptr) return Bad(path, key, "must be a number");
    health->failure_rate = rate != nullptr ? *rate : static_cast<double>(*whole);
    const bool sound = health->failure_rate >= 0 && health->failure_rate <= 1;
    if (!sound) return Bad(path, key, "must be from 0 to 1");
    return true;
  }
  if (key == "health.failure_min_runs") {
    health->failure_min_runs = TRY(RunCount(node, path, key));
    return true;
  }
  if (key == "health.average_duration") {
    health->average_duration = TRY(Duration(node, path, key));
    return true;
  }
  if (key == "health.executions_per_hour") {
    health->executions_per_hour = TRY(RunCount(node, path, key));
    return true;
  }
  return false;
}

// One setting; false when the key is unknown.
Result<bool> Set(const std::string& key, const TomlValue& node, const std::string& path,
                 Config* config) {
  if (key == "sandbox.host_network") {
    const auto* value = node.As<bool>();
    if (value == nullptr) return Bad(path, key, "must be true or false");
    config->host_network = *value;
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
    const std::chrono::milliseconds time = TRY(Duration(node, path, key));
    config->rollback_retention = std::chrono::duration_cast<std::chrono::hours>(time);
    return true;
  }
  if (key == "retention.held") {
    config->held_retention = TRY(Duration(node, path, key));
    return true;
  }
  if (key == "retention.execution_logs") {
    config->log_retention = TRY(Duration(node, path, key));
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
  return SetHealth(key, node, path, &config->health);
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
  for (const auto& [name, section] : TRY(ParseToml(text, path))) {
    if (name == "webhook") {
      config.webhooks = TRY(ParseWebhooks(section, path));
      continue;
    }
    const auto* table = section.As<TomlTable>();
    if (table == nullptr) {
      return Bad(path, name,
                 "is not a section; known: sandbox, retention, records, policy, health, webhook");
    }
    if (name == "policy") {
      config.policy = TRY(Policy::Parse(*table, path));
      continue;
    }
    for (const auto& [key, value] : *table) {
      std::string full = name;
      full += "." + key;
      if (!TRY(Set(full, value, path, &config))) return Bad(path, full, "is not a known setting");
    }
  }
  return config;
}

}  // namespace bailiff
