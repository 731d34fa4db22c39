#pragma once

#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <optional>
#include <string>

#include "api/api.h"

namespace bailiff {

// Has what the body of `call` asks for (core/request_json.h) run as execution `id`, a new one, and
// waits for its end for as long as `wait`. Nothing is returned before it is in ledger and database.
// A refusal, where it was not accepted. `call` outlives the answer.
boost::asio::awaitable<std::optional<HttpResponse>> SubmitRun(ApiParts* parts, const ApiCall* call,
                                                              std::string id,
                                                              std::chrono::milliseconds wait);

}  // namespace bailiff
