#pragma once

#include <sys/types.h>

#include <boost/asio/awaitable.hpp>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bailiff {

// Who is at the other end of a connection.
struct Peer {
  bool is_unix = false;
  uid_t uid = 0;        // Of a unix socket's peer, as the kernel says; 0 says nothing on TCP.
  std::string address;  // "127.0.0.1:5123", "[::1]:5123" or "unix".
};

using HttpHeaders = std::vector<std::pair<std::string, std::string>>;

// The value of the first header of this name, in any case; nullptr when there is none.
const std::string* FindHeader(const HttpHeaders& headers, std::string_view name);

// Whether two header names, or other ASCII words, are the same but for case.
bool SameWord(std::string_view one, std::string_view other);

struct HttpRequest {
  std::string method;  // "GET"; an unknown one as it came.
  std::string path;    // As it came: "/v1/x%20y". Sound: see ParseTarget().
  std::vector<std::pair<std::string, std::string>> query;  // Decoded, in order.
  std::map<std::string, std::string> params;  // Of the path, decoded; the router fills them in.
  HttpHeaders headers;                        // As they came, without those of a trailer.
  std::string body;
  Peer peer;
  bool is_tls = false;

  const std::string* Header(std::string_view name) const { return FindHeader(headers, name); }
};

// A long body: the next piece, nothing at its end. It runs on the server's thread. When the client
// is gone or the server stops, what it awaits is cancelled and it is not called again.
using BodyStream = std::function<boost::asio::awaitable<std::optional<std::string>>()>;

struct HttpResponse {
  int status = 200;
  // Without those that frame the message (Content-Length, Transfer-Encoding, Connection): they are
  // the server's, which leaves out what is given here. Control characters become spaces.
  HttpHeaders headers;
  std::string body;
  BodyStream stream;  // Where it is set, `body` is unused; each piece is sent at once.
};

// Runs on the server's thread: what takes long belongs onto another one. What it throws becomes a
// problem of status 500.
using HttpHandler = std::function<boost::asio::awaitable<HttpResponse>(HttpRequest)>;

}  // namespace bailiff
