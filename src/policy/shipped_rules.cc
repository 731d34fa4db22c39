#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "policy/effects.h"
#include "policy/rule.h"
#include "policy/words.h"
#include "workspace/tree.h"

namespace bailiff {
namespace {

constexpr std::int64_t kDeletesMax = 100;
constexpr std::int64_t kDeletedShare = 4;  // One file in so many.
static_assert(kShippedDeletedShare * kDeletedShare == 1);

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

// Each rule gives the reason to hold the change set, or nothing when it does not match.
using Look = std::string (*)(const ChangeSet& set, const PolicyContext& context);

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
  if (context.source == Source::kRollback) return "";
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

struct ShippedRule {
  std::string_view name;
  std::string_view words;
  Look look;
  bool is_floor;
};

// In this order. docs/policy.md has the same table.
constexpr auto kShipped = std::to_array<ShippedRule>({
    {"mode-review", "the run was started with mode review", ModeReview, true},
    {"refused-entries", "something was left that cannot be committed", RefusedEntries, true},
    {"run-failed", "the run did not succeed", RunFailed, false},
    {"host-network", "the run had the host's network", HostNetwork, true},
    {"protected-path", "a protected path is touched", ProtectedPath, true},
    {"tools", "something at or below Tools/ is touched", Tools, true},
    {"outside-case", "something outside of the case and Reports/ is touched", OutsideCase, false},
    {"hard-link", "a changed file has other names", HardLink, false},
    {"escaping-symlink", "a symbolic link leads out of the workspace", EscapingSymlink, false},
    {"setid", "a setuid or setgid bit was set", Setid, false},
    {"deletes", "more than 100 files, or more than a quarter, are deleted", Deletes, false},
});

std::vector<Rule> Rules(bool floor_only) {
  std::vector<Rule> rules;
  for (const ShippedRule& shipped : kShipped) {
    if (floor_only && !shipped.is_floor) continue;
    Rule rule;
    rule.name = shipped.name;
    rule.is_shipped = true;
    rule.conditions.push_back(
        {std::string(shipped.words),
         [look = shipped.look](const ChangeSet& set, const PolicyContext& context) {
           std::string reason = look(set, context);
           return Finding{!reason.empty(), std::move(reason)};
         }});
    rules.push_back(std::move(rule));
  }
  return rules;
}

}  // namespace

std::vector<Rule> ShippedRules() {
  return Rules(false);
}

std::vector<Rule> FloorRules() {
  return Rules(true);
}

}  // namespace bailiff
