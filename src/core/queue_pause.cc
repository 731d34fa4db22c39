#include "core/queue_pause.h"

#include <boost/json.hpp>

#include "core/permissions.h"

namespace bailiff {
namespace {

namespace json = boost::json;

constexpr std::string_view kPausedKey = "queue_paused";  // Empty: it is not.

}  // namespace

Result<std::optional<QueuePause>> PausedBy(Context& context) {
  const std::optional<std::string> stored = TRY(context.store().GetMeta(kPausedKey));
  if (!stored.has_value() || stored->empty()) return std::optional<QueuePause>();
  QueuePause pause;
  boost::system::error_code error;
  const json::value value = json::parse(*stored, error);
  // A pause whose words are damaged is one all the same.
  if (error || !value.is_object()) return std::optional(pause);
  const json::value* by = value.as_object().if_contains("by");
  const json::value* at = value.as_object().if_contains("at");
  if (by != nullptr && by->is_string()) pause.by = by->as_string();
  if (at != nullptr && at->is_int64()) pause.at_ns = at->as_int64();
  return std::optional(pause);
}

Result<bool> PauseQueue(Context& context) {
  TRY(Authorize(context, Role::kReviewer, "queue.pause", "pause the queue"));
  if (TRY(PausedBy(context)).has_value()) return false;
  const json::object pause = {{"by", context.principal()}, {"at", context.NowNanos()}};
  TRY(context.store().SetMeta(kPausedKey, json::serialize(pause)));
  TRY(context.ledger().Append("queue_paused", {{"principal", context.principal()}}));
  return true;
}

Result<bool> ResumeQueue(Context& context) {
  TRY(Authorize(context, Role::kReviewer, "queue.resume", "resume the queue"));
  if (!TRY(PausedBy(context)).has_value()) return false;
  TRY(context.ledger().Append("queue_resumed", {{"principal", context.principal()}}));
  TRY(context.store().SetMeta(kPausedKey, ""));
  return true;
}

}  // namespace bailiff
