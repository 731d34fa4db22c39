#include "http/connection.h"

#include <algorithm>
#include <boost/asio/error.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/system_error.hpp>
#include <exception>
#include <utility>

#include "http/problem.h"

namespace bailiff {
namespace {

namespace asio = boost::asio;

constexpr std::size_t kHeadPiece = 4UL * 1024;
constexpr std::size_t kBodyPiece = 64UL * 1024;
constexpr std::size_t kWritePiece = 256UL * 1024;
constexpr std::size_t kInlineBodyMax = 64UL * 1024;  // Goes out with the head, in one call.
constexpr std::size_t kReadAheadMax = 64UL * 1024;   // Of a client whose stream is under way.
constexpr std::chrono::milliseconds kFinishTime{1000};

Refusal TooSlow(const char* what) {
  return {408, "request_timeout", std::string(what) + " took too long to arrive"};
}

}  // namespace

// The part of one request's body in what all bodies may take together.
class ClientConnection::Budget {
 public:
  explicit Budget(ServerShare* share) : share_(share) {}
  Budget(const Budget&) = delete;
  Budget& operator=(const Budget&) = delete;
  ~Budget() { share_->bodies_bytes -= bytes_; }

  bool Grow(std::size_t bytes) {
    share_->bodies_bytes += bytes - bytes_;
    bytes_ = bytes;
    return share_->bodies_bytes <= share_->limits.bodies_bytes_max;
  }

 private:
  ServerShare* share_;
  std::size_t bytes_ = 0;
};

ClientConnection::ClientConnection(std::unique_ptr<Wire> wire, Peer peer, bool is_tls,
                                   ServerShare* share)
    : wire_(std::move(wire)), peer_(std::move(peer)), is_tls_(is_tls), share_(share) {}

void ClientConnection::SetDeadline(std::chrono::milliseconds time) {
  deadline_ = std::chrono::steady_clock::now() + time;
}

void ClientConnection::Sweep(Time now) {
  if (now >= deadline_) wire_->Cancel();
}

void ClientConnection::Stop() {
  if (phase_ != Phase::kRequest) cancel_.emit(asio::cancellation_type::terminal);
}

asio::awaitable<void> ClientConnection::Run() {
  SetDeadline(share_->limits.read_header_time);
  const boost::system::error_code failure = co_await wire_->Handshake();
  if (failure) co_return;
  while (co_await ServeOne()) {
  }
  if (gone_) co_return;
  SetDeadline(kFinishTime);
  co_await wire_->Finish();
}

asio::awaitable<bool> ClientConnection::ServeOne() {
  RequestParser parser(share_->limits);
  Budget budget(share_);
  std::optional<Refusal> refusal = co_await ReadHead(&parser);
  if (gone_) co_return false;
  if (!refusal) {
    parser.request().peer = peer_;
    parser.request().is_tls = is_tls_;
    refusal = share_->guard.Refuse(parser.request());
  }
  if (!refusal) refusal = co_await ReadBody(&parser, &budget);
  if (gone_) co_return false;
  const bool is_head = parser.request().method == "HEAD";
  if (refusal) {
    HttpResponse problem = Problem(refusal->status, refusal->code, refusal->detail);
    co_await Send(std::move(problem), is_head, false, false);
    co_return false;
  }
  deadline_ = Time::max();  // How long a handler may take is its own business.
  HttpResponse response = co_await Answer(parser.Take());
  const bool keep = parser.keep_alive() && !parser.is_old() && !share_->stopping;
  const bool sent = co_await Send(std::move(response), is_head, parser.is_old(), keep);
  co_return sent&& keep;
}

asio::awaitable<std::optional<Refusal>> ClientConnection::ReadHead(RequestParser* parser) {
  phase_ = Phase::kIdle;
  SetDeadline(share_->limits.idle_time);
  for (;;) {
    if (!input_.empty()) {
      if (phase_ == Phase::kIdle) SetDeadline(share_->limits.read_header_time);
      phase_ = Phase::kRequest;
      std::optional<Refusal> refusal = parser->FeedHead(&input_);
      if (refusal || parser->head_done()) co_return refusal;
    }
    bool more = phase_ == Phase::kRequest || !share_->stopping;
    if (more) more = co_await ReadMore(kHeadPiece);
    if (more) continue;
    if (phase_ == Phase::kRequest && IsLate()) co_return TooSlow("the head of the request");
    gone_ = true;
    co_return std::nullopt;
  }
}

asio::awaitable<std::optional<Refusal>> ClientConnection::ReadBody(RequestParser* parser,
                                                                   Budget* budget) {
  SetDeadline(share_->limits.read_body_time);
  const Time deadline = deadline_;
  bool awaits_continue = parser->expects_continue();
  while (!parser->done()) {
    std::optional<Refusal> refusal = parser->FeedBody(&input_);
    if (refusal) co_return refusal;
    if (!budget->Grow(parser->body_bytes())) {
      co_return Refusal{503, "server_busy", "too many large requests at a time; try again later"};
    }
    if (parser->done()) break;
    if (std::exchange(awaits_continue, false)) {
      const bool told = co_await Write("HTTP/1.1 100 Continue\r\n\r\n");
      if (!told) break;
      deadline_ = deadline;
    }
    const bool more = co_await ReadMore(kBodyPiece);
    if (more) continue;
    if (IsLate()) co_return TooSlow("the body of the request");
    break;
  }
  gone_ = !parser->done();
  co_return std::nullopt;
}

asio::awaitable<bool> ClientConnection::ReadMore(std::size_t size) {
  std::string piece(size, '\0');
  const Wire::Transfer transfer = co_await wire_->Read(asio::buffer(piece));
  input_.append(piece, 0, transfer.size);
  co_return !transfer.failure && transfer.size > 0;
}

asio::awaitable<HttpResponse> ClientConnection::Answer(HttpRequest request) {
  const std::string what = request.method + " " + request.path;
  try {
    HttpResponse response = co_await share_->handler(std::move(request));
    co_return response;
  } catch (const std::exception& failure) {
    Report(what, failure);
  }
  co_return Problem(500, "internal", "the server failed; its log says how");
}

// That somebody stopped waiting is no failure.
void ClientConnection::Report(const std::string& what, const std::exception& failure) const {
  const auto* system = dynamic_cast<const boost::system::system_error*>(&failure);
  if (system != nullptr && system->code() == asio::error::operation_aborted) return;
  share_->report(what + ": " + failure.what());
}

asio::awaitable<bool> ClientConnection::Send(HttpResponse response, bool is_head, bool is_old,
                                             bool keep) {
  const bool has_no_body =
      response.status < 200 || response.status == 204 || response.status == 304;
  BodyFraming framing = BodyFraming::kLength;
  if (response.stream) framing = is_old ? BodyFraming::kUntilEnd : BodyFraming::kChunked;
  if (has_no_body) framing = BodyFraming::kNone;
  keep = keep && framing != BodyFraming::kUntilEnd;
  std::string head = ResponseHead(response, framing, keep);
  const bool has_body = !has_no_body && !is_head;
  const bool is_whole = !response.stream;
  if (has_body && is_whole && response.body.size() <= kInlineBodyMax) {
    head += response.body;
    response.body.clear();
  }
  const bool head_sent = co_await Write(head);
  if (!head_sent) {
    gone_ = true;
    co_return false;
  }
  if (!has_body) co_return true;
  bool sent = false;
  if (is_whole) {
    sent = co_await Write(response.body);
  } else {
    using namespace asio::experimental::awaitable_operators;  // NOLINT: operators have no other
                                                              // way.
    phase_ = Phase::kStream;
    const auto ended = co_await (SendStream(&response.stream, framing) || WaitUntilGone());
    phase_ = Phase::kRequest;
    sent = ended.index() == 0 && std::get<0>(ended);
  }
  gone_ = !sent;
  co_return sent&& framing != BodyFraming::kUntilEnd;
}

asio::awaitable<bool> ClientConnection::SendStream(const BodyStream* stream, BodyFraming framing) {
  const bool is_chunked = framing == BodyFraming::kChunked;
  bool failed = false;
  while (!failed) {
    deadline_ = Time::max();
    std::optional<std::string> piece;
    try {
      piece = co_await (*stream)();
    } catch (const std::exception& failure) {
      Report("stream", failure);
      failed = true;
    }
    if (failed) break;
    if (!piece) {
      // Only a stream that came to its own end is told to be whole.
      bool ended = true;
      const std::string end = Chunk("");
      if (is_chunked) ended = co_await Write(end);
      co_return ended;
    }
    if (piece->empty()) continue;
    if (is_chunked) piece = Chunk(*piece);
    const bool sent = co_await Write(*piece);
    failed = !sent;
  }
  co_return false;
}

asio::awaitable<void> ClientConnection::WaitUntilGone() {
  bool here = !share_->stopping;
  while (here && input_.size() < kReadAheadMax) here = co_await ReadMore(kHeadPiece);
  if (!here) co_return;
  // It sends requests without waiting for this one's end. Whether it is gone, a write will tell.
  asio::steady_timer forever(wire_->socket().get_executor(), Time::max());
  co_await forever.async_wait(asio::use_awaitable);
}

asio::awaitable<bool> ClientConnection::Write(std::string_view bytes) {
  while (!bytes.empty()) {
    const std::string_view piece = bytes.substr(0, kWritePiece);
    SetDeadline(share_->limits.write_time);
    const boost::system::error_code failure =
        co_await wire_->Write(asio::buffer(piece.data(), piece.size()));
    if (failure) co_return false;
    bytes.remove_prefix(piece.size());
  }
  co_return true;
}

}  // namespace bailiff
