#include "core/documents.h"

#include <fmt/format.h>

#include <boost/json.hpp>
#include <cmath>
#include <utility>

#include "base/bytes.h"
#include "base/sha256.h"

namespace bailiff {
namespace {

namespace json = boost::json;

json::value TextOrNull(const std::string& text) {
  return text.empty() ? json::value(nullptr) : json::value(ToUtf8Lossy(text));
}

std::string ModeText(std::uint32_t mode) {
  return fmt::format("{:04o}", mode);
}

json::object LimitsToJson(const Execution& execution) {
  const Limits& limits = execution.limits;
  json::object object;
  object["timeout_seconds"] = std::chrono::duration<double>(limits.timeout).count();
  object["memory_bytes"] = limits.memory_bytes;
  object["cpus"] = limits.cpus;
  object["pids"] = limits.pids;
  object["scratch_bytes"] = limits.scratch_bytes;
  object["output_bytes"] = execution.output_bytes;
  object["files"] = limits.files;
  return object;
}

json::object ChangesToJson(const Execution& execution) {
  const ChangeCounts& counts = execution.counts;
  json::object object;
  object["state"] = execution.change_state;
  object["digest"] =
      execution.digest.empty() ? json::value(nullptr) : json::value(FormatDigest(execution.digest));
  object["created"] = counts.created;
  object["modified"] = counts.modified;
  object["deleted"] = counts.deleted;
  object["moved"] = counts.moved;
  object["metadata"] = counts.metadata;
  object["bytes_written"] = counts.bytes_written;
  if (!execution.refused.empty()) object["refused"] = ToJson(execution.refused);
  if (!execution.conflicts.empty()) object["conflicts"] = ToJson(execution.conflicts);
  return object;
}

void PutOutput(json::object* object, const char* key, const std::string& bytes, bool truncated,
               std::size_t max) {
  (*object)[key] = ToUtf8Lossy(std::string_view(bytes).substr(0, max));
  (*object)[std::string(key) + "_truncated"] = truncated || bytes.size() > max;
}

bool Succeeded(const std::optional<int>& exit_code, std::string_view status,
               std::string_view change_state) {
  return status == "succeeded" && exit_code == 0 && change_state != "conflict" &&
         change_state != "denied" && change_state != "needs_attention";
}

std::vector<PathProblem> ProblemsFrom(const json::value* value) {
  std::vector<PathProblem> problems;
  if (value == nullptr || !value->is_array()) return problems;
  for (const json::value& item : value->as_array()) {
    if (!item.is_object()) continue;
    const json::object& object = item.as_object();
    problems.push_back({GetBytes(object, "path"), GetBytes(object, "reason")});
  }
  return problems;
}

Decision DecisionFrom(const json::object& object) {
  Decision decision;
  const Result<Verdict> verdict = ParseVerdict(GetBytes(object, "outcome"));
  if (verdict.ok()) decision.verdict = verdict.value();
  decision.rule = GetBytes(object, "rule");
  const json::value* reasons = object.if_contains("reasons");
  if (reasons != nullptr && reasons->is_array()) {
    for (const json::value& reason : reasons->as_array()) {
      if (reason.is_string()) decision.reasons.emplace_back(reason.as_string());
    }
  }
  const Result<Role> by = ParseRole(GetBytes(object, "by"));
  if (by.ok()) decision.review_by = by.value();
  decision.lint = LintFrom(object.if_contains("lint"));
  return decision;
}

void Indent(const json::value& value, std::size_t depth, std::string* text);

void IndentObject(const json::object& object, std::size_t depth, std::string* text) {
  *text += "{";
  bool first = true;
  for (const auto& [key, value] : object) {
    *text += first ? "\n" : ",\n";
    first = false;
    text->append(2 * (depth + 1), ' ');
    *text += json::serialize(json::string_view(key)) + ": ";
    Indent(value, depth + 1, text);
  }
  if (!first) *text += "\n" + std::string(2 * depth, ' ');
  *text += "}";
}

void IndentArray(const json::array& array, std::size_t depth, std::string* text) {
  *text += "[";
  bool first = true;
  for (const json::value& value : array) {
    *text += first ? "\n" : ",\n";
    first = false;
    text->append(2 * (depth + 1), ' ');
    Indent(value, depth + 1, text);
  }
  if (!first) *text += "\n" + std::string(2 * depth, ' ');
  *text += "]";
}

void Indent(const json::value& value, std::size_t depth, std::string* text) {
  if (value.is_object()) {
    IndentObject(value.get_object(), depth, text);
  } else if (value.is_array()) {
    IndentArray(value.get_array(), depth, text);
  } else if (value.is_double()) {
    // Boost.JSON writes 1.0 as 1E0, and its parser may be off in the last digit: a document that
    // was stored is to read as it did before.
    *text += fmt::format("{}", std::round(value.get_double() * 1e6) / 1e6);
  } else {
    *text += json::serialize(value);
  }
}

json::object IdentityToJson(const Identity& identity) {
  json::object object;
  object["ino"] = identity.ino;
  object["size"] = identity.size;
  object["mode"] = ModeText(identity.mode);
  object["mtime"] = FormatTimestamp(WallTime(std::chrono::nanoseconds(identity.mtime_ns)));
  if (!identity.sha256.empty()) object["sha256"] = ToHex(identity.sha256);
  if (!identity.tree_sha256.empty()) object["tree_sha256"] = ToHex(identity.tree_sha256);
  return object;
}

}  // namespace

json::value GuaranteesToJson(const std::optional<Guarantees>& guarantees) {
  if (!guarantees.has_value()) return nullptr;
  json::object object;
  object["level"] = guarantees->level;
  object["overlay"] = guarantees->tier == Tier::kPrivileged ? "privileged" : "rootless";
  object["uid"] = guarantees->own_uid ? "own" : "shared";
  object["scratch"] = guarantees->scratch;
  object["limits"] = guarantees->limits;
  object["seccomp"] = guarantees->seccomp;
  object["landlock"] = guarantees->landlock;
  object["network"] = guarantees->network == Network::kNone ? "none" : "host";
  return object;
}

json::array Strings(const std::vector<std::string>& texts) {
  json::array array;
  for (const std::string& text : texts) array.emplace_back(ToUtf8Lossy(text));
  return array;
}

json::object ToJson(const Execution& execution, std::size_t output_max) {
  json::object object;
  object["execution_id"] = execution.id;
  object["status"] = execution.status;
  object["success"] = Succeeded(execution.exit_code, execution.status, execution.change_state);
  object["exit_code"] = execution.exit_code ? json::value(*execution.exit_code) : json::value();
  object["signal"] = execution.signal ? json::value(*execution.signal) : json::value();
  PutOutput(&object, "stdout", execution.out, execution.out_truncated, output_max);
  PutOutput(&object, "stderr", execution.err, execution.err_truncated, output_max);
  object["duration_seconds"] = execution.duration_seconds;
  object["timestamp"] = FormatTimestamp(execution.started);
  object["script_path"] = TextOrNull(execution.script_path);
  object["script_sha256"] = TextOrNull(ToHex(execution.script_sha256));
  object["script_args"] = Strings(execution.script_args);
  object["case_name"] = TextOrNull(execution.case_name);
  if (execution.visible_cases.has_value()) {
    object["visible_cases"] = Strings(*execution.visible_cases);
  }
  object["working_dir"] = ToUtf8Lossy(execution.working_dir);
  object["environment"] = execution.environment;
  object["environment_digest"] = ToHex(execution.environment_digest);
  object["engine"] = "native";
  object["start"] = "cold";
  object["mode"] = Name(execution.mode);
  object["principal"] = execution.principal;
  object["description"] = ToUtf8Lossy(execution.description);
  object["limits"] = LimitsToJson(execution);
  json::object usage;
  usage["cpu_seconds"] = execution.usage.cpu_seconds;
  usage["memory_peak_bytes"] = execution.usage.memory_peak_bytes;
  usage["scratch_bytes"] = execution.usage.scratch_bytes;
  object["usage"] = std::move(usage);
  object["guarantees"] = GuaranteesToJson(execution.guarantees);
  object["changes"] = ChangesToJson(execution);
  object["decision"] =
      execution.decision ? json::value(ToJson(*execution.decision)) : json::value(nullptr);
  object["warnings"] = Strings(execution.warnings);
  object["error"] = TextOrNull(execution.error);
  object["log_file"] = TextOrNull(execution.log_file);
  return object;
}

void SetChangeState(json::object* document, ProposalState state) {
  json::value* changes = document->if_contains("changes");
  if (changes == nullptr || !changes->is_object()) return;
  changes->as_object()["state"] = Name(state);
  const json::value* status = document->if_contains("status");
  const json::value* exit_code = document->if_contains("exit_code");
  if (status == nullptr || !status->is_string() || exit_code == nullptr) return;
  std::optional<int> code;
  if (exit_code->is_int64()) code = static_cast<int>(exit_code->as_int64());
  (*document)["success"] = Succeeded(code, std::string_view(status->as_string()), Name(state));
}

json::object ToJson(const Change& change, bool is_protected) {
  json::object object;
  object["op"] = Name(change.op);
  object["type"] = Name(change.type);
  PutBytes(&object, "path", change.path);
  if (!change.from.empty()) PutBytes(&object, "from", change.from);
  if (change.op != ChangeOp::kDelete && change.op != ChangeOp::kMove) {
    object["size"] = change.size;
    object["mode"] = ModeText(change.mode);
    if (change.sets_mtime) {
      object["mtime"] = FormatTimestamp(WallTime(std::chrono::nanoseconds(change.mtime_ns)));
    }
  }
  if (!change.sha256.empty()) object["sha256"] = ToHex(change.sha256);
  if (!change.link_target.empty()) PutBytes(&object, "link_target", change.link_target.str());
  if (!change.link_to.empty()) PutBytes(&object, "link_to", change.link_to.str());
  if (change.base.has_value()) object["base"] = IdentityToJson(*change.base);
  json::array flags;
  if (is_protected) flags.emplace_back("protected");
  for (const std::string_view flag : FlagNames(change.flags)) flags.emplace_back(flag);
  object["flags"] = std::move(flags);
  return object;
}

json::array ToJson(const std::vector<PathProblem>& problems) {
  json::array array;
  for (const PathProblem& problem : problems) {
    json::object object;
    PutBytes(&object, "path", problem.path);
    object["reason"] = ToUtf8Lossy(problem.reason);
    array.push_back(std::move(object));
  }
  return array;
}

json::object ToJson(const Decision& decision) {
  json::object object;
  object["outcome"] = Name(decision.verdict);
  object["rule"] = ToUtf8Lossy(decision.rule);
  object["reasons"] = Strings(decision.reasons);
  if (decision.verdict == Verdict::kReview) object["by"] = Name(decision.review_by);
  if (!decision.lint.empty()) object["lint"] = ToJson(decision.lint);
  return object;
}

json::object ProposalToJson(const ProposalRow& row) {
  json::object object;
  object["id"] = row.id;
  object["kind"] = Name(row.kind);
  object["state"] = Name(row.state);
  object["digest"] = row.digest.empty() ? json::value() : json::value(FormatDigest(row.digest));
  if (!row.origin.empty()) object["rolls_back"] = row.origin;
  object["timestamp"] = FormatTimestamp(WallTime(std::chrono::nanoseconds(row.created_ns)));
  object["decided_by"] = TextOrNull(row.decided_by);
  object["created"] = row.counts.created;
  object["modified"] = row.counts.modified;
  object["deleted"] = row.counts.deleted;
  object["moved"] = row.counts.moved;
  object["metadata"] = row.counts.metadata;
  object["bytes_written"] = row.counts.bytes_written;
  const StoredProblems problems = DecodeProblems(row.problems);
  if (problems.decision.has_value()) object["decision"] = ToJson(*problems.decision);
  if (!problems.refused.empty()) object["refused"] = ToJson(problems.refused);
  if (!problems.conflicts.empty()) object["conflicts"] = ToJson(problems.conflicts);
  return object;
}

std::string EncodeProblems(const StoredProblems& problems) {
  json::object object;
  object["refused"] = ToJson(problems.refused);
  object["conflicts"] = ToJson(problems.conflicts);
  if (problems.decision.has_value()) object["decision"] = ToJson(*problems.decision);
  if (problems.facts.has_value()) object["facts"] = ToJson(*problems.facts);
  return json::serialize(object);
}

StoredProblems DecodeProblems(const std::string& text) {
  StoredProblems problems;
  boost::system::error_code error;
  const json::value value = json::parse(text, error);
  if (error || !value.is_object()) return problems;
  const json::object& object = value.as_object();
  problems.refused = ProblemsFrom(object.if_contains("refused"));
  problems.conflicts = ProblemsFrom(object.if_contains("conflicts"));
  const json::value* decided = object.if_contains("decision");
  if (decided != nullptr && decided->is_object()) {
    problems.decision = DecisionFrom(decided->as_object());
  }
  const json::value* facts = object.if_contains("facts");
  if (facts != nullptr && facts->is_object()) problems.facts = PolicyFactsFrom(facts->as_object());
  return problems;
}

void PutBytes(json::object* object, const std::string& key, const std::string& bytes) {
  (*object)[key] = ToUtf8Lossy(bytes);
  if (!IsUtf8(bytes)) (*object)[key + "_b64"] = ToBase64(bytes);
}

std::string GetBytes(const json::object& object, const std::string& key) {
  const json::value* exact = object.if_contains(key + "_b64");
  if (exact != nullptr && exact->is_string()) {
    Result<std::string> bytes = FromBase64(std::string_view(exact->as_string()));
    if (bytes.ok()) return std::move(bytes).value();
  }
  const json::value* text = object.if_contains(key);
  return text != nullptr && text->is_string() ? std::string(text->as_string()) : std::string();
}

std::string Pretty(const json::value& value) {
  std::string text;
  Indent(value, 0, &text);
  text += '\n';
  return text;
}

}  // namespace bailiff
