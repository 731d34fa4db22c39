#include "policy/policy.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/bytes.h"
#include "base/check.h"
#include "policy/effects.h"
#include "workspace/tree.h"

namespace bailiff {
namespace {

constexpr std::int64_t kDeletesMax = 100;
constexpr std::int64_t kDeletedShare = 4;  // One file in so many.
constexpr std::size_t kNamedMax = 5;       // Paths that a reason names.

std::string Shown(std::string_view bytes) {
  return EscapeForTerminal(bytes, Lines::kSingle);
}

// "a, b, c, d, e and 7 more"
std::string FirstFew(const std::vector<std::string>& items) {
  std::string text;
  for (std::size_t i = 0; i < std::min(items.size(), kNamedMax); ++i) {
    if (i > 0) text += ", ";
    text += Shown(items[i]);
  }
  if (items.size() > kNamedMax) text += fmt::format(" and {} more", items.size() - kNamedMax);
  return text;
}

// "1 file", "3 files"
std::string Counted(std::size_t count, std::string_view noun) {
  return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
}

bool IsAtOrBelow(std::string_view path, std::string_view dir) {
  return path == dir || IsBelow(path, dir);
}

std::vector<std::string> FlaggedPaths(const ChangeSet& set, ChangeFlag flag) {
  std::vector<std::string> paths;
  for (const Change& change : set.changes) {
    if (change.Has(flag)) paths.push_back(change.path);
  }
  return paths;
}

// A link at `path` can bring a whole directory from elsewhere: .git/info, .vscode.
bool MayHoldProtected(const std::string& path) {
  constexpr std::array<std::string_view, 7> kBelow = {
      "attributes", "config", "tasks.json", "workflows", "hooks", "systemd", "info/attributes"};
  return std::any_of(kBelow.begin(), kBelow.end(),
                     [&](std::string_view name) { return IsProtected(JoinPath(path, name)); });
}

// Each rule gives the reason to hold the change set, or nothing when it does not match.
using Rule = std::string (*)(const ChangeSet& set, const PolicyContext& context);

std::string ModeReview(const ChangeSet& /*set*/, const PolicyContext& context) {
  if (context.mode == Mode::kCommit) return "";
  return fmt::format("mode {}: a person decides on every change", Name(context.mode));
}

std::string RefusedEntries(const ChangeSet& /*set*/, const PolicyContext& context) {
  if (context.refused.empty()) return "";
  std::vector<std::string> entries;
  for (const PathProblem& problem : context.refused) {
    entries.push_back(problem.path + " (" + problem.reason + ")");
  }
  const std::size_t count = entries.size();
  return fmt::format("{} {} refused and {} not part of the changes: {}",
                     count == 1 ? "1 entry" : fmt::format("{} entries", count),
                     count == 1 ? "was" : "were", count == 1 ? "is" : "are", FirstFew(entries));
}

std::string RunFailed(const ChangeSet& /*set*/, const PolicyContext& context) {
  return context.succeeded ? "" : "the run did not succeed";
}

std::string HostNetwork(const ChangeSet& /*set*/, const PolicyContext& context) {
  return context.host_network ? "the run had the host's network" : "";
}

std::string ProtectedPath(const ChangeSet& set, const PolicyContext& context) {
  const std::vector<std::string> paths = ProtectedPathsIn(set, context);
  if (paths.empty()) return "";
  return fmt::format("{} touched, which something outside of any sandbox runs or obeys later: {}",
                     Counted(paths.size(), "protected path"), FirstFew(paths));
}

std::string Tools(const ChangeSet& set, const PolicyContext& context) {
  const std::vector<std::string> paths = PathsWhere(
      set, context,
      [](const std::string& path, const Change& /*change*/) { return IsAtOrBelow(path, "Tools"); });
  if (paths.empty()) return "";
  return fmt::format("{} touched in Tools/, which later runs execute: {}",
                     Counted(paths.size(), "path"), FirstFew(paths));
}

std::string OutsideCase(const ChangeSet& set, const PolicyContext& context) {
  if (context.case_name.empty()) return "";
  const std::string home = "projects/" + context.case_name;
  const std::vector<std::string> paths =
      PathsWhere(set, context, [&](const std::string& path, const Change& /*change*/) {
        return !IsAtOrBelow(path, home) && !IsAtOrBelow(path, "Reports");
      });
  if (paths.empty()) return "";
  return fmt::format("{} touched outside of {}/ and Reports/: {}", Counted(paths.size(), "path"),
                     Shown(home), FirstFew(paths));
}

std::string HardLink(const ChangeSet& set, const PolicyContext& /*context*/) {
  const std::vector<std::string> paths = FlaggedPaths(set, ChangeFlag::kBreaksHardLink);
  if (paths.empty()) return "";
  return fmt::format("{} changed whose other names would keep the old content: {}",
                     Counted(paths.size(), "file"), FirstFew(paths));
}

std::string EscapingSymlink(const ChangeSet& set, const PolicyContext& /*context*/) {
  std::vector<std::string> links;
  for (const Change& change : set.changes) {
    if (!change.Has(ChangeFlag::kEscapingSymlink)) continue;
    links.push_back(change.path + " -> " + change.link_target.str());
  }
  if (links.empty()) return "";
  return fmt::format("{} out of the workspace: {}",
                     links.size() == 1 ? "1 symbolic link leads"
                                       : fmt::format("{} symbolic links lead", links.size()),
                     FirstFew(links));
}

std::string Setid(const ChangeSet& set, const PolicyContext& /*context*/) {
  const std::vector<std::string> paths = FlaggedPaths(set, ChangeFlag::kStrippedSetid);
  if (paths.empty()) return "";
  return fmt::format("setuid or setgid bits that the run set on {} are left out: {}",
                     Counted(paths.size(), "file"), FirstFew(paths));
}

std::string Deletes(const ChangeSet& set, const PolicyContext& context) {
  // A rollback deletes nothing but what the commit that it undoes had made.
  if (context.is_rollback) return "";
  std::vector<std::string> paths;
  for (const Change& change : set.changes) {
    const bool counts = change.op == ChangeOp::kDelete && change.type != EntryType::kDir;
    if (counts) paths.push_back(change.path);
  }
  const auto deleted = static_cast<std::int64_t>(paths.size());
  if (deleted > kDeletesMax) {
    return fmt::format("{} deleted, more than {}: {}", Counted(paths.size(), "file"), kDeletesMax,
                       FirstFew(paths));
  }
  if (deleted <= 1 || deleted * kDeletedShare <= context.case_files) return "";
  return fmt::format("{} of the {} {} of the {} deleted, more than a quarter: {}", deleted,
                     context.case_files, context.case_files == 1 ? "file" : "files",
                     context.case_name.empty() ? "workspace" : "case", FirstFew(paths));
}

struct NamedRule {
  std::string_view name;
  Rule rule;
};

// In this order. docs/policy.md has the same table.
constexpr auto kRules = std::to_array<NamedRule>({
    {"mode-review", ModeReview},
    {"refused-entries", RefusedEntries},
    {"run-failed", RunFailed},
    {"host-network", HostNetwork},
    {"protected-path", ProtectedPath},
    {"tools", Tools},
    {"outside-case", OutsideCase},
    {"hard-link", HardLink},
    {"escaping-symlink", EscapingSymlink},
    {"setid", Setid},
    {"deletes", Deletes},
});

}  // namespace

std::string_view Name(Verdict verdict) {
  switch (verdict) {
    case Verdict::kCommit:
      return "commit";
    case Verdict::kReview:
      return "review";
    case Verdict::kDeny:
      return "deny";
  }
  CheckFailed("Verdict out of range", __FILE__, __LINE__);
}

std::string_view Name(Mode mode) {
  switch (mode) {
    case Mode::kCommit:
      return "commit";
    case Mode::kReview:
      return "review";
    case Mode::kDiscard:
      return "discard";
  }
  CheckFailed("Mode out of range", __FILE__, __LINE__);
}

Result<Mode> ParseMode(std::string_view name) {
  for (const Mode mode : {Mode::kCommit, Mode::kReview, Mode::kDiscard}) {
    if (name == Name(mode)) return mode;
  }
  return Error(ErrorCode::kInvalidArgument,
               fmt::format("'{}' is not a mode; use commit, review or discard", Shown(name)));
}

Decision Decide(const ChangeSet& set, const PolicyContext& context) {
  Decision decision{Verdict::kCommit, "default-commit", {}};
  for (const NamedRule& rule : kRules) {
    std::string reason = rule.rule(set, context);
    if (reason.empty()) continue;
    if (decision.reasons.empty()) decision.rule = rule.name;
    decision.verdict = Verdict::kReview;
    decision.reasons.push_back(std::move(reason));
  }
  return decision;
}

std::vector<std::string> ProtectedPathsIn(const ChangeSet& set, const PolicyContext& context) {
  return PathsWhere(set, context, [](const std::string& path, const Change& change) {
    if (IsProtected(path)) return true;
    const bool brings_link = change.type == EntryType::kSymlink && change.op != ChangeOp::kDelete;
    return brings_link && MayHoldProtected(path);
  });
}

}  // namespace bailiff
