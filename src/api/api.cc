#include "api/api.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/json.hpp>
#include <charconv>
#include <utility>

#include "api/run_answers.h"
#include "base/bytes.h"
#include "base/sha256.h"
#include "core/permissions.h"
#include "core/strict_json.h"
#include "core/tokens.h"
#include "http/credential.h"
#include "http/problem.h"

namespace bailiff {
namespace {

namespace json = boost::json;
namespace asio = boost::asio;

constexpr std::size_t kKeyBytesMax = 255;
constexpr std::string_view kKeyHeader = "Idempotency-Key";

// The whole of `text` as a number; nothing when it is none, or is out of range.
std::optional<double> NumberFrom(const std::string& text, const QueryParameter& parameter) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = error == std::errc() && end == text.data() + text.size();
  const bool in_range = value >= parameter.minimum && value <= parameter.maximum;  // Not so: NaN.
  if (!whole || !in_range) return std::nullopt;
  if (parameter.type == QueryType::kInteger && text.find_first_not_of("0123456789") != text.npos) {
    return std::nullopt;
  }
  return value;
}

const QueryParameter* FindParameter(const ApiRoute& route, std::string_view name) {
  for (const QueryParameter& parameter : route.query) {
    if (parameter.name == name) return &parameter;
  }
  return nullptr;
}

// What is wrong with the query; nothing when it is as the route says.
std::optional<HttpResponse> CheckQuery(const ApiRoute& route, const HttpRequest& request) {
  const auto wrong = [](std::string_view name, const std::string& what) {
    return Problem(422, "invalid_argument", what, "query:" + ToUtf8Lossy(name));
  };
  std::set<std::string> seen;
  for (const auto& [name, value] : request.query) {
    const QueryParameter* known = FindParameter(route, name);
    if (known == nullptr) {
      std::string names;
      for (const QueryParameter& one : route.query) {
        names += (names.empty() ? "" : ", ") + std::string(one.name);
      }
      return wrong(name, "is not a known query parameter" +
                             (names.empty() ? "; there is none" : "; known: " + names));
    }
    if (!seen.insert(name).second) return wrong(name, "is given twice");
    if (!IsUtf8(value) || value.find('\0') != std::string::npos) {
      return wrong(name, "must be UTF-8 without zero bytes");
    }
    const bool is_number = known->type == QueryType::kInteger || known->type == QueryType::kNumber;
    if (is_number && !NumberFrom(value, *known).has_value()) {
      return wrong(name, fmt::format("must be a {} from {} to {}",
                                     known->type == QueryType::kInteger ? "whole number" : "number",
                                     known->minimum, known->maximum));
    }
    if (known->type == QueryType::kBoolean && value != "true" && value != "false") {
      return wrong(name, "must be true or false");
    }
    const bool listed =
        known->values.empty() ||
        std::find(known->values.begin(), known->values.end(), value) != known->values.end();
    if (!listed) {
      return wrong(name, fmt::format("must be one of {}", fmt::join(known->values, ", ")));
    }
  }
  return std::nullopt;
}

bool IsJson(const HttpRequest& request) {
  const std::string* type = request.Header("Content-Type");
  if (type == nullptr) return false;
  const std::string_view media = std::string_view(*type).substr(0, type->find(';'));
  return SameWord(media.substr(0, media.find_last_not_of(' ') + 1), "application/json");
}

// Reads the body into `call`; what is wrong with it, or nothing.
std::optional<HttpResponse> ReadBody(const ApiRoute& route, ApiCall* call) {
  const std::string& text = call->request.body;
  if (route.body == ApiRoute::Body::kNone) {
    if (text.empty()) return std::nullopt;
    return Problem(422, "invalid_argument", "this route takes no body");
  }
  if (text.empty() && route.body == ApiRoute::Body::kOptional) return std::nullopt;
  if (!IsJson(call->request)) {
    return Problem(415, "not_json", "the body must be JSON, with Content-Type: application/json");
  }
  if (const std::optional<JsonFault> fault = CheckJson(text)) {
    return Problem(400, "malformed_json", fault->message, fault->pointer);
  }
  json::value value = json::parse(text);
  if (!value.is_object()) return Problem(422, "invalid_argument", "the body must be an object");
  call->body = std::move(value.as_object());
  return std::nullopt;
}

bool IsGoodKey(const std::string& key) {
  return !key.empty() && key.size() <= kKeyBytesMax &&
         std::all_of(key.begin(), key.end(), [](char c) { return c > ' ' && c < '\x7f'; });
}

HttpResponse Unauthorized() {
  HttpResponse response =
      Problem(401, "unauthorized",
              "a valid token is needed: 'Authorization: Bearer TOKEN', or as the password of basic "
              "authentication; 'bailiff token create' makes one");
  response.headers.emplace_back("WWW-Authenticate", "Bearer");
  return response;
}

bool Acts(const ApiRoute& route) {
  return route.method == "POST";
}

}  // namespace

Api::Api(ApiParts parts) : parts_(std::move(parts)) {
  for (auto part :
       {ExecutionRoutes, EventRoutes, ProposalRoutes, PlanRoutes, FamiliarRoutes, SystemRoutes}) {
    for (ApiRoute& route : part(&parts_)) routes_.push_back(std::move(route));
  }
  ApiRoute document;
  document.method = "GET";
  document.pattern = "/openapi.json";
  document.name = "getOpenApi";
  document.summary = "This document.";
  document.response = "Object";
  document.handler = [this](ApiCall) -> asio::awaitable<HttpResponse> {
    HttpResponse response;
    response.headers.emplace_back("Content-Type", "application/json");
    response.body = openapi_;
    co_return response;
  };
  routes_.push_back(std::move(document));
  openapi_ = json::serialize(MakeOpenApi(routes_));
  for (const ApiRoute& route : routes_) {
    router_.Add(route.method, route.pattern,
                [this, &route](HttpRequest request) { return Enter(route, std::move(request)); });
  }
}

asio::awaitable<HttpResponse> Api::Enter(const ApiRoute& route, HttpRequest request) {
  ApiCall call;
  if (!route.is_public) {
    std::optional<Actor> actor = co_await WhoIs(request);
    if (!actor.has_value()) co_return Unauthorized();
    call.actor = std::move(*actor);
    const Status allowed = RequireRole(call.actor, route.least, route.name);
    if (!allowed.ok()) {
      co_await TellDenied(call.actor, std::string(route.name), allowed.error().message());
      co_return ProblemOf(allowed.error());
    }
  }
  if (std::optional<HttpResponse> wrong = CheckQuery(route, request)) co_return std::move(*wrong);
  call.request = std::move(request);
  if (std::optional<HttpResponse> wrong = ReadBody(route, &call)) co_return std::move(*wrong);
  if (Acts(route) && call.request.Header(kKeyHeader) != nullptr) {
    co_return co_await Repeatable(route, std::move(call));
  }
  co_return co_await route.handler(std::move(call));
}

// Nothing for a stranger.
asio::awaitable<std::optional<Actor>> Api::WhoIs(const HttpRequest& request) {
  std::optional<std::string> secret = CredentialOf(request);
  const bool is_local =
      request.peer.is_unix && (request.peer.uid == 0 || request.peer.uid == parts_.local_uid);
  if (is_local && request.Header("Authorization") == nullptr) {
    Actor local;
    local.name = fmt::format("local:{}", request.peer.uid);
    local.embedded = true;
    co_return local;
  }
  if (!secret.has_value()) co_return std::nullopt;
  const Actor nobody;
  const auto work = [secret = std::move(*secret)](Context& context) {
    return Authenticate(context, secret);
  };
  Result<Actor> actor = co_await parts_.readers->Run(nobody, work);
  if (!actor.ok()) co_return std::nullopt;
  co_return std::move(actor).value();
}

asio::awaitable<void> Api::TellDenied(Actor actor, std::string action, std::string reason) {
  const auto work = [=](Context& context) {
    RecordDenial(context, {context.principal(), action, "", reason});
    return true;
  };
  co_await parts_.readers->Run(actor, work);
}

// A request with an Idempotency-Key: done once, however often it comes.
asio::awaitable<HttpResponse> Api::Repeatable(const ApiRoute& route, ApiCall call) {
  const std::string key = *call.request.Header(kKeyHeader);
  if (!IsGoodKey(key)) {
    co_return Problem(422, "invalid_argument",
                      fmt::format("must be 1 to {} visible ASCII characters", kKeyBytesMax),
                      "header:Idempotency-Key");
  }
  std::string asked = call.request.method + "\n" + call.request.path + "\n";
  for (const auto& [name, value] : call.request.query) {
    if (name != "wait") asked += fmt::format("{}={}\n", name, value);
  }
  call.key = AnswerKey{call.actor.name, key, Sha256::Of(asked + call.request.body)};
  const std::pair<std::string, std::string> now{call.actor.name, key};
  if (answering_.contains(now)) {
    HttpResponse busy = Problem(409, "in_progress", "a request with this key is being worked on",
                                "header:Idempotency-Key");
    busy.headers.emplace_back("Retry-After", "1");
    co_return busy;
  }
  answering_.insert(now);
  const auto finally = std::shared_ptr<void>(nullptr, [&](void*) { answering_.erase(now); });
  const auto work = [key = *call.key](Context& context) {
    return BeginAnswer(context.store(), key, context.NowNanos());
  };
  Result<std::optional<Answer>> known = co_await parts_.writers->Run(call.actor, work);
  if (!known.ok()) co_return ProblemOf(known.error());
  if (known.value().has_value()) co_return co_await AnswerAgain(std::move(*known.value()), call);

  const AnswerKey answer_key = *call.key;
  const Actor actor = call.actor;
  HttpResponse response = co_await route.handler(std::move(call));
  // A refusal has done nothing, so the same may be tried again; a conflict is an outcome.
  const bool outcome = response.status < 300 || response.status == 409;
  const auto keep = [answer_key, outcome, status = response.status,
                     &response](Context& context) -> Status {
    if (!outcome) return ForgetAnswer(context.store(), answer_key);
    const bool fits = response.body.size() <= kAnswerBytesMax;
    return FinishAnswer(context.store(), answer_key, status, fits ? response.body : "");
  };
  const Status kept = co_await parts_.writers->Run(actor, keep);
  if (!kept.ok()) co_return ProblemOf(kept.error());
  co_return response;
}

asio::awaitable<HttpResponse> Api::AnswerAgain(Answer answer, const ApiCall& call) {
  if (answer.fingerprint != call.key->fingerprint) {
    co_return Problem(422, "idempotency_key_reused",
                      "this key was used for another request; take a new one",
                      "header:Idempotency-Key");
  }
  HttpResponse response;
  if (!answer.resource.empty()) {
    response = co_await ShowExecution(parts_, call.actor, answer.resource, 201);
  } else if (answer.status != 0) {
    response.status = answer.status;
    response.headers.emplace_back(
        "Content-Type", answer.status < 300 ? "application/json" : "application/problem+json");
    response.body = std::move(answer.body);
  } else {
    co_return Problem(409, "outcome_unknown",
                      "the server ended while it worked on this request; look at what it was about "
                      "before asking again with a new key",
                      "header:Idempotency-Key");
  }
  response.headers.emplace_back("Idempotent-Replayed", "true");
  co_return response;
}

}  // namespace bailiff
