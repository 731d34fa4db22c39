#pragma once

#include <optional>
#include <set>
#include <string>

#include "http/head_check.h"
#include "http/message.h"

namespace bailiff {

// Keeps the web pages of others out: a browser reaches loopback too, with a name that its owner
// points there (Host), or from another site (Origin, Sec-Fetch-Site).
class SiteGuard {
 public:
  // Takes "name:port" as it stands in Host.
  void Allow(std::string host);

  // 421 host_not_allowed for a Host that was not allowed; not asked of a unix socket's client, whom
  // no browser can reach. 403 cross_site for a request that a page of another site made.
  std::optional<Refusal> Refuse(const HttpRequest& request) const;

 private:
  std::set<std::string> hosts_;
};

}  // namespace bailiff
