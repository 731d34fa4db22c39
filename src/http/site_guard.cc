#include "http/site_guard.h"

#include <algorithm>

namespace bailiff {
namespace {

std::string Lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return text;
}

// Behind a proxy that ends TLS, the page is https where the request is not.
bool IsOwnOrigin(const std::string& origin, const std::string& host, bool is_tls) {
  const std::string lower = Lower(origin);
  return lower == "https://" + host || (!is_tls && lower == "http://" + host);
}

}  // namespace

void SiteGuard::Allow(std::string host) {
  hosts_.insert(Lower(std::move(host)));
}

std::optional<Refusal> SiteGuard::Refuse(const HttpRequest& request) const {
  const std::string* header = request.Header("Host");
  const std::string host = header == nullptr ? "" : Lower(*header);
  if (!request.peer.is_unix && !hosts_.contains(host)) {
    return Refusal{421, "host_not_allowed",
                   "the server does not answer for this Host; allow it in the configuration"};
  }
  for (const auto& [name, value] : request.headers) {
    const bool is_foreign_origin =
        SameWord(name, "Origin") && !IsOwnOrigin(value, host, request.is_tls);
    const bool is_foreign_fetch =
        SameWord(name, "Sec-Fetch-Site") && value != "same-origin" && value != "none";
    if (is_foreign_origin || is_foreign_fetch) {
      return Refusal{403, "cross_site", "requests from pages of other sites are refused"};
    }
  }
  return std::nullopt;
}

}  // namespace bailiff
