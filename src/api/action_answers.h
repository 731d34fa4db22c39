#pragma once

#include <boost/json/object.hpp>
#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "api/call.h"
#include "core/proposals.h"

namespace bailiff {

// How long a request waits for another commit.
inline constexpr std::chrono::milliseconds kWaitLock{30'000};

// What became of an action: done, or a problem of status 409 that has the action's members too.
HttpResponse AnswerTo(const Result<Action>& action);

// A string member of a body; `to` stays as it is when there is none. What is wrong, or nothing.
std::optional<HttpResponse> TakeText(const boost::json::object& body, std::string_view key,
                                     bool required, std::string* to);

}  // namespace bailiff
