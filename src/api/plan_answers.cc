#include "api/plan_answers.h"

#include <boost/json.hpp>
#include <utility>

#include "api/action_answers.h"
#include "core/documents.h"
#include "http/problem.h"

namespace bailiff {

namespace asio = boost::asio;
namespace json = boost::json;

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

asio::awaitable<std::variant<PlanDocument, HttpResponse>> SubmitPlanText(ApiParts* parts,
                                                                         const ApiCall* call) {
  ParsedPlan parsed = ParsePlan(call->request.body);
  if (!parsed.faults.empty()) co_return ProblemOfPlan(parsed.faults);
  const auto work = [plan = std::move(parsed.plan)](Context& context) {
    return SubmitPlan(context, plan, kWaitLock);
  };
  Result<PlanDocument> plan = co_await parts->writers->Run(call->actor, work);
  if (!plan.ok()) co_return ProblemOf(plan.error());
  co_return std::move(plan).value();
}

}  // namespace bailiff
