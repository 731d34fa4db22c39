#include "api/call.h"

#include <array>
#include <boost/json.hpp>
#include <utility>

#include "base/bytes.h"
#include "base/check.h"
#include "core/documents.h"
#include "http/problem.h"

namespace bailiff {
namespace {

constexpr const char* kRetrySeconds = "2";

struct Meaning {
  int status;
  std::string_view code;
};

Meaning MeaningOf(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument:
      return {422, "invalid_argument"};
    case ErrorCode::kNotFound:
      return {404, "not_found"};
    case ErrorCode::kConflict:
      return {409, "conflict"};
    case ErrorCode::kPermissionDenied:
      return {403, "permission_denied"};
    case ErrorCode::kResourceExhausted:
      return {429, "resource_exhausted"};
    case ErrorCode::kUnsupported:
      return {501, "unsupported"};
    case ErrorCode::kIo:
      return {500, "io"};
    case ErrorCode::kInternal:
      return {500, "internal"};
  }
  CheckFailed("ErrorCode out of range", __FILE__, __LINE__);
}

struct OptionField {
  std::string_view option;  // As core's messages have it.
  std::string_view field;
};

// Longer ones before those that they begin with.
constexpr auto kOptionFields = std::to_array<OptionField>({
    {"--case", "/case_name"},
    {"--cwd", "/working_dir"},
    {"--memory", "/limits/memory_bytes"},
    {"--scratch", "/limits/scratch_bytes"},
    {"--pids", "/limits/pids"},
    {"--cpus", "/limits/cpus"},
    {"--files", "/limits/files"},
    {"--output", "/limits/output_bytes"},
    {"--environment", "/environment"},
    {"--env", "/env"},
    {"--network", "/network"},
    {"--on-failure", "/on_failure"},
    {"--require", "/require"},
    {"script '-'", "/code"},
    {"script", "/script_path"},
    {"command", "/command"},
});

HttpResponse WithRetry(HttpResponse response) {
  if (response.status == 429 || response.status == 503) {
    response.headers.emplace_back("Retry-After", kRetrySeconds);
  }
  return response;
}

}  // namespace

const std::string* ApiCall::Query(std::string_view name) const {
  const std::string* found = nullptr;
  for (const auto& [given, value] : request.query) {
    if (given == name) found = &value;
  }
  return found;
}

HttpResponse JsonResponse(int status, const boost::json::value& value) {
  HttpResponse response;
  response.status = status;
  response.headers.emplace_back("Content-Type", "application/json");
  response.body = Pretty(value);
  return response;
}

HttpResponse ProblemOf(const Error& error) {
  const Meaning meaning = MeaningOf(error.code());
  const std::string text = ToUtf8Lossy(error.message());
  const std::size_t colon = text.find(": ");
  if (text.starts_with('/') && colon != std::string::npos && meaning.status == 422) {
    return Problem(meaning.status, meaning.code, text.substr(colon + 2), text.substr(0, colon));
  }
  return WithRetry(Problem(meaning.status, meaning.code, text));
}

HttpResponse ProblemOfRun(const Error& error) {
  const std::string& text = error.message();
  const bool internal = error.code() == ErrorCode::kIo || error.code() == ErrorCode::kInternal ||
                        error.code() == ErrorCode::kResourceExhausted;
  if (internal) return ProblemOf(error);
  for (const OptionField& known : kOptionFields) {
    if (!text.starts_with(known.option)) continue;
    const std::string rest = ToUtf8Lossy(text.substr(known.option.size()));
    const std::size_t begin = rest.find_first_not_of(": ");
    const int status =
        error.code() == ErrorCode::kPermissionDenied && known.option == "--network" ? 403 : 422;
    return Problem(status, MeaningOf(error.code()).code,
                   begin == std::string::npos ? rest : rest.substr(begin), known.field);
  }
  if (error.code() == ErrorCode::kPermissionDenied && text.starts_with("/network: ")) {
    return Problem(403, "permission_denied", text.substr(10), "/network");
  }
  return ProblemOf(error);
}

}  // namespace bailiff
