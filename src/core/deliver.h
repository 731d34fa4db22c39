#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "core/context.h"

// Sends what lies in the outbox.

namespace bailiff {

// Sends one POST request and returns the status of its answer, within some seconds.
using HookHeaders = std::vector<std::pair<std::string, std::string>>;
using HookPoster = std::function<Result<int>(const std::string& url, const HookHeaders& headers,
                                             const std::string& body)>;

// After an attempt that failed the next one follows in 10 s, then in twice the time, up to an hour,
// each with up to a quarter more at random; a message that is a day old is given up.
inline constexpr std::chrono::seconds kRetryFirst{10};
inline constexpr std::chrono::hours kRetryLongest{1};
inline constexpr std::chrono::hours kGiveUpAfter{24};
inline constexpr std::int64_t kRoundPerHook = 100;  // Messages sent in one round.

struct Delivered {
  std::int64_t sent = 0;
  std::int64_t deferred = 0;
  std::int64_t given_up = 0;
  std::optional<std::int64_t> next_ns;  // When the next message is due; nothing: there is none.
};

// Sends every message that is due, in order, to each hook until one fails; the rest of that hook's
// wait for the next round. An answer 2xx ends a message. 4xx, but for 408 and 429, and a hook that
// is not configured any more give it up, which the ledger notes ("notification_failed").
//
// A message is sent again where this process dies before it has noted the answer: receivers know it
// by its Bailiff-Delivery. Only one thread of one process is to call this for a workspace.
//
// After a request to stop no further message is sent; they stay due.
//
// Errors: those of the database; never those of a receiver.
Result<Delivered> DeliverDue(Context& context, const HookPoster& post,
                             const std::stop_token& stop = {});

// The value of Bailiff-Signature: "t=<seconds>,v1=<hex>", HMAC-SHA256 over "<seconds>.<body>".
std::string SignHook(std::string_view key, std::int64_t seconds, std::string_view body);

}  // namespace bailiff
