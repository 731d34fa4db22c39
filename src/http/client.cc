#include "http/client.h"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <charconv>
#include <exception>
#include <future>
#include <memory>
#include <optional>
#include <thread>
#include <utility>

#include "http/target.h"
#include "http/wire.h"

namespace bailiff {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using Deadline = std::chrono::steady_clock::time_point;

constexpr std::size_t kBodyBytesMax = 64UL * 1024;
constexpr std::uint32_t kHeadBytesMax = 16U * 1024;
constexpr std::size_t kInterimMax = 8;  // Responses of status 1xx before the real one.

struct Url {
  bool is_tls = false;
  std::string host;       // Without brackets.
  std::string authority;  // As it stands in Host.
  std::string port;
  std::string target;
};

Error BadUrl(const std::string& url) {
  return {ErrorCode::kInvalidArgument,
          "url " + url + ": must be http://host/path or https://host/path, without user or #"};
}

Result<Url> ParseUrl(const std::string& text) {
  Url url;
  std::string_view rest = text;
  if (rest.starts_with("https://")) {
    url.is_tls = true;
  } else if (!rest.starts_with("http://")) {
    return BadUrl(text);
  }
  rest.remove_prefix(url.is_tls ? 8 : 7);
  const std::size_t end = std::min(rest.find_first_of("/?"), rest.size());
  url.authority = rest.substr(0, end);
  url.target = rest.substr(end);
  if (!url.target.starts_with('/')) url.target.insert(0, 1, '/');
  if (!ParseTarget(url.target).ok()) return BadUrl(text);
  url.host = url.authority;
  url.port = url.is_tls ? "443" : "80";
  const std::size_t colon = url.authority.rfind(':');
  const std::size_t bracket = url.authority.rfind(']');
  if (colon != std::string::npos && (bracket == std::string::npos || colon > bracket)) {
    url.host = url.authority.substr(0, colon);
    url.port = url.authority.substr(colon + 1);
  }
  int port = 0;
  const char* port_end = url.port.data() + url.port.size();
  const auto parsed = std::from_chars(url.port.data(), port_end, port);
  const bool is_port =
      parsed.ec == std::errc() && parsed.ptr == port_end && port > 0 && port < 65536;
  if (url.host.starts_with('[') && url.host.ends_with(']')) {
    url.host = url.host.substr(1, url.host.size() - 2);
  }
  const bool is_host =
      !url.host.empty() && std::all_of(url.host.begin(), url.host.end(), [](char c) {
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
               std::string_view("-._:").find(c) != std::string_view::npos;
      });
  if (!is_port || !is_host) return BadUrl(text);
  return url;
}

struct FreeAddresses {
  void operator()(addrinfo* addresses) const { ::freeaddrinfo(addresses); }
};
using Addresses = std::unique_ptr<addrinfo, FreeAddresses>;

Result<Addresses> Resolve(const std::string& host, const std::string& port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int failure = ::getaddrinfo(host.c_str(), port.c_str(), &hints, &found);
  if (failure != 0)
    return Error(ErrorCode::kIo, "resolve " + host + ": " + ::gai_strerror(failure));
  return Addresses(found);
}

Error TooLate() {
  return {ErrorCode::kIo, "no answer before the deadline"};
}

// A name server may take longer than anybody wants to wait, and cannot be interrupted: the thread
// that asks it is left to itself, and ends when the resolver gives up.
Result<Addresses> ResolveBefore(const Url& url, Deadline deadline) {
  using Answer = Result<Addresses>;
  auto asked = std::make_shared<std::promise<Answer>>();
  std::future<Answer> answer = asked->get_future();
  std::thread([asked, host = url.host, port = url.port] {
    asked->set_value(Resolve(host, port));
  }).detach();
  if (answer.wait_until(deadline) != std::future_status::ready) return TooLate();
  return answer.get();
}

Error Failed(const char* step, const boost::system::error_code& failure) {
  return {ErrorCode::kIo, std::string(step) + ": " + failure.message()};
}

bool IsSendable(const HttpHeaders& headers) {
  const auto is_clean = [](const std::string& text) {
    return std::all_of(text.begin(), text.end(),
                       [](char c) { return static_cast<unsigned char>(c) >= ' ' && c != '\x7f'; });
  };
  return std::all_of(headers.begin(), headers.end(), [&](const auto& header) {
    return !header.first.empty() && header.first.find_first_of(": \t") == std::string::npos &&
           is_clean(header.first) && is_clean(header.second);
  });
}

std::string RequestBytes(const Url& url, const HttpHeaders& headers, const std::string& body) {
  std::string bytes = "POST " + url.target + " HTTP/1.1\r\nHost: " + url.authority + "\r\n";
  for (const auto& [name, value] : headers) {
    bytes.append(name).append(": ").append(value).append("\r\n");
  }
  bytes += "Content-Length: " + std::to_string(body.size()) + "\r\nConnection: close\r\n\r\n";
  return bytes + body;
}

using Parser = http::response_parser<http::string_body>;

std::unique_ptr<Parser> NewParser() {
  auto parser = std::make_unique<Parser>();
  parser->header_limit(kHeadBytesMax);
  parser->body_limit(kBodyBytesMax);
  parser->eager(true);
  return parser;
}

asio::awaitable<Result<HttpReply>> ReadReply(Wire* wire) {
  std::string input;
  std::array<char, 4096> piece;
  auto parser = NewParser();
  std::size_t interim = 0;
  boost::system::error_code failure;
  while (!parser->is_done() && failure != http::error::body_limit) {
    const Wire::Transfer transfer = co_await wire->Read(asio::buffer(piece));
    input.append(piece.data(), transfer.size);
    // Without a byte there is nothing that an end could complete.
    if (transfer.failure && parser->got_some()) parser->put_eof(failure);
    if (transfer.failure && !parser->is_done()) co_return Failed("read", transfer.failure);
    failure = {};
    while (!failure && !input.empty() && !parser->is_done()) {
      const std::size_t used = parser->put(asio::buffer(input), failure);
      input.erase(0, used);
      if (parser->is_done() && parser->get().result_int() < 200 && ++interim <= kInterimMax) {
        parser = NewParser();
      }
      if (used == 0) break;
    }
    if (failure == http::error::need_more) failure = {};
    if (failure && failure != http::error::body_limit) co_return Failed("read", failure);
  }
  if (!parser->is_header_done()) co_return Error(ErrorCode::kIo, "read: the answer has no end");
  HttpReply reply;
  reply.status = static_cast<int>(parser->get().result_int());
  reply.body = std::move(parser->get().body());
  co_return reply;
}

asio::awaitable<Result<std::unique_ptr<Wire>>> Connect(const Url* url, const addrinfo* addresses,
                                                       TlsContext tls) {
  const asio::any_io_executor executor = co_await asio::this_coro::executor;
  boost::system::error_code failure;
  for (const addrinfo* next = addresses; next != nullptr; next = next->ai_next) {
    StreamSocket socket(executor);
    const asio::generic::stream_protocol::endpoint endpoint(next->ai_addr, next->ai_addrlen,
                                                            next->ai_protocol);
    co_await socket.async_connect(endpoint, asio::redirect_error(asio::use_awaitable, failure));
    if (failure) continue;
    std::unique_ptr<Wire> wire = url->is_tls ? MakeClientWire(std::move(socket), tls, url->host)
                                             : MakePlainWire(std::move(socket));
    failure = co_await wire->Handshake();
    if (failure) co_return Failed("TLS", failure);
    co_return wire;
  }
  co_return Failed("connect", failure);
}

using Outcome = std::optional<Result<HttpReply>>;

// Not its value, because Asio wants values that can be made of nothing.
asio::awaitable<void> Exchange(const Url* url, const addrinfo* addresses, TlsContext tls,
                               std::string request, Outcome* outcome) {
  Result<std::unique_ptr<Wire>> wire = co_await Connect(url, addresses, std::move(tls));
  if (!wire.ok()) {
    outcome->emplace(std::move(wire).error());
    co_return;
  }
  const boost::system::error_code failure = co_await wire.value()->Write(asio::buffer(request));
  // A server that has seen enough may answer before it has read everything.
  Result<HttpReply> reply = co_await ReadReply(wire.value().get());
  if (!reply.ok() && failure) reply = Failed("write", failure);
  outcome->emplace(std::move(reply));
}

}  // namespace

Result<HttpReply> Post(const std::string& url, const HttpHeaders& headers, const std::string& body,
                       const PostOptions& options) {
  const Deadline deadline = std::chrono::steady_clock::now() + options.deadline;
  const Url parsed = TRY(ParseUrl(url));
  if (!IsSendable(headers)) {
    return Error(ErrorCode::kInvalidArgument, "a header has a control character, or no name");
  }
  TlsContext tls;
  if (parsed.is_tls) tls = TRY(MakeClientTls(options.ca_path));
  const Addresses addresses = TRY(ResolveBefore(parsed, deadline));
  Outcome outcome;
  asio::io_context io(1);
  asio::co_spawn(
      io, Exchange(&parsed, addresses.get(), tls, RequestBytes(parsed, headers, body), &outcome),
      [](const std::exception_ptr&) {});
  io.run_until(deadline);
  if (!outcome) return TooLate();
  return *std::move(outcome);
}

}  // namespace bailiff
