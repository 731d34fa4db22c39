#pragma once

#include <string>
#include <vector>

#include "sandbox/spec.h"

namespace bailiff {

// What of the host's root a sandbox sees, found before the plan is made so that the plan is pure.
struct HostLayout {
  struct Link {
    std::string path;    // "/bin"
    std::string target;  // "usr/bin"
    bool operator==(const Link&) const = default;
  };
  struct Bind {
    std::string path;  // "/etc/ssl/certs"
    bool is_directory = false;
    bool operator==(const Bind&) const = default;
  };

  std::vector<Link> links;
  std::vector<Bind> binds;  // Read-only, in an order that has parents first. Without /usr.
  std::string resolv_conf;  // Contents; empty without a network.
  std::string hosts;
};

HostLayout ReadHostLayout(Network network);

}  // namespace bailiff
