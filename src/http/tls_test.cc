#include <gmock/gmock.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <mutex>

#include "http/client.h"
#include "http/http_world_test.h"

namespace bailiff {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;

// As the ledger does in the same program, before anything else uses OpenSSL.
void LeaveOutTables() {
  constexpr std::uint64_t kLeftOut = OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_NO_ADD_ALL_CIPHERS |
                                     OPENSSL_INIT_NO_ADD_ALL_DIGESTS |
                                     OPENSSL_INIT_NO_LOAD_CRYPTO_STRINGS;
  ASSERT_EQ(::OPENSSL_init_crypto(kLeftOut, nullptr), 1);
}

// A certificate that vouches for itself, for localhost and 127.0.0.1.
class TlsTest : public testing::Test {
 protected:
  void SetUp() override {
    LeaveOutTables();
    ASSERT_NE(::mkdtemp(dir_.data()), nullptr);
    EVP_PKEY* key = EVP_RSA_gen(2048U);
    X509* certificate = ::X509_new();
    ::X509_set_version(certificate, 2);
    ::ASN1_INTEGER_set(::X509_get_serialNumber(certificate), 1);
    ::X509_gmtime_adj(::X509_getm_notBefore(certificate), -60);
    ::X509_gmtime_adj(::X509_getm_notAfter(certificate), 3600);
    ::X509_set_pubkey(certificate, key);
    X509_NAME* name = ::X509_get_subject_name(certificate);
    const std::string common = "bailiff test";
    ::X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                                 reinterpret_cast<const unsigned char*>(common.data()),
                                 static_cast<int>(common.size()), -1, 0);
    ::X509_set_issuer_name(certificate, name);
    X509_EXTENSION* names =
        ::X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, "DNS:localhost,IP:127.0.0.1");
    ::X509_add_ext(certificate, names, -1);
    ::X509_EXTENSION_free(names);
    ASSERT_NE(::X509_sign(certificate, key, ::EVP_sha256()), 0);
    std::FILE* file = std::fopen(certificate_path().c_str(), "w");
    ::PEM_write_X509(file, certificate);
    std::fclose(file);
    file = std::fopen(key_path().c_str(), "w");
    ::PEM_write_PrivateKey(file, key, nullptr, nullptr, 0, nullptr, nullptr);
    std::fclose(file);
    ::X509_free(certificate);
    ::EVP_PKEY_free(key);
  }
  void TearDown() override {
    ::unlink(certificate_path().c_str());
    ::unlink(key_path().c_str());
    ::rmdir(dir_.c_str());
  }

  HttpServerOptions Options() const {
    HttpServerOptions options = TestServer::OnLoopback();
    options.certificate_path = certificate_path();
    options.key_path = key_path();
    return options;
  }
  PostOptions Trusting() const {
    PostOptions options;
    options.deadline = kPatience;
    options.ca_path = certificate_path();
    return options;
  }
  std::string certificate_path() const { return dir_ + "/cert.pem"; }
  std::string key_path() const { return dir_ + "/key.pem"; }

  std::string dir_ = "/tmp/tls_test_XXXXXX";
};

// A blocking TLS client of OpenSSL's own.
class TlsClient {
 public:
  TlsClient(const TestServer& server, int max_version)
      : client_(server), context_(::SSL_CTX_new(::TLS_client_method())) {
    SSL_CTX_set_max_proto_version(context_, max_version);
    ::SSL_CTX_set_security_level(context_, 0);
    ssl_ = ::SSL_new(context_);
    ::SSL_set_fd(ssl_, client_.socket().get());
    connected_ = ::SSL_connect(ssl_) == 1;
  }
  ~TlsClient() {
    ::SSL_free(ssl_);
    ::SSL_CTX_free(context_);
  }
  TlsClient(const TlsClient&) = delete;
  TlsClient& operator=(const TlsClient&) = delete;

  bool connected() const { return connected_; }
  void Send(const std::string& bytes) {
    EXPECT_EQ(::SSL_write(ssl_, bytes.data(), static_cast<int>(bytes.size())),
              static_cast<int>(bytes.size()));
  }
  std::string ReadUntil(const std::string& end) {
    std::string read;
    char byte = 0;
    while (!read.ends_with(end) && ::SSL_read(ssl_, &byte, 1) == 1) read += byte;
    return read;
  }

 private:
  TestClient client_;
  SSL_CTX* context_;
  SSL* ssl_ = nullptr;
  bool connected_ = false;
};

TEST_F(TlsTest, ClientsOfTls12And13AreServedOlderOnesAreNot) {
  const TestServer server(
      [](HttpRequest request) {
        EXPECT_TRUE(request.is_tls);
        return Echo(std::move(request));
      },
      Options());
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    TlsClient client(server, version);
    ASSERT_TRUE(client.connected()) << version;
    client.Send(server.Head("GET /x"));
    EXPECT_THAT(client.ReadUntil("GET /x "), HasSubstr("200 OK"));
  }
  const TlsClient old(server, TLS1_1_VERSION);
  EXPECT_FALSE(old.connected());
  EXPECT_EQ(Ask(server, server.Head("GET /")).find("HTTP/1.1"), std::string::npos);
}

TEST_F(TlsTest, AfterAStreamTheConnectionGoesOn) {
  const TestServer server(
      [](HttpRequest request) -> boost::asio::awaitable<HttpResponse> {
        HttpResponse response = co_await Echo(request);
        if (request.path == "/stream") {
          response.stream =
              [left = 2]() mutable -> boost::asio::awaitable<std::optional<std::string>> {
            if (left-- == 0) co_return std::nullopt;
            co_return "piece";
          };
        }
        co_return response;
      },
      Options());
  TlsClient client(server, TLS1_3_VERSION);
  ASSERT_TRUE(client.connected());
  for (int i = 0; i < 50; ++i) {
    client.Send(server.Head("GET /stream") + server.Head("GET /a"));
    EXPECT_THAT(client.ReadUntil("\r\n0\r\n\r\n"), HasSubstr("5\r\npiece\r\n5\r\npiece\r\n"));
    ASSERT_THAT(client.ReadUntil("GET /a "), HasSubstr("200 OK")) << i;
  }
}

TEST_F(TlsTest, ASilentHandshakeTimesOut) {
  HttpServerOptions options = Options();
  options.limits.read_header_time = milliseconds(50);
  const TestServer server(Echo, std::move(options));
  EXPECT_EQ(Ask(server, ""), "");
}

TEST_F(TlsTest, WithoutItsKeyACertificateIsRefused) {
  HttpServerOptions options = Options();
  options.key_path = certificate_path();
  EXPECT_EQ(HttpServer::Listen(std::move(options)).error().code(), ErrorCode::kInvalidArgument);
  options = Options();
  options.key_path = "";
  EXPECT_EQ(HttpServer::Listen(std::move(options)).error().message(),
            "TLS needs a certificate and its key");
}

TEST_F(TlsTest, PostProvesWhomItTalksTo) {
  const TestServer server(Echo, Options());
  const std::string port = std::to_string(server.port());
  for (const std::string host : {"localhost", "127.0.0.1"}) {
    const auto reply = Post("https://" + host + ":" + port + "/hook", {}, "payload", Trusting());
    ASSERT_TRUE(reply.ok()) << reply.error().message();
    EXPECT_EQ(reply.value().status, 200);
    EXPECT_EQ(reply.value().body, "POST /hook payload");
  }
}

TEST_F(TlsTest, PostRefusesACertificateForAnotherNameOrOfNobodyKnown) {
  HttpServerOptions options = Options();
  options.listen = {"0.0.0.0:0"};
  const TestServer server(Echo, std::move(options));
  const std::string port = std::to_string(server.port());
  const auto other = Post("https://127.0.0.2:" + port + "/", {}, "", Trusting());
  ASSERT_FALSE(other.ok());
  EXPECT_THAT(other.error().message(), HasSubstr("TLS: certificate verify failed"));
  PostOptions system;
  system.deadline = kPatience;
  const auto unknown = Post("https://localhost:" + port + "/", {}, "", system);
  ASSERT_FALSE(unknown.ok());
  EXPECT_THAT(unknown.error().message(), HasSubstr("TLS"));
}

TEST(PostTest, SendsWhatItIsGivenAndReturnsAnyStatus) {
  std::mutex mutex;
  HttpRequest seen;
  const TestServer server([&](HttpRequest request) -> boost::asio::awaitable<HttpResponse> {
    HttpResponse response;
    response.status = 302;
    response.headers = {{"Location", "http://127.0.0.1:1/"}};
    response.body = "elsewhere";
    const std::lock_guard lock(mutex);
    seen = std::move(request);
    co_return response;
  });
  const auto reply =
      Post("http://" + server.host() + "/a?b=c", {{"X-Signature", "abc"}}, "{\"x\":1}");
  ASSERT_TRUE(reply.ok()) << reply.error().message();
  EXPECT_EQ(reply.value().status, 302);
  EXPECT_EQ(reply.value().body, "elsewhere");
  const std::lock_guard lock(mutex);
  EXPECT_EQ(seen.method, "POST");
  EXPECT_EQ(seen.path, "/a");
  EXPECT_EQ(seen.body, "{\"x\":1}");
  EXPECT_EQ(*seen.Header("x-signature"), "abc");
}

TEST(PostTest, ALongAnswerIsCutAndAChunkedOneIsRead) {
  const TestServer server([](HttpRequest request) -> boost::asio::awaitable<HttpResponse> {
    HttpResponse response;
    if (request.path == "/whole") {
      response.body = std::string(1000'000, 'x');
      co_return response;
    }
    int count = request.path == "/short" ? 2 : 1000;
    response.stream = [count]() mutable -> boost::asio::awaitable<std::optional<std::string>> {
      if (count-- == 0) co_return std::nullopt;
      co_return std::string(1000, 'y');
    };
    co_return response;
  });
  const auto whole = Post("http://" + server.host() + "/whole", {}, "");
  ASSERT_TRUE(whole.ok()) << whole.error().message();
  EXPECT_EQ(whole.value().status, 200);
  EXPECT_LE(whole.value().body.size(), 65536U);
  const auto chunked = Post("http://" + server.host() + "/long", {}, "");
  ASSERT_TRUE(chunked.ok()) << chunked.error().message();
  EXPECT_EQ(chunked.value().status, 200);
  EXPECT_LE(chunked.value().body.size(), 65536U);
  const auto few = Post("http://" + server.host() + "/short", {}, "");
  ASSERT_TRUE(few.ok()) << few.error().message();
  EXPECT_EQ(few.value().body, std::string(2000, 'y'));
}

// Listens, and says `answer` to whoever comes; nothing, and the connection stays open, for "".
class Canned {
 public:
  explicit Canned(std::string answer) : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    EXPECT_EQ(::listen(socket_.get(), 4), 0);
    thread_ = std::thread([this, answer = std::move(answer)] {
      const int raw = ::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC);
      if (raw < 0) return;
      TestClient client{Fd(raw)};
      (void)client.ReadUntil("\r\n\r\n");
      (void)client.Send(answer);
      if (answer.empty()) (void)client.ReadAll();
    });
  }
  ~Canned() {
    ::shutdown(socket_.get(), SHUT_RDWR);
    thread_.join();
  }
  Canned(const Canned&) = delete;
  Canned& operator=(const Canned&) = delete;

  std::string url() const {
    sockaddr_in address{};
    socklen_t size = sizeof(address);
    EXPECT_EQ(::getsockname(socket_.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
    return "http://127.0.0.1:" + std::to_string(ntohs(address.sin_port)) + "/";
  }

 private:
  Fd socket_;
  std::thread thread_;
};

TEST(PostTest, InterimAnswersAndThoseThatEndWithTheConnectionAreRead) {
  const Canned server(
      "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
      "HTTP/1.0 201 Made\r\n\r\nuntil the end");
  const auto reply = Post(server.url(), {}, "");
  ASSERT_TRUE(reply.ok()) << reply.error().message();
  EXPECT_EQ(reply.value().status, 201);
  EXPECT_EQ(reply.value().body, "until the end");
}

TEST(PostTest, WhatIsNoAnswerIsAnError) {
  for (const std::string answer :
       {"SSH-2.0-OpenSSH\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nX", "HTTP/1.1 100 Continue\r\n\r\n"}) {
    const Canned server(answer);
    const auto reply = Post(server.url(), {}, "");
    ASSERT_FALSE(reply.ok()) << answer;
    EXPECT_EQ(reply.error().code(), ErrorCode::kIo);
    EXPECT_THAT(reply.error().message(), HasSubstr("read"));
  }
  const Canned endless("HTTP/1.1 200 OK\r\nX: " + std::string(100'000, 'x'));
  EXPECT_FALSE(Post(endless.url(), {}, "").ok());
}

TEST(PostTest, TheDeadlineHoldsForAServerThatSaysNothing) {
  const Canned server("");
  PostOptions options;
  options.deadline = milliseconds(50);
  const auto reply = Post(server.url(), {}, "", options);
  ASSERT_FALSE(reply.ok());
  EXPECT_EQ(reply.error().message(), "no answer before the deadline");
}

TEST(PostTest, BadUrlsAndHeadersAreRefused) {
  for (const std::string url :
       {"", "ftp://a/", "a", "http://", "http:///x", "http://u:p@a/", "http://a:0/", "http://a:x/",
        "http://a:70000/", "http://a b/", "http://a/\r\nX: y", "http://a/x#y", "http://[::1/"}) {
    const auto reply = Post(url, {}, "");
    ASSERT_FALSE(reply.ok()) << url;
    EXPECT_EQ(reply.error().code(), ErrorCode::kInvalidArgument) << url;
  }
  for (const auto& header :
       HttpHeaders{{"A", "b\r\nC: d"}, {"A\r\nB", "c"}, {"", "x"}, {"A:", "b"}}) {
    EXPECT_EQ(Post("http://127.0.0.1:1/", {header}, "").error().code(),
              ErrorCode::kInvalidArgument);
  }
  const auto nobody = Post("http://127.0.0.1:1/", {}, "");
  ASSERT_FALSE(nobody.ok());
  EXPECT_THAT(nobody.error().message(), HasSubstr("connect: Connection refused"));
}

}  // namespace
}  // namespace bailiff
