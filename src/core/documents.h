#pragma once

#include <array>
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "changeset/capture.h"
#include "core/policy_facts.h"
#include "core/request.h"
#include "policy/policy.h"
#include "store/store.h"

// The result documents of the contract. Their keys are an interface: they are added to, never
// renamed.

namespace bailiff {

// Every status that an execution can have.
inline constexpr std::array<std::string_view, 11> kStatuses = {
    "queued",         "running",   "succeeded",   "failed", "timed_out", "oom_killed",
    "limit_exceeded", "cancelled", "interrupted", "denied", "error"};

// What one execution has come to, in the words of the execution document.
struct Execution {
  std::string id;
  std::string status = "running";
  std::optional<int> exit_code;
  std::optional<int> signal;
  std::string out;  // Kept bytes.
  std::string err;
  bool out_truncated = false;
  bool err_truncated = false;
  double duration_seconds = 0;
  WallTime started{};
  std::string script_path;
  std::string script_sha256;  // Raw.
  std::vector<std::string> script_args;
  std::string case_name;
  std::optional<std::vector<std::string>> visible_cases;
  std::string working_dir;
  std::string environment = "default";
  std::string environment_digest;  // Raw.
  Mode mode = Mode::kCommit;
  std::string principal;
  std::string description;
  Limits limits;
  std::int64_t output_bytes = 0;
  Usage usage;
  std::optional<Guarantees> guarantees;  // Absent when no sandbox was made.

  std::string change_state = "none";
  std::string digest;  // Raw; empty: no change set.
  ChangeCounts counts;
  std::vector<PathProblem> refused;
  std::vector<PathProblem> conflicts;
  std::optional<Decision> decision;
  std::vector<std::string> warnings;
  std::string error;     // Empty: none.
  std::string log_file;  // "/Database/..."; empty: none.
};

// The execution document. Output of more than `output_max` bytes a stream is cut, and says so.
boost::json::object ToJson(const Execution& execution, std::size_t output_max);

// Brings a stored document up to date with what became of its proposal, `success` included.
void SetChangeState(boost::json::object* document, ProposalState state);

boost::json::object ToJson(const Change& change, bool is_protected);
boost::json::array ToJson(const std::vector<PathProblem>& problems);
boost::json::object ToJson(const Decision& decision);
boost::json::value GuaranteesToJson(const std::optional<Guarantees>& guarantees);

// The document of `changes ID`, and of `show ID` for a proposal that no execution made.
boost::json::object ProposalToJson(const ProposalRow& row);

// Problems as the store keeps them, beside a proposal.
struct StoredProblems {
  std::vector<PathProblem> refused;
  std::vector<PathProblem> conflicts;
  std::optional<Decision> decision;
  std::optional<PolicyFacts> facts;  // What was decided from; absent in older records.
};
std::string EncodeProblems(const StoredProblems& problems);
StoredProblems DecodeProblems(const std::string& text);

boost::json::array Strings(const std::vector<std::string>& texts);  // Lossy text.

// `{"<key>": lossy text, "<key>_b64": exact bytes}`, the latter only where they differ.
void PutBytes(boost::json::object* object, const std::string& key, const std::string& bytes);

// The bytes that PutBytes() put. Empty when there are none.
std::string GetBytes(const boost::json::object& object, const std::string& key);

// An object as text for people: indented, keys in their order.
std::string Pretty(const boost::json::value& value);

}  // namespace bailiff
