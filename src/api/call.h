#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/json/object.hpp>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/actor.h"
#include "core/queue.h"
#include "http/message.h"

namespace bailiff {

// One request that was let in.
struct ApiCall {
  HttpRequest request;
  Actor actor;
  boost::json::object body;      // Of a route that takes one; empty where it may be left out.
  std::optional<AnswerKey> key;  // Of a request that may be repeated.

  // The last value of a query parameter; nullptr when there is none.
  const std::string* Query(std::string_view name) const;
};

using ApiHandler = std::function<boost::asio::awaitable<HttpResponse>(ApiCall)>;

enum class QueryType : std::uint8_t { kString, kInteger, kNumber, kBoolean };

struct QueryParameter {
  std::string_view name;
  QueryType type = QueryType::kString;
  std::string_view description;
  double minimum = 0;  // Of a number.
  double maximum = 0;
  std::vector<std::string_view> values{};  // Of a string that is one of these.
  std::string_view format{};               // Of a string: JSON Schema's "format".
};

// A route: what is done, and all that the OpenAPI document says of it.
struct ApiRoute {
  enum class Body : std::uint8_t { kNone, kOptional, kRequired };

  std::string_view method;
  std::string_view pattern;
  std::string_view name;     // operationId
  std::string_view summary;  // A sentence.
  Role least = Role::kAgent;
  Body body = Body::kNone;
  std::string_view request{};   // Name of the body's schema (api/schemas.cc).
  std::string_view response{};  // Name of the answer's; empty: not JSON.
  int success = 200;
  int also = 0;                 // Another status of success; 0: none.
  std::vector<int> failures{};  // Beside those that every route has.
  std::vector<QueryParameter> query{};
  std::string_view media = "application/json";
  bool is_public = false;  // Answers without a token.
  ApiHandler handler;
};

// Answers.
HttpResponse JsonResponse(int status, const boost::json::value& value);

// What an error of the core means to a client. `field`: a JSON pointer that the message begins with
// (core/request_json.h) becomes the problem's field.
HttpResponse ProblemOf(const Error& error);

// The same for an error of a run's request, whose message may name an option of the command line.
HttpResponse ProblemOfRun(const Error& error);

}  // namespace bailiff
