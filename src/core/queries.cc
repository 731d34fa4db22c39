#include "core/queries.h"

#include <fcntl.h>

#include <memory>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "changeset/diff.h"
#include "core/clerks.h"
#include "core/documents.h"
#include "core/proposals.h"
#include "policy/policy.h"
#include "sys/file.h"

namespace bailiff {
namespace {

constexpr std::size_t kNamedMax = 5;

// What lint found when the change set was decided: a line each, before the diff.
std::string LintLines(const ProposalRow& row) {
  const std::optional<Decision> decision = DecodeProblems(row.problems).decision;
  if (!decision.has_value() || decision->lint.empty()) return "";
  std::string text = "lint of the script, which informs and does not protect:\n";
  for (const LintFact& fact : decision->lint) text += "  " + LintSentence({fact}) + "\n";
  return text + "\n";
}

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
  return LintLines(row.value()) + diff;
}

Result<std::string> KeptOutputOf(const Context& context, const std::string& id, Stream stream) {
  const std::string name = id + (stream == Stream::kOut ? ".stdout" : ".stderr");
  const Entry entry{TRY(OpenDirBeneath(context.output_dir(), ".")), name};
  const Result<Fd> file = OpenEntry(entry, O_RDONLY);
  if (!file.ok()) {
    if (file.error().code() == ErrorCode::kNotFound) return std::string();
    return file.error();
  }
  return ReadAll(file.value(), static_cast<std::size_t>(kOutputBytesMax));
}

}  // namespace bailiff
