#include <fmt/format.h>

#include <boost/json.hpp>
#include <utility>

#include "api/api.h"
#include "api/metrics.h"
#include "api/route_tools.h"
#include "core/admission.h"
#include "core/documents.h"
#include "core/executions.h"
#include "core/queries.h"
#include "core/queue.h"
#include "core/queue_pause.h"
#include "core/stats.h"
#include "http/problem.h"

namespace bailiff {
namespace {

namespace asio = boost::asio;
namespace json = boost::json;

constexpr std::int64_t kHistoryDefault = 100;
constexpr std::int64_t kHoursDefault = 24;

asio::awaitable<HttpResponse> Healthy(ApiParts* /*parts*/, ApiCall /*call*/) {
  json::object body;
  body["status"] = "healthy";
  co_return JsonResponse(200, body);
}

asio::awaitable<HttpResponse> History(ApiParts* parts, ApiCall call) {
  const std::string* given = call.Query("path");
  const Result<std::string> path = NormalizePath(given == nullptr ? "" : *given);
  if (!path.ok()) co_return Problem(422, "invalid_argument", path.error().message(), "query:path");
  const auto work = [path = path.value(), limit = IntegerOf(call, "limit", kHistoryDefault)](
                        Context& context) -> Result<json::object> {
    TRY(MaySeePath(context, path));
    return HistoryOf(context, path, limit);
  };
  const Result<json::object> document = co_await parts->readers->Run(call.actor, work);
  co_return AnswerWith(document);
}

asio::awaitable<HttpResponse> Statistics(ApiParts* parts, ApiCall call) {
  const auto work =
      [hours = IntegerOf(call, "hours", kHoursDefault)](Context& context) -> Result<json::object> {
    json::object document = ToJson(TRY(StatsOf(context, hours)));
    document["health"] = ToJson(TRY(CheckHealth(context)));
    return document;
  };
  const Result<json::object> stats = co_await parts->readers->Run(call.actor, work);
  co_return AnswerWith(stats);
}

json::object QueueToJson(std::int64_t length, std::size_t workers, std::size_t busy,
                         const std::optional<QueuePause>& pause) {
  json::object document;
  document["waiting"] = length;
  document["workers"] = workers;
  document["running"] = busy;
  document["paused"] = pause.has_value();
  document["paused_by"] = pause.has_value() ? json::value(pause->by) : json::value();
  return document;
}

asio::awaitable<HttpResponse> ShowQueue(ApiParts* parts, ApiCall call) {
  const auto work = [workers = parts->workers->size(),
                     busy = parts->workers->busy()](Context& context) -> Result<json::object> {
    return QueueToJson(TRY(QueueLength(context.store())), workers, busy, TRY(PausedBy(context)));
  };
  const Result<json::object> document = co_await parts->readers->Run(call.actor, work);
  co_return AnswerWith(document);
}

asio::awaitable<HttpResponse> Pause(ApiParts* parts, ApiCall call) {
  const auto work = [](Context& context) { return PauseQueue(context); };
  const Result<bool> paused = co_await parts->writers->Run(call.actor, work);
  if (!paused.ok()) co_return ProblemOf(paused.error());
  co_return co_await ShowQueue(parts, std::move(call));
}

asio::awaitable<HttpResponse> Resume(ApiParts* parts, ApiCall call) {
  const auto work = [](Context& context) { return ResumeQueue(context); };
  const Result<bool> resumed = co_await parts->writers->Run(call.actor, work);
  if (!resumed.ok()) co_return ProblemOf(resumed.error());
  parts->workers->Notify();
  co_return co_await ShowQueue(parts, std::move(call));
}

asio::awaitable<HttpResponse> StopAll(ApiParts* parts, ApiCall call) {
  const auto work = [](Context& context) { return CancelAll(context); };
  const Result<std::vector<std::string>> cancelled = co_await parts->writers->Run(call.actor, work);
  if (!cancelled.ok()) co_return ProblemOf(cancelled.error());
  for (const std::string& id : cancelled.value()) parts->live->End(id);
  // What ends is everything; who sees only some cases is told of no other.
  const auto tell = [ids = cancelled.value()](Context& context) {
    json::array seen;
    for (const std::string& id : ids) {
      if (MaySee(context, id).ok()) seen.emplace_back(id);
    }
    return seen;
  };
  json::array ids = co_await parts->readers->Run(call.actor, tell);
  json::object document;
  document["cancelled"] = std::move(ids);
  co_return JsonResponse(200, document);
}

asio::awaitable<HttpResponse> Capabilities(ApiParts* parts, ApiCall call) {
  const Actor actor = call.actor;
  json::object document;
  document["version"] = BAILIFF_VERSION;
  document["api"] = "v1";
  json::object you;
  you["principal"] = actor.name;
  you["role"] = Name(actor.role);
  you["cases"] = actor.cases.has_value() ? json::value(Strings(*actor.cases)) : json::value();
  document["you"] = std::move(you);
  document["engines"] = json::array({"native"});
  document["environments"] = json::array({"default"});
  document["modes"] = json::array({"commit", "review", "discard"});
  json::array networks = {"none"};
  const auto work = [](Context& context) { return context.config().host_network; };
  const bool host_network = co_await parts->readers->Run(actor, work);
  if (host_network && actor.role > Role::kAgent) networks.emplace_back("host");
  document["networks"] = std::move(networks);
  document["languages"] = json::array({"python", "bash"});
  json::object limits;
  limits["timeout_seconds_max"] =
      std::chrono::duration_cast<std::chrono::seconds>(kTimeoutMax).count();
  limits["script_bytes_max"] = kScriptBytesMax;
  limits["output_bytes_max"] = kOutputBytesMax;
  limits["files_max"] = kFilesMax;
  limits["queue_length_max"] = parts->limits.queue_length_max;
  limits["streams_per_principal"] = parts->limits.streams_per_principal;
  limits["wait_seconds_max"] = parts->limits.wait_max.count();
  document["limits"] = std::move(limits);
  document["workers"] = parts->workers->size();
  co_return JsonResponse(200, document);
}

asio::awaitable<HttpResponse> Metrics(ApiParts* parts, ApiCall call) {
  const auto work = [workers = parts->workers->size(), busy = parts->workers->busy()](
                        Context& context) { return MetricsText(context, workers, busy); };
  const Result<std::string> text = co_await parts->readers->Run(call.actor, work);
  if (!text.ok()) co_return ProblemOf(text.error());
  HttpResponse response;
  response.headers.emplace_back("Content-Type", "text/plain; version=0.0.4; charset=utf-8");
  response.body = text.value();
  co_return response;
}

void AddQueueRoutes(ApiParts* parts, std::vector<ApiRoute>* routes) {
  routes->push_back({.method = "GET",
                     .pattern = "/v1/queue",
                     .name = "getQueue",
                     .summary = "How many wait and run.",
                     .response = "Queue",
                     .handler = HandlerOf(parts, ShowQueue)});
  routes->push_back({.method = "POST",
                     .pattern = "/v1/queue/pause",
                     .name = "pauseQueue",
                     .summary = "Starts nothing more until it is resumed.",
                     .least = Role::kReviewer,
                     .response = "Queue",
                     .failures = {403},
                     .handler = HandlerOf(parts, Pause)});
  routes->push_back({.method = "POST",
                     .pattern = "/v1/queue/resume",
                     .name = "resumeQueue",
                     .summary = "Goes on after a pause.",
                     .least = Role::kReviewer,
                     .response = "Queue",
                     .failures = {403},
                     .handler = HandlerOf(parts, Resume)});
  routes->push_back({.method = "POST",
                     .pattern = "/v1/queue/stop",
                     .name = "stopQueue",
                     .summary = "The emergency stop: pauses the queue and cancels what runs.",
                     .least = Role::kReviewer,
                     .response = "Object",
                     .failures = {403},
                     .handler = HandlerOf(parts, StopAll)});
}

}  // namespace

std::vector<ApiRoute> SystemRoutes(ApiParts* parts) {
  std::vector<ApiRoute> routes;
  routes.push_back({.method = "GET",
                    .pattern = "/health",
                    .name = "getHealth",
                    .summary = "Whether the server answers.",
                    .response = "Health",
                    .is_public = true,
                    .handler = HandlerOf(parts, Healthy)});
  routes.push_back(
      {.method = "GET",
       .pattern = "/v1/history",
       .name = "getHistory",
       .summary = "Who changed what, when, by which execution, approved by whom.",
       .response = "History",
       .failures = {404},
       .query = {{"path", QueryType::kString, "A file or folder; all of the workspace without."},
                 {"limit", QueryType::kInteger, "At most so many.", 1, 1000}},
       .handler = HandlerOf(parts, History)});
  routes.push_back({.method = "GET",
                    .pattern = "/v1/stats",
                    .name = "getStats",
                    .summary = "Counts, rates and durations, and the health of the last hour.",
                    .response = "Stats",
                    .query = {{"hours", QueryType::kInteger, "Of the last so many.", 1,
                               static_cast<double>(kStatsHoursMax)}},
                    .handler = HandlerOf(parts, Statistics)});
  routes.push_back({.method = "GET",
                    .pattern = "/v1/capabilities",
                    .name = "getCapabilities",
                    .summary = "What this server can do, and who you are to it.",
                    .response = "Object",
                    .handler = HandlerOf(parts, Capabilities)});
  AddQueueRoutes(parts, &routes);
  routes.push_back({.method = "GET",
                    .pattern = "/metrics",
                    .name = "getMetrics",
                    .summary = "Counters and gauges for Prometheus.",
                    .least = Role::kReviewer,
                    .failures = {403},
                    .media = "text/plain",
                    .handler = HandlerOf(parts, Metrics)});
  return routes;
}

}  // namespace bailiff
