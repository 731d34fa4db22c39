#include "core/queries.h"

#include <fcntl.h>

#include <boost/json.hpp>
#include <map>
#include <memory>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "base/bytes.h"
#include "base/units.h"
#include "changeset/diff.h"
#include "core/clerks.h"
#include "core/documents.h"
#include "core/proposals.h"
#include "policy/policy.h"
#include "store/plans.h"
#include "sys/file.h"
#include "workspace/tree.h"

namespace bailiff {
namespace {

namespace json = boost::json;

constexpr std::size_t kNamedMax = 5;

Result<std::optional<std::string>> ReadNothing(const Change& /*change*/, std::size_t /*max*/) {
  return std::optional<std::string>();
}

DiffSources NoSources() {
  return {ReadNothing, ReadNothing};
}

// Where the two sides of a committed change are: what a rollback would bring back, and what it
// would take away.
class CommittedContent {
 public:
  CommittedContent(const Context& context, ChangeSet inverse)
      : context_(context), inverse_(std::move(inverse)) {
    for (const Change& change : inverse_.changes) {
      if (!change.content.path.empty()) old_[change.path] = &change.content;
      if (change.base.has_value()) new_[change.base_path()] = &*change.base;
    }
  }
  CommittedContent(const CommittedContent&) = delete;
  CommittedContent& operator=(const CommittedContent&) = delete;

  Result<std::optional<std::string>> Old(const Change& change, std::size_t bytes_max) const {
    const auto found = old_.find(change.base_path());
    if (found == old_.end()) return std::optional<std::string>();
    const Content& content = *found->second;
    return ReadIfSame(context_.workspace().private_dir(), content.path, content.identity,
                      content.identity.sha256, bytes_max);
  }

  Result<std::optional<std::string>> New(const Change& change, std::size_t bytes_max) const {
    const auto found = new_.find(change.path);
    if (found == new_.end()) return std::optional<std::string>();
    return ReadIfSame(context_.workspace().root(), change.path, *found->second, change.sha256,
                      bytes_max);
  }

 private:
  const Context& context_;
  const ChangeSet inverse_;
  std::unordered_map<std::string_view, const Content*> old_;   // Into `inverse_`.
  std::unordered_map<std::string_view, const Identity*> new_;  // Into `inverse_`.
};

Result<DiffSources> CommittedSources(Context& context, const std::string& id) {
  Result<Rollback> rollback = ClerkBuildRollback(context, id, id);
  if (!rollback.ok()) {
    if (rollback.error().code() == ErrorCode::kNotFound) return NoSources();
    return std::move(rollback).error();
  }
  if (!rollback.value().conflicts.empty()) return NoSources();
  const auto content = std::make_shared<CommittedContent>(context, std::move(rollback).value().set);
  return DiffSources{
      [content](const Change& change, std::size_t max) { return content->Old(change, max); },
      [content](const Change& change, std::size_t max) { return content->New(change, max); }};
}

Result<DiffSources> SourcesFor(Context& context, const ProposalRow& row) {
  switch (row.state) {
    case ProposalState::kHeld:
    case ProposalState::kApproved:
    case ProposalState::kCommitting:
      // What a rollback brings back was put aside; what an execution brings is held.
      return UncommittedSources(context.workspace().root(), row.kind == ProposalKind::kRollback
                                                                ? context.workspace().private_dir()
                                                                : context.held_dir());
    case ProposalState::kCommitted:
      return CommittedSources(context, row.id);
    case ProposalState::kNone:
    case ProposalState::kDiscarded:
    case ProposalState::kRejected:
    case ProposalState::kDenied:
    case ProposalState::kExpired:
    case ProposalState::kConflict:
    case ProposalState::kNeedsAttention:
    case ProposalState::kRolledBack:
      return NoSources();
  }
  CheckFailed("ProposalState out of range", __FILE__, __LINE__);
}

// Owns nothing where there is no output.
Result<Fd> OpenKeptOutput(const Context& context, const std::string& id, Stream stream) {
  const std::string name = id + (stream == Stream::kOut ? ".stdout" : ".stderr");
  const Entry entry{TRY(OpenDirBeneath(context.output_dir(), ".")), name};
  Result<Fd> file = OpenEntry(entry, O_RDONLY);
  if (!file.ok() && file.error().code() == ErrorCode::kNotFound) return Fd();
  return file;
}

// What the store keeps is our own; what is damaged is shown as empty.
json::object ParseObject(const std::string& text) {
  boost::system::error_code error;
  const json::value value = json::parse(text, error);
  return !error && value.is_object() ? value.as_object() : json::object();
}

struct Asked {
  std::string case_name;
  std::string principal;
};

// For which case, and by whom, something was asked for: an execution, a proposal, or a plan that
// came to none. Errors: kNotFound.
Result<Asked> WhoAsked(Context& context, const std::string& id) {
  const Result<ExecutionRow> execution = context.store().GetExecution(id);
  if (execution.ok()) return Asked{execution.value().case_name, execution.value().principal};
  if (execution.error().code() != ErrorCode::kNotFound) return execution.error();
  const Result<ProposalRow> proposal = context.store().GetProposal(id);
  if (proposal.ok()) return Asked{proposal.value().case_name, proposal.value().created_by};
  if (proposal.error().code() != ErrorCode::kNotFound) return proposal.error();
  const PlanRow plan = TRY(GetPlanRow(context.store().connection(), id));
  return Asked{plan.case_name, plan.created_by};
}

// What history tells of one change beside the change itself: which run it was, and who let it in.
struct Origin {
  json::object document;
  ProposalRow proposal;
};

class Origins {
 public:
  explicit Origins(Context& context) : context_(context) {}

  Result<const Origin*> Of(const std::string& id) {
    const auto known = origins_.find(id);
    if (known != origins_.end()) return &known->second;
    Origin origin;
    origin.proposal = TRY(context_.store().GetProposal(id));
    const Result<ExecutionRow> row = context_.store().GetExecution(id);
    if (row.ok()) origin.document = ParseObject(row.value().document);
    return &origins_.emplace(id, std::move(origin)).first->second;
  }

 private:
  Context& context_;
  std::map<std::string, Origin> origins_;
};

json::value MemberOf(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  return value == nullptr ? json::value() : *value;
}

json::object EventToJson(const PathEvent& event, const Origin& origin) {
  const HistoryRow& row = event.row;
  json::object object;
  object["timestamp"] = FormatTimestamp(WallTime(std::chrono::nanoseconds(row.at_ns)));
  object["op"] = row.op;
  object["type"] = row.type;
  PutBytes(&object, "path", row.path);
  if (!row.from_path.empty()) PutBytes(&object, "from", row.from_path);
  PutBytes(&object, "path_then", event.path_then);
  object["sha256"] = row.sha256.empty() ? json::value() : json::value(ToHex(row.sha256));
  object["id"] = row.proposal_id;
  object["epoch"] = row.epoch;
  object["script_path"] = MemberOf(origin.document, "script_path");
  object["script_sha256"] = MemberOf(origin.document, "script_sha256");
  object["principal"] = origin.proposal.created_by;
  object["approved_by"] = origin.proposal.decided_by;
  if (!origin.proposal.origin.empty()) object["rolls_back"] = origin.proposal.origin;
  return object;
}

}  // namespace

Result<std::string> ResolveId(Context& context, const std::string& text) {
  const std::vector<std::string> ids = TRY(context.store().FindByPrefix(text));
  if (text.empty() || ids.empty()) {
    return Error(ErrorCode::kNotFound,
                 "there is no execution or change set '" + text + "'; 'bailiff list' shows them");
  }
  if (ids.size() == 1) return ids[0];
  std::string message = "'" + text + "' is the beginning of several ids:";
  for (std::size_t i = 0; i < ids.size() && i < kNamedMax; ++i) message += " " + ids[i];
  return Error(ErrorCode::kInvalidArgument, message + "; write more of it");
}

Status MaySee(Context& context, const std::string& id) {
  const Result<Asked> origin = WhoAsked(context, id);
  if (!origin.ok() && origin.error().code() != ErrorCode::kNotFound) return origin.error();
  const bool seen =
      origin.ok() && CanSee(context.actor(), origin.value().case_name, origin.value().principal);
  if (seen) return Ok();
  return Error(ErrorCode::kNotFound, "there is no execution, plan or change set '" +
                                         EscapeForTerminal(id, Lines::kSingle) + "'");
}

Status MaySeePath(Context& context, const std::string& path) {
  const std::optional<std::vector<std::string>>& cases = context.actor().cases;
  if (!cases.has_value()) return Ok();
  const auto is_within = [&](const std::string& folder) {
    return path == folder || IsBelow(path, folder);
  };
  bool seen = is_within("Tools");
  for (const std::string& name : *cases) seen = seen || is_within("projects/" + name);
  if (seen) return Ok();
  return Error(ErrorCode::kNotFound,
               "path '" + EscapeForTerminal(path, Lines::kSingle) +
                   "': is not within what you see: Tools/ and the cases of your token");
}

Result<Page> ExecutionsPage(Context& context, ExecutionFilter filter) {
  filter.sight = SightOf(context.actor());
  const std::int64_t limit = filter.limit;
  const std::vector<ExecutionRow> rows = TRY(context.store().ListExecutions(filter));
  Page page;
  for (const ExecutionRow& row : rows) page.documents.push_back(ParseObject(row.document));
  if (static_cast<std::int64_t>(rows.size()) == limit) page.next = rows.back().seq;
  return page;
}

Result<Page> ProposalsPage(Context& context, ProposalFilter filter) {
  filter.sight = SightOf(context.actor());
  const std::int64_t limit = filter.limit;
  const std::vector<ProposalRow> rows = TRY(context.store().ListProposals(filter));
  Page page;
  for (const ProposalRow& row : rows) page.documents.push_back(ProposalToJson(row));
  if (static_cast<std::int64_t>(rows.size()) == limit) page.next = rows.back().seq;
  return page;
}

Result<json::object> ExecutionDocument(Context& context, const std::string& id) {
  return ParseObject(TRY(context.store().GetExecution(id)).document);
}

std::string LintLines(const ProposalRow& row) {
  const std::optional<Decision> decision = DecodeProblems(row.problems).decision;
  if (!decision.has_value() || decision->lint.empty()) return "";
  std::string text = "lint of the script, which informs and does not protect:\n";
  for (const LintFact& fact : decision->lint) text += "  " + LintSentence({fact}) + "\n";
  return text;
}

Result<std::string> DiffOf(Context& context, const std::string& id,
                           const std::optional<std::string>& path) {
  const Result<ProposalRow> row = context.store().GetProposal(id);
  if (!row.ok()) {
    if (row.error().code() != ErrorCode::kNotFound) return row.error();
    return std::string("no changes\n");  // An execution that changed nothing.
  }
  // The clerk that is asked for them is gone before the set is in memory here.
  const DiffSources sources = TRY(SourcesFor(context, row.value()));
  const ChangeSet set = TRY(Decode(row.value().change_set));
  DiffOptions options;
  options.path = path;
  options.protected_paths = ProtectedPathsIn(set, PolicyContext{});
  const std::string diff = TRY(RenderDiff(set, sources, options));
  const std::string lint = LintLines(row.value());
  return lint.empty() ? diff : lint + "\n" + diff;
}

Result<json::object> ChangesOf(Context& context, const std::string& id) {
  const Result<ProposalRow> row = context.store().GetProposal(id);
  if (!row.ok()) {
    if (row.error().code() != ErrorCode::kNotFound) return row.error();
    TRY(WhoAsked(context, id));
    json::object document;
    document["id"] = id;
    document["state"] = "none";
    document["changes"] = json::array();
    return document;
  }
  return ChangesToJson(row.value(), TRY(Decode(row.value().change_set)));
}

json::object ChangesToJson(const ProposalRow& row, const ChangeSet& set) {
  json::object document = ProposalToJson(row);
  json::array changes;
  for (const Change& change : set.changes) {
    const bool is_protected =
        IsProtected(change.path) || (!change.from.empty() && IsProtected(change.from));
    changes.push_back(ToJson(change, is_protected));
  }
  document["changes"] = std::move(changes);
  return document;
}

Result<std::string> FileOf(Context& context, const std::string& id, const std::string& path,
                           std::size_t bytes_max) {
  const ProposalRow row = TRY(context.store().GetProposal(id));
  const DiffSources sources = TRY(SourcesFor(context, row));
  const ChangeSet set = TRY(Decode(row.change_set));
  for (const Change& change : set.changes) {
    const bool brings = change.path == path && change.type == EntryType::kFile &&
                        (change.op == ChangeOp::kCreate || change.op == ChangeOp::kModify);
    if (!brings) continue;
    if (change.size > static_cast<std::int64_t>(bytes_max)) {
      return Error(
          ErrorCode::kResourceExhausted,
          id + ": the file is larger than " + FormatSize(static_cast<std::int64_t>(bytes_max)));
    }
    std::optional<std::string> bytes = TRY(sources.new_content(change, bytes_max));
    if (bytes.has_value()) return std::move(*bytes);
    return Error(ErrorCode::kNotFound, id + ": the content of this file is no longer kept");
  }
  return Error(ErrorCode::kNotFound, id + ": brings no file with this path");
}

Result<json::object> HistoryOf(Context& context, const std::string& path, std::int64_t limit) {
  const bool folder = path.empty() || OpenDirBeneath(context.workspace().root(), path).ok();
  std::vector<PathEvent> events;
  if (!folder) events = TRY(context.store().PathHistory(path, limit));
  if (events.empty()) {
    for (HistoryRow& row : TRY(context.store().FolderHistory(path, limit))) {
      std::string then = row.path;
      events.push_back({std::move(row), std::move(then)});
    }
  }
  Origins origins(context);
  json::array array;
  for (const PathEvent& event : events) {
    array.push_back(EventToJson(event, *TRY(origins.Of(event.row.proposal_id))));
  }
  json::object document;
  PutBytes(&document, "path", path);
  document["events"] = std::move(array);
  return document;
}

Result<std::int64_t> KeptOutputSize(const Context& context, const std::string& id, Stream stream) {
  const Fd file = TRY(OpenKeptOutput(context, id, stream));
  if (!file.valid()) return 0;
  const struct stat st = TRY(Stat(file));
  return static_cast<std::int64_t>(st.st_size);
}

Result<std::string> ReadKeptOutput(const Context& context, const std::string& id, Stream stream,
                                   std::int64_t offset, std::size_t bytes_max) {
  const Fd file = TRY(OpenKeptOutput(context, id, stream));
  if (!file.valid()) return std::string();
  return ReadAt(file, offset, bytes_max);
}

Result<std::string> KeptOutputOf(const Context& context, const std::string& id, Stream stream) {
  const Fd file = TRY(OpenKeptOutput(context, id, stream));
  if (!file.valid()) return std::string();
  return ReadAll(file, static_cast<std::size_t>(kOutputBytesMax));
}

}  // namespace bailiff
