#include "http/listen.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "http/http_world_test.h"

namespace bailiff {
namespace {

using std::chrono::milliseconds;

class UnixSocketTest : public testing::Test {
 protected:
  UnixSocketTest() { EXPECT_NE(::mkdtemp(dir_.data()), nullptr); }
  ~UnixSocketTest() override {
    for (const char* name : {"/socket", "/socket.lock"}) ::unlink((dir_ + name).c_str());
    ::rmdir(dir_.c_str());
  }
  HttpServerOptions Options() const {
    HttpServerOptions options;
    options.socket_path = path();
    return options;
  }
  std::string path() const { return dir_ + "/socket"; }

  std::string dir_ = "/tmp/http_test_XXXXXX";
};

TEST_F(UnixSocketTest, PeersAreKnownAndHostIsNotAsked) {
  Peer seen;
  TestServer server(
      [&](HttpRequest request) {
        seen = request.peer;
        return Echo(std::move(request));
      },
      Options());
  struct stat file {};
  ASSERT_EQ(::stat(path().c_str(), &file), 0);
  EXPECT_EQ(file.st_mode & 07777, 0600U);
  TestClient client(path());
  ASSERT_TRUE(client.Send("GET / HTTP/1.1\r\nHost: anything\r\n\r\n"));
  EXPECT_EQ(StatusOf(client.ReadResponse()), 200);
  TestClient foreign(path());
  ASSERT_TRUE(foreign.Send("GET / HTTP/1.1\r\nHost: a\r\nOrigin: http://b\r\n\r\n"));
  EXPECT_EQ(StatusOf(foreign.ReadAll()), 403);
  server.Stop(milliseconds(0));
  EXPECT_TRUE(seen.is_unix);
  EXPECT_EQ(seen.uid, ::getuid());
  EXPECT_EQ(seen.address, "unix");
}

TEST_F(UnixSocketTest, TheFileOfADeadServerIsReplacedAndThatOfALiveOneIsNot) {
  {
    const Fd dead(::socket(AF_UNIX, SOCK_STREAM, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::copy(dir_.begin(), dir_.end(), address.sun_path);
    std::copy_n("/socket", 7, address.sun_path + dir_.size());
    ASSERT_EQ(::bind(dead.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  }
  HttpServerOptions options = Options();
  options.socket_mode = 0666;
  const TestServer server(Echo, std::move(options));
  struct stat file {};
  ASSERT_EQ(::stat(path().c_str(), &file), 0);
  EXPECT_EQ(file.st_mode & 07777, 0666U);
  const auto second = HttpServer::Listen(Options());
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code(), ErrorCode::kConflict);
  EXPECT_EQ(second.error().message(), "listen " + path() + ": a server listens there");
  // Another program's socket has no lock.
  ASSERT_EQ(::unlink((path() + ".lock").c_str()), 0);
  EXPECT_EQ(HttpServer::Listen(Options()).error().code(), ErrorCode::kConflict);
  TestClient client(path());
  ASSERT_TRUE(client.Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
  EXPECT_EQ(StatusOf(client.ReadResponse()), 200);
}

TEST_F(UnixSocketTest, AFileThatIsNoSocketStays) {
  const Fd file(::open(path().c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600));
  EXPECT_EQ(HttpServer::Listen(Options()).error().message(),
            "listen " + path() + ": something else is there");
  EXPECT_EQ(::access(path().c_str(), F_OK), 0);
}

TEST_F(UnixSocketTest, AnInheritedSocketIsServed) {
  const Fd listening(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(::listen(listening.get(), 16), 0);
  HttpServerOptions options;
  options.inherited.emplace_back(::dup(listening.get()));
  const TestServer server(Echo, std::move(options));
  EXPECT_EQ(StatusOf(Ask(server, server.Head("GET /", "Connection: close\r\n"))), 200);

  HttpServerOptions wrong;
  wrong.inherited.emplace_back(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  EXPECT_EQ(HttpServer::Listen(std::move(wrong)).error().code(), ErrorCode::kInvalidArgument);
}

TEST(HttpListenTest, AddressesThatAreNoneAreRefused) {
  for (const std::string address :
       {"", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536", "127.0.0.1:-1",
        "example.org:80", "::1:80", "[::1]", "[::1:80"}) {
    HttpServerOptions options;
    options.listen = {address};
    const auto server = HttpServer::Listen(std::move(options));
    ASSERT_FALSE(server.ok()) << address;
    EXPECT_EQ(server.error().code(), ErrorCode::kInvalidArgument) << address;
  }
  EXPECT_FALSE(HttpServer::Listen({}).ok());
}

TEST(HttpListenTest, ATakenPortIsAConflict) {
  const TestServer server(Echo);
  HttpServerOptions options;
  options.listen = {server.host()};
  const auto second = HttpServer::Listen(std::move(options));
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code(), ErrorCode::kConflict);
}

}  // namespace
}  // namespace bailiff
