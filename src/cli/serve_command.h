#pragma once

#include <string>
#include <vector>

#include "cli/session.h"
#include "core/serve_options.h"

namespace bailiff {

struct ServeCommandOptions {
  std::vector<std::string> listen;
  bool no_tcp = false;
  std::string socket;
  std::string certificate;
  std::string key;
  std::vector<std::string> allowed_hosts;
  std::string workers = "0";
  std::string queue = "1000";
  std::string body = "32m";
  std::string on_stop = "finish";
};

int ServeCommand(Session& session, const ServeCommandOptions& options);

}  // namespace bailiff
