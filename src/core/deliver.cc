#include "core/deliver.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cstring>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/sha256.h"
#include "core/webhook.h"
#include "store/outbox.h"
#include "sys/file.h"

namespace bailiff {
namespace {

constexpr std::size_t kKeyBytesMax = 4096;
constexpr std::size_t kErrorBytesMax = 512;
constexpr int kRequestTimeout = 408;
constexpr int kTooManyRequests = 429;

std::int64_t Nanos(std::chrono::nanoseconds time) {
  return time.count();
}

// The key that `path` has, without the line's end.
Result<std::string> ReadKey(const std::string& path) {
  const Fd file = TRY(OpenPath(path, O_RDONLY | O_NONBLOCK));
  const struct stat st = TRY(Stat(file));
  if (!S_ISREG(st.st_mode) || (st.st_mode & S_IRWXO) != 0) {
    return Error(ErrorCode::kPermissionDenied,
                 path + ": must be a file that others cannot read; chmod o= " + path);
  }
  std::string key = TRY(ReadAll(file, kKeyBytesMax));
  while (key.ends_with('\n') || key.ends_with('\r')) key.pop_back();
  if (key.empty()) return Error(ErrorCode::kInvalidArgument, path + ": has no key in it");
  return key;
}

// In nanoseconds: before the attempt that follows `attempts` that failed.
std::int64_t BackOff(std::int64_t attempts) {
  std::int64_t wait = Nanos(kRetryFirst);
  for (std::int64_t i = 1; i < attempts && wait < Nanos(kRetryLongest); ++i) wait *= 2;
  wait = std::min(wait, Nanos(kRetryLongest));
  std::uint32_t random = 0;
  std::memcpy(&random, RandomBytes(sizeof(random)).data(), sizeof(random));
  return wait + wait / 4 * static_cast<std::int64_t>(random % 1001) / 1000;
}

// What an error says without the URL, which is secret.
std::string WithoutUrl(std::string text, const std::string& url) {
  for (std::size_t at = text.find(url); at != std::string::npos; at = text.find(url, at)) {
    text.replace(at, url.size(), "the hook");
  }
  return ToUtf8Lossy(text.substr(0, kErrorBytesMax));
}

class Round {
 public:
  Round(Context& context, const HookPoster& post, const std::stop_token& stop)
      : context_(context), post_(post), stop_(stop) {}

  Result<Delivered> Go() {
    std::vector<std::string> known;
    for (const Webhook& hook : context_.config().webhooks) {
      known.push_back(hook.name);
      TRY(SendTo(hook));
    }
    for (const OutboxRow& row : TRY(StrayMessages(connection(), known, kOutboxRowsMax))) {
      TRY(GiveUp(row, "the hook is not configured any more"));
    }
    delivered_.next_ns = TRY(NextDue(connection()));
    return delivered_;
  }

 private:
  struct Attempt {
    std::string error;  // Empty: it was sent.
    bool hopeless = false;
  };

  const Connection& connection() const { return context_.store().connection(); }

  Status SendTo(const Webhook& hook) {
    for (const OutboxRow& row :
         TRY(DueMessages(connection(), hook.name, context_.NowNanos(), kRoundPerHook))) {
      if (stop_.stop_requested()) return Ok();
      const Attempt attempt = Send(hook, row);
      if (attempt.error.empty()) {
        TRY(RemoveMessage(connection(), row.seq));
        ++delivered_.sent;
        continue;
      }
      const std::int64_t now_ns = context_.NowNanos();
      if (attempt.hopeless || now_ns - row.created_ns >= Nanos(kGiveUpAfter)) {
        TRY(GiveUp(row, attempt.error));
        continue;
      }
      TRY(DeferMessage(connection(), row.seq, now_ns + BackOff(row.attempts + 1), attempt.error));
      ++delivered_.deferred;
      return Ok();
    }
    return Ok();
  }

  Attempt Send(const Webhook& hook, const OutboxRow& row) {
    HookHeaders headers = {
        {"Content-Type", "application/json"},
        {"User-Agent", "bailiff/" BAILIFF_VERSION},
        {"Bailiff-Event", row.event},
        {"Bailiff-Delivery", context_.workspace().id() + "-" + std::to_string(row.seq)}};
    if (!hook.secret_file.empty()) {
      const Result<std::string> key = ReadKey(hook.secret_file);
      // Nothing goes out unsigned that was to be signed.
      if (!key.ok()) return {WithoutUrl(key.error().message(), hook.url), false};
      const std::int64_t seconds = context_.NowNanos() / Nanos(std::chrono::seconds(1));
      headers.emplace_back("Bailiff-Signature", SignHook(key.value(), seconds, row.body));
    }
    const Result<int> status = post_(hook.url, headers, row.body);
    if (!status.ok()) return {WithoutUrl(status.error().message(), hook.url), false};
    const int code = status.value();
    if (code >= 200 && code < 300) return {};
    const bool later = code == kRequestTimeout || code == kTooManyRequests;
    return {"the receiver answered with status " + std::to_string(code),
            code >= 400 && code < 500 && !later};
  }

  Status GiveUp(const OutboxRow& row, const std::string& why) {
    boost::json::object data;
    data["hook"] = row.hook;
    data["event"] = row.event;
    data["delivery"] = row.seq;
    data["attempts"] = row.attempts + 1;
    data["error"] = why;
    TRY(context_.ledger().Append("notification_failed", data));
    TRY(RemoveMessage(connection(), row.seq));
    ++delivered_.given_up;
    return Ok();
  }

  Context& context_;
  const HookPoster& post_;
  const std::stop_token& stop_;
  Delivered delivered_;
};

}  // namespace

Result<Delivered> DeliverDue(Context& context, const HookPoster& post,
                             const std::stop_token& stop) {
  return Round(context, post, stop).Go();
}

std::string SignHook(std::string_view key, std::int64_t seconds, std::string_view body) {
  const std::string time = std::to_string(seconds);
  const std::string text = time + "." + std::string(body);
  std::string mac(Sha256::kSize, '\0');
  unsigned size = 0;
  const unsigned char* made =
      ::HMAC(::EVP_sha256(), key.data(), static_cast<int>(key.size()),
             reinterpret_cast<const unsigned char*>(text.data()), text.size(),
             reinterpret_cast<unsigned char*>(mac.data()), &size);
  CHECK(made != nullptr && size == mac.size());
  return "t=" + time + ",v1=" + ToHex(mac);
}

}  // namespace bailiff
