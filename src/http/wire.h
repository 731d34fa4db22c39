#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/system/error_code.hpp>
#include <memory>
#include <string>

#include "base/result.h"

namespace boost::asio::ssl {
class context;
}

namespace bailiff {

using StreamSocket = boost::asio::generic::stream_protocol::socket;

// A connected stream of bytes, with TLS or without. One read and one write may be under way at a
// time. What is under way when the wire is cancelled fails with operation_aborted.
class Wire {
 public:
  struct Transfer {
    boost::system::error_code failure;
    std::size_t size = 0;
  };

  virtual ~Wire() = default;

  // Of TLS; without it, nothing happens.
  virtual boost::asio::awaitable<boost::system::error_code> Handshake() = 0;

  // Waits for at least one byte.
  virtual boost::asio::awaitable<Transfer> Read(boost::asio::mutable_buffer into) = 0;

  // Writes everything.
  virtual boost::asio::awaitable<boost::system::error_code> Write(
      boost::asio::const_buffer bytes) = 0;

  // Tells the other end that this one has said everything, and waits until that one has: closing
  // with bytes unread would take away from the other what was just written. Reads on for at most
  // 1 MiB; the time is the caller's to bound, by Cancel().
  virtual boost::asio::awaitable<void> Finish() = 0;

  virtual StreamSocket& socket() = 0;

  void Cancel();
};

using TlsContext = std::shared_ptr<boost::asio::ssl::context>;

// TLS 1.2 or newer, with a certificate chain and its key in PEM files. Errors: kInvalidArgument.
Result<TlsContext> MakeServerTls(const std::string& certificate_path, const std::string& key_path);

// Trusts the certificates of `ca_path`. Errors: kInvalidArgument.
Result<TlsContext> MakeClientTls(const std::string& ca_path);

std::unique_ptr<Wire> MakePlainWire(StreamSocket socket);
std::unique_ptr<Wire> MakeServerWire(StreamSocket socket, const TlsContext& tls);

// The handshake fails unless the other end proves to be `host`, a name or an address.
std::unique_ptr<Wire> MakeClientWire(StreamSocket socket, const TlsContext& tls,
                                     const std::string& host);

}  // namespace bailiff
