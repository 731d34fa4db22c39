#include "api/action_answers.h"

#include <boost/json.hpp>
#include <utility>

#include "core/documents.h"
#include "http/problem.h"

namespace bailiff {

namespace json = boost::json;

HttpResponse AnswerTo(const Result<Action>& action) {
  if (!action.ok()) return ProblemOf(action.error());
  const Action& done = action.value();
  if (done.result == Action::Result::kDone) return JsonResponse(200, ToJson(done));
  const bool conflict = done.result == Action::Result::kConflict;
  HttpResponse response =
      Problem(409, conflict ? "conflict" : "wrong_state",
              done.message.empty() ? done.id + ": " + std::string(Name(done.state)) : done.message);
  json::object body = json::parse(response.body).as_object();
  for (auto& [key, value] : ToJson(done)) body[key] = std::move(value);
  response.body = Pretty(body);
  return response;
}

std::optional<HttpResponse> TakeText(const json::object& body, std::string_view key, bool required,
                                     std::string* to) {
  const json::value* value = body.if_contains(key);
  const std::string field = "/" + std::string(key);
  if (value == nullptr || value->is_null()) {
    if (!required) return std::nullopt;
    return Problem(422, "invalid_argument", "is missing: a string", field);
  }
  if (!value->is_string()) return Problem(422, "invalid_argument", "must be a string", field);
  *to = std::string_view(value->get_string());
  return std::nullopt;
}

}  // namespace bailiff
