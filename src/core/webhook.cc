#include "core/webhook.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/toml.h"

namespace bailiff {
namespace {

constexpr NotifyEvent kEvents[] = {NotifyEvent::kHeld,     NotifyEvent::kCommitted,
                                   NotifyEvent::kFailed,   NotifyEvent::kDenied,
                                   NotifyEvent::kConflict, NotifyEvent::kHealth};
constexpr std::size_t kNameBytesMax = 64;
constexpr std::size_t kUrlBytesMax = 2048;

bool IsName(std::string_view text) {
  const auto fits = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  };
  return !text.empty() && text.size() <= kNameBytesMax &&
         std::all_of(text.begin(), text.end(), fits);
}

bool IsUrl(std::string_view text) {
  const auto prints = [](char c) { return c > ' ' && c < 0x7f; };
  return (text.starts_with("https://") || text.starts_with("http://")) &&
         text.size() <= kUrlBytesMax && std::all_of(text.begin(), text.end(), prints);
}

// One [[webhook]], a key at a time.
class Reader {
 public:
  Reader(std::size_t number, const std::string& path)
      : where_(path + ": webhook " + std::to_string(number) + ": ") {}

  Result<Webhook> Read(const TomlTable& table) {
    bool has_events = false;
    for (const auto& [key, value] : table) {
      TRY(Set(key, value));
      has_events = has_events || key == "events";
    }
    if (hook_.name.empty()) return Bad("name", "is missing");
    if (hook_.url.empty()) return Bad("url", "is missing");
    if (!has_events) hook_.events = {std::begin(kEvents), std::end(kEvents)};
    return std::move(hook_);
  }

 private:
  Error Bad(const std::string& key, const std::string& what) const {
    return Error(ErrorCode::kInvalidArgument, where_ + key + ": " + what);
  }

  Status Set(const std::string& key, const TomlValue& value) {
    if (key == "events") return SetEvents(value);
    const auto* text = value.As<std::string>();
    const bool known = key == "name" || key == "url" || key == "format" || key == "secret_file";
    if (!known) {
      return Bad(key, "is not a known setting; known: name, url, format, events, secret_file");
    }
    if (text == nullptr) return Bad(key, "must be a string");
    if (key == "name") {
      if (!IsName(*text)) {
        return Bad(key, "must be at most 64 letters, digits, '.', '_' and '-'");
      }
      hook_.name = *text;
    } else if (key == "url") {
      if (!IsUrl(*text)) return Bad(key, "must begin with https:// or http://, without spaces");
      hook_.url = *text;
    } else if (key == "format") {
      if (*text != "json" && *text != "slack") return Bad(key, "must be json or slack");
      hook_.format = *text == "slack" ? WebhookFormat::kSlack : WebhookFormat::kJson;
    } else {
      if (!text->starts_with('/')) return Bad(key, "must be an absolute path");
      hook_.secret_file = *text;
    }
    return Ok();
  }

  Status SetEvents(const TomlValue& value) {
    const std::string wanted =
        "must be a list of held, committed, failed, denied, conflict, health";
    const auto* array = value.As<TomlArray>();
    if (array == nullptr) return Bad("events", wanted);
    for (const TomlValue& item : *array) {
      const auto* name = item.As<std::string>();
      const auto* found = std::find_if(std::begin(kEvents), std::end(kEvents), [&](auto event) {
        return name != nullptr && Name(event) == *name;
      });
      if (found == std::end(kEvents)) return Bad("events", wanted);
      hook_.events.insert(*found);
    }
    return Ok();
  }

  std::string where_;
  Webhook hook_;
};

}  // namespace

std::string_view Name(NotifyEvent event) {
  switch (event) {
    case NotifyEvent::kHeld:
      return "held";
    case NotifyEvent::kCommitted:
      return "committed";
    case NotifyEvent::kFailed:
      return "failed";
    case NotifyEvent::kDenied:
      return "denied";
    case NotifyEvent::kConflict:
      return "conflict";
    case NotifyEvent::kHealth:
      return "health";
  }
  CheckFailed("NotifyEvent out of range", __FILE__, __LINE__);
}

Result<std::vector<Webhook>> ParseWebhooks(const TomlValue& value, const std::string& path) {
  const auto* array = value.As<TomlArray>();
  if (array == nullptr || array->size() > kWebhooksMax) {
    return Error(ErrorCode::kInvalidArgument, path + ": webhook: must be at most " +
                                                  std::to_string(kWebhooksMax) +
                                                  " sections that begin with [[webhook]]");
  }
  std::vector<Webhook> hooks;
  for (const TomlValue& item : *array) {
    Reader reader(hooks.size() + 1, path);
    const auto* table = item.As<TomlTable>();
    if (table == nullptr) {
      return Error(ErrorCode::kInvalidArgument, path + ": webhook: must be written [[webhook]]");
    }
    Webhook hook = TRY(reader.Read(*table));
    const bool twice = std::any_of(hooks.begin(), hooks.end(),
                                   [&](const Webhook& other) { return other.name == hook.name; });
    if (twice) {
      return Error(ErrorCode::kInvalidArgument,
                   path + ": webhook: name '" + hook.name + "' is there twice");
    }
    hooks.push_back(std::move(hook));
  }
  return hooks;
}

}  // namespace bailiff
