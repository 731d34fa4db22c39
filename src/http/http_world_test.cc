#include "http/http_world_test.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace bailiff {

bool Eventually(const std::function<bool()>& condition) {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    ::poll(nullptr, 0, 2);
  }
  return true;
}

boost::asio::awaitable<HttpResponse> Echo(HttpRequest request) {
  HttpResponse response;
  response.headers.emplace_back("Content-Type", "text/plain");
  response.body = request.method + " " + request.path + " " + request.body;
  co_return response;
}

HttpServerOptions TestServer::OnLoopback() {
  HttpServerOptions options;
  options.listen = {"127.0.0.1:0"};
  return options;
}

TestServer::TestServer(HttpHandler handler, HttpServerOptions options) {
  Result<std::unique_ptr<HttpServer>> server = HttpServer::Listen(std::move(options));
  if (!server.ok()) ADD_FAILURE() << server.error().message();
  server_ = std::move(server).value();
  const std::string address = server_->addresses().front();
  if (address.find(':') != std::string::npos)
    port_ = std::stoi(address.substr(address.rfind(':') + 1));
  thread_ = std::thread([this, handler = std::move(handler)] { server_->Serve(handler); });
}

TestServer::~TestServer() {
  Stop(std::chrono::milliseconds(0));
}

void TestServer::Stop(std::chrono::milliseconds grace) {
  if (!thread_.joinable()) return;
  server_->Stop(grace);
  thread_.join();
}

std::string TestServer::Head(std::string_view start, std::string_view headers) const {
  return std::string(start) + " HTTP/1.1\r\nHost: " + host() + "\r\n" + std::string(headers) +
         "\r\n";
}

TestClient::TestClient(const TestServer& server)
    : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(server.port()));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(::connect(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)),
            0);
}

TestClient::TestClient(const std::string& socket_path)
    : socket_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::copy(socket_path.begin(), socket_path.end(), address.sun_path);
  EXPECT_EQ(::connect(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)),
            0);
}

bool TestClient::Send(std::string_view bytes) const {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

void TestClient::EndSending() const {
  ::shutdown(socket_.get(), SHUT_WR);
}

bool TestClient::Receive() {
  pollfd ready{socket_.get(), POLLIN, 0};
  const auto patience = std::chrono::duration_cast<std::chrono::milliseconds>(kPatience).count();
  if (::poll(&ready, 1, static_cast<int>(patience)) != 1) {
    ADD_FAILURE() << "the server says nothing; so far: " << input_.substr(0, 1000);
    return false;
  }
  std::array<char, 65536> piece;
  const ssize_t got = ::recv(socket_.get(), piece.data(), piece.size(), 0);
  if (got > 0) input_.append(piece.data(), static_cast<std::size_t>(got));
  return got > 0;
}

std::string TestClient::ReadAll() {
  while (Receive()) {
  }
  return std::exchange(input_, "");
}

std::string TestClient::ReadUntil(std::string_view end) {
  while (input_.find(end) == std::string::npos && Receive()) {
  }
  const std::size_t size = std::min(input_.find(end), input_.size() - end.size()) + end.size();
  std::string read = input_.substr(0, size);
  input_.erase(0, size);
  return read;
}

std::string TestClient::ReadResponse() {
  std::string response = ReadUntil("\r\n\r\n");
  const std::string name = "Content-Length: ";
  const std::size_t at = response.find(name);
  if (at == std::string::npos) return response;
  const std::size_t size = std::stoul(response.substr(at + name.size()));
  while (input_.size() < size && Receive()) {
  }
  response += input_.substr(0, size);
  input_.erase(0, size);
  return response;
}

std::string Ask(const TestServer& server, std::string_view bytes) {
  TestClient client(server);
  (void)client.Send(bytes);  // It may refuse before it has everything.
  return client.ReadAll();
}

int StatusOf(std::string_view response) {
  if (!response.starts_with("HTTP/1.1 ")) return 0;
  return std::stoi(std::string(response.substr(9, 3)));
}

}  // namespace bailiff
