#include "http/router.h"

#include <algorithm>

#include "base/check.h"
#include "http/problem.h"
#include "http/target.h"

namespace bailiff {
namespace {

// The text between slashes; of "/a/b": "a", "b".
std::vector<std::string_view> Split(std::string_view path) {
  std::vector<std::string_view> parts;
  for (std::size_t start = 1; start <= path.size();) {
    const std::size_t end = std::min(path.find('/', start), path.size());
    parts.push_back(path.substr(start, end - start));
    start = end + 1;
  }
  return parts;
}

}  // namespace

std::vector<Router::Segment> Router::ParsePattern(std::string_view pattern) {
  CHECK(pattern.starts_with('/'));
  std::vector<Segment> segments;
  for (const std::string_view part : Split(pattern)) {
    CHECK(segments.empty() || segments.back().kind != Segment::Kind::kRest);
    if (!part.starts_with('{')) {
      segments.push_back({Segment::Kind::kLiteral, std::string(part)});
      continue;
    }
    const bool is_rest = part.ends_with("*}");
    CHECK(part.ends_with('}') && part.size() > (is_rest ? 3 : 2));
    segments.push_back({is_rest ? Segment::Kind::kRest : Segment::Kind::kOne,
                        std::string(part.substr(1, part.size() - (is_rest ? 3 : 2)))});
  }
  return segments;
}

bool Router::Before(const Entry& one, const Entry& other) {
  return std::lexicographical_compare(
      one.segments.begin(), one.segments.end(), other.segments.begin(), other.segments.end(),
      [](const Segment& a, const Segment& b) { return a.kind < b.kind; });
}

void Router::Add(std::string_view method, std::string_view pattern, HttpHandler handler) {
  auto known = std::find_if(entries_.begin(), entries_.end(),
                            [&](const Entry& entry) { return entry.pattern == pattern; });
  if (known == entries_.end()) {
    Entry entry{std::string(pattern), ParsePattern(pattern), {}};
    const auto place = std::upper_bound(entries_.begin(), entries_.end(), entry, Before);
    known = entries_.insert(place, std::move(entry));
  }
  CHECK(known->handlers.emplace(method, std::move(handler)).second);
}

std::vector<Router::Route> Router::routes() const {
  std::vector<Route> routes;
  for (const Entry& entry : entries_) {
    for (const auto& [method, handler] : entry.handlers) routes.push_back({method, entry.pattern});
  }
  return routes;
}

bool Router::Match(const Entry& entry, const std::vector<std::string>& path,
                   std::map<std::string, std::string>* params) {
  const bool has_rest =
      !entry.segments.empty() && entry.segments.back().kind == Segment::Kind::kRest;
  if (has_rest ? path.size() < entry.segments.size() : path.size() != entry.segments.size()) {
    return false;
  }
  std::map<std::string, std::string> found;
  for (std::size_t i = 0; i < path.size(); ++i) {
    const Segment& segment = entry.segments[std::min(i, entry.segments.size() - 1)];
    if (segment.kind == Segment::Kind::kLiteral) {
      if (path[i] != segment.text) return false;
      continue;
    }
    if (path[i].empty()) return false;
    std::string& value = found[segment.text];
    if (!value.empty()) value += '/';
    value += path[i];
  }
  *params = std::move(found);
  return true;
}

const Router::Entry* Router::Find(HttpRequest* request) const {
  std::vector<std::string> path;
  for (const std::string_view part : Split(request->path)) {
    std::optional<std::string> decoded = PercentDecode(part);
    if (!decoded) return nullptr;
    path.push_back(*std::move(decoded));
  }
  for (const Entry& entry : entries_) {
    if (Match(entry, path, &request->params)) return &entry;
  }
  return nullptr;
}

boost::asio::awaitable<HttpResponse> Router::Handle(HttpRequest request) const {
  const Entry* entry = Find(&request);
  if (entry == nullptr) co_return Problem(404, "not_found", "there is nothing at this path");
  auto handler = entry->handlers.find(request.method);
  if (handler == entry->handlers.end() && request.method == "HEAD") {
    handler = entry->handlers.find("GET");
  }
  if (handler != entry->handlers.end()) {
    HttpResponse response = co_await handler->second(std::move(request));
    co_return response;
  }
  std::string allow = "OPTIONS";
  if (entry->handlers.contains("GET") && !entry->handlers.contains("HEAD")) allow += ", HEAD";
  for (const auto& [method, unused] : entry->handlers) allow += ", " + method;
  HttpResponse response;
  if (request.method == "OPTIONS") {
    response.status = 204;
  } else {
    response = Problem(405, "method_not_allowed", "this path has no such method; it has " + allow);
  }
  response.headers.emplace_back("Allow", allow);
  co_return response;
}

}  // namespace bailiff
