#include "cli/query_commands.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json.hpp>
#include <utility>

#include "base/bytes.h"
#include "base/sha256.h"
#include "base/units.h"
#include "changeset/diff.h"
#include "cli/plan_commands.h"
#include "core/admission.h"
#include "core/documents.h"
#include "core/plans.h"
#include "core/proposals.h"
#include "core/queries.h"
#include "policy/policy.h"
#include "sys/file.h"

namespace bailiff {
namespace {

namespace json = boost::json;

constexpr std::size_t kSecondsWidth = 19;  // Of a timestamp up to its seconds.
constexpr std::size_t kDigestShown = 16;

std::string ShortTime(std::int64_t nanos) {
  std::string time = FormatTimestamp(WallTime(std::chrono::nanoseconds(nanos)));
  time[10] = ' ';
  return time.substr(0, 19);
}

json::value ParseDocument(const std::string& text) {
  boost::system::error_code error;
  json::value value = json::parse(text, error);
  return error ? json::value(json::object()) : value;
}

std::string TextOf(const json::value& document, std::initializer_list<const char*> path) {
  const json::value* at = &document;
  for (const char* key : path) {
    if (!at->is_object()) return "";
    at = at->as_object().if_contains(key);
    if (at == nullptr) return "";
  }
  if (at->is_string()) return std::string(at->as_string());
  if (at->is_null()) return "";
  return at->is_double() ? fmt::format("{:.3f}", at->get_double()) : json::serialize(*at);
}

std::string Safe(std::string_view text) {
  return EscapeForTerminal(text, Lines::kSingle);
}

int ListHeld(Session& session, Context& context, std::int64_t limit) {
  ProposalFilter filter;
  filter.limit = limit;
  filter.state = ProposalState::kHeld;
  const Result<std::vector<ProposalRow>> rows = context.store().ListProposals(filter);
  if (!rows.ok()) return session.Fail(rows.error());
  json::array array;
  std::string text;
  for (const ProposalRow& row : rows.value()) {
    array.push_back(ProposalToJson(row));
    const ProposalCounts& c = row.counts;
    const ChangeCounts counts{c.created, c.modified, c.deleted,
                              c.moved,   c.metadata, c.bytes_written};
    text += fmt::format("{}  {}  {}\n", row.id, ShortTime(row.created_ns), Describe(counts));
    const StoredProblems problems = DecodeProblems(row.problems);
    if (!problems.decision.has_value()) continue;
    for (const std::string& reason : problems.decision->reasons)
      text += "    " + Safe(reason) + "\n";
  }
  if (text.empty()) text = "nothing waits for review\n";
  json::object document;
  document["proposals"] = std::move(array);
  session.Answer(document, text);
  return 0;
}

Result<int> List(Session& session, Context& context, const ListOptions& options) {
  const std::int64_t limit = TRY(ParseCount(options.limit, kStoreRowsMax));
  if (options.held) return ListHeld(session, context, limit);
  ExecutionFilter filter;
  filter.limit = limit;
  const bool known =
      std::find(kStatuses.begin(), kStatuses.end(), options.status) != kStatuses.end();
  if (!options.status.empty() && !known) {
    return Error(ErrorCode::kInvalidArgument,
                 fmt::format("--status: '{}' is not a status; use one of {}", Safe(options.status),
                             fmt::join(kStatuses, ", ")));
  }
  filter.status = options.status;
  filter.case_name = options.case_name;
  json::array array;
  std::string text;
  for (const ExecutionRow& row : TRY(context.store().ListExecutions(filter))) {
    json::value document = ParseDocument(row.document);
    const std::string what =
        row.script_path.empty() ? TextOf(document, {"script_args"}) : row.script_path;
    text += fmt::format("{}  {:<14} {:<12} {}{}\n", row.id, row.status,
                        TextOf(document, {"changes", "state"}), Safe(what),
                        row.case_name.empty() ? "" : "  (" + Safe(row.case_name) + ")");
    array.push_back(std::move(document));
  }
  if (text.empty()) text = "no executions yet\n";
  json::object document;
  document["executions"] = std::move(array);
  session.Answer(document, text);
  return 0;
}

std::string ExecutionText(const json::value& document) {
  std::string text;
  const auto line = [&](const char* label, const std::string& value) {
    if (!value.empty()) text += fmt::format("{:<14}{}\n", label, Safe(value));
  };
  line("id", TextOf(document, {"execution_id"}));
  line("status", TextOf(document, {"status"}));
  line("exit code", TextOf(document, {"exit_code"}));
  line("started", TextOf(document, {"timestamp"}));
  line("duration", TextOf(document, {"duration_seconds"}) + " s");
  line("script", TextOf(document, {"script_path"}));
  line("sha256", TextOf(document, {"script_sha256"}));
  line("arguments", TextOf(document, {"script_args"}));
  line("case", TextOf(document, {"case_name"}));
  line("by", TextOf(document, {"principal"}));
  line("guarantees", TextOf(document, {"guarantees"}));
  line("changes", TextOf(document, {"changes", "state"}));
  line("digest", TextOf(document, {"changes", "digest"}));
  line("decision", TextOf(document, {"decision"}));
  line("error", TextOf(document, {"error"}));
  line("record", TextOf(document, {"log_file"}));
  return text;
}

Result<int> Changes(Session& session, Context& context, const std::string& prefix) {
  const std::string id = TRY(ResolveId(context, prefix));
  const Result<ProposalRow> row = context.store().GetProposal(id);
  if (!row.ok()) {
    if (row.error().code() != ErrorCode::kNotFound) return row.error();
    session.Answer(TRY(ChangesOf(context, id)), "no changes\n");
    return 0;
  }
  const ChangeSet set = TRY(Decode(row.value().change_set));
  const std::vector<std::string> protected_paths = ProtectedPathsIn(set, PolicyContext{});
  std::string text =
      fmt::format("{}  {}  {}\n", id, Name(row.value().state), FormatDigest(row.value().digest));
  text += RenderChanges(set, protected_paths);
  const StoredProblems problems = DecodeProblems(row.value().problems);
  for (const PathProblem& problem : problems.refused) {
    text += "refused  " + QuotePath(problem.path) + ": " + Safe(problem.reason) + "\n";
  }
  for (const PathProblem& problem : problems.conflicts) {
    text += "conflict  " + QuotePath(problem.path) + ": " + Safe(problem.reason) + "\n";
  }
  text += LintLines(row.value());
  session.Answer(ChangesToJson(row.value(), set), text);
  return 0;
}

std::string EventText(const json::object& event) {
  const std::string sha256 = TextOf(event, {"sha256"});
  const std::string script = TextOf(event, {"script_path"});
  std::string time = TextOf(event, {"timestamp"}).substr(0, kSecondsWidth);
  std::replace(time.begin(), time.end(), 'T', ' ');
  std::string text =
      fmt::format("{}  {:<8} {}", time, TextOf(event, {"op"}), QuotePath(GetBytes(event, "path")));
  if (TextOf(event, {"op"}) == "move") text += " (from " + QuotePath(GetBytes(event, "from")) + ")";
  text += "\n    " + TextOf(event, {"id"});
  if (!script.empty()) {
    text += fmt::format("  {} sha256 {}", Safe(script),
                        TextOf(event, {"script_sha256"}).substr(0, kDigestShown));
  }
  const std::string origin = TextOf(event, {"rolls_back"});
  if (!origin.empty()) text += "  rolls back " + origin;
  text += "  approved by " + Safe(TextOf(event, {"approved_by"}));
  if (!sha256.empty()) text += "  content sha256 " + sha256.substr(0, kDigestShown);
  return text + "\n";
}

Result<int> History(Session& session, Context& context, const std::string& given,
                    const std::string& limit_text) {
  const std::int64_t limit = TRY(ParseCount(limit_text, kStoreRowsMax));
  Result<std::string> path = NormalizePath(given);
  if (!path.ok()) return std::move(path).error().WithContext("path '" + given + "'");
  const json::object document = TRY(HistoryOf(context, path.value(), limit));
  std::string text;
  for (const json::value& event : document.at("events").as_array()) {
    text += EventText(event.as_object());
  }
  if (text.empty()) text = "no change to this path was committed through Bailiff\n";
  session.Answer(document, text);
  return 0;
}

Result<int> Show(Session& session, Context& context, const std::string& prefix) {
  const std::string id = TRY(ResolveId(context, prefix));
  const Result<ExecutionRow> row = context.store().GetExecution(id);
  if (row.ok()) {
    const json::value document = ParseDocument(row.value().document);
    session.Answer(document, ExecutionText(document));
    return 0;
  }
  if (row.error().code() != ErrorCode::kNotFound) return row.error();
  const Result<PlanDocument> plan = GetPlan(context, id);
  if (plan.ok()) {
    session.Answer(plan.value().document, PlanText(plan.value()));
    return 0;
  }
  if (plan.error().code() != ErrorCode::kNotFound) return plan.error();
  const json::object document = ProposalToJson(TRY(context.store().GetProposal(id)));
  session.Answer(document, Pretty(document));
  return 0;
}

Result<int> Logs(Session& session, Context& context, const LogsOptions& options) {
  const std::string id = TRY(ResolveId(context, options.id));
  const std::string out = options.only_err ? "" : TRY(KeptOutputOf(context, id, Stream::kOut));
  const std::string err = TRY(KeptOutputOf(context, id, Stream::kErr));
  if (session.options().json) {
    json::object document;
    document["id"] = id;
    PutBytes(&document, "stdout", out);
    PutBytes(&document, "stderr", err);
    session.Answer(document, "");
    return 0;
  }
  const auto shown = [&](const std::string& bytes) {
    return options.raw ? bytes : EscapeForTerminal(bytes, Lines::kMultiple);
  };
  if (!options.only_err) (void)WriteTo(STDOUT_FILENO, shown(out));
  (void)WriteTo(options.only_err ? STDOUT_FILENO : STDERR_FILENO, shown(err));
  return 0;
}

Result<int> Diff(Session& session, Context& context, const std::string& prefix,
                 const std::string& path) {
  const std::string id = TRY(ResolveId(context, prefix));
  std::optional<std::string> only;
  if (!path.empty()) {
    Result<std::string> normalized = NormalizePath(path);
    if (!normalized.ok()) return std::move(normalized).error().WithContext("path '" + path + "'");
    if (!normalized.value().empty()) only = std::move(normalized).value();
  }
  const std::string text = TRY(DiffOf(context, id, only));
  json::object document;
  document["id"] = id;
  document["diff"] = ToUtf8Lossy(text);
  session.Answer(document, text);
  return 0;
}

// Opens the workspace for reading, does `work` on it, and says what went wrong.
template <typename Work>
int Reading(Session& session, const Work& work) {
  const Result<Context*> context = session.Open(Session::Purpose::kRead);
  if (!context.ok()) return session.Fail(context.error());
  const Result<int> exit_code = work(*context.value());
  return exit_code.ok() ? exit_code.value() : session.Fail(exit_code.error());
}

}  // namespace

int ListCommand(Session& session, const ListOptions& options) {
  return Reading(session, [&](Context& context) { return List(session, context, options); });
}

int ShowCommand(Session& session, const std::string& id) {
  return Reading(session, [&](Context& context) { return Show(session, context, id); });
}

int LogsCommand(Session& session, const LogsOptions& options) {
  return Reading(session, [&](Context& context) { return Logs(session, context, options); });
}

int ChangesCommand(Session& session, const std::string& id) {
  return Reading(session, [&](Context& context) { return Changes(session, context, id); });
}

int DiffCommand(Session& session, const std::string& id, const std::string& path) {
  return Reading(session, [&](Context& context) { return Diff(session, context, id, path); });
}

int HistoryCommand(Session& session, const std::string& path, const std::string& limit) {
  return Reading(session, [&](Context& context) { return History(session, context, path, limit); });
}

}  // namespace bailiff
