#include <fmt/format.h>

#include <boost/json.hpp>
#include <utility>
#include <variant>

#include "api/action_answers.h"
#include "api/api.h"
#include "api/plan_answers.h"
#include "api/route_tools.h"
#include "api/submission.h"
#include "base/ids.h"
#include "core/documents.h"
#include "core/plans.h"
#include "core/queries.h"
#include "http/problem.h"
#include "sys/system_clock.h"

// The routes and shapes of services that Bailiff takes the place of: a mutation service for plans,
// a worker for file operations, and a runner of scripts. Each is a translation of a route of /v1.

namespace bailiff {
namespace {

namespace asio = boost::asio;
namespace json = boost::json;

constexpr double kMegabyte = 1024.0 * 1024.0;
constexpr std::chrono::seconds kRunTime{300};

json::array ArrayOf(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  return value != nullptr && value->is_array() ? value->get_array() : json::array();
}

// Like PlanValidationResult of the mutation service.
json::object ValidationOf(const std::string& id, const json::object& plan) {
  const json::object& validation = plan.at("validation").as_object();
  const bool valid = validation.at("valid").as_bool();
  const double megabytes = validation.at("size_change_bytes").to_number<double>() / kMegabyte;
  const json::array warnings = ArrayOf(validation, "warnings");
  const json::array errors = ArrayOf(validation, "errors");
  std::string summary = fmt::format(
      "Plan: {}\nCase: {}\nOperations: {}\nEstimated size change: {:.2f} MB\nValidation: {}\n"
      "Warnings: {}\nErrors: {}",
      std::string_view(plan.at("description").as_string()),
      plan.at("case_name").is_string() ? std::string_view(plan.at("case_name").get_string()) : "",
      validation.at("operation_count").to_number<std::int64_t>(), megabytes,
      valid ? "PASSED" : "FAILED", warnings.size(), errors.size());
  // What it destroys is named, each of it.
  for (const json::value& change : ArrayOf(validation, "effect")) {
    const json::object& one = change.as_object();
    if (one.at("op").as_string() != "delete") continue;
    summary += "\nDeletes: " + std::string(one.at("path").as_string());
  }
  json::object result;
  result["plan_id"] = id;
  result["valid"] = valid;
  result["warnings"] = warnings;
  result["errors"] = errors;
  result["operation_count"] = validation.at("operation_count");
  result["estimated_size_change_mb"] = megabytes;
  result["dry_run_summary"] = summary;
  return result;
}

asio::awaitable<HttpResponse> CreatePlan(ApiParts* parts, ApiCall call) {
  std::variant<PlanDocument, HttpResponse> submitted = co_await SubmitPlanText(parts, &call);
  if (auto* refusal = std::get_if<HttpResponse>(&submitted)) co_return std::move(*refusal);
  call.body["plan_id"] = std::get<PlanDocument>(submitted).id;
  co_return JsonResponse(200, call.body);
}

asio::awaitable<HttpResponse> ValidateOne(ApiParts* parts, ApiCall call) {
  const std::string id = call.request.params.at("id");
  const auto work = [id](Context& context) { return RevalidatePlan(context, id); };
  const Result<PlanDocument> plan = co_await parts->readers->Run(call.actor, work);
  if (!plan.ok()) co_return ProblemOf(plan.error());
  co_return JsonResponse(200, ValidationOf(id, plan.value().document));
}

asio::awaitable<HttpResponse> ApproveOne(ApiParts* parts, ApiCall call) {
  const std::string id = call.request.params.at("id");
  const auto work = [id](Context& context) -> Result<Action> {
    const PlanDocument plan = TRY(GetPlan(context, id));
    if (!plan.valid) {
      return Error(ErrorCode::kInvalidArgument,
                   "Cannot approve invalid plan. Errors: " +
                       json::serialize(plan.document.at("validation").as_object().at("errors")));
    }
    if (plan.state == ProposalState::kApproved) {
      Action again;
      again.id = id;
      again.state = plan.state;
      return again;
    }
    return Approve(context, id, "", kWaitLock);
  };
  const Result<Action> action = co_await parts->writers->Run(call.actor, work);
  if (!action.ok() || action.value().result != Action::Result::kDone) co_return AnswerTo(action);
  json::object body;
  body["status"] = "approved";
  body["plan_id"] = id;
  co_return JsonResponse(200, body);
}

struct Applied {
  Action action;
  std::int64_t operations = 0;
};

asio::awaitable<HttpResponse> ApplyOne(ApiParts* parts, ApiCall call) {
  const std::string id = call.request.params.at("id");
  const auto work = [id](Context& context) -> Result<Applied> {
    Applied applied;
    const PlanDocument plan = TRY(GetPlan(context, id));
    applied.operations =
        plan.document.at("validation").as_object().at("operation_count").to_number<std::int64_t>();
    applied.action = TRY(ApplyPlan(context, id, kWaitLock));
    return applied;
  };
  const Result<Applied> applied = co_await parts->writers->Run(call.actor, work);
  if (!applied.ok()) co_return ProblemOf(applied.error());
  const Action& action = applied.value().action;
  if (action.result == Action::Result::kWrongState && action.state == ProposalState::kHeld) {
    co_return Problem(403, "not_approved",
                      "Plan not approved. A reviewer calls /plans/" + id + "/approve first.");
  }
  if (action.result == Action::Result::kWrongState) co_return AnswerTo(action);
  const bool done = action.result == Action::Result::kDone;
  json::object body;
  body["plan_id"] = id;
  body["success"] = done;
  body["operations_completed"] = done ? applied.value().operations : 0;
  body["operations_failed"] = done ? 0 : applied.value().operations;
  body["audit_log_path"] = "/v1/plans/" + id;
  std::string details = action.message;
  for (const PathProblem& problem : action.problems) {
    details += "; " + problem.path + ": " + problem.reason;
  }
  body["error_details"] = done ? json::value() : json::value(ToUtf8Lossy(details));
  co_return JsonResponse(200, body);
}

// Proposes, and applies what policy lets through.
Result<json::object> DoFileOps(Context& context, const Plan& plan) {
  const PlanDocument submitted = TRY(SubmitPlan(context, plan, kWaitLock));
  json::object body;
  body["plan_id"] = submitted.id.empty() ? json::value() : json::value(submitted.id);
  body["dry_run"] = plan.dry_run;
  const json::object& validation = submitted.document.at("validation").as_object();
  for (const auto& [key, value] : validation) body[key] = value;
  std::string diff;
  for (const json::value& change : ArrayOf(validation, "effect")) {
    const json::object& one = change.as_object();
    const json::value* from = one.if_contains("from");
    diff += fmt::format("{} {}{}{}\n", std::string_view(one.at("op").as_string()),
                        from == nullptr ? "" : std::string(from->as_string()) + " -> ",
                        std::string_view(one.at("path").as_string()),
                        one.at("type").as_string() == "dir" ? "/" : "");
  }
  body["diff"] = diff;
  body["applied"] = false;
  body["requires_approval"] = submitted.state == ProposalState::kHeld;
  body["state"] = Name(submitted.state);
  if (submitted.state != ProposalState::kApproved) return body;
  const Action action = TRY(ApplyPlan(context, submitted.id, kWaitLock));
  body["applied"] = action.result == Action::Result::kDone;
  body["state"] = Name(action.state);
  body["conflicts"] = ToJson(action.problems);
  return body;
}

asio::awaitable<HttpResponse> FileOps(ApiParts* parts, ApiCall call) {
  ParsedPlan parsed = ParsePlan(call.request.body);
  if (!parsed.faults.empty()) co_return ProblemOfPlan(parsed.faults);
  if (parsed.plan.shape != Plan::Shape::kFileOps) {
    co_return Problem(422, "invalid_argument",
                      "takes operations with from, to and path; those with source and destination "
                      "go to /plans",
                      "/operations");
  }
  const auto work = [plan = std::move(parsed.plan)](Context& context) {
    return DoFileOps(context, plan);
  };
  const Result<json::object> body = co_await parts->writers->Run(call.actor, work);
  co_return AnswerWith(body);
}

// Runs a script of the workspace and answers with its execution; 500 where it does not succeed.
asio::awaitable<HttpResponse> Reorganize(ApiParts* parts, ApiCall call) {
  const std::string id = MakeId("exec", SystemClock().Now());
  std::optional<HttpResponse> refusal = co_await SubmitRun(parts, &call, id, kRunTime);
  if (refusal.has_value()) co_return std::move(*refusal);
  const auto look = [id](Context& context) { return ExecutionDocument(context, id); };
  const Result<json::object> document = co_await parts->readers->Run(call.actor, look);
  if (!document.ok()) co_return ProblemOf(document.error());
  const json::object& execution = document.value();
  if (execution.at("success").as_bool()) co_return JsonResponse(200, execution);
  const json::value& error = execution.at("error");
  std::string detail(execution.at("stderr").as_string());
  if (error.is_string()) detail += (detail.empty() ? "" : "\n") + std::string(error.get_string());
  co_return Problem(500, std::string_view(execution.at("status").as_string()), detail);
}

asio::awaitable<HttpResponse> NotYet(ApiParts* /*parts*/, ApiCall /*call*/) {
  co_return Problem(501, "unsupported",
                    "sandboxes have no browser and no way to the internet yet; run the script with "
                    "POST /v1/executions on files that are in the workspace");
}

void AddUnsupported(ApiParts* parts, std::vector<ApiRoute>* routes) {
  for (const auto& [pattern, name] :
       {std::pair<std::string_view, std::string_view>{"/execute/browser-automation",
                                                      "executeBrowserAutomation"},
        {"/execute/research", "executeResearch"}}) {
    routes->push_back({.method = "POST",
                       .pattern = pattern,
                       .name = name,
                       .summary = "Not supported yet.",
                       .body = ApiRoute::Body::kRequired,
                       .request = "Object",
                       .response = "Object",
                       .failures = {501},
                       .handler = HandlerOf(parts, NotYet)});
  }
}

}  // namespace

std::vector<ApiRoute> FamiliarRoutes(ApiParts* parts) {
  std::vector<ApiRoute> routes;
  routes.push_back({.method = "POST",
                    .pattern = "/plans",
                    .name = "createMutationPlan",
                    .summary = "POST /v1/plans, in the shape of a mutation service.",
                    .body = ApiRoute::Body::kRequired,
                    .request = "Plan",
                    .response = "Object",
                    .failures = {403, 429},
                    .handler = HandlerOf(parts, CreatePlan)});
  routes.push_back({.method = "POST",
                    .pattern = "/plans/{id}/validate",
                    .name = "validateMutationPlan",
                    .summary = "POST /v1/plans/{id}/validate, in the shape of a mutation service.",
                    .response = "Object",
                    .failures = {403, 404, 429},
                    .handler = HandlerOf(parts, ValidateOne)});
  routes.push_back({.method = "POST",
                    .pattern = "/plans/{id}/approve",
                    .name = "approveMutationPlan",
                    .summary = "Marks the plan as approved, without a digest.",
                    .least = Role::kReviewer,
                    .response = "Object",
                    .failures = {403, 404, 429},
                    .query = {{"approved_by", QueryType::kString,
                               "Not looked at: the token says who approves."}},
                    .handler = HandlerOf(parts, ApproveOne)});
  routes.push_back({.method = "POST",
                    .pattern = "/plans/{id}/apply",
                    .name = "applyMutationPlan",
                    .summary = "POST /v1/plans/{id}/apply, in the shape of a mutation service.",
                    .response = "Object",
                    .failures = {403, 404, 429},
                    .handler = HandlerOf(parts, ApplyOne)});
  routes.push_back({.method = "POST",
                    .pattern = "/file-ops/plans",
                    .name = "submitFileOps",
                    .summary = "Proposes moves and new folders, and applies what policy lets "
                               "through; with dry_run only looks.",
                    .body = ApiRoute::Body::kRequired,
                    .request = "FileOps",
                    .response = "Object",
                    .failures = {403, 429},
                    .handler = HandlerOf(parts, FileOps)});
  routes.push_back({.method = "POST",
                    .pattern = "/execute/file-reorganization",
                    .name = "executeFileReorganization",
                    .summary = "Runs a script of the workspace and waits for its end.",
                    .body = ApiRoute::Body::kRequired,
                    .request = "RunRequest",
                    .response = "Execution",
                    .failures = {403, 429, 500},
                    .handler = HandlerOf(parts, Reorganize)});
  AddUnsupported(parts, &routes);
  return routes;
}

}  // namespace bailiff
