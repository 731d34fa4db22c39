#include "core/admission.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <climits>
#include <cstdlib>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include "base/bytes.h"
#include "base/sha256.h"
#include "base/units.h"
#include "changeset/model.h"
#include "sys/file.h"
#include "workspace/tree.h"

namespace bailiff {
namespace {

constexpr const char* kPython = "/usr/bin/python3";
constexpr const char* kBash = "/bin/bash";
constexpr const char* kCasesDir = "projects";
constexpr std::size_t kShebangBytesMax = 256;
constexpr std::size_t kEnvironmentBytesMax = 128UL * 1024;

// Names that only Bailiff sets: a request that could set them could lie to the script.
constexpr std::array<std::string_view, 4> kReservedNames = {"EXECUTION_ID", "CASE_NAME",
                                                            "SCRIPT_PATH", "WORKSPACE_ROOT"};

Error Invalid(std::string message) {
  return Error(ErrorCode::kInvalidArgument, std::move(message));
}

std::string Shown(std::string_view text) {
  return "'" + EscapeForTerminal(text, Lines::kSingle) + "'";
}

Status CheckLimits(const Limits& limits, std::int64_t output_bytes) {
  if (limits.memory_bytes < kMemoryBytesMin) {
    return Invalid(fmt::format("--memory {}: no interpreter runs in that; at least {}",
                               FormatSize(limits.memory_bytes), FormatSize(kMemoryBytesMin)));
  }
  if (limits.scratch_bytes < kScratchBytesMin) {
    return Invalid(fmt::format("--scratch {}: at least {}", FormatSize(limits.scratch_bytes),
                               FormatSize(kScratchBytesMin)));
  }
  if (limits.pids < kPidsMin || limits.pids > kPidsMax) {
    return Invalid(
        fmt::format("--pids {}: must be from {} to {}", limits.pids, kPidsMin, kPidsMax));
  }
  if (limits.cpus < kCpusMin || limits.cpus > kCpusMax) {
    return Invalid(
        fmt::format("--cpus {}: must be from {} to {}", limits.cpus, kCpusMin, kCpusMax));
  }
  if (limits.files < 1 || limits.files > kFilesMax) {
    return Invalid(fmt::format("--files {}: must be from 1 to {}", limits.files, kFilesMax));
  }
  if (output_bytes < 1 || output_bytes > kOutputBytesMax) {
    return Invalid(fmt::format("--output {}: must be from 1 B to {}", FormatSize(output_bytes),
                               FormatSize(kOutputBytesMax)));
  }
  return Ok();
}

// The view of a run that sees `cases` and the tools. What else a workspace has by default seems
// empty; the rest is not there.
Result<View> ViewOf(const std::vector<std::string>& cases) {
  if (cases.size() > kVisibleCasesMax) {
    return Invalid(
        fmt::format("--only-cases: {} cases; at most {}", cases.size(), kVisibleCasesMax));
  }
  View view{
      .whole = {"Tools"}, .hollow = {kCasesDir, "Database", "Reports"}, .closed = {kCasesDir}};
  for (const std::string& name : std::set<std::string>(cases.begin(), cases.end())) {
    if (!ValidatePath(name).ok() || name.find('/') != std::string::npos) {
      return Invalid("--only-cases " + Shown(name) + ": is not the name of a folder in projects/");
    }
    view.whole.push_back(JoinPath(kCasesDir, name));
  }
  return view;
}

// Opens what a request names, if its run will see it. What it will not see does not exist; nor does
// what a symbolic link leads to from one folder that it sees into another.
Result<Fd> OpenSeen(const Workspace& workspace, const std::optional<View>& view,
                    const std::string& path, std::uint64_t flags) {
  if (!view.has_value() || path.empty()) return OpenBeneath(workspace.root(), path, flags);
  const Error missing(ErrorCode::kNotFound, "does not exist");
  for (const std::string& folder : view->whole) {
    if (path != folder && !IsBelow(path, folder)) continue;
    const Result<Fd> dir = OpenDirBeneath(workspace.root(), folder, O_PATH);
    if (!dir.ok()) return IsNoEntry(dir.error()) ? missing : dir.error();
    const std::string rest = path == folder ? "." : path.substr(folder.size() + 1);
    Result<Fd> opened = OpenBeneath(dir.value(), rest, flags);
    const bool leads_out = !opened.ok() && opened.error().code() == ErrorCode::kPermissionDenied &&
                           opened.error().sys_errno() == 0;
    return leads_out ? Result<Fd>(missing) : std::move(opened);
  }
  const auto& hollow = view->hollow;
  if (std::find(hollow.begin(), hollow.end(), path) == hollow.end()) return missing;
  return OpenDirBeneath(workspace.root(), path, flags);
}

Status CheckCase(const std::string& name, const std::optional<View>& view,
                 const Workspace& workspace) {
  std::vector<std::string> cases = TRY(ListCases(workspace));
  if (view.has_value()) {
    std::erase_if(cases, [&](const std::string& known) {
      const std::string path = JoinPath(kCasesDir, known);
      return std::find(view->whole.begin(), view->whole.end(), path) == view->whole.end();
    });
  }
  if (std::find(cases.begin(), cases.end(), name) != cases.end()) return Ok();
  const std::vector<std::string> near = NearNames(name, cases);
  std::string message = "--case " + Shown(name) + ": there is no such folder in projects/";
  if (!near.empty()) {
    message += "; did you mean ";
    for (std::size_t i = 0; i < near.size(); ++i) message += (i == 0 ? "" : ", ") + Shown(near[i]);
    message += "?";
  } else if (cases.empty()) {
    message += ", which is empty";
  }
  return Invalid(std::move(message));
}

Status CheckEnvironment(const std::vector<std::string>& env) {
  std::size_t bytes = 0;
  for (const std::string& entry : env) {
    const std::size_t equals = entry.find('=');
    if (equals == std::string::npos || equals == 0) {
      return Invalid("--env " + Shown(entry.substr(0, equals)) + ": write NAME=value");
    }
    const std::string name = entry.substr(0, equals);
    if (std::find(kReservedNames.begin(), kReservedNames.end(), name) != kReservedNames.end()) {
      return Invalid("--env " + name + ": is set by Bailiff; choose another name");
    }
    bytes += entry.size() + 1;
  }
  if (bytes > kEnvironmentBytesMax) {
    return Invalid(fmt::format("--env: {} in all; at most {}",
                               FormatSize(static_cast<std::int64_t>(bytes)),
                               FormatSize(kEnvironmentBytesMax)));
  }
  return Ok();
}

Result<std::string> ResolveCwd(const RunRequest& request, const std::optional<View>& view,
                               const Workspace& workspace) {
  if (request.cwd.empty()) {
    return request.case_name.empty() ? std::string() : JoinPath(kCasesDir, request.case_name);
  }
  const Result<std::string> path = NormalizePath(request.cwd);
  if (!path.ok()) return Invalid("--cwd " + Shown(request.cwd) + ": " + path.error().message());
  if (path.value().empty()) return std::string();
  const Result<Fd> dir = OpenSeen(workspace, view, path.value(), O_PATH | O_DIRECTORY);
  if (!dir.ok()) {
    const bool outside = dir.error().code() == ErrorCode::kPermissionDenied;
    return Invalid("--cwd " + Shown(request.cwd) + ": " +
                   (outside ? "leads out of the workspace" : "is not a folder of the workspace"));
  }
  return path;
}

// "#!/usr/bin/env python3" as {"/usr/bin/env", "python3"}; empty when the text has no such line.
std::vector<std::string> ReadShebang(std::string_view text) {
  if (!text.starts_with("#!")) return {};
  std::string_view line = text.substr(2, std::min(text.find('\n'), kShebangBytesMax) - 2);
  const auto trim = [](std::string_view part) {
    const std::size_t begin = part.find_first_not_of(" \t\r");
    if (begin == std::string_view::npos) return std::string_view();
    return part.substr(begin, part.find_last_not_of(" \t\r") - begin + 1);
  };
  line = trim(line);
  const std::size_t space = line.find_first_of(" \t");
  std::vector<std::string> words = {std::string(line.substr(0, space))};
  if (words[0].empty()) return {};
  // As the kernel does: what follows the interpreter is one argument.
  if (space != std::string_view::npos) words.emplace_back(trim(line.substr(space)));
  return words;
}

Result<std::vector<std::string>> InterpreterFor(const std::string& path, std::string_view text) {
  if (path.ends_with(".py")) return std::vector<std::string>{kPython};
  if (path.ends_with(".sh")) return std::vector<std::string>{kBash};
  std::vector<std::string> words = ReadShebang(text);
  if (words.empty()) {
    return Invalid("script " + Shown(path) +
                   ": is neither .py nor .sh and has no '#!' line that names its interpreter");
  }
  if (!words[0].starts_with('/')) {
    return Invalid("script " + Shown(path) + ": its '#!' line must name an absolute path, not " +
                   Shown(words[0]));
  }
  return words;
}

Result<std::string> ReadScript(const std::string& shown, const std::string& path,
                               const std::optional<View>& view, const Workspace& workspace) {
  const Result<Fd> file = OpenSeen(workspace, view, path, O_RDONLY | O_NONBLOCK);
  if (!file.ok()) {
    const Error& error = file.error();
    if (error.code() == ErrorCode::kNotFound) {
      return Error(ErrorCode::kNotFound, "script " + shown + ": does not exist in the workspace");
    }
    if (error.code() == ErrorCode::kPermissionDenied) {
      return Error(ErrorCode::kPermissionDenied,
                   "script " + shown + ": " +
                       (error.sys_errno() == 0 ? "leads out of the workspace"
                                               : "cannot be read by this user"));
    }
    return Error(error).WithContext("script " + shown);
  }
  const struct stat st = TRY(Stat(file.value()));
  if (!S_ISREG(st.st_mode)) return Invalid("script " + shown + ": is not a file");
  Result<std::string> text = ReadAll(file.value(), kScriptBytesMax);
  if (!text.ok()) return std::move(text).error().WithContext("script " + shown);
  return text;
}

// The interpreter is in admitted->spec.argv.
void KeepForLint(std::string_view text, Admitted* admitted) {
  const std::vector<std::string>& argv = admitted->spec.argv;
  admitted->lint.text = text.substr(0, kLintScriptBytesMax + 1);
  admitted->lint.is_python = std::any_of(argv.begin(), argv.end(), [](std::string_view word) {
    return NameOf(word).starts_with("python");
  });
}

Status UseScriptFile(const RunRequest& request, const Workspace& workspace, Admitted* admitted) {
  const std::string shown = Shown(request.script);
  const Result<std::string> path = NormalizePath(request.script);
  if (!path.ok() || path.value().empty()) {
    return Error(ErrorCode::kPermissionDenied, "script " + shown + ": lies outside the workspace");
  }
  if (path.value() == kPrivateDir || IsBelow(path.value(), kPrivateDir)) {
    return Error(ErrorCode::kPermissionDenied,
                 "script " + shown + ": lies in Bailiff's own folder");
  }
  const std::string text = TRY(ReadScript(shown, path.value(), admitted->spec.view, workspace));
  admitted->script_sha256 = Sha256::Of(text);
  admitted->script_path = "/" + path.value();
  admitted->spec.argv = TRY(InterpreterFor(path.value(), text));
  KeepForLint(text, admitted);
  admitted->spec.argv.push_back("/workspace/" + path.value());
  return Ok();
}

// A script given as text is what its interpreter reads as standard input.
Status UseScriptText(const RunRequest& request, Admitted* admitted) {
  const std::string& text = *request.code;
  if (text.empty()) return Invalid("script '-': standard input is empty");
  if (text.size() > kScriptBytesMax) {
    return Invalid("script '-': larger than " + FormatSize(kScriptBytesMax));
  }
  admitted->script_sha256 = Sha256::Of(text);
  admitted->script_path = "-";
  const std::vector<std::string> shebang = ReadShebang(text);
  const bool shell =
      !shebang.empty() && (shebang.back().ends_with("/bash") || shebang.back().ends_with("/sh") ||
                           shebang.back() == "bash" || shebang.back() == "sh");
  const bool bash =
      request.language == Language::kBash || (request.language == Language::kByShebang && shell);
  if (bash) {
    admitted->spec.argv = {kBash, "-s", "--"};
  } else {
    admitted->spec.argv = {kPython, "-"};
  }
  KeepForLint(text, admitted);
  admitted->in = TRY(MakeMemoryFile("script", text));
  return Ok();
}

Status UseProgram(const RunRequest& request, const Workspace& workspace, Admitted* admitted) {
  if (!request.command.empty()) {
    if (request.command[0].empty()) return Invalid("command: its name is empty");
    admitted->spec.argv = request.command;
    admitted->script_args = request.command;
    for (const std::string& word : request.command) {
      admitted->lint.text += (admitted->lint.text.empty() ? "" : " ") + word;
    }
    return Ok();
  }
  if (request.code.has_value()) {
    TRY(UseScriptText(request, admitted));
  } else {
    TRY(UseScriptFile(request, workspace, admitted));
  }
  admitted->spec.argv.insert(admitted->spec.argv.end(), request.args.begin(), request.args.end());
  admitted->script_args = request.args;
  return Ok();
}

std::vector<std::string> MakeEnvironment(const RunRequest& request, const Admitted& admitted) {
  std::vector<std::string> environment = {
      "PATH=/usr/local/bin:/usr/bin:/bin",
      "HOME=/tmp",
      "USER=bailiff",
      "LOGNAME=bailiff",
      "LANG=C.UTF-8",
      "TMPDIR=/tmp",
      "PYTHONUNBUFFERED=1",
      // Byte code would otherwise show up in every change set.
      "PYTHONDONTWRITEBYTECODE=1",
  };
  for (const std::string& entry : request.env) {
    const std::string name = entry.substr(0, entry.find('=') + 1);
    std::erase_if(environment, [&](const std::string& old) { return old.starts_with(name); });
    environment.push_back(entry);
  }
  environment.push_back("EXECUTION_ID=" + admitted.spec.id);
  environment.push_back("CASE_NAME=" + request.case_name);
  environment.push_back("SCRIPT_PATH=" + admitted.script_path);
  environment.push_back("WORKSPACE_ROOT=/workspace");
  return environment;
}

Status CheckChoices(const RunRequest& request, const Config& config) {
  if (request.environment != "default") {
    return Invalid("--environment " + Shown(request.environment) +
                   ": is not known; there is 'default'");
  }
  if (request.network == Network::kHost && !config.host_network) {
    return Invalid(
        "--network host: is not enabled; an operator sets 'host_network = true' under [sandbox] in "
        "bailiff.toml");
  }
  if (request.on_failure == Mode::kCommit && request.mode == Mode::kDiscard) {
    return Invalid("--on-failure commit: contradicts --mode discard");
  }
  return Ok();
}

}  // namespace

Result<std::string> NormalizePath(const std::string& text) {
  std::string_view rest = text;
  if (rest == "/workspace") rest = "/";
  if (rest.starts_with("/workspace/")) rest.remove_prefix(std::string_view("/workspace").size());
  std::vector<std::string_view> names;
  while (!rest.empty()) {
    const std::size_t slash = rest.find('/');
    const std::string_view name = rest.substr(0, slash);
    rest.remove_prefix(slash == std::string_view::npos ? rest.size() : slash + 1);
    if (name.empty() || name == ".") continue;
    if (name != "..") {
      names.push_back(name);
      continue;
    }
    if (names.empty()) return Invalid("leads out of the workspace");
    names.pop_back();
  }
  std::string path;
  for (const std::string_view name : names) path = JoinPath(path, name);
  if (!path.empty() && !ValidatePath(path).ok()) return Invalid("is not a path in a workspace");
  return path;
}

Result<Admitted> Admit(RunRequest* request, const std::string& id, const Workspace& workspace,
                       const Config& config) {
  Admitted admitted;
  if (request->limits.timeout > kTimeoutMax) {
    request->limits.timeout = kTimeoutMax;
    admitted.warnings.push_back(
        fmt::format("timeout was above the maximum and is now {} s",
                    std::chrono::duration_cast<std::chrono::seconds>(kTimeoutMax).count()));
  }
  TRY(CheckLimits(request->limits, request->output_bytes));
  TRY(CheckChoices(*request, config));
  TRY(CheckEnvironment(request->env));
  std::optional<View>& view = admitted.spec.view;
  if (request->visible_cases.has_value()) view = TRY(ViewOf(*request->visible_cases));
  if (!request->case_name.empty()) TRY(CheckCase(request->case_name, view, workspace));

  admitted.spec.id = id;
  admitted.spec.limits = request->limits;
  admitted.spec.network = request->network;
  admitted.spec.scratch_on_disk = config.scratch_on_disk;
  const std::string cwd = TRY(ResolveCwd(*request, view, workspace));
  admitted.spec.cwd = cwd.empty() ? "/workspace" : "/workspace/" + cwd;
  TRY(UseProgram(*request, workspace, &admitted));
  admitted.spec.environment = MakeEnvironment(*request, admitted);
  if (!admitted.in.valid()) {
    admitted.in =
        request->in.valid() ? std::move(request->in) : TRY(OpenPath("/dev/null", O_RDONLY));
  }
  return admitted;
}

Result<std::string> HashScript(const std::string& path, const Workspace& workspace) {
  return Sha256::Of(TRY(ReadScript(Shown(path), path, std::nullopt, workspace)));
}

std::string DefaultEnvironmentDigest() {
  std::array<char, PATH_MAX> resolved;
  struct stat st {};
  std::string text = "default\n";
  if (::realpath(kPython, resolved.data()) != nullptr && ::stat(resolved.data(), &st) == 0) {
    text += fmt::format("{}\n{}\n{}\n", resolved.data(), st.st_size, ToNanos(st.st_mtim));
  }
  return Sha256::Of(text);
}

}  // namespace bailiff
