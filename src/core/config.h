#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "core/webhook.h"
#include "policy/policy.h"

namespace bailiff {

// From where on the last hour is not healthy: see CheckHealth().
struct HealthThresholds {
  double failure_rate = 0.3;          // [health] failure_rate, from 0 to 1
  std::int64_t failure_min_runs = 5;  // [health] failure_min_runs: only above so many
  std::chrono::milliseconds average_duration{300'000};  // [health] average_duration, e.g. "300s"
  std::int64_t executions_per_hour = 100;               // [health] executions_per_hour
};

// What the operator settles in bailiff.toml, which lies in the state directory or where --config
// says; never in the workspace, where a script could write it. Every key is optional.
struct Config {
  bool host_network = false;                        // [sandbox] host_network
  bool scratch_on_disk = false;                     // [sandbox] scratch = "disk", or "memory"
  std::int64_t held_bytes_max = 10LL << 30;         // [retention] held_bytes_max, e.g. "10g"
  std::chrono::hours rollback_retention{30L * 24};  // [retention] rollback, e.g. "30d"
  std::chrono::milliseconds held_retention = std::chrono::hours(7L * 24);  // [retention] held
  // [retention] execution_logs: for how long the documents in the folder below are kept.
  std::chrono::milliseconds log_retention = std::chrono::hours(30L * 24);
  HealthThresholds health;
  std::vector<Webhook> webhooks;  // [[webhook]]
  // [records] execution_logs: folder in the workspace, or "off" (then empty).
  std::string execution_logs = "Database/script_execution_logs";
  Policy policy = Policy::Shipped();  // [policy], see docs/policy.md
};

// Reads `path`. A file that does not exist gives the defaults, unless `must_exist`.
// Errors: kInvalidArgument for a key or value that is not one of the above, naming it; kIo.
enum class ConfigFile { kMayBeMissing, kMustExist };
Result<Config> LoadConfig(const std::string& path, ConfigFile presence);

}  // namespace bailiff
