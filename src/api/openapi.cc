#include <boost/json.hpp>
#include <set>
#include <string>

#include "api/api.h"
#include "api/schemas.h"
#include "http/problem.h"

namespace bailiff {
namespace {

namespace json = boost::json;

// No request target has %00.
constexpr const char* kWithoutZero = "^[^\\u0000]*$";

json::object Reference(std::string_view schema) {
  json::object object;
  object["$ref"] = "#/components/schemas/" + std::string(schema);
  return object;
}

json::object Content(std::string_view media, json::value schema) {
  json::object inner;
  inner["schema"] = std::move(schema);
  json::object content;
  content[media] = std::move(inner);
  return content;
}

std::string_view TypeName(QueryType type) {
  switch (type) {
    case QueryType::kString:
      return "string";
    case QueryType::kInteger:
      return "integer";
    case QueryType::kNumber:
      return "number";
    case QueryType::kBoolean:
      return "boolean";
  }
  return "string";
}

json::object QueryToJson(const QueryParameter& parameter) {
  json::object schema;
  schema["type"] = TypeName(parameter.type);
  if (parameter.type == QueryType::kInteger) {
    schema["minimum"] = static_cast<std::int64_t>(parameter.minimum);
    schema["maximum"] = static_cast<std::int64_t>(parameter.maximum);
  } else if (parameter.type == QueryType::kNumber) {
    schema["minimum"] = parameter.minimum;
    schema["maximum"] = parameter.maximum;
  }
  if (parameter.type == QueryType::kString && parameter.values.empty()) {
    schema["pattern"] = kWithoutZero;
  }
  if (!parameter.values.empty()) {
    json::array values;
    for (const std::string_view value : parameter.values) values.emplace_back(value);
    schema["enum"] = std::move(values);
  }
  if (!parameter.format.empty()) schema["format"] = parameter.format;
  json::object object;
  object["name"] = parameter.name;
  object["in"] = "query";
  object["required"] = false;
  object["description"] = parameter.description;
  object["schema"] = std::move(schema);
  return object;
}

// "/v1/executions/{id}/files/{path*}" as OpenAPI writes it, and its parameters.
std::string PathOf(std::string_view pattern, json::array* parameters) {
  std::string path;
  for (std::size_t at = 0; at < pattern.size(); ++at) {
    if (pattern[at] != '{') {
      path += pattern[at];
      continue;
    }
    const std::size_t end = pattern.find('}', at);
    std::string name(pattern.substr(at + 1, end - at - 1));
    const bool rest = name.ends_with('*');
    if (rest) name.pop_back();
    path += "{" + name + "}";
    at = end;
    json::object parameter;
    parameter["name"] = name;
    parameter["in"] = "path";
    parameter["required"] = true;
    json::object schema;
    schema["type"] = "string";
    schema["minLength"] = 1;
    schema["pattern"] = kWithoutZero;
    parameter["schema"] = std::move(schema);
    if (rest) parameter["description"] = "A path; its slashes stand for themselves.";
    parameters->push_back(std::move(parameter));
  }
  return path;
}

json::object HeaderParameter(std::string_view name, std::string_view description) {
  json::object object;
  object["name"] = name;
  object["in"] = "header";
  object["required"] = false;
  object["description"] = description;
  object["schema"] = {
      {"type", "string"}, {"minLength", 1}, {"maxLength", 255}, {"pattern", "^[!-~]+$"}};
  return object;
}

json::object Responses(const ApiRoute& route) {
  json::object success;
  success["description"] = StatusTitle(route.success);
  json::value schema;
  if (!route.response.empty()) {
    schema = Reference(route.response);
  } else {
    json::object text;
    text["type"] = "string";
    schema = std::move(text);
  }
  success["content"] = Content(route.media, schema);
  json::object responses;
  responses[std::to_string(route.success)] = success;
  if (route.also != 0) responses[std::to_string(route.also)] = success;
  if (route.media == "application/octet-stream" && route.name != "getChangedFile") {
    success["description"] = StatusTitle(206);
    responses["206"] = success;
  }
  std::set<int> failures(route.failures.begin(), route.failures.end());
  failures.insert({400, 422});
  if (!route.is_public) failures.insert(401);
  if (route.body != ApiRoute::Body::kNone) failures.insert(415);
  if (route.method == "POST") failures.insert(409);  // With Idempotency-Key.
  for (const int status : failures) {
    json::object problem;
    problem["description"] = StatusTitle(status);
    problem["content"] = Content("application/problem+json", Reference("Problem"));
    responses[std::to_string(status)] = std::move(problem);
  }
  return responses;
}

json::object Operation(const ApiRoute& route, json::array parameters) {
  json::object operation;
  operation["operationId"] = route.name;
  operation["summary"] = route.summary;
  if (route.is_public) {
    operation["security"] = json::array();
  } else {
    operation["description"] =
        "Takes the role " + std::string(Name(route.least)) + ", or a higher one.";
  }
  for (const QueryParameter& parameter : route.query) parameters.push_back(QueryToJson(parameter));
  if (route.method == "POST") {
    parameters.push_back(HeaderParameter(
        "Idempotency-Key", "The same key with the same request is done once, for 24 hours."));
  }
  if (!parameters.empty()) operation["parameters"] = std::move(parameters);
  if (route.body != ApiRoute::Body::kNone) {
    json::object body;
    body["required"] = route.body == ApiRoute::Body::kRequired;
    body["content"] = Content("application/json", Reference(route.request));
    operation["requestBody"] = std::move(body);
  }
  operation["responses"] = Responses(route);
  return operation;
}

}  // namespace

json::object MakeOpenApi(const std::vector<ApiRoute>& routes) {
  json::object document;
  document["openapi"] = "3.1.0";
  document["info"] = {{"title", "Bailiff"},
                      {"version", BAILIFF_VERSION},
                      {"description",
                       "Runs scripts over a copy-on-write view of a workspace; what they change is "
                       "decided by policy or a person, committed, and can be rolled back."}};
  json::object paths;
  for (const ApiRoute& route : routes) {
    json::array parameters;
    const std::string path = PathOf(route.pattern, &parameters);
    std::string method(route.method);
    for (char& c : method) c = static_cast<char>(c - 'A' + 'a');
    if (!paths.contains(path)) paths[path] = json::object();
    paths[path].as_object()[method] = Operation(route, std::move(parameters));
  }
  document["paths"] = std::move(paths);
  json::object components;
  components["schemas"] = Schemas();
  components["securitySchemes"] = {{"bearer", {{"type", "http"}, {"scheme", "bearer"}}},
                                   {"basic", {{"type", "http"}, {"scheme", "basic"}}}};
  document["components"] = std::move(components);
  json::array security;
  security.push_back(json::object{{"bearer", json::array()}});
  security.push_back(json::object{{"basic", json::array()}});
  document["security"] = std::move(security);
  return document;
}

}  // namespace bailiff
