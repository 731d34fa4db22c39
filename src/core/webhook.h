#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

// Whom to tell what: the sections [[webhook]] of bailiff.toml.

namespace bailiff {

struct TomlValue;

enum class NotifyEvent : std::uint8_t { kHeld, kCommitted, kFailed, kDenied, kConflict, kHealth };

std::string_view Name(NotifyEvent event);  // "held", "committed", ...

enum class WebhookFormat : std::uint8_t { kJson, kSlack };

struct Webhook {
  std::string name;  // Letters, digits, "." "_" "-"; unique.
  std::string url;   // http:// or https://. Secret: who knows it may post there.
  WebhookFormat format = WebhookFormat::kJson;
  std::set<NotifyEvent> events;  // Without the key: every one.
  std::string secret_file;       // Absolute; has the key that signs. Empty: not signed.
};

inline constexpr std::size_t kWebhooksMax = 32;

// Reads the value of the key "webhook". `path`: the file, for messages.
// Errors: kInvalidArgument; the message names the hook and the key, and says what would be right.
Result<std::vector<Webhook>> ParseWebhooks(const TomlValue& value, const std::string& path);

}  // namespace bailiff
