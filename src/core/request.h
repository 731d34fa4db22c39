#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "policy/policy.h"
#include "sandbox/spec.h"
#include "sys/fd.h"

namespace bailiff {

inline constexpr std::chrono::milliseconds kTimeoutMax{1'800'000};
inline constexpr std::int64_t kMemoryBytesMin = 16LL << 20;
inline constexpr std::int64_t kScratchBytesMin = 1LL << 20;
inline constexpr std::int64_t kPidsMin = 4;
inline constexpr std::int64_t kPidsMax = 32'768;
inline constexpr double kCpusMin = 0.05;
inline constexpr double kCpusMax = 1024;
inline constexpr std::int64_t kFilesMax = 1'000'000;
inline constexpr std::int64_t kOutputBytesMax = 1LL << 30;
inline constexpr std::size_t kVisibleCasesMax = 256;
inline constexpr std::size_t kScriptBytesMax = 16UL << 20;

// Of a script that is given as text.
enum class Language : std::uint8_t { kByShebang, kPython, kBash };

// What someone asked to have run: the options of `run` and `exec`, not yet checked.
struct RunRequest {
  // Exactly one of these three.
  std::string script;                        // A path in the workspace; a leading '/' is its root.
  std::optional<std::string> code;           // The text of a script.
  std::vector<std::string> command;          // Any command.
  Language language = Language::kByShebang;  // Python, unless its "#!" line names a shell.

  std::vector<std::string> args;  // Of the script.
  std::string case_name;
  // The run sees these cases and Tools/, nothing else of the workspace: docs/design/0017. Nothing:
  // it sees all. A case that does not exist is left out.
  std::optional<std::vector<std::string>> visible_cases;
  std::string cwd;
  Mode mode = Mode::kCommit;
  Mode on_failure = Mode::kDiscard;
  std::string environment = "default";
  Limits limits;
  std::int64_t output_bytes = 10LL << 20;  // Kept of each stream.
  Network network = Network::kNone;
  std::vector<std::string> env;  // "NAME=value".
  std::string require_level;     // As core/proof.h says; empty: none.
  std::string description;
  std::chrono::milliseconds wait_lock{30'000};
  Fd in;  // What the program reads; nothing: the null device.
};

}  // namespace bailiff
