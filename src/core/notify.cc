#include "core/notify.h"

#include <fmt/format.h>

#include <boost/json.hpp>
#include <charconv>
#include <chrono>
#include <optional>
#include <utility>

#include "base/bytes.h"
#include "base/sha256.h"
#include "core/documents.h"
#include "store/outbox.h"

namespace bailiff {
namespace {

namespace json = boost::json;

constexpr std::size_t kReasonsMax = 20;
constexpr std::size_t kReasonBytesMax = 1024;
constexpr std::chrono::hours kAlertPause{1};
// Keys of a payload that Slack's text has in its first line already, or has no use for.
constexpr std::string_view kNotListed[] = {"event",    "time",    "workspace", "id",
                                           "decision", "reasons", "alerts"};

bool IsWanted(const Context& context, NotifyEvent event) {
  for (const Webhook& hook : context.config().webhooks) {
    if (hook.events.contains(event)) return true;
  }
  return false;
}

std::string TimeText(std::int64_t nanos) {
  return FormatTimestamp(WallTime(std::chrono::nanoseconds(nanos)));
}

std::string Cut(const std::string& text) {
  return ToUtf8Lossy(std::string_view(text).substr(0, kReasonBytesMax));
}

Status EnqueueFor(Context& context, const Webhook& hook, NotifyEvent event,
                  const json::object& message) {
  OutboxRow row;
  row.hook = hook.name;
  row.event = Name(event);
  row.body = json::serialize(hook.format == WebhookFormat::kSlack ? ToSlack(message) : message);
  row.created_ns = context.NowNanos();
  row.next_ns = row.created_ns;
  return Enqueue(context.store().connection(), row);
}

std::optional<NotifyEvent> EventFor(ProposalState state) {
  switch (state) {
    case ProposalState::kHeld:
      return NotifyEvent::kHeld;
    case ProposalState::kCommitted:
      return NotifyEvent::kCommitted;
    case ProposalState::kDenied:
      return NotifyEvent::kDenied;
    case ProposalState::kConflict:
    case ProposalState::kNeedsAttention:
      return NotifyEvent::kConflict;
    case ProposalState::kNone:
    case ProposalState::kApproved:
    case ProposalState::kCommitting:
    case ProposalState::kDiscarded:
    case ProposalState::kRejected:
    case ProposalState::kExpired:
    case ProposalState::kRolledBack:
      return std::nullopt;
  }
  CheckFailed("ProposalState out of range", __FILE__, __LINE__);
}

json::value TextOrNull(const std::string& text) {
  return text.empty() ? json::value() : json::value(ToUtf8Lossy(text));
}

json::object Shortened(const Decision& decision) {
  json::object object;
  object["outcome"] = Name(decision.verdict);
  object["rule"] = Cut(decision.rule);
  json::array reasons;
  for (const std::string& reason : decision.reasons) {
    if (reasons.size() == kReasonsMax) break;
    reasons.emplace_back(Cut(reason));
  }
  object["reasons"] = std::move(reasons);
  return object;
}

// "&", "<" and ">" mean something to Slack: links, mentions.
std::string ForSlack(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    if (c == '&') {
      escaped += "&amp;";
    } else if (c == '<') {
      escaped += "&lt;";
    } else if (c == '>') {
      escaped += "&gt;";
    } else {
      escaped += c;
    }
  }
  return escaped;
}

std::string TextOf(const json::value& value) {
  return value.is_string() ? std::string(value.as_string()) : json::serialize(value);
}

std::string TextAt(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  return value == nullptr || value->is_null() ? "" : TextOf(*value);
}

// A line for each item of the array `key` of `object`: the item, or the item's own `inner`.
std::string ItemLines(const json::object& object, std::string_view key, std::string_view inner) {
  std::string text;
  const json::value* items = object.if_contains(key);
  if (items == nullptr || !items->is_array()) return text;
  for (const json::value& item : items->as_array()) {
    const bool nested = item.is_object() && !inner.empty();
    text += "\n- " + ForSlack(nested ? TextAt(item.as_object(), inner) : TextOf(item));
  }
  return text;
}

bool IsListed(std::string_view key, const json::value& value) {
  for (const std::string_view other : kNotListed) {
    if (key == other) return false;
  }
  return !value.is_null();
}

// Whether the last alert of this metric is long enough ago; then this one counts as sent.
Result<bool> MayAlert(Context& context, const std::string& metric) {
  const std::string key = "alerted_" + metric;
  const std::string stored = TRY(context.store().GetMeta(key)).value_or("");
  std::int64_t last_ns = 0;
  (void)std::from_chars(stored.data(), stored.data() + stored.size(), last_ns);  // Else it is 0.
  const std::int64_t now_ns = context.NowNanos();
  const std::int64_t pause_ns = std::chrono::nanoseconds(kAlertPause).count();
  // A clock that was set back must not silence it for longer.
  if (last_ns <= now_ns && now_ns - last_ns < pause_ns) return false;
  TRY(context.store().SetMeta(key, std::to_string(now_ns)));
  return true;
}

}  // namespace

void QueueNotification(Context& context, NotifyEvent event, const json::object& payload) {
  if (!IsWanted(context, event)) return;
  json::object message;
  message["event"] = Name(event);
  message["time"] = TimeText(context.NowNanos());
  message["workspace"] = context.workspace().id();
  for (const auto& [key, value] : payload) message[key] = value;
  for (const Webhook& hook : context.config().webhooks) {
    if (!hook.events.contains(event)) continue;
    const Status queued = EnqueueFor(context, hook, event, message);
    if (queued.ok()) continue;
    const json::object data = {{"hook", hook.name},
                               {"event", Name(event)},
                               {"error", ToUtf8Lossy(queued.error().message())}};
    (void)context.ledger().Append("notification_failed", data);  // See the contract.
  }
}

void NotifyProposal(Context& context, const ProposalRow& row, ProposalState state) {
  const std::optional<NotifyEvent> event = EventFor(state);
  if (!event.has_value() || !IsWanted(context, *event)) return;
  json::object payload;
  payload["id"] = row.id;
  payload["kind"] = Name(row.kind);
  payload["state"] = Name(state);
  payload["case"] = TextOrNull(row.case_name);
  payload["principal"] = TextOrNull(row.created_by);
  payload["decided_by"] = TextOrNull(row.decided_by);
  if (!row.origin.empty()) payload["rolls_back"] = row.origin;
  payload["digest"] = row.digest.empty() ? json::value() : json::value(FormatDigest(row.digest));
  payload["created"] = row.counts.created;
  payload["modified"] = row.counts.modified;
  payload["deleted"] = row.counts.deleted;
  payload["moved"] = row.counts.moved;
  payload["metadata"] = row.counts.metadata;
  payload["bytes_written"] = row.counts.bytes_written;
  const StoredProblems problems = DecodeProblems(row.problems);
  if (problems.decision.has_value()) payload["decision"] = Shortened(*problems.decision);
  QueueNotification(context, *event, payload);
}

void NotifyEnded(Context& context, const json::object& document) {
  const std::string status = TextAt(document, "status");
  if (status == "succeeded" || status == "cancelled") return;
  if (!IsWanted(context, NotifyEvent::kFailed)) return;
  json::object payload;
  payload["id"] = TextAt(document, "execution_id");
  payload["kind"] = Name(ProposalKind::kExecution);
  payload["status"] = status;
  payload["case"] = TextOrNull(TextAt(document, "case_name"));
  payload["principal"] = TextOrNull(TextAt(document, "principal"));
  payload["script_path"] = TextOrNull(TextAt(document, "script_path"));
  for (const std::string_view key : {"exit_code", "signal", "duration_seconds", "error"}) {
    const json::value* value = document.if_contains(key);
    payload[key] = value == nullptr ? json::value() : *value;
  }
  QueueNotification(context, NotifyEvent::kFailed, payload);
}

Result<Health> AlertOnHealth(Context& context) {
  Health health = TRY(CheckHealth(context));
  if (!IsWanted(context, NotifyEvent::kHealth)) return health;
  json::array alerts;
  for (const Alert& alert : health.alerts) {
    if (TRY(MayAlert(context, alert.metric))) alerts.push_back(ToJson(alert));
  }
  if (alerts.empty()) return health;
  json::object payload;
  payload["healthy"] = health.healthy();
  payload["total_executions"] = health.stats.counted.ended;
  payload["failure_count"] = health.stats.failed();
  payload["average_duration"] = health.stats.counted.average_seconds;
  payload["alerts"] = std::move(alerts);
  QueueNotification(context, NotifyEvent::kHealth, payload);
  return health;
}

Result<std::int64_t> LostMessages(Context& context) {
  return LostMessages(context.store().connection());
}

json::object ToSlack(const json::object& payload) {
  std::string text = "Bailiff: " + ForSlack(TextAt(payload, "event"));
  const std::string id = TextAt(payload, "id");
  if (!id.empty()) text += " " + ForSlack(id);
  text += " (" + ForSlack(TextAt(payload, "workspace")) + ")";
  std::string listed;
  for (const auto& [key, value] : payload) {
    if (!IsListed(key, value)) continue;
    listed += (listed.empty() ? "\n" : ", ") + ForSlack(key) + " " + ForSlack(TextOf(value));
  }
  text += listed;
  const json::value* decision = payload.if_contains("decision");
  if (decision != nullptr && decision->is_object()) {
    text += ItemLines(decision->as_object(), "reasons", "");
  }
  text += ItemLines(payload, "alerts", "message");
  return {{"text", text}};
}

}  // namespace bailiff
