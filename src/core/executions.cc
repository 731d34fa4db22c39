#include "core/executions.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <csignal>
#include <set>
#include <string>
#include <utility>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/sha256.h"
#include "base/units.h"
#include "core/admission.h"
#include "core/cancel_socket.h"
#include "core/clerks.h"
#include "core/notify.h"
#include "core/overtaken.h"
#include "core/proof.h"
#include "core/proposals.h"
#include "core/records.h"
#include "engine/clerk.h"
#include "sys/file.h"
#include "sys/message.h"
#include "sys/pipe.h"
#include "workspace/identity.h"

namespace bailiff {
namespace {

namespace json = boost::json;

// The record in the workspace is for people; the whole output is in the state directory.
constexpr std::size_t kRecordOutputMax = 64UL * 1024;

constexpr int kExitTimedOut = 124;
constexpr int kExitNotFound = 127;
constexpr int kExitSignalBase = 128;

// The file where a stream's first bytes are kept as they come, so that others can follow it. None
// is made for a stream without output.
class KeptFile {
 public:
  KeptFile(const Context& context, std::string name, std::int64_t bytes_max)
      : context_(context), name_(std::move(name)), room_(bytes_max) {}

  void Keep(std::string_view bytes) {
    const auto taken = std::min<std::size_t>(static_cast<std::size_t>(room_), bytes.size());
    if (taken == 0 || !status_.ok()) return;
    room_ -= static_cast<std::int64_t>(taken);
    status_ = Write(bytes.substr(0, taken));
  }

  const Status& status() const { return status_; }

 private:
  Status Write(std::string_view bytes) {
    if (!file_.valid()) {
      const Entry entry{TRY(OpenDirBeneath(context_.output_dir(), ".")), name_};
      file_ = TRY(OpenEntry(entry, O_WRONLY | O_CREAT | O_TRUNC, 0600));
    }
    return WriteAll(file_, bytes);
  }

  const Context& context_;
  std::string name_;
  std::int64_t room_;
  Fd file_;
  Status status_ = Ok();
};

// One execution on its way. Its members are what later steps need of earlier ones.
class Run {
 public:
  Run(Context& context, PreparedRun prepared, const RunObserver& observer)
      : context_(context),
        request_(std::move(prepared.request)),
        admitted_(std::move(prepared.admitted)),
        monitor_(std::move(prepared.monitor)),
        pipes_(std::move(prepared.pipes)),
        observer_(observer),
        out_(request_.output_bytes),
        err_(request_.output_bytes),
        kept_files_{{{context, admitted_.spec.id + ".stdout", request_.output_bytes},
                     {context, admitted_.spec.id + ".stderr", request_.output_bytes}}},
        started_ns_(prepared.started_ns),
        base_epoch_(prepared.base_epoch),
        claim_(std::move(prepared.claim)) {}

  Result<Execution> Go() {
    execution_ = DescribeRun(context_, request_, admitted_);
    if (!claim_.has_value()) {
      claim_.emplace(TRY(CancelSocket::Make(context_.run_dir(), execution_.id)));
      TRY(Submit());
    } else {
      TRY(StartQueued());
    }
    Tell();
    TRY(RunProgram(claim_->fd()));
    if (supervised_.ending.has_value()) TRY(TakeChanges());
    if (execution_.change_state != "none") Tell();
    NoteOvertaken();
    monitor_ = Fd();  // Where there was nothing to take.
    TRY(Finish());
    Tell();
    return std::move(execution_);
  }

 private:
  void Tell() const {
    if (observer_.progress) observer_.progress(execution_);
  }

  // From here on the execution is known, whatever happens to this process.
  Status Submit() {
    json::object data = AboutSubmission(execution_, request_);
    if (!base_epoch_.has_value()) base_epoch_ = TRY(context_.store().CurrentEpoch());
    data["base_epoch"] = *base_epoch_;
    json::object started;
    started["id"] = execution_.id;
    TRY(context_.ledger().AppendAll({{"submitted", std::move(data)}, {"started", started}}));

    ExecutionRow row = RowOf(execution_);
    row.owner = fmt::format("pid:{}", ::getpid());
    return context_.store().InsertExecution(row);
  }

  // It was submitted some time ago, and is this process's since then.
  Status StartQueued() {
    if (!base_epoch_.has_value()) base_epoch_ = TRY(context_.store().CurrentEpoch());
    json::object data;
    data["id"] = execution_.id;
    data["script_sha256"] = ToHex(execution_.script_sha256);
    data["base_epoch"] = *base_epoch_;
    TRY(context_.ledger().Append("started", data));
    // That it was claimed is durable: all that a crash of the machine can take back is this text.
    const Unsynced unsynced(context_.store().connection());
    return context_.store().UpdateExecution(execution_.id, execution_.status,
                                            json::serialize(ToJson(execution_, 0)),
                                            context_.NowNanos());
  }

  Status RunProgram(const Fd& cancel) {
    // When the sandbox could not be built the monitor is gone, and has said why.
    (void)SendMessage(monitor_, EncodeKind(MessageKind::kStart));
    TRY(ClerkReadyRecord(context_));
    RunObserver keeping = observer_;
    keeping.output = [this](Stream stream, std::string_view bytes) {
      kept_files_[static_cast<std::size_t>(stream)].Keep(bytes);
      if (observer_.output) observer_.output(stream, bytes);
    };
    supervised_ = TRY(Supervise(monitor_, std::move(pipes_), cancel, keeping, &out_, &err_));
    ended_ns_ = context_.NowNanos();
    NoteScript();
    is_weak_ = TRY(StabilityOf(context_.workspace().root())) == Stability::kWeak;
    overtaken_ = TRY(IsOvertaken(context_, *base_epoch_));
    execution_.guarantees = supervised_.guarantees;
    execution_.out = out_.kept();
    execution_.err = err_.kept();
    execution_.out_truncated = out_.truncated();
    execution_.err_truncated = err_.truncated();
    NoteEnding();
    return Ok();
  }

  // The interpreter opened the script some time after it was hashed.
  void NoteScript() {
    if (request_.script.empty()) return;
    const Result<std::string> now =
        HashScript(admitted_.script_path.substr(1), context_.workspace());
    if (now.ok() && now.value() == execution_.script_sha256) return;
    execution_.warnings.emplace_back(
        "the script's file changed while it ran; script_sha256 tells what it was when submitted");
  }

  void NoteEnding() {
    if (supervised_.failure.has_value()) {
      execution_.status = "error";
      execution_.error = supervised_.failure->message();
      if (supervised_.failure->code() == ErrorCode::kNotFound) execution_.exit_code = kExitNotFound;
      return;
    }
    const Ending& ending = *supervised_.ending;
    execution_.duration_seconds = std::chrono::duration<double>(ending.duration).count();
    execution_.usage = ending.usage;
    execution_.exit_code = ending.exit_code;
    if (ending.signal != 0) {
      execution_.signal = ending.signal;
      execution_.exit_code = kExitSignalBase + ending.signal;
    }
    execution_.status = StatusOf(ending);
    NoteLimits(ending);
  }

  std::string StatusOf(const Ending& ending) {
    switch (ending.reason) {
      case EndReason::kTimedOut:
        execution_.exit_code = kExitTimedOut;
        execution_.error =
            fmt::format("ran longer than its limit of {} s",
                        std::chrono::duration<double>(execution_.limits.timeout).count());
        return "timed_out";
      case EndReason::kOutOfMemory:
        execution_.exit_code = kExitSignalBase + SIGKILL;
        execution_.error = fmt::format("needed more memory than its limit of {}",
                                       FormatSize(execution_.limits.memory_bytes));
        return "oom_killed";
      case EndReason::kKilled:
        return supervised_.cancelled ? "cancelled" : "interrupted";
      case EndReason::kExited:
        break;
    }
    if (ending.signal == 0 && ending.exit_code == 0) return "succeeded";
    const bool limited = ending.scratch_full || ending.inodes_full || ending.pids_reached;
    return limited ? "limit_exceeded" : "failed";
  }

  void NoteLimits(const Ending& ending) {
    std::vector<std::string> notes;
    const Limits& limits = execution_.limits;
    if (ending.scratch_full) {
      notes.push_back("scratch was full: its limit is " + FormatSize(limits.scratch_bytes));
    }
    if (ending.inodes_full) {
      notes.push_back(fmt::format("no more files could be made: the limit is {}", limits.files));
    }
    if (ending.pids_reached) {
      notes.push_back(fmt::format("no more processes could be made: the limit is {}", limits.pids));
    }
    if (ending.oom_killed && execution_.status != "oom_killed") {
      notes.push_back("a process of the script was killed for memory");
    }
    if (execution_.status == "limit_exceeded" && execution_.error.empty() && !notes.empty()) {
      execution_.error = notes.front();
      notes.erase(notes.begin());
    }
    for (const KeptOutput* stream : {&out_, &err_}) {
      if (!stream->truncated()) continue;
      notes.push_back(fmt::format("{} was kept to its limit of {}; {} more bytes were dropped",
                                  stream == &out_ ? "stdout" : "stderr",
                                  FormatSize(execution_.output_bytes), stream->dropped()));
    }
    for (std::string& note : notes) execution_.warnings.push_back(std::move(note));
  }

  // Where files are replaced under a running overlay it may answer ESTALE for them, also to a
  // script that takes no notice: FUSE. On local file systems a failure may still come of what was
  // changed.
  void NoteOvertaken() {
    if (!overtaken_ || (!is_weak_ && Succeeded())) return;
    execution_.warnings.emplace_back(
        "workspace_changed: another commit changed the workspace while the script ran; an error "
        "such as 'Stale file handle' may come of that, and another run would see the new files");
  }

  bool Succeeded() const { return execution_.status == "succeeded"; }

  // What the request wants done with the changes, given how the run ended.
  Mode EffectiveMode() const {
    const bool ended_itself = execution_.status == "succeeded" || execution_.status == "failed" ||
                              execution_.status == "limit_exceeded" ||
                              execution_.status == "timed_out" || execution_.status == "oom_killed";
    if (!ended_itself || request_.mode == Mode::kDiscard) return Mode::kDiscard;
    return Succeeded() ? request_.mode : request_.on_failure;
  }

  Status TakeChanges() {
    CaptureOptions options;
    options.id = execution_.id;
    options.stage = EffectiveMode() != Mode::kDiscard;
    options.started_ns = started_ns_;
    options.ended_ns = ended_ns_;
    options.files_max = execution_.limits.files;
    if (!context_.config().execution_logs.empty()) {
      options.reserved.push_back(context_.config().execution_logs);
    }
    TRY(SendMessage(monitor_, EncodeCaptureRequest(options),
                    {&context_.workspace().root(), &context_.held_dir()}));
    const Result<std::string> answer = AwaitAnswer(monitor_);
    // What is left of the sandbox goes while the rest is decided and written down.
    monitor_ = Fd();
    if (!answer.ok()) return NoteCaptureFailure(answer.error());
    Proposal proposal;
    proposal.captured = TRY(DecodeCapture(answer.value()));
    proposal.captured.set.id = execution_.id;
    if (is_weak_) TRY(AddOvertakenPaths(&proposal.captured));
    proposal.mode = EffectiveMode();
    proposal.succeeded = Succeeded();
    proposal.case_name = execution_.case_name;
    proposal.host_network = request_.network == Network::kHost;
    proposal.wait_lock = request_.wait_lock;
    proposal.exit_code = execution_.exit_code;
    proposal.script_path = execution_.script_path;
    proposal.script_sha256 = execution_.script_sha256;
    proposal.environment = execution_.environment;
    if (execution_.guarantees.has_value()) proposal.level = execution_.guarantees->level;
    proposal.lint = std::move(admitted_.lint);
    execution_.counts = Count(proposal.captured.set);
    execution_.refused = proposal.captured.refused;
    for (const PathProblem& refused : execution_.refused) {
      execution_.warnings.push_back("left out: " + refused.path + ": " + refused.reason);
    }
    return TakeDecision(std::move(proposal));
  }

  Status AddOvertakenPaths(CaptureResult* captured) {
    std::set<std::string> known;
    for (const PathProblem& conflict : captured->conflicts) known.insert(conflict.path);
    for (PathProblem& problem : TRY(OvertakenPaths(context_, *base_epoch_, captured->set))) {
      if (known.insert(problem.path).second) captured->conflicts.push_back(std::move(problem));
    }
    return Ok();
  }

  Status NoteCaptureFailure(const Error& error) {
    TRY(ClerkDiscardStaged(context_, execution_.id));
    execution_.change_state = "discarded";
    execution_.status = error.code() == ErrorCode::kResourceExhausted ? "limit_exceeded" : "error";
    execution_.error = "changes were discarded: " + error.message();
    return Ok();
  }

  Status TakeDecision(Proposal proposal) {
    Result<ProposalOutcome> proposed = Propose(context_, std::move(proposal));
    if (!proposed.ok()) return NoteProposalFailure(proposed.error());
    const ProposalOutcome& outcome = proposed.value();
    execution_.change_state = Name(outcome.state);
    execution_.digest = outcome.digest;
    execution_.decision = outcome.decision;
    execution_.conflicts = outcome.problems;
    if (!outcome.warning.empty()) execution_.warnings.push_back(outcome.warning);
    if (outcome.state == ProposalState::kConflict && outcome.error.empty()) {
      execution_.error = "the workspace changed while the script ran; nothing was applied";
    } else if (!outcome.error.empty()) {
      execution_.error = outcome.error;
    }
    return Ok();
  }

  // The error may have come after the changes were stored, decided or even applied.
  Status NoteProposalFailure(const Error& error) {
    execution_.status = "error";
    const Result<ProposalRow> row = context_.store().GetProposal(execution_.id);
    if (row.ok()) {
      execution_.change_state = Name(row.value().state);
      execution_.digest = row.value().digest;
      execution_.error = fmt::format("what became of the changes ({}) was not recorded: {}",
                                     execution_.change_state, error.message());
      return Ok();
    }
    if (row.error().code() != ErrorCode::kNotFound) return row.error();
    TRY(ClerkDiscardStaged(context_, execution_.id));
    execution_.change_state = "discarded";
    execution_.error = "changes were discarded: " + error.message();
    return Ok();
  }

  Status Finish() {
    for (const KeptFile& kept : kept_files_) {
      if (kept.status().ok()) continue;
      execution_.warnings.push_back("output was not kept: " + kept.status().error().message());
    }
    json::object document = ToJson(execution_, kRecordOutputMax);
    json::object data;
    data["id"] = execution_.id;
    data["status"] = execution_.status;
    data["exit_code"] = document["exit_code"];
    data["changes"] = document["changes"].as_object()["state"];
    data["digest"] = document["changes"].as_object()["digest"];
    data["stdout_sha256"] = ToHex(Sha256::Of(execution_.out));
    data["stderr_sha256"] = ToHex(Sha256::Of(execution_.err));
    auto record = BeginExecutionRecord(context_, execution_.id, document);
    TRY(context_.ledger().Append("finished", data));
    FinishExecutionRecord(std::move(record), &document);
    if (document["log_file"].is_null() && !execution_.log_file.empty()) {
      execution_.log_file.clear();
      execution_.warnings.emplace_back(document["warnings"].as_array().back().as_string());
    }
    TRY(context_.store().UpdateExecution(execution_.id, execution_.status,
                                         json::serialize(document), context_.NowNanos()));
    NotifyEnded(context_, document);
    return Ok();
  }

  Context& context_;
  RunRequest request_;
  Admitted admitted_;
  Fd monitor_;
  RunPipes pipes_;
  const RunObserver& observer_;
  Execution execution_;
  Supervised supervised_;
  KeptOutput out_;
  KeptOutput err_;
  std::array<KeptFile, 2> kept_files_;  // By Stream.
  bool is_weak_ = false;                // The workspace's file system: see Stability.
  bool overtaken_ = false;              // By another commit, while the program ran.
  std::int64_t started_ns_ = 0;
  std::optional<std::int64_t> base_epoch_;  // Since Submit().
  std::int64_t ended_ns_ = 0;
  std::optional<CancelSocket> claim_;
};

}  // namespace

Execution DescribeRun(const Context& context, const RunRequest& request, const Admitted& admitted) {
  Execution execution;
  execution.id = admitted.spec.id;
  execution.started = context.clock().Now();
  execution.script_path = admitted.script_path;
  execution.script_sha256 = admitted.script_sha256;
  execution.script_args = admitted.script_args;
  execution.case_name = request.case_name;
  execution.visible_cases = request.visible_cases;
  execution.working_dir = admitted.spec.cwd;
  execution.environment_digest = DefaultEnvironmentDigest();
  execution.mode = request.mode;
  execution.principal = context.principal();
  execution.description = request.description;
  execution.limits = admitted.spec.limits;
  execution.output_bytes = request.output_bytes;
  execution.warnings = admitted.warnings;
  const std::string& folder = context.config().execution_logs;
  if (!folder.empty()) execution.log_file = "/" + folder + "/" + execution.id + ".json";
  return execution;
}

json::object AboutSubmission(const Execution& execution, const RunRequest& request) {
  json::object data;
  data["id"] = execution.id;
  data["principal"] = execution.principal;
  data["script_path"] = ToUtf8Lossy(execution.script_path);
  data["script_sha256"] = ToHex(execution.script_sha256);
  data["script_args"] = Strings(execution.script_args);
  data["case_name"] = ToUtf8Lossy(execution.case_name);
  if (execution.visible_cases.has_value()) {
    data["visible_cases"] = Strings(*execution.visible_cases);
  }
  data["working_dir"] = ToUtf8Lossy(execution.working_dir);
  data["mode"] = Name(execution.mode);
  data["environment"] = execution.environment;
  data["environment_digest"] = ToHex(execution.environment_digest);
  data["network"] = request.network == Network::kNone ? "none" : "host";
  return data;
}

ExecutionRow RowOf(const Execution& execution) {
  ExecutionRow row;
  row.id = execution.id;
  row.created_ns = execution.started.time_since_epoch().count();
  row.updated_ns = row.created_ns;
  row.status = execution.status;
  row.case_name = execution.case_name;
  row.script_path = execution.script_path;
  row.principal = execution.principal;
  row.document = json::serialize(ToJson(execution, 0));
  return row;
}

Result<PreparedRun> Prepare(Context& context, RunRequest request, std::string id) {
  PreparedRun run;
  if (id.empty()) id = MakeId("exec", context.clock().Now());
  run.admitted = TRY(Admit(&request, id, context.workspace(), context.config()));
  run.admitted.spec.demands = TRY(DemandsOf(context, request.require_level));
  run.request = std::move(request);
  run.monitor = TRY(context.launcher().StartMonitor());
  Pipe out = TRY(MakePipe());
  Pipe err = TRY(MakePipe());
  if (context.has_records()) run.base_epoch = TRY(context.store().CurrentEpoch());
  run.started_ns = context.NowNanos();
  TRY(SendMessage(run.monitor, EncodeLaunch(run.admitted.spec, MessageKind::kPrepare),
                  {&context.workspace().root(), &run.admitted.in, &out.write, &err.write,
                   &context.scratch_dir()}));
  run.pipes = {std::move(out.read), std::move(err.read)};
  return run;
}

Result<Execution> Execute(Context& context, PreparedRun run, const RunObserver& observer) {
  return Run(context, std::move(run), observer).Go();
}

}  // namespace bailiff
