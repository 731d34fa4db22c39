#include "cli/cli.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <csignal>
#include <functional>
#include <string_view>
#include <utility>

#include "cli/action_commands.h"
#include "cli/audit_commands.h"
#include "cli/doctor_command.h"
#include "cli/health_commands.h"
#include "cli/plan_commands.h"
#include "cli/policy_commands.h"
#include "cli/query_commands.h"
#include "cli/run_command.h"
#include "cli/serve_command.h"
#include "cli/session.h"
#include "cli/token_commands.h"
#include "core/probe.h"

namespace bailiff {
namespace {

constexpr const char* kVersion = "bailiff " BAILIFF_VERSION;

// The command line as CLI11 sees it: every option bound to a field here. Each command, when it is
// the one named, sets `action`.
class CommandLine {
 public:
  explicit CommandLine(const Surroundings& surroundings)
      : session_(surroundings, global_), app_("Runs scripts on real files as transactions") {
    app_.name("bailiff");
    app_.require_subcommand(1);
    app_.set_version_flag("--version", kVersion);
    AddGlobals(&app_);
    AddRunCommands();
    AddQueryCommands();
    AddActionCommands();
    AddPlanCommands();
    AddAuditCommands();
    AddServe();
    AddPolicyCommands();
    AddTokenCommands();
    AddQueueCommands();
    AddOtherCommands();
    RefuseEmptyValues(&app_);
  }

  int Run(std::vector<std::string> arguments) {
    CutProgram(&arguments);
    std::reverse(arguments.begin(), arguments.end());  // CLI11 takes them from the back.
    try {
      app_.parse(std::move(arguments));
    } catch (const CLI::Success& request) {  // --help, --version
      return app_.exit(request);
    } catch (const CLI::ParseError& error) {
      return session_.Fail(Error(ErrorCode::kInvalidArgument, Reword(error)));
    }
    return action_();
  }

 private:
  // Takes what follows a first "--" of `run` and `exec` off the end: CLI11 would look for options
  // in it.
  void CutProgram(std::vector<std::string>* arguments) {
    const auto mark = std::find(arguments->begin(), arguments->end(), "--");
    const bool runs = std::any_of(arguments->begin(), mark, [](const std::string& word) {
      return word == "run" || word == "exec";
    });
    if (!runs || mark == arguments->end()) return;
    program_.assign(mark, arguments->end());
    arguments->erase(mark, arguments->end());
  }

  // CLI11 talks of itself; what is needed is what is wrong and where to look.
  std::string Reword(const CLI::ParseError& error) const {
    const CLI::App* app = &app_;
    while (!app->get_subcommands().empty()) app = app->get_subcommands().front();
    const std::vector<std::string> unknown = app->remaining();
    const bool names_none = error.get_name() == "RequiredError" && !unknown.empty();
    if (names_none && !unknown.front().starts_with('-')) {
      return "'" + unknown.front() + "' is not a command ('bailiff --help' lists them)";
    }
    return std::string(error.what()) + " ('bailiff COMMAND --help' shows what there is)";
  }

  // An empty value, as of a shell's variable that was never set, must not stand for leaving the
  // option out: it may be the digest that is to be checked.
  static void RefuseEmptyValues(CLI::App* app) {
    constexpr std::array<std::string_view, 3> kMayBeEmpty = {"--description", "--reason",
                                                             "--only-cases"};
    for (CLI::Option* option : app->get_options()) {
      const std::string name = option->get_name();
      const bool takes_value = option->get_items_expected_max() > 0;
      const bool may_be_empty =
          std::find(kMayBeEmpty.begin(), kMayBeEmpty.end(), name) != kMayBeEmpty.end();
      if (!takes_value || may_be_empty || !name.starts_with("--")) continue;
      option->check([](const std::string& value) {
        return value.empty() ? "is empty; give a value, or leave it out" : "";
      });
    }
    for (CLI::App* command : app->get_subcommands({})) RefuseEmptyValues(command);
  }

  void AddGlobals(CLI::App* app) {
    app->add_option("--workspace", global_.workspace, "The workspace's directory")
        ->type_name("DIR");
    app->add_option("--state", global_.state, "The state directory, if not the usual one")
        ->type_name("DIR");
    app->add_option("--config", global_.config, "bailiff.toml, if not the one in the state")
        ->type_name("FILE");
    app->add_flag("--json", global_.json, "One JSON document on standard output");
    app->add_flag("-q,--quiet", global_.quiet, "No words of Bailiff's own");
  }

  CLI::App* Command(const char* name, const char* help, std::function<int()> action) {
    return Within(&app_, name, help, std::move(action));
  }

  void AddRunCommands() {
    AddRun("run", "Run a script of the workspace, or '-' for standard input", RunKind::kScript);
    AddRun("exec", "Run any command: exec [OPTIONS] -- COMMAND [ARG...]", RunKind::kCommand);
  }

  void AddRun(const char* name, const char* help, RunKind kind) {
    CLI::App* command = Command(name, help, nullptr);
    command->callback([this, command, kind] {
      run_.words = command->remaining();
      run_.words.insert(run_.words.end(), program_.begin(), program_.end());
      action_ = [this, kind] { return RunOrExec(session_, run_, kind); };
    });
    AddRunOptions(command);
  }

  void AddRunOptions(CLI::App* command) {
    command->prefix_command();  // The script's own arguments are none of ours.
    const auto text = [command](const char* name, std::string* value, const char* help) {
      command->add_option(name, *value, help)->capture_default_str();
    };
    text("--case", &run_.case_name, "Folder of projects/ to work in");
    command->add_option("--only-cases", run_.only_cases, "See these cases and Tools/ only: A,B");
    text("--cwd", &run_.cwd, "Working directory, if not the case or the root");
    text("--mode", &run_.mode, "commit, review or discard the changes");
    text("--on-failure", &run_.on_failure, "The same, when the script does not succeed");
    text("--environment", &run_.environment, "What the script finds installed");
    text("--timeout", &run_.timeout, "Wall clock, at most 30m");
    text("--memory", &run_.memory, "Memory of all its processes");
    text("--cpus", &run_.cpus, "Processors' worth of time");
    text("--pids", &run_.pids, "Processes and threads at once");
    text("--scratch", &run_.scratch, "Bytes of new data, /tmp included");
    text("--output", &run_.output, "Bytes kept of each output stream");
    text("--files", &run_.files, "Changed entries");
    text("--network", &run_.network, "none or host");
    text("--require", &run_.require,
         "Refuse to run unless these hold: ns, own-uid, cgroup, landlock");
    text("--description", &run_.description, "What this is for");
    text("--wait-lock", &run_.wait_lock, "How long to wait for another commit");
    command->add_option("--env", run_.env, "NAME=value, any number of times")
        ->allow_extra_args(false);
    command->add_flag("--stdin", run_.pass_stdin, "Pass standard input to the program");
    command->add_flag("--cold", run_.cold, "Start a fresh interpreter");
  }

  void AddQueryCommands() {
    CLI::App* list = Command("list", "Executions, newest first",
                             [this] { return ListCommand(session_, list_); });
    list->add_flag("--held", list_.held, "What waits for review instead");
    list->add_option("--limit", list_.limit, "At most so many")->capture_default_str();
    list->add_option("--status", list_.status, "Only those with this status");
    list->add_option("--case", list_.case_name, "Only those of this case");

    CLI::App* show =
        Command("show", "One execution", [this] { return ShowCommand(session_, id_); });
    AddId(show);

    CLI::App* logs = Command("logs", "Its output", [this] {
      logs_.id = id_;
      return LogsCommand(session_, logs_);
    });
    AddId(logs);
    logs->add_flag("--raw", logs_.raw, "Exact bytes: nothing is escaped");
    logs->add_flag("--stderr", logs_.only_err, "Standard error alone, on standard output");

    AddId(Command("changes", "What it changed, a line each",
                  [this] { return ChangesCommand(session_, id_); }));
    CLI::App* diff = Command("diff", "What it changed, as a readable diff",
                             [this] { return DiffCommand(session_, id_, path_); });
    AddId(diff);
    diff->add_option("PATH", path_, "Only changes there or below");
    CLI::App* history = Command("history", "Who changed what, when, by which script",
                                [this] { return HistoryCommand(session_, path_, limit_); });
    history->add_option("PATH", path_, "A file or folder; all of the workspace without");
    history->add_option("--limit", limit_, "At most so many")->capture_default_str();
  }

  void AddActionCommands() {
    CLI::App* init =
        Command("init", "Make a workspace", [this] { return InitCommand(session_, init_); });
    init->add_option("DIR", init_.path, "Its directory; made if need be");
    init->add_flag("--adopt", init_.adopt, "A copy takes over: the original is gone");
    init->add_flag("--new-id", init_.new_id, "A copy becomes a workspace of its own");

    CLI::App* approve = Command("approve", "Commit held changes", [this] {
      return ApproveCommand(session_, id_, digest_, wait_lock_);
    });
    AddId(approve);
    approve->add_option("--digest", digest_, "Refuse if they are not the ones with this digest");
    AddWaitLock(approve);
    CLI::App* reject = Command("reject", "Drop held changes", [this] {
      return RejectCommand(session_, id_, reason_, wait_lock_);
    });
    AddId(reject);
    AddWaitLock(reject);
    reject->add_option("--reason", reason_, "Recorded in the ledger");
    CLI::App* rollback = Command("rollback", "Undo a commit",
                                 [this] { return RollbackCommand(session_, id_, wait_lock_); });
    AddId(rollback);
    AddWaitLock(rollback);
    CLI::App* cancel = Command("cancel", "Stop a running execution",
                               [this] { return CancelCommand(session_, id_, all_); });
    cancel->add_option("ID", id_, "Its id or the beginning of it");
    cancel->add_flag("--all", all_, "Stop every one, and pause the queue");
    CLI::App* gc = Command("gc", "Drop what retention no longer needs",
                           [this] { return GcCommand(session_, older_than_, wait_lock_); });
    gc->add_option("--older-than", older_than_, "Rollback data and output of this age");
    AddWaitLock(gc);
  }

  CLI::App* Group(const char* name, const char* help) {
    CLI::App* group = app_.add_subcommand(name, help);
    group->require_subcommand(1);
    return group;
  }

  CLI::App* Within(CLI::App* group, const char* name, const char* help,
                   std::function<int()> action) {
    CLI::App* command = group->add_subcommand(name, help);
    AddGlobals(command);
    command->callback([this, action = std::move(action)] { action_ = action; });
    return command;
  }

  void AddPlanCommands() {
    CLI::App* plan = Group("plan", "Changes written by hand as a list of operations");
    const auto add_file = [this](CLI::App* to) {
      to->add_option("FILE", path_, "A plan in JSON, or '-' for standard input")->required();
    };
    add_file(Within(plan, "validate", "What a plan would do",
                    [this] { return PlanValidateCommand(session_, path_); }));
    CLI::App* submit = Within(plan, "submit", "Have a plan decided",
                              [this] { return PlanSubmitCommand(session_, path_, wait_lock_); });
    add_file(submit);
    AddWaitLock(submit);
    CLI::App* apply = Within(plan, "apply", "Commit an approved plan",
                             [this] { return PlanApplyCommand(session_, id_, wait_lock_); });
    AddId(apply);
    AddWaitLock(apply);
    AddId(Within(plan, "show", "One plan", [this] { return PlanShowCommand(session_, id_); }));
    Within(plan, "list", "Plans, newest first",
           [this] { return PlanListCommand(session_, limit_); })
        ->add_option("--limit", limit_, "At most so many")
        ->capture_default_str();
  }

  void AddAuditCommands() {
    CLI::App* audit = Group("audit", "The ledger");
    CLI::App* verify = Within(audit, "verify", "Check the whole ledger, offline",
                              [this] { return AuditVerifyCommand(session_, verify_); });
    verify->add_option("--key", verify_.key, "Public key that was kept elsewhere");
    verify->add_option("--checkpoint", verify_.checkpoint, "Checkpoint that was kept elsewhere");
    verify->add_option("--ledger", verify_.ledger, "A ledger's directory, without a workspace");
    CLI::App* show = Within(audit, "show", "Print the ledger",
                            [this] { return AuditShowCommand(session_, audit_show_); });
    show->add_option("--from", audit_show_.from, "First record")->capture_default_str();
    show->add_flag("--checkpoint", audit_show_.checkpoint,
                   "A signed checkpoint, to keep elsewhere");
  }

  void AddServe() {
    CLI::App* serve = Command("serve", "Serve the workspace over HTTP",
                              [this] { return ServeCommand(session_, serve_); });
    const auto text = [serve](const char* name, std::string* value, const char* help) {
      serve->add_option(name, *value, help)->capture_default_str();
    };
    serve->add_option("--listen", serve_.listen, "HOST:PORT, any number; else 127.0.0.1:8124");
    serve->add_flag("--no-tcp", serve_.no_tcp, "Only the unix socket");
    text("--socket", &serve_.socket, "The unix socket, if not 'socket' in the state directory");
    text("--certificate", &serve_.certificate, "PEM file, for TLS");
    text("--key", &serve_.key, "PEM file of its key");
    serve->add_option("--allow-host", serve_.allowed_hosts, "Also answer to this Host: name:port");
    text("--workers", &serve_.workers, "Executions at once; 0: one for each processor, at least 2");
    text("--queue", &serve_.queue, "Executions that may wait");
    text("--body", &serve_.body, "Bytes of one request");
    text("--on-stop", &serve_.on_stop, "finish or cancel what runs when it is stopped");
  }

  void AddPolicyCommands() {
    CLI::App* policy = Group("policy", "The rules that decide");
    Within(policy, "check", "Check a bailiff.toml, and say what it does",
           [this] { return PolicyCheckCommand(session_, path_); })
        ->add_option("FILE", path_, "The file")
        ->required();
    AddId(Within(policy, "test", "What a change set would get now, and why",
                 [this] { return PolicyTestCommand(session_, id_); }));
  }

  void AddTokenCommands() {
    CLI::App* token = Group("token", "Who may use the server");
    CLI::App* create = Within(token, "create", "Make a token, and show it this once",
                              [this] { return TokenCreateCommand(session_, token_create_); });
    create->add_option("NAME", token_create_.name, "Its principal is token:NAME")->required();
    create->add_option("--role", token_create_.role, "agent, reviewer or admin")->required();
    create->add_option("--case", token_create_.cases, "Only this case; any number of times")
        ->allow_extra_args(false);
    create->add_option("--expires", token_create_.expires,
                       "After how long, or never; an agent's 90d, others' never");
    Within(token, "list", "All tokens, without their secrets",
           [this] { return TokenListCommand(session_); });
    CLI::App* revoke = Within(token, "revoke", "Refuse it from now on",
                              [this] { return TokenRevokeCommand(session_, id_); });
    revoke->add_option("NAME", id_, "Its name or id")->required();
  }

  void AddQueueCommands() {
    CLI::App* queue = Group("queue", "What the server has still to run");
    Within(queue, "show", "What waits, and whether it is paused",
           [this] { return QueueShowCommand(session_); });
    Within(queue, "pause", "Start nothing more", [this] { return QueuePauseCommand(session_); });
    Within(queue, "resume", "Go on", [this] { return QueueResumeCommand(session_); });
  }

  void AddOtherCommands() {
    Command("stats", "How executions went", [this] { return StatsCommand(session_, hours_); })
        ->add_option("--hours", hours_, "Of the last so many hours")
        ->capture_default_str();

    Command("doctor", "What this host can enforce, proved by trying",
            [this] { return DoctorCommand(session_); });
    // What `doctor` runs in a sandbox.
    CLI::App* probe = Command("probe", "", [this] { return RunProbe(probe_words_); });
    probe->group("");
    probe->add_option("WORDS", probe_words_);
    Command("version", "Print the version", [this] {
      boost::json::object document;
      document["version"] = BAILIFF_VERSION;
      session_.Answer(document, std::string(kVersion) + "\n");
      return 0;
    });
  }

  void AddId(CLI::App* command) {
    command->add_option("ID", id_, "Its id or the beginning of it")->required();
  }

  void AddWaitLock(CLI::App* command) {
    command->add_option("--wait-lock", wait_lock_, "How long to wait for another commit")
        ->capture_default_str();
  }

  GlobalOptions global_;
  RunOptions run_;
  std::vector<std::string> program_;  // From "--" on.
  ListOptions list_;
  LogsOptions logs_;
  InitCommandOptions init_;
  ServeCommandOptions serve_;
  AuditVerifyOptions verify_;
  AuditShowOptions audit_show_;
  TokenCreateOptions token_create_;
  std::string id_;
  std::string path_;
  std::string limit_ = "100";
  std::string hours_ = "24";
  std::string digest_;
  std::string reason_;
  std::string wait_lock_ = "30";
  std::string older_than_;
  std::vector<std::string> probe_words_;
  bool all_ = false;
  std::function<int()> action_;
  Session session_;
  CLI::App app_;
};

}  // namespace

int RunCommandLine(const Surroundings& surroundings) {
  // Writing to a reader that went away is an error like others, not the end of a commit.
  (void)::signal(SIGPIPE, SIG_IGN);
  return CommandLine(surroundings).Run(surroundings.arguments);
}

}  // namespace bailiff
