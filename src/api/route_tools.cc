#include "api/route_tools.h"

#include <boost/json.hpp>
#include <charconv>
#include <string>
#include <utility>

namespace bailiff {
namespace {

constexpr double kCursorMax = 9e15;  // JSON's numbers are whole up to there.
constexpr double kPageMax = 500;

template <typename Number>
Number ValueOf(const ApiCall& call, std::string_view name, Number value) {
  const std::string* text = call.Query(name);
  if (text != nullptr) std::from_chars(text->data(), text->data() + text->size(), value);
  return value;
}

}  // namespace

ApiHandler HandlerOf(ApiParts* parts,
                     boost::asio::awaitable<HttpResponse> (*handle)(ApiParts*, ApiCall)) {
  return [parts, handle](ApiCall call) { return handle(parts, std::move(call)); };
}

double NumberOf(const ApiCall& call, std::string_view name, double otherwise) {
  return ValueOf(call, name, otherwise);
}

std::int64_t IntegerOf(const ApiCall& call, std::string_view name, std::int64_t otherwise) {
  return ValueOf(call, name, otherwise);
}

QueryParameter CursorParameter() {
  return {"cursor", QueryType::kInteger, "next_cursor of the page before.", 0, kCursorMax};
}

QueryParameter LimitParameter() {
  return {"limit", QueryType::kInteger, "At most so many.", 1, kPageMax};
}

HttpResponse PageResponse(std::string_view key, boost::json::array documents, std::int64_t next) {
  boost::json::object object;
  object[key] = std::move(documents);
  object["next_cursor"] =
      next == 0 ? boost::json::value() : boost::json::value(std::to_string(next));
  return JsonResponse(200, object);
}

HttpResponse AnswerWith(const Result<boost::json::object>& document) {
  return document.ok() ? JsonResponse(200, document.value()) : ProblemOf(document.error());
}

}  // namespace bailiff
