#include "http/server.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cerrno>
#include <list>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "http/connection.h"
#include "http/listen.h"
#include "http/problem.h"
#include "http/wire.h"
#include "sys/process.h"

namespace bailiff {
namespace {

namespace asio = boost::asio;

constexpr int kAcceptsAtOnce = 64;  // Before others have their turn.
constexpr std::chrono::milliseconds kNoDescriptorsWait{100};
constexpr std::chrono::milliseconds kSweepPeriodMax{1000};
constexpr std::chrono::milliseconds kSweepPeriodMin{5};
constexpr std::chrono::milliseconds kAbandonTime{1000};

struct Listener {
  ListeningSocket socket;
  bool is_tls = false;
  asio::cancellation_signal cancel;
};

bool IsLoopback(const sockaddr_storage& address) {
  if (address.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
    return (ntohl(v4.sin_addr.s_addr) >> 24) == 127;
  }
  return address.ss_family == AF_INET6 &&
         IN6_IS_ADDR_LOOPBACK(&reinterpret_cast<const sockaddr_in6&>(address).sin6_addr);
}

std::string WithoutPort(const std::string& address) {
  return address.substr(0, address.rfind(':'));
}

std::chrono::milliseconds SweepPeriod(const HttpLimits& limits) {
  const auto shortest = std::min(
      {limits.read_header_time, limits.read_body_time, limits.idle_time, limits.write_time});
  return std::clamp(shortest / 4, kSweepPeriodMin, kSweepPeriodMax);
}

void AllowHosts(const Listener& listener, SiteGuard* guard) {
  if (listener.socket.is_unix) return;
  for (const std::string& host : {std::string("localhost"), std::string("127.0.0.1"),
                                  std::string("[::1]"), WithoutPort(listener.socket.address)}) {
    guard->Allow(host + ":" + std::to_string(listener.socket.port));
    // Clients leave out the port that everybody expects.
    if (listener.socket.port == (listener.is_tls ? 443 : 80)) guard->Allow(host);
  }
}

// At once or not at all: nobody waits for a client that there is no place for.
void TurnAway(const Fd& socket, bool is_tls) {
  if (is_tls) return;
  const HttpResponse full = Problem(503, "server_busy", "too many connections; try again later");
  const std::string bytes = ResponseHead(full, BodyFraming::kLength, false) + full.body;
  (void)::send(socket.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  (void)::shutdown(socket.get(), SHUT_WR);
}

enum class Accepted { kOne, kNone, kNoDescriptors };

}  // namespace

struct HttpServer::State {
  ServerShare share;
  TlsContext tls;
  std::optional<UnixListener> unix_file;
  std::list<Listener> listeners;
  std::set<ClientConnection*> connections;
  std::map<std::string, std::size_t> per_peer;  // Of addresses that have a limit.
  bool is_drained = false;
  // The last member: what still waits in it refers to the others.
  asio::io_context io{1};

  asio::awaitable<void> Accept(Listener* listener);
  Accepted AcceptOne(const Listener& listener, int socket);
  void Welcome(Fd socket, const sockaddr_storage& from, const Listener& listener);
  void Start(std::shared_ptr<ClientConnection> connection, const std::string& counted);
  asio::awaitable<void> Sweep();
  asio::awaitable<void> Drain(std::chrono::milliseconds grace);
};

asio::awaitable<void> HttpServer::State::Accept(Listener* listener) {
  asio::posix::stream_descriptor waiting(io, listener->socket.fd.Release());
  asio::steady_timer timer(io);
  while (!share.stopping) {
    co_await waiting.async_wait(asio::posix::stream_descriptor::wait_read, asio::use_awaitable);
    Accepted accepted = Accepted::kOne;
    for (int i = 0; i < kAcceptsAtOnce && accepted == Accepted::kOne; ++i) {
      accepted = AcceptOne(*listener, waiting.native_handle());
    }
    if (accepted != Accepted::kNoDescriptors) continue;
    timer.expires_after(kNoDescriptorsWait);
    co_await timer.async_wait(asio::use_awaitable);
  }
}

Accepted HttpServer::State::AcceptOne(const Listener& listener, int socket) {
  sockaddr_storage from{};
  socklen_t size = sizeof(from);
  const int raw =
      ::accept4(socket, reinterpret_cast<sockaddr*>(&from), &size, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (raw >= 0) {
    Welcome(Fd(raw), from, listener);
    return Accepted::kOne;
  }
  if (errno == EAGAIN) return Accepted::kNone;
  if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
    share.report(Error::FromErrno(errno, "accept " + listener.socket.address).message());
    return Accepted::kNoDescriptors;
  }
  return Accepted::kOne;  // This client is gone already.
}

void HttpServer::State::Welcome(Fd socket, const sockaddr_storage& from, const Listener& listener) {
  Peer peer;
  peer.is_unix = listener.socket.is_unix;
  peer.address = FormatAddress(from);
  std::string counted;
  if (!peer.is_unix && !IsLoopback(from)) counted = WithoutPort(peer.address);
  const auto of_peer = per_peer.find(counted);
  const bool too_many_of_peer =
      of_peer != per_peer.end() && of_peer->second >= share.limits.connections_per_peer_max;
  if (connections.size() >= share.limits.connections_max || too_many_of_peer) {
    TurnAway(socket, listener.is_tls);
    return;
  }
  if (peer.is_unix) {
    ucred credentials{};
    socklen_t size = sizeof(credentials);
    if (::getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) return;
    peer.uid = credentials.uid;
    peer.address = "unix";
  } else {
    const int on = 1;  // Responses are written whole; one that waits for another only loses time.
    (void)::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  }
  StreamSocket stream(io);
  boost::system::error_code failure;
  const asio::generic::stream_protocol protocol(listener.socket.is_unix ? AF_UNIX : from.ss_family,
                                                0);
  stream.assign(protocol, socket.get(), failure);
  if (failure) {
    share.report("accept " + listener.socket.address + ": " + failure.message());
    return;
  }
  (void)socket.Release();
  auto wire =
      listener.is_tls ? MakeServerWire(std::move(stream), tls) : MakePlainWire(std::move(stream));
  Start(
      std::make_shared<ClientConnection>(std::move(wire), std::move(peer), listener.is_tls, &share),
      counted);
}

void HttpServer::State::Start(std::shared_ptr<ClientConnection> connection,
                              const std::string& counted) {
  connections.insert(connection.get());
  if (!counted.empty()) ++per_peer[counted];
  ClientConnection* running = connection.get();
  // However it ended, there is nobody left to tell.
  auto ended = [this, connection = std::move(connection), counted](const std::exception_ptr&) {
    connections.erase(connection.get());
    const auto count = per_peer.find(counted);
    if (count != per_peer.end() && --count->second == 0) per_peer.erase(count);
    if (share.stopping && connections.empty()) io.stop();
  };
  asio::co_spawn(io, running->Run(),
                 asio::bind_cancellation_slot(running->cancel().slot(), std::move(ended)));
}

asio::awaitable<void> HttpServer::State::Sweep() {
  asio::steady_timer timer(io);
  for (;;) {
    timer.expires_after(SweepPeriod(share.limits));
    co_await timer.async_wait(asio::use_awaitable);
    const auto now = std::chrono::steady_clock::now();
    for (ClientConnection* connection : connections) connection->Sweep(now);
  }
}

asio::awaitable<void> HttpServer::State::Drain(std::chrono::milliseconds grace) {
  share.stopping = true;
  for (Listener& listener : listeners) listener.cancel.emit(asio::cancellation_type::terminal);
  // A connection that ends leaves the set.
  for (ClientConnection* connection : std::set<ClientConnection*>(connections)) connection->Stop();
  asio::steady_timer timer(io);
  if (!connections.empty()) {
    timer.expires_after(grace);
    co_await timer.async_wait(asio::use_awaitable);
    for (ClientConnection* connection : std::set<ClientConnection*>(connections)) {
      connection->cancel().emit(asio::cancellation_type::terminal);
    }
    timer.expires_after(kAbandonTime);
    co_await timer.async_wait(asio::use_awaitable);
  }
  io.stop();
}

HttpServer::HttpServer(std::unique_ptr<State> state) : state_(std::move(state)) {}

HttpServer::~HttpServer() = default;

Result<std::unique_ptr<HttpServer>> HttpServer::Listen(HttpServerOptions options) {
  RaiseDescriptorLimit();
  auto state = std::make_unique<State>();
  state->share.limits = options.limits;
  state->share.report = std::move(options.report);
  if (options.certificate_path.empty() != options.key_path.empty()) {
    return Error(ErrorCode::kInvalidArgument, "TLS needs a certificate and its key");
  }
  const bool has_tls = !options.certificate_path.empty();
  if (has_tls) state->tls = TRY(MakeServerTls(options.certificate_path, options.key_path));
  const auto add = [&](ListeningSocket socket) {
    Listener& listener = state->listeners.emplace_back();
    listener.is_tls = has_tls && !socket.is_unix;
    listener.socket = std::move(socket);
    AllowHosts(listener, &state->share.guard);
  };
  for (const std::string& address : options.listen) add(TRY(ListenTcp(address)));
  for (Fd& fd : options.inherited) add(TRY(AdoptListening(std::move(fd))));
  if (!options.socket_path.empty()) {
    state->unix_file.emplace(TRY(UnixListener::Make(options.socket_path, options.socket_mode)));
    add(state->unix_file->Take());
  }
  if (state->listeners.empty()) {
    return Error(ErrorCode::kInvalidArgument, "the server needs an address to listen at");
  }
  for (std::string& host : options.allowed_hosts) state->share.guard.Allow(std::move(host));
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(state)));
}

void HttpServer::Serve(HttpHandler handler) {
  State* state = state_.get();
  state->share.handler = std::move(handler);
  const auto ended = [](const std::exception_ptr&) {};  // Only the stop ends them.
  for (Listener& listener : state->listeners) {
    asio::co_spawn(state->io, state->Accept(&listener),
                   asio::bind_cancellation_slot(listener.cancel.slot(), ended));
  }
  asio::co_spawn(state->io, state->Sweep(), ended);
  state->io.run();
}

void HttpServer::Stop(std::chrono::milliseconds grace) {
  asio::post(state_->io, [state = state_.get(), grace] {
    if (state->share.stopping) return;
    asio::co_spawn(state->io, state->Drain(grace), [](const std::exception_ptr&) {});
  });
}

asio::io_context& HttpServer::io() {
  return state_->io;
}

std::vector<std::string> HttpServer::addresses() const {
  std::vector<std::string> addresses;
  for (const Listener& listener : state_->listeners) {
    addresses.push_back(listener.socket.address);
  }
  return addresses;
}

}  // namespace bailiff
