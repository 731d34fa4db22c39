#include "http/server.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <stdexcept>

#include "http/http_world_test.h"

namespace bailiff {
namespace {

namespace asio = boost::asio;
using std::chrono::milliseconds;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

// Waits until the test is over, or somebody cancels it.
asio::awaitable<void> Forever() {
  asio::steady_timer timer(co_await asio::this_coro::executor, kPatience);
  co_await timer.async_wait(asio::use_awaitable);
}

TEST(HttpServerTest, RequestsOfOneConnectionAreAnsweredInTurn) {
  const TestServer server(Echo);
  TestClient client(server);
  ASSERT_TRUE(client.Send(server.Head("GET /a") + server.Head("POST /b", "Content-Length: 5\r\n") +
                          "hello" + server.Head("POST /c", "Transfer-Encoding: chunked\r\n") +
                          "3\r\nabc\r\n0\r\n\r\n" + server.Head("GET /d")));
  EXPECT_THAT(client.ReadResponse(), EndsWith("\r\n\r\nGET /a "));
  EXPECT_THAT(client.ReadResponse(), EndsWith("\r\n\r\nPOST /b hello"));
  EXPECT_THAT(client.ReadResponse(), EndsWith("\r\n\r\nPOST /c abc"));
  const std::string last = client.ReadResponse();
  EXPECT_THAT(last, EndsWith("\r\n\r\nGET /d "));
  EXPECT_THAT(last, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(last, HasSubstr("X-Content-Type-Options: nosniff\r\n"));
  EXPECT_THAT(last, HasSubstr("Cache-Control: no-store\r\n"));
  EXPECT_THAT(last, HasSubstr("Connection: keep-alive\r\n"));
  EXPECT_THAT(last, Not(HasSubstr("Server:")));
}

TEST(HttpServerTest, ARefusedRequestEndsTheConnection) {
  const TestServer server(Echo);
  const std::vector<std::pair<std::string, int>> cases = {
      {server.Head("POST /", "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"), 400},
      {server.Head("POST /", "Content-Length: 1\r\nContent-Length: 1\r\n"), 400},
      {server.Head("POST /", "Transfer-Encoding: chunked\r\n") + "zz\r\n", 400},
      {server.Head("GET /", "X: a\r\n b\r\n"), 400},
      {server.Head("GET /", "X: a\n"), 400},
      {server.Head("GET http://" + server.host() + "/"), 400},
      {server.Head("CONNECT /"), 501},
      {server.Head("GET /", "Origin: http://evil.example\r\n"), 403},
      {server.Head("GET /", "Sec-Fetch-Site: cross-site\r\n"), 403},
      {"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421},
      {"GET / HTTP/1.0\r\n\r\n", 421},
      {"GET / HTTP/1.1\r\n\r\n", 400},
      {"GET /\r\n\r\n", 400},
  };
  for (const auto& [bytes, status] : cases) {
    const std::string said = Ask(server, bytes + server.Head("GET /smuggled"));
    EXPECT_EQ(StatusOf(said), status) << bytes;
    EXPECT_THAT(said, HasSubstr("application/problem+json")) << bytes;
    EXPECT_THAT(said, HasSubstr("Connection: close")) << bytes;
    EXPECT_THAT(said, Not(HasSubstr("smuggled"))) << bytes;
    EXPECT_EQ(said.find("HTTP/1.1 ", 1), std::string::npos) << bytes;
  }
}

TEST(HttpServerTest, HostIsTheServersOrOneThatWasAllowed) {
  HttpServerOptions options = TestServer::OnLoopback();
  options.allowed_hosts = {"bailiff.example"};
  const TestServer server(Echo, std::move(options));
  const std::string port = std::to_string(server.port());
  for (const std::string& host : {"127.0.0.1:" + port, "LOCALHOST:" + port, "[::1]:" + port,
                                  std::string("bailiff.example")}) {
    EXPECT_EQ(
        StatusOf(Ask(server, "GET / HTTP/1.1\r\nConnection: close\r\nHost: " + host + "\r\n\r\n")),
        200)
        << host;
  }
  EXPECT_THAT(Ask(server, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
              HasSubstr("host_not_allowed"));
}

TEST(HttpServerTest, OldClientsAreAnsweredOnce) {
  const TestServer server(Echo);
  const std::string said = Ask(
      server, "GET / HTTP/1.0\r\nConnection: keep-alive\r\nHost: " + server.host() + "\r\n\r\n");
  EXPECT_EQ(StatusOf(said), 200);
  EXPECT_THAT(said, HasSubstr("Connection: close"));
}

TEST(HttpServerTest, AnUpgradeIsIgnored) {
  const TestServer server(Echo);
  const std::string said =
      Ask(server, server.Head("GET /", "Connection: close, Upgrade\r\nUpgrade: websocket\r\n"));
  EXPECT_THAT(said, EndsWith("\r\n\r\nGET / "));
}

TEST(HttpServerTest, HeadHasTheLengthButNoBody) {
  const TestServer server(Echo);
  const std::string said = Ask(server, server.Head("HEAD /abc", "Connection: close\r\n"));
  EXPECT_THAT(said, HasSubstr("Content-Length: 10\r\n"));
  EXPECT_THAT(said, EndsWith("\r\n\r\n"));
}

TEST(HttpServerTest, ABodyIsAskedForWhereTheClientWaits) {
  const TestServer server(Echo);
  TestClient client(server);
  ASSERT_TRUE(client.Send(server.Head("POST /", "Expect: 100-continue\r\nContent-Length: 2\r\n")));
  EXPECT_EQ(client.ReadUntil("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  ASSERT_TRUE(client.Send("hi"));
  EXPECT_THAT(client.ReadResponse(), EndsWith("POST / hi"));
}

TEST(HttpServerTest, LargeBodiesGoBothWays) {
  const TestServer server(Echo);
  const std::string body(20UL * 1024 * 1024, 'x');
  TestClient client(server);
  std::thread sender([&] {
    (void)client.Send(server.Head("POST /", "Connection: close\r\nContent-Length: " +
                                                std::to_string(body.size()) + "\r\n") +
                      body);
  });
  const std::string said = client.ReadAll();
  sender.join();
  EXPECT_EQ(StatusOf(said), 200);
  EXPECT_TRUE(said.ends_with("\r\n\r\nPOST / " + body));
}

TEST(HttpServerTest, LimitsAreAnsweredEvenWhereTheClientGoesOnSending) {
  HttpServerOptions options = TestServer::OnLoopback();
  options.limits.body_bytes_max = 1000;
  options.limits.bodies_bytes_max = 500;
  const TestServer server(Echo, std::move(options));
  const std::string large(1000'000, 'x');
  EXPECT_EQ(StatusOf(Ask(server, server.Head("POST /", "Content-Length: 1000000\r\n") + large)),
            413);
  EXPECT_EQ(StatusOf(Ask(server, server.Head("POST /", "Transfer-Encoding: chunked\r\n") +
                                     "f4240\r\n" + large)),
            413);
  EXPECT_EQ(StatusOf(Ask(server, server.Head("GET /" + large.substr(0, 9000)))), 414);
  EXPECT_EQ(StatusOf(Ask(server, server.Head("GET /", "X: " + large + "\r\n"))), 431);
  EXPECT_EQ(StatusOf(Ask(server,
                         server.Head("POST /", "Content-Length: 900\r\n") + large.substr(0, 900))),
            503);
  // What the refused body took was given back.
  EXPECT_EQ(
      StatusOf(Ask(server, server.Head("POST /", "Connection: close\r\nContent-Length: 400\r\n") +
                               large.substr(0, 400))),
      200);
}

TEST(HttpServerTest, SlowClientsAreSentAway) {
  HttpServerOptions options = TestServer::OnLoopback();
  options.limits.read_header_time = milliseconds(60);
  options.limits.read_body_time = milliseconds(60);
  options.limits.idle_time = milliseconds(60);
  const TestServer server(Echo, std::move(options));
  EXPECT_EQ(StatusOf(Ask(server, "GET / HT")), 408);
  EXPECT_EQ(StatusOf(Ask(server, server.Head("POST /", "Content-Length: 5\r\n") + "he")), 408);
  EXPECT_EQ(Ask(server, ""), "");
  // A byte now and then does not win time.
  TestClient client(server);
  std::atomic<bool> ended{false};
  std::thread dripper([&] {
    (void)client.Send("GET /");
    (void)Eventually([&] { return ended.load() || !client.Send("a"); });
  });
  EXPECT_EQ(StatusOf(client.ReadUntil("\r\n\r\n")), 408);
  ended = true;
  dripper.join();
}

TEST(HttpServerTest, AClientThatDoesNotReadIsSentAway) {
  HttpServerOptions options = TestServer::OnLoopback();
  options.limits.write_time = milliseconds(60);
  std::atomic<bool> ended{false};
  const TestServer server(
      [&](HttpRequest) -> asio::awaitable<HttpResponse> {
        HttpResponse response;
        // Destroyed with the response.
        const std::shared_ptr<void> last(nullptr, [&](void*) { ended = true; });
        response.stream = [last]() -> asio::awaitable<std::optional<std::string>> {
          co_return std::string(1024UL * 1024, 'x');
        };
        co_return response;
      },
      std::move(options));
  const TestClient client(server);
  ASSERT_TRUE(client.Send(server.Head("GET /")));
  EXPECT_TRUE(Eventually([&] { return ended.load(); }));
}

TEST(HttpServerTest, WhatAHandlerThrowsIsNotForTheClient) {
  std::string reported;
  HttpServerOptions options = TestServer::OnLoopback();
  options.report = [&](const std::string& what) { reported = what; };
  TestServer server(
      [](const HttpRequest& request) -> asio::awaitable<HttpResponse> {
        if (request.path == "/bad") throw std::runtime_error("secret");
        return Echo(request);
      },
      std::move(options));
  TestClient client(server);
  ASSERT_TRUE(client.Send(server.Head("GET /bad") + server.Head("GET /good")));
  const std::string said = client.ReadResponse();
  EXPECT_EQ(StatusOf(said), 500);
  EXPECT_THAT(said, HasSubstr("\"code\":\"internal\""));
  EXPECT_THAT(said, Not(HasSubstr("secret")));
  EXPECT_EQ(StatusOf(client.ReadResponse()), 200);
  server.Stop(milliseconds(0));
  EXPECT_EQ(reported, "GET /bad: secret");
}

// A stream of three pieces.
asio::awaitable<HttpResponse> ThreePieces(HttpRequest /*request*/) {
  HttpResponse response;
  response.stream = [left = 3]() mutable -> asio::awaitable<std::optional<std::string>> {
    if (left == 0) co_return std::nullopt;
    co_return "piece" + std::to_string(left--);
  };
  co_return response;
}

TEST(HttpServerTest, AStreamIsSentInChunksAndTheConnectionGoesOn) {
  const TestServer server(ThreePieces);
  TestClient client(server);
  // The second request waits in the server while the first one's stream is under way.
  ASSERT_TRUE(client.Send(server.Head("GET /") + server.Head("GET /")));
  for (int i = 0; i < 2; ++i) {
    const std::string said = client.ReadUntil("\r\n0\r\n\r\n");
    EXPECT_THAT(said, HasSubstr("Transfer-Encoding: chunked\r\n"));
    EXPECT_THAT(said, EndsWith("\r\n\r\n6\r\npiece3\r\n6\r\npiece2\r\n6\r\npiece1\r\n0\r\n\r\n"));
  }
  EXPECT_THAT(Ask(server, "GET / HTTP/1.0\r\nHost: " + server.host() + "\r\n\r\n"),
              EndsWith("\r\n\r\npiece3piece2piece1"));
}

// One piece, then silence. `ended` becomes true when the stream is given up.
HttpHandler OnePiece(std::atomic<bool>* ended) {
  return [ended](HttpRequest) -> asio::awaitable<HttpResponse> {
    HttpResponse response;
    const std::shared_ptr<void> last(nullptr, [ended](void*) { *ended = true; });
    response.stream = [first = true,
                       last]() mutable -> asio::awaitable<std::optional<std::string>> {
      if (std::exchange(first, false)) co_return "hello";
      co_await Forever();
      co_return std::nullopt;
    };
    co_return response;
  };
}

TEST(HttpServerTest, AStreamEndsWhenItsClientLeaves) {
  std::atomic<bool> ended{false};
  std::atomic<int> reports{0};
  HttpServerOptions options = TestServer::OnLoopback();
  options.report = [&](const std::string&) { ++reports; };
  const TestServer server(OnePiece(&ended), std::move(options));
  TestClient client(server);
  ASSERT_TRUE(client.Send(server.Head("GET /")));
  EXPECT_THAT(client.ReadUntil("hello\r\n"), EndsWith("5\r\nhello\r\n"));
  EXPECT_FALSE(ended);
  client.Close();
  EXPECT_TRUE(Eventually([&] { return ended.load(); }));
  EXPECT_EQ(reports, 0);
}

TEST(HttpServerTest, StopEndsStreamsWithoutTellingThatTheyAreWhole) {
  std::atomic<bool> ended{false};
  TestServer server(OnePiece(&ended));
  TestClient client(server);
  ASSERT_TRUE(client.Send(server.Head("GET /")));
  (void)client.ReadUntil("hello\r\n");
  const auto start = std::chrono::steady_clock::now();
  server.Stop(kPatience);
  EXPECT_LT(std::chrono::steady_clock::now() - start, kPatience / 2);
  EXPECT_TRUE(ended);
  EXPECT_EQ(client.ReadAll(), "");
}

TEST(HttpServerTest, StopLetsRunningRequestsFinishAndClosesIdleConnections) {
  std::atomic<bool> entered{false};
  std::atomic<bool> may_go{false};
  TestServer server([&](HttpRequest request) -> asio::awaitable<HttpResponse> {
    entered = true;
    asio::steady_timer timer(co_await asio::this_coro::executor);
    while (!may_go) {
      timer.expires_after(milliseconds(1));
      co_await timer.async_wait(asio::use_awaitable);
    }
    HttpResponse response = co_await Echo(std::move(request));
    co_return response;
  });
  TestClient idle(server);
  TestClient busy(server);
  ASSERT_TRUE(busy.Send(server.Head("GET /busy")));
  ASSERT_TRUE(Eventually([&] { return entered.load(); }));
  server.server().Stop(kPatience);
  EXPECT_EQ(idle.ReadAll(), "");
  may_go = true;
  const std::string said = busy.ReadAll();
  EXPECT_THAT(said, EndsWith("GET /busy "));
  EXPECT_THAT(said, HasSubstr("Connection: close"));
}

TEST(HttpServerTest, StopCancelsWhatTakesLongerThanItsGrace) {
  std::atomic<bool> entered{false};
  TestServer server([&](HttpRequest) -> asio::awaitable<HttpResponse> {
    entered = true;
    co_await Forever();
    co_return HttpResponse{};
  });
  TestClient client(server);
  ASSERT_TRUE(client.Send(server.Head("GET /")));
  ASSERT_TRUE(Eventually([&] { return entered.load(); }));
  server.Stop(milliseconds(20));
  EXPECT_EQ(client.ReadAll(), "");
}

TEST(HttpServerTest, AClientThatLeavesWhileItsHandlerRunsDoesNoHarm) {
  std::atomic<int> entered{0};
  std::atomic<bool> may_go{false};
  std::atomic<int> finished{0};
  const TestServer server([&](HttpRequest request) -> asio::awaitable<HttpResponse> {
    ++entered;
    asio::steady_timer timer(co_await asio::this_coro::executor);
    while (!may_go) {
      timer.expires_after(milliseconds(1));
      co_await timer.async_wait(asio::use_awaitable);
    }
    ++finished;
    HttpResponse response = co_await Echo(std::move(request));
    co_return response;
  });
  for (int i = 0; i < 5; ++i) {
    const TestClient client(server);
    ASSERT_TRUE(client.Send(server.Head("GET /")));
    ASSERT_TRUE(Eventually([&] { return entered == i + 1; }));
  }
  may_go = true;
  EXPECT_TRUE(Eventually([&] { return finished == 5; }));
  EXPECT_EQ(StatusOf(Ask(server, server.Head("GET /", "Connection: close\r\n"))), 200);
}

TEST(HttpServerTest, OneConnectionTooManyIsTurnedAway) {
  HttpServerOptions options = TestServer::OnLoopback();
  options.limits.connections_max = 2;
  const TestServer server(Echo, std::move(options));
  TestClient first(server);
  TestClient second(server);
  for (TestClient* client : {&first, &second}) {
    ASSERT_TRUE(client->Send(server.Head("GET /")));
    EXPECT_EQ(StatusOf(client->ReadResponse()), 200);
  }
  EXPECT_THAT(Ask(server, ""), HasSubstr("503 Service Unavailable"));
  first.Close();
  EXPECT_TRUE(Eventually(
      [&] { return StatusOf(Ask(server, server.Head("GET /", "Connection: close\r\n"))) == 200; }));
}

TEST(HttpServerTest, ThousandsOfIdleConnectionsDisturbNobody) {
  HttpServerOptions options = TestServer::OnLoopback();
  const TestServer server(Echo, std::move(options));
  rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  // Both ends of each are in this process.
  const std::size_t count = std::min<std::size_t>(10'000, (limit.rlim_cur - 200) / 2);
  std::vector<TestClient> idle;
  for (std::size_t i = 0; i < count; ++i) idle.emplace_back(server);
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(StatusOf(Ask(server, server.Head("GET /", "Connection: close\r\n"))), 200);
  }
  ASSERT_TRUE(idle.back().Send(server.Head("GET /")));
  EXPECT_EQ(StatusOf(idle.back().ReadResponse()), 200);
}

// Takes all descriptors that this process may have.
class NoDescriptors {
 public:
  NoDescriptors() {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    Fd next(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    rlimit less = before_;
    less.rlim_cur = static_cast<rlim_t>(next.get());
    next = Fd();
    ::setrlimit(RLIMIT_NOFILE, &less);
  }
  ~NoDescriptors() { ::setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
};

TEST(HttpServerTest, WithoutDescriptorsItWaitsForOne) {
  std::atomic<int> reports{0};
  HttpServerOptions options = TestServer::OnLoopback();
  options.report = [&](const std::string& what) {
    EXPECT_THAT(what, HasSubstr("Too many open files"));
    ++reports;
  };
  const TestServer server(Echo, std::move(options));
  TestClient client(server);
  ASSERT_TRUE(client.Send(server.Head("GET /")));
  EXPECT_EQ(StatusOf(client.ReadResponse()), 200);
  TestClient waiting(Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)));
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  ASSERT_EQ(::getpeername(client.socket().get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  {
    const NoDescriptors none;
    ASSERT_EQ(::connect(waiting.socket().get(), reinterpret_cast<const sockaddr*>(&address), size),
              0);
    ASSERT_TRUE(Eventually([&] { return reports >= 2; }));
    ASSERT_TRUE(client.Send(server.Head("GET /")));
    EXPECT_EQ(StatusOf(client.ReadResponse()), 200);
  }
  ASSERT_TRUE(waiting.Send(server.Head("GET /")));
  EXPECT_EQ(StatusOf(waiting.ReadResponse()), 200);
  EXPECT_LT(reports, 100);
}

}  // namespace
}  // namespace bailiff
