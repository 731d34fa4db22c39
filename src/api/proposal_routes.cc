#include <array>
#include <boost/json.hpp>
#include <utility>

#include "api/action_answers.h"
#include "api/api.h"
#include "api/route_tools.h"
#include "base/bytes.h"
#include "core/admission.h"
#include "core/proposals.h"
#include "core/queries.h"
#include "http/problem.h"

namespace bailiff {
namespace {

namespace asio = boost::asio;
namespace json = boost::json;

std::optional<HttpResponse> OnlyKnown(const json::object& body, std::string_view known) {
  for (const auto& [key, value] : body) {
    if (std::string_view(key) == known) continue;
    return Problem(422, "invalid_argument", "is not a known field; known: " + std::string(known),
                   "/" + ToUtf8Lossy(std::string_view(key)));
  }
  return std::nullopt;
}

asio::awaitable<HttpResponse> Changes(ApiParts* parts, ApiCall call) {
  const auto work = [id = call.request.params.at("id")](Context& context) -> Result<json::object> {
    TRY(MaySee(context, id));
    return ChangesOf(context, id);
  };
  const Result<json::object> document = co_await parts->readers->Run(call.actor, work);
  co_return AnswerWith(document);
}

asio::awaitable<HttpResponse> Diff(ApiParts* parts, ApiCall call) {
  std::optional<std::string> only;
  if (const std::string* given = call.Query("path"); given != nullptr && !given->empty()) {
    Result<std::string> path = NormalizePath(*given);
    if (!path.ok()) {
      co_return Problem(422, "invalid_argument", path.error().message(), "query:path");
    }
    if (!path.value().empty()) only = std::move(path).value();
  }
  const auto work = [id = call.request.params.at("id"),
                     only](Context& context) -> Result<std::string> {
    TRY(MaySee(context, id));
    return DiffOf(context, id, only);
  };
  Result<std::string> text = co_await parts->readers->Run(call.actor, work);
  if (!text.ok()) co_return ProblemOf(text.error());
  HttpResponse response;
  response.headers.emplace_back("Content-Type", "text/plain; charset=utf-8");
  response.body = ToUtf8Lossy(text.value());
  co_return response;
}

asio::awaitable<HttpResponse> ApproveOne(ApiParts* parts, ApiCall call) {
  std::string digest;
  if (auto wrong = OnlyKnown(call.body, "digest")) co_return std::move(*wrong);
  if (auto wrong = TakeText(call.body, "digest", true, &digest)) co_return std::move(*wrong);
  if (digest.empty()) {
    co_return Problem(422, "invalid_argument",
                      "is empty; what is approved is named by its digest (sha256:...)", "/digest");
  }
  const auto work = [id = call.request.params.at("id"),
                     digest](Context& context) -> Result<Action> {
    return Approve(context, id, digest, kWaitLock);
  };
  const Result<Action> action = co_await parts->writers->Run(call.actor, work);
  co_return AnswerTo(action);
}

asio::awaitable<HttpResponse> RejectOne(ApiParts* parts, ApiCall call) {
  std::string reason;
  if (auto wrong = OnlyKnown(call.body, "reason")) co_return std::move(*wrong);
  if (auto wrong = TakeText(call.body, "reason", false, &reason)) co_return std::move(*wrong);
  const auto work = [id = call.request.params.at("id"),
                     reason](Context& context) -> Result<Action> {
    return Reject(context, id, reason, kWaitLock);
  };
  const Result<Action> action = co_await parts->writers->Run(call.actor, work);
  co_return AnswerTo(action);
}

asio::awaitable<HttpResponse> RollBackOne(ApiParts* parts, ApiCall call) {
  const auto work = [id = call.request.params.at("id")](Context& context) -> Result<Action> {
    return RollBack(context, id, kWaitLock);
  };
  const Result<Action> action = co_await parts->writers->Run(call.actor, work);
  co_return AnswerTo(action);
}

asio::awaitable<HttpResponse> Show(ApiParts* parts, ApiCall call) {
  const auto work = [id = call.request.params.at("id")](Context& context) -> Result<json::object> {
    TRY(MaySee(context, id));
    return ProposalToJson(TRY(context.store().GetProposal(id)));
  };
  const Result<json::object> document = co_await parts->readers->Run(call.actor, work);
  co_return AnswerWith(document);
}

asio::awaitable<HttpResponse> List(ApiParts* parts, ApiCall call) {
  ProposalFilter filter;
  filter.limit = IntegerOf(call, "limit", kPageDefault);
  filter.before_seq = IntegerOf(call, "cursor", 0);
  if (const std::string* state = call.Query("state")) {
    const Result<ProposalState> parsed = ParseProposalState(*state);
    if (parsed.ok()) filter.state = parsed.value();  // The route lists what there is.
  }
  const auto work = [filter](Context& context) { return ProposalsPage(context, filter); };
  Result<Page> page = co_await parts->readers->Run(call.actor, work);
  if (!page.ok()) co_return ProblemOf(page.error());
  co_return PageResponse("proposals", std::move(page.value().documents), page.value().next);
}

// What can be done to a change set, by the kind of what made it.
struct Kind {
  std::array<std::string_view, 5> patterns;
  std::array<std::string_view, 5> names;
};

void AddKind(ApiParts* parts, const Kind& kind, std::vector<ApiRoute>* routes) {
  routes->push_back({.method = "GET",
                     .pattern = kind.patterns[0],
                     .name = kind.names[0],
                     .summary = "The change set, a member for each change.",
                     .response = "Changes",
                     .failures = {404},
                     .handler = HandlerOf(parts, Changes)});
  routes->push_back({.method = "GET",
                     .pattern = kind.patterns[1],
                     .name = kind.names[1],
                     .summary = "The change set as a readable diff.",
                     .failures = {404, 409},
                     .query = {{"path", QueryType::kString, "Only changes there or below."}},
                     .media = "text/plain",
                     .handler = HandlerOf(parts, Diff)});
  routes->push_back({.method = "POST",
                     .pattern = kind.patterns[2],
                     .name = kind.names[2],
                     .summary = "Commits the held change set that has this digest, byte for byte.",
                     .least = Role::kReviewer,
                     .body = ApiRoute::Body::kRequired,
                     .request = "Approval",
                     .response = "Action",
                     .failures = {403, 404, 409, 429},
                     .handler = HandlerOf(parts, ApproveOne)});
  routes->push_back({.method = "POST",
                     .pattern = kind.patterns[3],
                     .name = kind.names[3],
                     .summary = "Drops the held change set. An agent may drop its own.",
                     .body = ApiRoute::Body::kOptional,
                     .request = "Rejection",
                     .response = "Action",
                     .failures = {403, 404, 409, 429},
                     .handler = HandlerOf(parts, RejectOne)});
  routes->push_back({.method = "POST",
                     .pattern = kind.patterns[4],
                     .name = kind.names[4],
                     .summary = "Undoes the commit by another one, which policy decides on.",
                     .response = "Action",
                     .failures = {403, 404, 409, 429},
                     .handler = HandlerOf(parts, RollBackOne)});
}

}  // namespace

std::vector<ApiRoute> ProposalRoutes(ApiParts* parts) {
  std::vector<ApiRoute> routes;
  const Kind kinds[] = {
      {{"/v1/plans/{id}/changes", "/v1/plans/{id}/diff", "/v1/plans/{id}/approve",
        "/v1/plans/{id}/reject", "/v1/plans/{id}/rollback"},
       {"getPlanChanges", "getPlanDiff", "approvePlan", "rejectPlan", "rollBackPlan"}},
      {{"/v1/executions/{id}/changes", "/v1/executions/{id}/diff", "/v1/executions/{id}/approve",
        "/v1/executions/{id}/reject", "/v1/executions/{id}/rollback"},
       {"getChanges", "getDiff", "approveExecution", "rejectExecution", "rollBackExecution"}},
      {{"/v1/proposals/{id}/changes", "/v1/proposals/{id}/diff", "/v1/proposals/{id}/approve",
        "/v1/proposals/{id}/reject", "/v1/proposals/{id}/rollback"},
       {"getProposalChanges", "getProposalDiff", "approveProposal", "rejectProposal",
        "rollBackProposal"}}};
  for (const Kind& kind : kinds) AddKind(parts, kind, &routes);
  routes.push_back({.method = "GET",
                    .pattern = "/v1/proposals/{id}",
                    .name = "getProposal",
                    .summary = "One proposal, whoever made it.",
                    .response = "Proposal",
                    .failures = {404},
                    .handler = HandlerOf(parts, Show)});
  routes.push_back(
      {.method = "GET",
       .pattern = "/v1/proposals",
       .name = "listProposals",
       .summary = "Proposals, newest first; state=held for what waits.",
       .response = "ProposalPage",
       .query = {{"state",
                  QueryType::kString,
                  "Only those in this state.",
                  0,
                  0,
                  {"held", "approved", "committing", "committed", "discarded", "rejected", "denied",
                   "expired", "conflict", "needs_attention", "rolled_back"}},
                 CursorParameter(),
                 LimitParameter()},
       .handler = HandlerOf(parts, List)});
  return routes;
}

}  // namespace bailiff
