#include "http/problem.h"

#include <boost/beast/http/status.hpp>
#include <boost/json.hpp>

#include "base/bytes.h"

namespace bailiff {

std::string_view StatusTitle(int status) {
  namespace http = boost::beast::http;
  const auto title = http::obsolete_reason(http::int_to_status(static_cast<unsigned>(status)));
  return {title.data(), title.size()};
}

HttpResponse Problem(int status, std::string_view code, std::string_view detail,
                     std::string_view field) {
  boost::json::object document;
  document["type"] = "about:blank";
  document["title"] = StatusTitle(status);
  document["status"] = status;
  document["detail"] = ToUtf8Lossy(detail);
  document["code"] = code;
  if (!field.empty()) document["field"] = ToUtf8Lossy(field);
  HttpResponse response;
  response.status = status;
  response.headers.emplace_back("Content-Type", "application/problem+json");
  response.body = boost::json::serialize(document);
  return response;
}

}  // namespace bailiff
