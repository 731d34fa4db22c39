#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <cstdint>
#include <string_view>

#include "api/api.h"
#include "base/result.h"

// What the parts of the route table have in common.

namespace bailiff {

// The handler of a route, from a function that takes what the routes work with.
ApiHandler HandlerOf(ApiParts* parts,
                     boost::asio::awaitable<HttpResponse> (*handle)(ApiParts*, ApiCall));

// The value of a query parameter, which was checked against the route; `otherwise` without one.
double NumberOf(const ApiCall& call, std::string_view name, double otherwise);
std::int64_t IntegerOf(const ApiCall& call, std::string_view name, std::int64_t otherwise);

// Of a list that is given out in pages: what it takes, and what it answers. `next`: where the next
// page begins; 0: this is the last.
inline constexpr std::int64_t kPageDefault = 50;
QueryParameter CursorParameter();
QueryParameter LimitParameter();
HttpResponse PageResponse(std::string_view key, boost::json::array documents, std::int64_t next);

// The document with status 200, or the problem.
HttpResponse AnswerWith(const Result<boost::json::object>& document);

}  // namespace bailiff
