#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "http/message.h"

namespace bailiff {

// From method and path to a handler. What was not added is 404; a known path with another method is
// 405 with Allow. HEAD goes to GET's handler (the server sends no body), OPTIONS is answered with
// Allow.
class Router {
 public:
  struct Route {
    std::string method;
    std::string pattern;
  };

  // A pattern: "/v1/executions/{id}/files/{path*}". A {name} stands for one segment that is not
  // empty; a {name*}, last, for one or more. Where several patterns match, literal text comes
  // before a {name}, and that before a {name*}, segment by segment. CHECK-fails for a pattern that
  // is none, and for a second handler of one method and pattern.
  void Add(std::string_view method, std::string_view pattern, HttpHandler handler);

  // Every route that was added, most specific first.
  std::vector<Route> routes() const;

  // The router must outlive the answer.
  boost::asio::awaitable<HttpResponse> Handle(HttpRequest request) const;

 private:
  struct Segment {
    enum class Kind { kLiteral, kOne, kRest };
    Kind kind = Kind::kLiteral;
    std::string text;  // The literal, or the name.
  };
  struct Entry {
    std::string pattern;
    std::vector<Segment> segments;
    std::map<std::string, HttpHandler, std::less<>> handlers;  // By method.
  };

  static std::vector<Segment> ParsePattern(std::string_view pattern);
  static bool Before(const Entry& one, const Entry& other);
  static bool Match(const Entry& entry, const std::vector<std::string>& path,
                    std::map<std::string, std::string>* params);
  const Entry* Find(HttpRequest* request) const;

  std::vector<Entry> entries_;  // Most specific first.
};

}  // namespace bailiff
