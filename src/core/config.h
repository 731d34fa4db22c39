#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "base/result.h"
#include "policy/policy.h"

namespace bailiff {

// What the operator settles in bailiff.toml, which lies in the state directory or where --config
// says; never in the workspace, where a script could write it. Every key is optional.
struct Config {
  bool host_network = false;                        // [sandbox] host_network
  bool scratch_on_disk = false;                     // [sandbox] scratch = "disk", or "memory"
  std::int64_t held_bytes_max = 10LL << 30;         // [retention] held_bytes_max, e.g. "10g"
  std::chrono::hours rollback_retention{30L * 24};  // [retention] rollback, e.g. "30d"
  // [records] execution_logs: folder in the workspace, or "off" (then empty).
  std::string execution_logs = "Database/script_execution_logs";
  Policy policy = Policy::Shipped();  // [policy], see docs/policy.md
};

// Reads `path`. A file that does not exist gives the defaults, unless `must_exist`.
// Errors: kInvalidArgument for a key or value that is not one of the above, naming it; kIo.
enum class ConfigFile { kMayBeMissing, kMustExist };
Result<Config> LoadConfig(const std::string& path, ConfigFile presence);

}  // namespace bailiff
