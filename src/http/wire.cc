#include "http/wire.h"

#include <openssl/evp.h>
#include <openssl/ssl.h>

#include <array>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <utility>

namespace bailiff {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;

constexpr std::size_t kDrainBytesMax = 1024UL * 1024;

asio::awaitable<void> FinishSocket(StreamSocket* socket) {
  error_code failure;
  socket->shutdown(asio::socket_base::shutdown_send, failure);
  std::array<char, 4096> unread;
  for (std::size_t total = 0; !failure && total < kDrainBytesMax;) {
    total += co_await socket->async_read_some(asio::buffer(unread),
                                              asio::redirect_error(asio::use_awaitable, failure));
  }
}

template <typename Stream>
asio::awaitable<Wire::Transfer> ReadFrom(Stream* stream, asio::mutable_buffer into) {
  Wire::Transfer transfer;
  transfer.size = co_await stream->async_read_some(
      into, asio::redirect_error(asio::use_awaitable, transfer.failure));
  co_return transfer;
}

template <typename Stream>
asio::awaitable<error_code> WriteTo(Stream* stream, asio::const_buffer bytes) {
  error_code failure;
  co_await asio::async_write(*stream, bytes, asio::redirect_error(asio::use_awaitable, failure));
  co_return failure;
}

class PlainWire : public Wire {
 public:
  explicit PlainWire(StreamSocket socket) : socket_(std::move(socket)) {}

  asio::awaitable<error_code> Handshake() override { co_return error_code(); }
  asio::awaitable<Transfer> Read(asio::mutable_buffer into) override {
    return ReadFrom(&socket_, into);
  }
  asio::awaitable<error_code> Write(asio::const_buffer bytes) override {
    return WriteTo(&socket_, bytes);
  }
  asio::awaitable<void> Finish() override { return FinishSocket(&socket_); }
  StreamSocket& socket() override { return socket_; }

 private:
  StreamSocket socket_;
};

class TlsWire : public Wire {
 public:
  using Stream = asio::ssl::stream<StreamSocket>;

  TlsWire(StreamSocket socket, TlsContext tls, Stream::handshake_type side)
      : tls_(std::move(tls)), stream_(std::move(socket), *tls_), side_(side) {}

  asio::awaitable<error_code> Handshake() override {
    error_code failure;
    co_await stream_.async_handshake(side_, asio::redirect_error(asio::use_awaitable, failure));
    co_return failure;
  }
  asio::awaitable<Transfer> Read(asio::mutable_buffer into) override {
    return ReadFrom(&stream_, into);
  }
  asio::awaitable<error_code> Write(asio::const_buffer bytes) override {
    return WriteTo(&stream_, bytes);
  }
  asio::awaitable<void> Finish() override {
    error_code failure;
    co_await stream_.async_shutdown(asio::redirect_error(asio::use_awaitable, failure));
    co_await FinishSocket(&stream_.next_layer());
  }
  StreamSocket& socket() override { return stream_.next_layer(); }
  Stream& stream() { return stream_; }

 private:
  TlsContext tls_;
  Stream stream_;
  Stream::handshake_type side_;
};

Error BadTls(const std::string& path, const error_code& failure) {
  return {ErrorCode::kInvalidArgument, "TLS: " + path + ": " + failure.message()};
}

TlsContext MakeTls(asio::ssl::context::method method) {
  // Who uses OpenSSL before may have told it to leave out its table of digests, and without one no
  // signature of a certificate can be checked.
  for (const EVP_MD* digest : {::EVP_sha1(), ::EVP_sha256(), ::EVP_sha384(), ::EVP_sha512()}) {
    CHECK(::EVP_add_digest(digest) == 1);
  }
  auto tls = std::make_shared<asio::ssl::context>(method);
  CHECK(::SSL_CTX_set_min_proto_version(tls->native_handle(), TLS1_2_VERSION) == 1);
  tls->set_options(SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  return tls;
}

}  // namespace

void Wire::Cancel() {
  error_code ignored;  // Of a socket that is closed there is nothing to cancel.
  socket().cancel(ignored);
}

Result<TlsContext> MakeServerTls(const std::string& certificate_path, const std::string& key_path) {
  TlsContext tls = MakeTls(asio::ssl::context::tls_server);
  error_code failure;
  tls->use_certificate_chain_file(certificate_path, failure);
  if (failure) return BadTls(certificate_path, failure);
  tls->use_private_key_file(key_path, asio::ssl::context::pem, failure);
  if (failure) return BadTls(key_path, failure);
  return tls;
}

Result<TlsContext> MakeClientTls(const std::string& ca_path) {
  TlsContext tls = MakeTls(asio::ssl::context::tls_client);
  error_code failure;
  tls->load_verify_file(ca_path, failure);
  if (failure) return BadTls(ca_path, failure);
  tls->set_verify_mode(asio::ssl::verify_peer);
  return tls;
}

std::unique_ptr<Wire> MakePlainWire(StreamSocket socket) {
  return std::make_unique<PlainWire>(std::move(socket));
}

std::unique_ptr<Wire> MakeServerWire(StreamSocket socket, const TlsContext& tls) {
  return std::make_unique<TlsWire>(std::move(socket), tls, asio::ssl::stream_base::server);
}

std::unique_ptr<Wire> MakeClientWire(StreamSocket socket, const TlsContext& tls,
                                     const std::string& host) {
  auto wire = std::make_unique<TlsWire>(std::move(socket), tls, asio::ssl::stream_base::client);
  wire->stream().set_verify_callback(asio::ssl::host_name_verification(host));
  error_code not_an_address;
  asio::ip::make_address(host, not_an_address);
  if (not_an_address) {
    // SSL_set_tlsext_host_name(), whose macro has a cast that ours may not have.
    CHECK(::SSL_ctrl(wire->stream().native_handle(), SSL_CTRL_SET_TLSEXT_HOSTNAME,
                     TLSEXT_NAMETYPE_host_name, const_cast<char*>(host.c_str())) == 1);
  }
  return wire;
}

}  // namespace bailiff
