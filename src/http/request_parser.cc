#include "http/request_parser.h"

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/beast/http/fields.hpp>
#include <boost/beast/http/parser.hpp>
#include <utility>

#include "http/target.h"

namespace bailiff {
namespace {

namespace http = boost::beast::http;

constexpr std::string_view kHeadEnd = "\r\n\r\n";

// A string that grows with what arrives. Beast's own reserves at once what a client announces.
struct ArrivedBody {
  using value_type = std::string;
  class reader {  // NOLINT(readability-identifier-naming): the name is Beast's, as are the others'.
   public:
    template <bool kIsRequest, typename Fields>
    reader(http::header<kIsRequest, Fields>& /*header*/, value_type& body) : body_(body) {}

    // NOLINTBEGIN(readability-identifier-naming)
    static void init(const boost::optional<std::uint64_t>& /*length*/,
                     boost::system::error_code& failure) {
      failure = {};
    }
    template <typename Buffers>
    std::size_t put(const Buffers& buffers, boost::system::error_code& failure) {
      failure = {};
      std::size_t size = 0;
      for (auto it = boost::asio::buffer_sequence_begin(buffers);
           it != boost::asio::buffer_sequence_end(buffers); ++it) {
        const boost::asio::const_buffer piece = *it;
        body_.append(static_cast<const char*>(piece.data()), piece.size());
        size += piece.size();
      }
      return size;
    }
    static void finish(boost::system::error_code& failure) { failure = {}; }
    // NOLINTEND(readability-identifier-naming)

   private:
    value_type& body_;
  };
};

std::string Text(boost::beast::string_view text) {
  return {text.data(), text.size()};
}

}  // namespace

struct RequestParser::State {
  http::request_parser<ArrivedBody> parser;
};

RequestParser::RequestParser(const HttpLimits& limits)
    : limits_(limits), state_(std::make_unique<State>()) {
  state_->parser.header_limit(static_cast<std::uint32_t>(limits.header_bytes_max));
  state_->parser.body_limit(limits.body_bytes_max);
}

RequestParser::~RequestParser() = default;

bool RequestParser::done() const {
  return state_->parser.is_done();
}

bool RequestParser::keep_alive() const {
  return state_->parser.keep_alive();
}

bool RequestParser::is_old() const {
  return state_->parser.get().version() < 11;
}

std::size_t RequestParser::body_bytes() const {
  return state_->parser.get().body().size();
}

bool RequestParser::expects_continue() const {
  return request_.Header("Expect") != nullptr && !is_old();
}

std::optional<Refusal> RequestParser::FeedHead(std::string* input) {
  const std::size_t end = input->find(kHeadEnd, scanned_);
  if (end == std::string::npos) {
    scanned_ = input->size() - std::min(input->size(), kHeadEnd.size() - 1);
    return CheckPartialHead(*input, limits_);
  }
  const std::string_view head = std::string_view(*input).substr(0, end + kHeadEnd.size());
  if (std::optional<Refusal> refusal = CheckHead(head, limits_)) return refusal;
  boost::system::error_code failure;
  const std::size_t used =
      state_->parser.put(boost::asio::buffer(head.data(), head.size()), failure);
  if (failure == http::error::body_limit) {
    return Refusal{413, "body_too_large",
                   "a body may have " + std::to_string(limits_.body_bytes_max) + " bytes"};
  }
  if (failure || used != head.size() || !state_->parser.is_header_done()) {
    return Refusal{400, "bad_request", "the head is malformed"};
  }
  // Now, and not after the body, whose trailer would add to them.
  for (const auto& field : state_->parser.get()) {
    request_.headers.emplace_back(Text(field.name_string()), Text(field.value()));
  }
  request_.method = Text(state_->parser.get().method_string());
  Result<Target> target = ParseTarget(Text(state_->parser.get().target()));
  if (!target.ok()) return Refusal{400, "bad_target", target.error().message()};
  request_.path = std::move(target.value().path);
  request_.query = std::move(target.value().query);
  input->erase(0, head.size());
  head_done_ = true;
  return std::nullopt;
}

std::optional<Refusal> RequestParser::FeedBody(std::string* input) {
  state_->parser.eager(true);
  std::size_t used = 0;
  while (!done() && used < input->size()) {
    boost::system::error_code failure;
    const std::size_t step = state_->parser.put(
        boost::asio::buffer(input->data() + used, input->size() - used), failure);
    used += step;
    if (failure == http::error::need_more) break;
    if (failure == http::error::body_limit) {
      return Refusal{413, "body_too_large",
                     "a body may have " + std::to_string(limits_.body_bytes_max) + " bytes"};
    }
    if (failure) return Refusal{400, "bad_body", "the body is not what the headers announce"};
    if (step == 0) break;
  }
  input->erase(0, used);
  // What is left is the line before a chunk, or a trailer: the body itself was taken.
  if (!done() && input->size() > limits_.header_bytes_max) {
    return Refusal{400, "bad_body", "the body is not what the headers announce"};
  }
  return std::nullopt;
}

HttpRequest RequestParser::Take() {
  request_.body = std::move(state_->parser.get().body());
  return std::move(request_);
}

}  // namespace bailiff
