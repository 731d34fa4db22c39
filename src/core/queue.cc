#include "core/queue.h"

#include <fmt/format.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <utility>

#include "core/admission.h"
#include "core/cancel_socket.h"
#include "core/executions.h"
#include "core/proof.h"
#include "core/queue_pause.h"
#include "core/request_json.h"

namespace bailiff {
namespace {

namespace json = boost::json;

json::object ActorToJson(const Actor& actor) {
  json::object object;
  object["name"] = actor.name;
  object["role"] = Name(actor.role);
  if (actor.cases.has_value()) {
    json::array cases;
    for (const std::string& name : *actor.cases) cases.emplace_back(name);
    object["cases"] = std::move(cases);
  }
  return object;
}

Result<Actor> ActorFromJson(const json::object& object) {
  Actor actor;
  actor.name = object.at("name").as_string();
  actor.role = TRY(ParseRole(object.at("role").as_string()));
  if (const json::value* cases = object.if_contains("cases")) {
    actor.cases.emplace();
    for (const json::value& name : cases->as_array()) actor.cases->emplace_back(name.as_string());
  }
  return actor;
}

struct Waiting {
  Actor actor;
  RunRequest request;
};

// The text is our own, of this version or an older one.
Result<Waiting> DecodeWaiting(const std::string& text) {
  try {
    const json::value value = json::parse(text);
    Waiting waiting;
    waiting.actor = TRY(ActorFromJson(value.as_object().at("actor").as_object()));
    waiting.request = TRY(RequestFromJson(value.as_object().at("request").as_object()));
    return waiting;
  } catch (const std::exception& error) {
    return Error(ErrorCode::kInternal, std::string("queued request: ") + error.what());
  }
}

// What the request may do is limited by who asks.
Status CheckActor(const Actor& actor, RunRequest* request) {
  request->visible_cases = actor.cases;
  if (request->network == Network::kHost) {
    const Status allowed = RequireRole(actor, Role::kReviewer, "network host");
    if (!allowed.ok()) {
      return Error(ErrorCode::kPermissionDenied, "/network: " + allowed.error().message());
    }
  }
  return Ok();
}

// The end of an execution that was never started.
Result<Execution> EndUnrun(Context& context, const std::string& id, std::string status,
                           std::string reason) {
  const ExecutionRow row = TRY(context.store().GetExecution(id));
  json::object document = json::parse(row.document).as_object();
  document["status"] = status;
  document["success"] = false;
  document["error"] = reason;
  json::object data;
  data["id"] = id;
  data["status"] = status;
  data["exit_code"] = nullptr;
  data["changes"] = "none";
  data["digest"] = nullptr;
  data["reason"] = reason;
  TRY(CloseBooks(context, id, "finished", data, std::move(document)));
  Execution execution;
  execution.id = id;
  execution.status = std::move(status);
  execution.error = std::move(reason);
  return execution;
}

// What began, and failed on its way with `error`.
Result<Execution> EndBroken(Context& context, const std::string& id, const Error& error) {
  const ExecutionRow now = TRY(context.store().GetExecution(id));
  if (now.status != "running") return error;
  return EndUnrun(context, id, "error", error.message());
}

Result<CancelSocket> TakeName(const Context& context, const std::string& id) {
  // A server that died between this and the claim has left its own.
  if (!TRY(CancelSocket::IsAlive(context.run_dir(), id))) {
    TRY(CancelSocket::Remove(context.run_dir(), id));
  }
  return CancelSocket::Make(context.run_dir(), id);
}

}  // namespace

Result<Execution> Enqueue(Context& context, const std::string& id, const json::object& body,
                          std::int64_t length_max, const AnswerKey* key) {
  if (TRY(QueueLength(context.store())) >= length_max) {
    return Error(ErrorCode::kResourceExhausted,
                 fmt::format("the queue is full: {} executions wait; try again later", length_max));
  }
  RunRequest request = TRY(RequestFromJson(body));
  TRY(CheckActor(context.actor(), &request));
  TRY(ParseRequire(request.require_level));
  const Admitted admitted = TRY(Admit(&request, id, context.workspace(), context.config()));
  Execution execution = DescribeRun(context, request, admitted);
  execution.status = "queued";
  json::object waiting;
  waiting["actor"] = ActorToJson(context.actor());
  waiting["request"] = body;
  TRY(context.ledger().Append("submitted", AboutSubmission(execution, request)));
  TRY(Enqueue(context.store(), RowOf(execution), json::serialize(waiting), key));
  return execution;
}

Result<std::optional<Claimed>> ClaimNext(Context& context) {
  if (TRY(PausedBy(context)).has_value()) return std::optional<Claimed>();
  std::optional<QueuedRow> row = TRY(NextQueued(context.store()));
  if (!row.has_value()) return std::optional<Claimed>();
  CancelSocket socket = TRY(TakeName(context, row->execution_id));
  if (!TRY(ClaimQueued(context.store(), row->execution_id, fmt::format("pid:{}", ::getpid())))) {
    return std::optional<Claimed>();
  }
  return std::optional(Claimed{std::move(*row), std::move(socket)});
}

Result<Execution> RunClaimed(Context& context, Claimed claimed, const RunObserver& observer) {
  const std::string id = claimed.row.execution_id;
  Result<Execution> ended = [&]() -> Result<Execution> {
    Waiting waiting = TRY(DecodeWaiting(claimed.row.request));
    if (!waiting.request.env.empty()) EraseFromLog(context.store());
    context.ActAs(std::move(waiting.actor));
    TRY(CheckActor(context.actor(), &waiting.request));
    PreparedRun run = TRY(Prepare(context, std::move(waiting.request), id));
    run.claim.emplace(std::move(claimed.socket));
    return Execute(context, std::move(run), observer);
  }();
  return ended.ok() ? std::move(ended) : EndBroken(context, id, ended.error());
}

Result<Execution> RunHanded(Context& context, const HandedRun& handed,
                            const RunObserver& observer) {
  bool is_known = false;
  RunObserver telling = observer;
  telling.progress = [&](const Execution& execution) {
    if (observer.progress) observer.progress(execution);
    if (!is_known) handed.known(Ok());  // The first word of it comes when it is recorded.
    is_known = true;
  };
  Result<Execution> ended = [&]() -> Result<Execution> {
    context.ActAs(handed.actor);
    const bool waits = TRY(PausedBy(context)).has_value() || TRY(QueueLength(context.store())) > 0;
    if (waits) return Enqueue(context, handed.id, handed.body, handed.length_max, nullptr);
    RunRequest request = TRY(RequestFromJson(handed.body));
    TRY(CheckActor(context.actor(), &request));
    PreparedRun run = TRY(Prepare(context, std::move(request), handed.id));
    return Execute(context, std::move(run), telling);
  }();
  if (!is_known) handed.known(ended.ok() ? Ok() : Status(ended.error()));
  if (ended.ok() || !is_known) return ended;
  return EndBroken(context, handed.id, ended.error());
}

Result<bool> CancelQueued(Context& context, const std::string& id) {
  const ExecutionRow row = TRY(context.store().GetExecution(id));
  if (row.status != "queued") return false;
  if (!TRY(DropQueued(context.store(), id, "cancelled", row.document, context.NowNanos()))) {
    return false;
  }
  EraseFromLog(context.store());
  TRY(EndUnrun(context, id, "cancelled",
               "was cancelled by " + context.principal() + " before it was started"));
  return true;
}

}  // namespace bailiff
