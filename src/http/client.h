#pragma once

#include <chrono>
#include <string>

#include "base/result.h"
#include "http/message.h"

namespace bailiff {

struct HttpReply {
  int status = 0;
  std::string body;  // Of one longer than 64 KiB, some of its first 64 KiB or nothing.
};

struct PostOptions {
  std::chrono::milliseconds deadline{10'000};  // For everything, name resolution included.
  std::string ca_path = "/etc/ssl/certs/ca-certificates.crt";  // Who may vouch for an https server.
};

// Sends one request to "http[s]://host[:port]/path" and waits for the answer, whatever its status;
// redirects are not followed. The server of an https URL must prove to be its host. Blocks. Safe to
// call on any thread.
// Errors: kInvalidArgument for a URL or a header that is none; kIo: no name, no connection, a
//         certificate that does not fit, no answer that is HTTP, none before the deadline.
Result<HttpReply> Post(const std::string& url, const HttpHeaders& headers, const std::string& body,
                       const PostOptions& options = {});

}  // namespace bailiff
