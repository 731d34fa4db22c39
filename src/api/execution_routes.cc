#include <boost/asio/post.hpp>
#include <boost/json.hpp>
#include <charconv>
#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "api/api.h"
#include "api/run_answers.h"
#include "base/bytes.h"
#include "base/ids.h"
#include "base/timestamp.h"
#include "core/executions.h"
#include "core/permissions.h"
#include "core/queries.h"
#include "core/queue.h"
#include "http/problem.h"
#include "http/range.h"
#include "sys/system_clock.h"

namespace bailiff {
namespace {

namespace asio = boost::asio;
namespace json = boost::json;

constexpr std::int64_t kPageDefault = 50;
constexpr double kPageMax = 500;
constexpr std::int64_t kPieceBytes = 256LL * 1024;
constexpr std::chrono::seconds kKnownWithin{60};  // Else it is waited for again.
constexpr std::size_t kFileBytesMax = 64UL << 20;

double NumberOf(const ApiCall& call, std::string_view name, double otherwise) {
  const std::string* text = call.Query(name);
  double value = otherwise;
  if (text != nullptr) std::from_chars(text->data(), text->data() + text->size(), value);
  return value;
}

std::int64_t IntegerOf(const ApiCall& call, std::string_view name, std::int64_t otherwise) {
  return static_cast<std::int64_t>(NumberOf(call, name, static_cast<double>(otherwise)));
}

json::object PageToJson(std::string_view key, Page page) {
  json::object object;
  object[key] = std::move(page.documents);
  object["next_cursor"] = page.next == 0 ? json::value() : json::value(std::to_string(page.next));
  return object;
}

// What a worker has said of a run that was handed to it; nothing yet.
struct Handover {
  explicit Handover(asio::io_context* io) : signal(std::make_shared<Signal>(io)) {}
  std::shared_ptr<Signal> signal;
  std::optional<Status> known;  // Set before the signal is raised.
};

// Queues it. Durable when it returns. `one_by_one`: the length of the queue is looked at and
// changed by one request at a time.
asio::awaitable<Status> Queue(ApiParts* parts, std::shared_ptr<std::mutex> one_by_one,
                              const ApiCall* call, std::string id) {
  const auto work = [id, one_by_one, body = call->body, key = call->key,
                     length_max = parts->limits.queue_length_max](Context& context) -> Status {
    const std::lock_guard lock(*one_by_one);
    TRY(Enqueue(context, id, body, length_max, key.has_value() ? &*key : nullptr));
    return Ok();
  };
  Status queued = co_await parts->readers->Run(call->actor, work);
  if (queued.ok()) parts->workers->Notify();
  co_return queued;
}

// Has it run without a place in the queue, where a worker has nothing to do. Nothing when none is.
asio::awaitable<std::optional<Status>> HandOver(ApiParts* parts, const ApiCall* call,
                                                std::string id) {
  const auto handover = std::make_shared<Handover>(parts->io);
  HandedRun handed;
  handed.actor = call->actor;
  handed.id = std::move(id);
  handed.body = call->body;
  handed.length_max = parts->limits.queue_length_max;
  handed.known = [io = parts->io, handover](Status status) {
    const auto shared = std::make_shared<Status>(std::move(status));
    asio::post(*io, [handover, shared] {
      handover->known = std::move(*shared);
      handover->signal->Raise();
    });
  };
  if (!parts->workers->Hand(&handed)) co_return std::nullopt;
  while (!handover->known.has_value()) {
    co_await handover->signal->Wait(std::chrono::steady_clock::now() + kKnownWithin);
  }
  co_return std::move(handover->known);
}

asio::awaitable<HttpResponse> Submit(ApiParts* parts, std::shared_ptr<std::mutex> one_by_one,
                                     ApiCall call) {
  const std::string id = MakeId("exec", SystemClock().Now());
  const auto wait =
      std::chrono::milliseconds(static_cast<std::int64_t>(NumberOf(call, "wait", 0) * 1000));
  // Before a worker can know of it.
  parts->live->Begin(id, "queued");
  std::optional<Status> accepted;
  // Nobody hears of it before its end, or a sync; a key is kept together with a place in the queue.
  if (wait.count() > 0 && !call.key.has_value()) accepted = co_await HandOver(parts, &call, id);
  const bool is_handed = accepted.has_value();
  if (!is_handed) accepted = co_await Queue(parts, one_by_one, &call, id);
  if (!accepted->ok()) {
    parts->live->End(id);
    co_return ProblemOfRun(accepted->error());
  }
  if (wait.count() > 0) co_await WaitUntilEnded(*parts, id, wait);
  const std::optional<Live::State> state = parts->live->Get(id);
  if (is_handed && state.has_value() && !state->ended) {
    const auto sync = [](Context& context) { return context.store().Sync(); };
    const Status synced = co_await parts->readers->Run(call.actor, sync);
    if (!synced.ok()) co_return ProblemOf(synced.error());
  }
  co_return co_await ShowExecution(*parts, call.actor, id, 201);
}

asio::awaitable<HttpResponse> List(ApiParts* parts, ApiCall call) {
  ExecutionFilter filter;
  filter.limit = IntegerOf(call, "limit", kPageDefault);
  filter.before_seq = IntegerOf(call, "cursor", 0);
  if (const std::string* status = call.Query("status")) filter.status = *status;
  if (const std::string* name = call.Query("case")) filter.case_name = *name;
  if (const std::string* since = call.Query("since")) {
    const std::optional<WallTime> time = ParseTimestamp(*since);
    if (!time.has_value()) {
      co_return Problem(422, "invalid_argument", "must be a time such as 2026-11-21T10:15:00Z",
                        "query:since");
    }
    filter.since_ns = time->time_since_epoch().count();
  }
  const auto work = [filter](Context& context) { return ExecutionsPage(context, filter); };
  Result<Page> page = co_await parts->readers->Run(call.actor, work);
  if (!page.ok()) co_return ProblemOf(page.error());
  co_return JsonResponse(200, PageToJson("executions", std::move(page).value()));
}

asio::awaitable<HttpResponse> Show(ApiParts* parts, ApiCall call) {
  const std::string id = call.request.params.at("id");
  const double wait = NumberOf(call, "wait", 0);
  if (wait > 0) {
    co_await WaitUntilEnded(*parts, id,
                            std::chrono::milliseconds(static_cast<std::int64_t>(wait * 1000)));
  }
  co_return co_await ShowExecution(*parts, call.actor, id, 200);
}

// Kept output: the whole of it, or one range.
asio::awaitable<HttpResponse> Output(ApiParts* parts, ApiCall call, Stream stream) {
  const std::string id = call.request.params.at("id");
  const Actor actor = call.actor;
  const auto work = [id, stream](Context& context) -> Result<std::int64_t> {
    TRY(MaySee(context, id));
    return KeptOutputSize(context, id, stream);
  };
  const Result<std::int64_t> size = co_await parts->readers->Run(actor, work);
  if (!size.ok()) co_return ProblemOf(size.error());
  const std::string* header = call.request.Header("Range");
  ByteRange range{ByteRange::Kind::kWhole, 0, size.value()};
  if (header != nullptr) range = ParseRange(*header, size.value());
  HttpResponse response;
  response.headers.emplace_back("Content-Type", "application/octet-stream");
  response.headers.emplace_back("Accept-Ranges", "bytes");
  if (range.kind == ByteRange::Kind::kUnsatisfiable) {
    response = Problem(416, "range", "there are only " + std::to_string(size.value()) + " bytes");
    response.headers.emplace_back("Content-Range", "bytes */" + std::to_string(size.value()));
    co_return response;
  }
  if (range.kind == ByteRange::Kind::kWhole) range = {range.kind, 0, size.value()};
  if (range.kind == ByteRange::Kind::kPart) {
    response.status = 206;
    response.headers.emplace_back("Content-Range",
                                  "bytes " + std::to_string(range.first) + "-" +
                                      std::to_string(range.first + range.size - 1) + "/" +
                                      std::to_string(size.value()));
  }
  const auto read = [parts, actor, id, stream](std::int64_t from, std::int64_t bytes) {
    const auto reading = [=](Context& context) {
      return ReadKeptOutput(context, id, stream, from, static_cast<std::size_t>(bytes));
    };
    return parts->readers->Run(actor, reading);
  };
  if (range.size <= kPieceBytes) {
    Result<std::string> bytes = co_await read(range.first, range.size);
    if (!bytes.ok()) co_return ProblemOf(bytes.error());
    response.body = std::move(bytes).value();
    co_return response;
  }
  response.stream = [read, at = range.first,
                     end = range.first +
                           range.size]() mutable -> asio::awaitable<std::optional<std::string>> {
    const std::int64_t bytes = std::min(kPieceBytes, end - at);
    if (bytes <= 0) co_return std::nullopt;
    Result<std::string> piece = co_await read(at, bytes);
    if (!piece.ok() || piece.value().empty()) co_return std::nullopt;
    at += static_cast<std::int64_t>(piece.value().size());
    co_return std::move(piece).value();
  };
  co_return response;
}

asio::awaitable<HttpResponse> File(ApiParts* parts, ApiCall call) {
  const std::string id = call.request.params.at("id");
  const Result<std::string> path = NormalizePath(call.request.params.at("path"));
  if (!path.ok()) co_return Problem(422, "invalid_argument", path.error().message(), "path:path");
  const auto work = [id, path = path.value()](Context& context) -> Result<std::string> {
    TRY(MaySee(context, id));
    return FileOf(context, id, path, kFileBytesMax);
  };
  Result<std::string> bytes = co_await parts->readers->Run(call.actor, work);
  if (!bytes.ok()) co_return ProblemOf(bytes.error());
  HttpResponse response;
  response.headers.emplace_back("Content-Type", "application/octet-stream");
  response.headers.emplace_back("Content-Disposition", "attachment");
  response.body = std::move(bytes).value();
  co_return response;
}

asio::awaitable<HttpResponse> CancelOne(ApiParts* parts, ApiCall call) {
  const std::string id = call.request.params.at("id");
  const auto work = [id](Context& context) -> Result<bool> {
    TRY(MaySee(context, id));
    TRY(MayCancel(context, id));
    if (TRY(CancelQueued(context, id))) return true;
    return Cancel(context, id);
  };
  const Result<bool> cancelled = co_await parts->writers->Run(call.actor, work);
  if (!cancelled.ok()) co_return ProblemOf(cancelled.error());
  if (!cancelled.value()) {
    co_return Problem(409, "wrong_state", id + ": is not running");
  }
  parts->live->End(id);
  co_return co_await ShowExecution(*parts, call.actor, id, 200);
}

constexpr QueryParameter kWait{"wait", QueryType::kNumber,
                               "Seconds to wait for the end before the answer is given.", 0, 300};

}  // namespace

std::vector<ApiRoute> ExecutionRoutes(ApiParts* parts) {
  const auto to = [parts](auto handle) -> ApiHandler {
    return [parts, handle](ApiCall call) { return handle(parts, std::move(call)); };
  };
  const auto output = [parts](Stream stream) -> ApiHandler {
    return [parts, stream](ApiCall call) { return Output(parts, std::move(call), stream); };
  };
  std::vector<ApiRoute> routes;
  routes.push_back(
      {.method = "POST",
       .pattern = "/v1/executions",
       .name = "submitExecution",
       .summary = "Runs a script, a text or a command in a sandbox over the workspace.",
       .body = ApiRoute::Body::kRequired,
       .request = "RunRequest",
       .response = "Execution",
       .success = 201,
       .failures = {403, 409, 429},
       .query = {kWait},
       .handler = [parts, one_by_one = std::make_shared<std::mutex>()](ApiCall call) {
         return Submit(parts, one_by_one, std::move(call));
       }});
  routes.push_back(
      {.method = "GET",
       .pattern = "/v1/executions",
       .name = "listExecutions",
       .summary = "Executions, newest first.",
       .response = "ExecutionPage",
       .query = {{"case", QueryType::kString, "Only those of this case."},
                 {"status",
                  QueryType::kString,
                  "Only those with this status.",
                  0,
                  0,
                  {"queued", "running", "succeeded", "failed", "timed_out", "oom_killed",
                   "limit_exceeded", "cancelled", "interrupted", "denied", "error"}},
                 {"since",
                  QueryType::kString,
                  "Only those submitted at or after this time, in UTC: 2026-11-21T10:15:00Z.",
                  0,
                  0,
                  {},
                  "date-time"},
                 {"cursor", QueryType::kInteger, "next_cursor of the page before.", 0, 9e15},
                 {"limit", QueryType::kInteger, "At most so many.", 1, kPageMax}},
       .handler = to(List)});
  routes.push_back({.method = "GET",
                    .pattern = "/v1/executions/{id}",
                    .name = "getExecution",
                    .summary = "One execution.",
                    .response = "Execution",
                    .failures = {404},
                    .query = {kWait},
                    .handler = to(Show)});
  routes.push_back({.method = "GET",
                    .pattern = "/v1/executions/{id}/stdout",
                    .name = "getStdout",
                    .summary = "Kept bytes of its standard output; grows while it runs.",
                    .failures = {404, 416},
                    .media = "application/octet-stream",
                    .handler = output(Stream::kOut)});
  routes.push_back({.method = "GET",
                    .pattern = "/v1/executions/{id}/stderr",
                    .name = "getStderr",
                    .summary = "Kept bytes of its standard error; grows while it runs.",
                    .failures = {404, 416},
                    .media = "application/octet-stream",
                    .handler = output(Stream::kErr)});
  routes.push_back({.method = "GET",
                    .pattern = "/v1/executions/{id}/files/{path*}",
                    .name = "getChangedFile",
                    .summary = "A file as the execution's changes make it.",
                    .failures = {404, 409, 429},
                    .media = "application/octet-stream",
                    .handler = to(File)});
  routes.push_back({.method = "POST",
                    .pattern = "/v1/executions/{id}/cancel",
                    .name = "cancelExecution",
                    .summary = "Ends it; its changes are discarded.",
                    .response = "Execution",
                    .failures = {403, 404, 409},
                    .handler = to(CancelOne)});
  return routes;
}

}  // namespace bailiff
