// The least that Asio can do for HTTP: every request, whatever it says, gets one fixed answer.
// Serves on 127.0.0.1 and a port that it prints, until it is killed.
// usage: bench_echo

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <cstdio>
#include <exception>
#include <string>
#include <string_view>
#include <utility>

namespace {

namespace asio = boost::asio;
using asio::ip::tcp;

constexpr std::size_t kRequestBytesMax = 16UL * 1024;
// Of the size and shape of the server's answer to GET /health.
constexpr std::string_view kAnswer =
    "HTTP/1.1 200 OK\r\n"
    "Content-Type: application/json\r\n"
    "X-Content-Type-Options: nosniff\r\n"
    "Cache-Control: no-store\r\n"
    "Content-Length: 26\r\n"
    "Connection: keep-alive\r\n\r\n"
    "{\n  \"status\": \"healthy\"\n}\n";

asio::awaitable<void> Converse(tcp::socket socket) {
  std::string request;
  try {
    for (;;) {
      const std::size_t head =
          co_await asio::async_read_until(socket, asio::dynamic_buffer(request, kRequestBytesMax),
                                          std::string_view("\r\n\r\n"), asio::use_awaitable);
      request.erase(0, head);
      co_await asio::async_write(socket, asio::buffer(kAnswer), asio::use_awaitable);
    }
  } catch (const boost::system::system_error&) {
    // The client has gone.
  }
}

asio::awaitable<void> Listen(tcp::acceptor acceptor) {
  for (;;) {
    tcp::socket socket = co_await acceptor.async_accept(asio::use_awaitable);
    socket.set_option(tcp::no_delay(true));
    asio::co_spawn(acceptor.get_executor(), Converse(std::move(socket)), asio::detached);
  }
}

}  // namespace

int main() {
  try {
    asio::io_context io(1);
    tcp::acceptor acceptor(io, {asio::ip::address_v4::loopback(), 0});
    std::printf("%d\n", acceptor.local_endpoint().port());
    (void)std::fflush(stdout);
    asio::co_spawn(io, Listen(std::move(acceptor)), asio::detached);
    io.run();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_echo: %s\n", error.what());
    return 1;
  }
}
