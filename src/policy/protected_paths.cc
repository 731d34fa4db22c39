#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "policy/effects.h"
#include "policy/policy.h"
#include "workspace/tree.h"

namespace bailiff {
namespace {

// Names that are protected wherever they are, with everything below. Lower case, sorted.
constexpr auto kNames = std::to_array<std::string_view>({
    ".bailiff",
    ".bash_aliases",
    ".bash_login",
    ".bash_logout",
    ".bash_profile",
    ".bashrc",
    ".circleci",
    ".claude",
    ".cshrc",
    ".cursor",
    ".cursorrules",
    ".devcontainer",
    ".dir-locals.el",
    ".emacs",
    ".envrc",
    ".exrc",
    ".gdbinit",
    ".gitattributes",
    ".gitconfig",
    ".gitlab-ci.yml",
    ".gitmodules",
    ".husky",
    ".idea",
    ".kshrc",
    ".lldbinit",
    ".mcp.json",
    ".nvimrc",
    ".pam_environment",
    ".pre-commit-config.yaml",
    ".profile",
    ".ssh",
    ".tcshrc",
    ".vimrc",
    ".windsurfrules",
    ".xinitrc",
    ".xprofile",
    ".xsessionrc",
    ".zlogin",
    ".zlogout",
    ".zprofile",
    ".zshenv",
    ".zshrc",
    "agents.md",
    "authorized_keys",
    "claude.local.md",
    "claude.md",
    "conftest.py",
    "cron.d",
    "crontab",
    "gemini.md",
    "sitecustomize.py",
    "usercustomize.py",
});
static_assert(std::is_sorted(kNames.begin(), kNames.end()));

constexpr auto kSuffixes = std::to_array<std::string_view>({".code-workspace", ".desktop", ".pth"});

struct Pair {
  std::string_view dir;
  std::string_view name;
};

// A name that is protected in one directory only.
constexpr auto kPairs = std::to_array<Pair>({
    {".config", "autostart"},
    {".config", "systemd"},
    {".github", "actions"},
    {".github", "copilot-instructions.md"},
    {".github", "workflows"},
    {".vscode", "extensions.json"},
    {".vscode", "launch.json"},
    {".vscode", "mcp.json"},
    {".vscode", "settings.json"},
    {".vscode", "tasks.json"},
});

using Names = std::vector<std::string_view>;

std::string AsciiLower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return lower;
}

Names Split(std::string_view path) {
  Names names;
  while (true) {
    const std::size_t slash = path.find('/');
    names.push_back(path.substr(0, slash));
    if (slash == std::string_view::npos) return names;
    path.remove_prefix(slash + 1);
  }
}

// Whether the part of a repository at names[first...] makes git run something or read other
// settings. The repositories of submodules and the settings of worktrees lie deeper, under names
// that may have slashes.
bool IsGitSetting(const Names& names, std::size_t first) {
  if (first == names.size()) return true;  // .git itself: made, moved, deleted or a file.
  const bool nested = names[first] == "modules" || names[first] == "worktrees";
  const std::size_t last = nested ? names.size() - 1 : first;
  for (std::size_t i = first; i <= last; ++i) {
    const std::string_view name = names[i];
    if (name == "hooks" || name == "config" || name == "config.worktree") return true;
    if (name == "commondir" || name == "gitdir") return true;
    if (name == "info" && i + 1 < names.size() && names[i + 1] == "attributes") return true;
  }
  return false;
}

bool IsProtectedName(std::string_view name) {
  if (std::binary_search(kNames.begin(), kNames.end(), name)) return true;
  return std::any_of(kSuffixes.begin(), kSuffixes.end(), [&](std::string_view suffix) {
    return name.size() > suffix.size() && name.ends_with(suffix);
  });
}

// A link at `path` can bring a whole directory from elsewhere: .git/info, .vscode.
bool MayHoldProtected(const std::string& path) {
  constexpr std::array<std::string_view, 7> kBelow = {
      "attributes", "config", "tasks.json", "workflows", "hooks", "systemd", "info/attributes"};
  return std::any_of(kBelow.begin(), kBelow.end(),
                     [&](std::string_view name) { return IsProtected(JoinPath(path, name)); });
}

}  // namespace

bool IsProtected(std::string_view path) {
  const std::string lower = AsciiLower(path);
  const Names names = Split(lower);
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (IsProtectedName(names[i])) return true;
    if (names[i] == ".git" && IsGitSetting(names, i + 1)) return true;
    if (i + 1 == names.size()) break;
    const auto is_pair = [&](const Pair& pair) {
      return names[i] == pair.dir && names[i + 1] == pair.name;
    };
    if (std::any_of(kPairs.begin(), kPairs.end(), is_pair)) return true;
  }
  return false;
}

std::vector<std::string> ProtectedPathsIn(const ChangeSet& set, const PolicyContext& context) {
  return PathsWhere(set, context, [](const std::string& path, const Change& change) {
    if (IsProtected(path)) return true;
    const bool brings_link = change.type == EntryType::kSymlink && change.op != ChangeOp::kDelete;
    return brings_link && MayHoldProtected(path);
  });
}

}  // namespace bailiff
