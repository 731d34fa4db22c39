#pragma once

#include <memory>
#include <optional>
#include <string>

#include "http/head_check.h"
#include "http/limits.h"
#include "http/message.h"

namespace bailiff {

// One request, from bytes as they arrive. Does no I/O; what it takes is bounded by the limits.
class RequestParser {
 public:
  // `limits` must outlive the parser.
  explicit RequestParser(const HttpLimits& limits);
  ~RequestParser();
  RequestParser(const RequestParser&) = delete;
  RequestParser& operator=(const RequestParser&) = delete;

  // Takes what belongs to the head from the front of `input`. With the head it stops: head_done().
  // After a refusal the parser must not be used again.
  std::optional<Refusal> FeedHead(std::string* input);

  // As FeedHead(), for the body, until done(). What follows the request stays in `input`.
  std::optional<Refusal> FeedBody(std::string* input);

  bool head_done() const { return head_done_; }
  bool done() const;

  // After the head: the request, without its body.
  HttpRequest& request() { return request_; }
  bool expects_continue() const;
  bool keep_alive() const;
  bool is_old() const;  // HTTP/1.0.
  std::size_t body_bytes() const;

  // After done(): the whole request. Call it once.
  HttpRequest Take();

 private:
  struct State;

  const HttpLimits& limits_;
  std::unique_ptr<State> state_;
  HttpRequest request_;
  std::size_t scanned_ = 0;  // How much of the input is known to have no end of a head.
  bool head_done_ = false;
};

}  // namespace bailiff
