#include <boost/json.hpp>
#include <utility>
#include <variant>

#include "api/action_answers.h"
#include "api/api.h"
#include "api/plan_answers.h"
#include "api/route_tools.h"
#include "core/plans.h"

namespace bailiff {
namespace {

namespace asio = boost::asio;
namespace json = boost::json;

asio::awaitable<HttpResponse> Submit(ApiParts* parts, ApiCall call) {
  std::variant<PlanDocument, HttpResponse> submitted = co_await SubmitPlanText(parts, &call);
  if (auto* refusal = std::get_if<HttpResponse>(&submitted)) co_return std::move(*refusal);
  const auto& plan = std::get<PlanDocument>(submitted);
  // A dry run is stored nowhere.
  HttpResponse response = JsonResponse(plan.id.empty() ? 200 : 201, plan.document);
  if (!plan.id.empty()) response.headers.emplace_back("Location", "/v1/plans/" + plan.id);
  co_return response;
}

// A plan's document, read or made anew.
asio::awaitable<HttpResponse> Look(ApiParts* parts, ApiCall call,
                                   Result<PlanDocument> (*look)(Context&, const std::string&)) {
  const auto work = [id = call.request.params.at("id"), look](Context& context) {
    return look(context, id);
  };
  const Result<PlanDocument> plan = co_await parts->readers->Run(call.actor, work);
  co_return plan.ok() ? JsonResponse(200, plan.value().document) : ProblemOf(plan.error());
}

asio::awaitable<HttpResponse> Show(ApiParts* parts, ApiCall call) {
  return Look(parts, std::move(call), GetPlan);
}

asio::awaitable<HttpResponse> Validate(ApiParts* parts, ApiCall call) {
  return Look(parts, std::move(call), RevalidatePlan);
}

asio::awaitable<HttpResponse> List(ApiParts* parts, ApiCall call) {
  const std::int64_t limit = IntegerOf(call, "limit", kPageDefault);
  const auto work = [limit, before = IntegerOf(call, "cursor", 0)](Context& context) {
    return ListPlans(context, limit, before);
  };
  Result<std::vector<PlanDocument>> plans = co_await parts->readers->Run(call.actor, work);
  if (!plans.ok()) co_return ProblemOf(plans.error());
  json::array documents;
  for (PlanDocument& plan : plans.value()) documents.push_back(std::move(plan.document));
  const bool more = static_cast<std::int64_t>(documents.size()) == limit;
  co_return PageResponse("plans", std::move(documents), more ? plans.value().back().seq : 0);
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

std::vector<ApiRoute> PlanRoutes(ApiParts* parts) {
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
                    .handler = HandlerOf(parts, Submit)});
  routes.push_back({.method = "GET",
                    .pattern = "/v1/plans",
                    .name = "listPlans",
                    .summary = "Plans, newest first, without operations and effects.",
                    .response = "PlanPage",
                    .query = {CursorParameter(), LimitParameter()},
                    .handler = HandlerOf(parts, List)});
  routes.push_back({.method = "GET",
                    .pattern = "/v1/plans/{id}",
                    .name = "getPlan",
                    .summary = "One plan, with its effect.",
                    .response = "PlanDocument",
                    .failures = {404},
                    .handler = HandlerOf(parts, Show)});
  routes.push_back({.method = "POST",
                    .pattern = "/v1/plans/{id}/validate",
                    .name = "validatePlan",
                    .summary = "What it would do to the workspace as it is now. Changes nothing.",
                    .response = "PlanDocument",
                    .failures = {403, 404, 429},
                    .handler = HandlerOf(parts, Validate)});
  routes.push_back({.method = "POST",
                    .pattern = "/v1/plans/{id}/apply",
                    .name = "applyPlan",
                    .summary = "Commits an approved plan, all of it or nothing.",
                    .response = "Action",
                    .failures = {403, 404, 429},
                    .handler = HandlerOf(parts, Apply)});
  return routes;
}

}  // namespace bailiff
