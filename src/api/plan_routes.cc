#include <boost/json.hpp>
#include <charconv>
#include <utility>

#include "api/action_answers.h"
#include "api/api.h"
#include "api/plan_answers.h"
#include "core/documents.h"
#include "core/plans.h"
#include "core/queries.h"
#include "http/problem.h"

namespace bailiff {
namespace {

namespace asio = boost::asio;
namespace json = boost::json;

constexpr std::int64_t kPageDefault = 50;
constexpr double kPageMax = 500;

asio::awaitable<HttpResponse> Submit(ApiParts* parts, ApiCall call) {
  ParsedPlan parsed = ParsePlan(call.request.body);
  if (!parsed.faults.empty()) co_return ProblemOfPlan(parsed.faults);
  const auto work = [plan = std::move(parsed.plan)](Context& context) {
    return SubmitPlan(context, plan, kWaitLock);
  };
  const Result<PlanDocument> plan = co_await parts->writers->Run(call.actor, work);
  if (!plan.ok()) co_return ProblemOf(plan.error());
  // A dry run is stored nowhere.
  HttpResponse response = JsonResponse(plan.value().id.empty() ? 200 : 201, plan.value().document);
  if (!plan.value().id.empty()) {
    response.headers.emplace_back("Location", "/v1/plans/" + plan.value().id);
  }
  co_return response;
}

asio::awaitable<HttpResponse> List(ApiParts* parts, ApiCall call) {
  std::int64_t limit = kPageDefault;
  std::int64_t before = 0;
  for (const auto& [name, number] : {std::pair{"limit", &limit}, std::pair{"cursor", &before}}) {
    const std::string* text = call.Query(name);
    if (text != nullptr) std::from_chars(text->data(), text->data() + text->size(), *number);
  }
  const auto work = [limit, before](Context& context) { return ListPlans(context, limit, before); };
  Result<std::vector<PlanDocument>> plans = co_await parts->readers->Run(call.actor, work);
  if (!plans.ok()) co_return ProblemOf(plans.error());
  json::array documents;
  for (PlanDocument& plan : plans.value()) documents.push_back(std::move(plan.document));
  json::object body;
  body["plans"] = std::move(documents);
  const bool more = static_cast<std::int64_t>(plans.value().size()) == limit;
  body["next_cursor"] =
      more ? json::value(std::to_string(plans.value().back().seq)) : json::value();
  co_return JsonResponse(200, body);
}

asio::awaitable<HttpResponse> Show(ApiParts* parts, ApiCall call) {
  const auto work = [id = call.request.params.at("id")](Context& context) {
    return GetPlan(context, id);
  };
  const Result<PlanDocument> plan = co_await parts->readers->Run(call.actor, work);
  if (!plan.ok()) co_return ProblemOf(plan.error());
  co_return JsonResponse(200, plan.value().document);
}

asio::awaitable<HttpResponse> Validate(ApiParts* parts, ApiCall call) {
  const auto work = [id = call.request.params.at("id")](Context& context) {
    return RevalidatePlan(context, id);
  };
  const Result<PlanDocument> plan = co_await parts->readers->Run(call.actor, work);
  if (!plan.ok()) co_return ProblemOf(plan.error());
  co_return JsonResponse(200, plan.value().document);
}

asio::awaitable<HttpResponse> Apply(ApiParts* parts, ApiCall call) {
  const auto work = [id = call.request.params.at("id")](Context& context) -> Result<Action> {
    TRY(GetPlan(context, id));  // Whether the actor may see it.
    return ApplyPlan(context, id, kWaitLock);
  };
  const Result<Action> action = co_await parts->writers->Run(call.actor, work);
  co_return AnswerTo(action);
}

}  // namespace

HttpResponse ProblemOfPlan(const std::vector<JsonFault>& faults) {
  HttpResponse response =
      Problem(422, "invalid_argument", faults.front().message, faults.front().pointer);
  json::object body = json::parse(response.body).as_object();
  json::array all;
  for (const JsonFault& fault : faults) {
    json::object one;
    one["field"] = fault.pointer;
    one["detail"] = fault.message;
    all.push_back(std::move(one));
  }
  body["faults"] = std::move(all);
  response.body = Pretty(body);
  return response;
}

std::vector<ApiRoute> PlanRoutes(ApiParts* parts) {
  const auto to = [parts](auto handle) -> ApiHandler {
    return [parts, handle](ApiCall call) { return handle(parts, std::move(call)); };
  };
  std::vector<ApiRoute> routes;
  routes.push_back({.method = "POST",
                    .pattern = "/v1/plans",
                    .name = "submitPlan",
                    .summary = "Proposes a list of file operations; with dry_run only looks.",
                    .body = ApiRoute::Body::kRequired,
                    .request = "Plan",
                    .response = "PlanDocument",
                    .success = 201,
                    .also = 200,
                    .failures = {403, 429},
                    .handler = to(Submit)});
  routes.push_back(
      {.method = "GET",
       .pattern = "/v1/plans",
       .name = "listPlans",
       .summary = "Plans, newest first, without operations and effects.",
       .response = "PlanPage",
       .query = {{"cursor", QueryType::kInteger, "next_cursor of the page before.", 0, 9e15},
                 {"limit", QueryType::kInteger, "At most so many.", 1, kPageMax}},
       .handler = to(List)});
  routes.push_back({.method = "GET",
                    .pattern = "/v1/plans/{id}",
                    .name = "getPlan",
                    .summary = "One plan, with its effect.",
                    .response = "PlanDocument",
                    .failures = {404},
                    .handler = to(Show)});
  routes.push_back({.method = "POST",
                    .pattern = "/v1/plans/{id}/validate",
                    .name = "validatePlan",
                    .summary = "What it would do to the workspace as it is now. Changes nothing.",
                    .response = "PlanDocument",
                    .failures = {403, 404, 429},
                    .handler = to(Validate)});
  routes.push_back({.method = "POST",
                    .pattern = "/v1/plans/{id}/apply",
                    .name = "applyPlan",
                    .summary = "Commits an approved plan, all of it or nothing.",
                    .response = "Action",
                    .failures = {403, 404, 429},
                    .handler = to(Apply)});
  return routes;
}

}  // namespace bailiff
