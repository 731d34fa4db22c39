#include <boost/json.hpp>
#include <chrono>
#include <optional>
#include <utility>

#include "api/api.h"
#include "api/route_tools.h"
#include "api/run_answers.h"
#include "api/submission.h"
#include "base/bytes.h"
#include "base/ids.h"
#include "base/timestamp.h"
#include "core/documents.h"
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

constexpr std::int64_t kPieceBytes = 256LL * 1024;
constexpr std::size_t kFileBytesMax = 64UL << 20;

std::chrono::milliseconds WaitOf(const ApiCall& call) {
  return std::chrono::milliseconds(static_cast<std::int64_t>(NumberOf(call, "wait", 0) * 1000));
}

asio::awaitable<HttpResponse> Submit(ApiParts* parts, ApiCall call) {
  const std::string id = MakeId("exec", SystemClock().Now());
  std::optional<HttpResponse> refusal = co_await SubmitRun(parts, &call, id, WaitOf(call));
  if (refusal.has_value()) co_return std::move(*refusal);
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
  co_return PageResponse("executions", std::move(page.value().documents), page.value().next);
}

asio::awaitable<HttpResponse> Show(ApiParts* parts, ApiCall call) {
  const std::string id = call.request.params.at("id");
  const std::chrono::milliseconds wait = WaitOf(call);
  if (wait.count() > 0) co_await WaitUntilEnded(*parts, id, wait);
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

ApiRoute ListRoute(ApiParts* parts) {
  return {.method = "GET",
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
                     {kStatuses.begin(), kStatuses.end()}},
                    {"since",
                     QueryType::kString,
                     "Only those submitted at or after this time, in UTC: 2026-11-21T10:15:00Z.",
                     0,
                     0,
                     {},
                     "date-time"},
                    CursorParameter(),
                    LimitParameter()},
          .handler = HandlerOf(parts, List)};
}

}  // namespace

std::vector<ApiRoute> ExecutionRoutes(ApiParts* parts) {
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
       .handler = HandlerOf(parts, Submit)});
  routes.push_back(ListRoute(parts));
  routes.push_back({.method = "GET",
                    .pattern = "/v1/executions/{id}",
                    .name = "getExecution",
                    .summary = "One execution.",
                    .response = "Execution",
                    .failures = {404},
                    .query = {kWait},
                    .handler = HandlerOf(parts, Show)});
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
                    .handler = HandlerOf(parts, File)});
  routes.push_back({.method = "POST",
                    .pattern = "/v1/executions/{id}/cancel",
                    .name = "cancelExecution",
                    .summary = "Ends it; its changes are discarded.",
                    .response = "Execution",
                    .failures = {403, 404, 409},
                    .handler = HandlerOf(parts, CancelOne)});
  return routes;
}

}  // namespace bailiff
