#include "cli/run_command.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <cerrno>
#include <csignal>
#include <utility>

#include "base/bytes.h"
#include "base/units.h"
#include "changeset/diff.h"
#include "core/executions.h"
#include "sys/file.h"

namespace bailiff {
namespace {

// Prefixes a parser's message with the option it is about.
template <typename T>
Result<T> Named(const char* option, Result<T> parsed) {
  if (parsed.ok()) return parsed;
  return std::move(parsed).error().WithContext(option);
}

Result<Limits> ParseLimits(const RunOptions& options) {
  Limits limits;
  limits.timeout = TRY(Named("--timeout", ParseDuration(options.timeout)));
  limits.memory_bytes = TRY(Named("--memory", ParseSize(options.memory)));
  limits.cpus = TRY(Named("--cpus", ParsePositive(options.cpus)));
  limits.pids = TRY(Named("--pids", ParseCount(options.pids, kPidsMax)));
  limits.scratch_bytes = TRY(Named("--scratch", ParseSize(options.scratch)));
  limits.files = TRY(Named("--files", ParseCount(options.files, kFilesMax)));
  return limits;
}

Result<Network> ParseNetwork(const std::string& name) {
  if (name == "none") return Network::kNone;
  if (name == "host") return Network::kHost;
  return Error(ErrorCode::kInvalidArgument,
               "--network: '" + name + "' is not known; write none or host");
}

// Not by way of /dev/stdin: a pipe of another user, or a socket, cannot be opened a second time.
Result<Fd> StandardInput() {
  const int raw = ::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
  if (raw < 0) return Error::FromErrno(errno, "standard input");
  return Fd(raw);
}

Status SetProgram(const RunOptions& options, RunKind kind, RunRequest* request) {
  std::vector<std::string> words = options.words;
  if (!words.empty() && words.front() == "--") words.erase(words.begin());
  if (words.empty()) {
    return Error(ErrorCode::kInvalidArgument, kind == RunKind::kScript
                                                  ? "run: name a script, for example Tools/x.py"
                                                  : "exec: name a command after --");
  }
  const std::string first = words.front();
  if (first.size() > 1 && first.starts_with('-') && options.words.front() != "--") {
    const std::string command = kind == RunKind::kScript ? "run" : "exec";
    return Error(ErrorCode::kInvalidArgument, first + ": is not an option of " + command +
                                                  "; 'bailiff " + command + " --help' lists them");
  }
  if (kind == RunKind::kCommand) {
    request->command = std::move(words);
    return Ok();
  }
  request->args.assign(words.begin() + 1, words.end());
  if (first != "-") {
    request->script = first;
    return Ok();
  }
  if (options.pass_stdin) {
    return Error(ErrorCode::kInvalidArgument,
                 "--stdin: cannot be used with '-', whose script is standard input");
  }
  const Fd in = TRY(StandardInput());
  request->code = TRY(Named("standard input", ReadAll(in, kScriptBytesMax)));
  return Ok();
}

// "A,B"; nothing for an empty text.
std::vector<std::string> SplitNames(std::string_view text) {
  std::vector<std::string> names;
  while (!text.empty()) {
    const std::size_t comma = text.find(',');
    names.emplace_back(text.substr(0, comma));
    if (comma == std::string_view::npos) break;
    text.remove_prefix(comma + 1);
    if (text.empty()) names.emplace_back();  // Which is refused.
  }
  return names;
}

Result<RunRequest> MakeRequest(const RunOptions& options, RunKind kind) {
  RunRequest request;
  TRY(SetProgram(options, kind, &request));
  request.case_name = options.case_name;
  if (options.only_cases.has_value()) request.visible_cases = SplitNames(*options.only_cases);
  request.cwd = options.cwd;
  request.mode = TRY(Named("--mode", ParseMode(options.mode)));
  request.on_failure = TRY(Named("--on-failure", ParseMode(options.on_failure)));
  request.environment = options.environment;
  request.limits = TRY(ParseLimits(options));
  request.output_bytes = TRY(Named("--output", ParseSize(options.output)));
  request.network = TRY(ParseNetwork(options.network));
  request.env = options.env;
  request.require_level = options.require;
  request.description = options.description;
  request.wait_lock = TRY(Named("--wait-lock", ParseDuration(options.wait_lock)));
  if (options.pass_stdin) {
    request.in = TRY(StandardInput());
  }
  return request;
}

// Readable when someone asked this process to stop. From here on that ends the run, not Bailiff.
Result<Fd> WatchSignals() {
  sigset_t watched;
  ::sigemptyset(&watched);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) ::sigaddset(&watched, signal);
  ::sigprocmask(SIG_BLOCK, &watched, nullptr);
  const int raw = ::signalfd(-1, &watched, SFD_CLOEXEC);
  if (raw < 0) return Error::FromErrno(errno, "signalfd");
  return Fd(raw);
}

std::string StatusWords(std::string_view status) {
  std::string words(status);
  for (char& c : words) c = c == '_' ? ' ' : c;
  return words;
}

std::string StateWords(const Execution& execution) {
  if (execution.change_state == "held") return "held for review";
  if (execution.change_state == "none") return "no changes";
  return StatusWords(execution.change_state);
}

// Bailiff's own words after a run: one block, see the contract.
std::string Block(const Execution& execution) {
  std::string text = fmt::format("{}  {} in {:.2f} s", execution.id, StatusWords(execution.status),
                                 execution.duration_seconds);
  if (execution.counts.total() > 0) {
    text += fmt::format("  ·  {}", Describe(execution.counts));
  }
  text += fmt::format("  ·  {}\n", StateWords(execution));
  const auto add = [&text](std::string_view line) {
    text += "  " + EscapeForTerminal(line, Lines::kSingle) + "\n";
  };
  if (!execution.error.empty()) add(execution.error);
  for (const PathProblem& conflict : execution.conflicts) {
    add(conflict.path + ": " + conflict.reason);
  }
  if (execution.decision.has_value()) {
    for (const std::string& reason : execution.decision->reasons) add(reason);
  }
  for (const std::string& warning : execution.warnings) add("warning: " + warning);
  if (execution.change_state == "held") {
    text += fmt::format("  bailiff diff {0}      bailiff approve {0}\n", execution.id);
  }
  return text;
}

int ExitStatusOf(const Execution& execution) {
  if (execution.change_state == "denied") return kExitDenied;
  if (execution.status == "error")
    return execution.exit_code.value_or(kExitBailiff) == kExitNotFound ? kExitNotFound
                                                                       : kExitBailiff;
  if (execution.change_state == "conflict" || execution.change_state == "needs_attention" ||
      execution.change_state == "committing") {
    return kExitBailiff;
  }
  // Succeeded, yet something Bailiff did with the changes did not.
  if (execution.exit_code == 0 && !execution.error.empty()) return kExitBailiff;
  return execution.exit_code.value_or(kExitBailiff);
}

// What finishes a commit that was cut short changes the workspace, on which the sandbox's view
// would be mounted: it is done first. Where only the count of commits tells that the workspace has
// changed, it is read first. Else the sandbox is built while database and ledger are opened.
Status OpenFirst(Session& session, const Context& context) {
  const bool counts = TRY(StabilityOf(context.workspace().root())) == Stability::kWeak;
  if (!counts && !TRY(NeedsRecovery(context.journal().journal))) return Ok();
  TRY(session.Open(Session::Purpose::kChange));
  return Ok();
}

}  // namespace

int RunOrExec(Session& session, const RunOptions& options, RunKind kind) {
  Result<RunRequest> request = MakeRequest(options, kind);
  if (!request.ok()) return session.Fail(request.error());
  const Result<Context*> context = session.OpenWorkspace();
  if (!context.ok()) return session.Fail(context.error());
  const Result<Fd> stop = WatchSignals();
  if (!stop.ok()) return session.Fail(stop.error());
  const Status first = OpenFirst(session, *context.value());
  if (!first.ok()) return session.Fail(first.error());
  Result<PreparedRun> run = Prepare(*context.value(), std::move(request).value());
  if (!run.ok()) {
    const bool missing = run.error().code() == ErrorCode::kNotFound;
    return session.Fail(run.error(), missing ? kExitNotFound : kExitBailiff);
  }
  const Result<Context*> opened = session.Open(Session::Purpose::kChange);
  if (!opened.ok()) return session.Fail(opened.error());

  RunObserver observer;
  observer.stop = &stop.value();
  if (!session.options().json) {
    observer.output = [](Stream stream, std::string_view bytes) {
      // A reader that went away does not end the script.
      (void)WriteTo(stream == Stream::kOut ? STDOUT_FILENO : STDERR_FILENO, bytes);
    };
  }
  const Result<Execution> execution = Execute(*context.value(), std::move(run).value(), observer);
  if (!execution.ok()) return session.Fail(execution.error());
  if (session.options().json) {
    session.Answer(ToJson(execution.value(), static_cast<std::size_t>(kOutputBytesMax)), "");
  } else if (!session.options().quiet) {
    (void)WriteTo(STDERR_FILENO, Block(execution.value()));
  }
  return ExitStatusOf(execution.value());
}

}  // namespace bailiff
