#include "http/request_parser.h"

#include <gtest/gtest.h>

namespace bailiff {
namespace {

// Whole, or byte by byte: where pieces end must make no difference.
struct Parsed {
  int status = 0;  // Of the refusal; 0 for none.
  bool done = false;
  std::string body;
  std::string rest;
};

Parsed Parse(const std::string& bytes, std::size_t step, const HttpLimits& limits = {}) {
  RequestParser parser(limits);
  std::string input;
  Parsed parsed;
  for (std::size_t at = 0; at < bytes.size() && !parser.done(); at += step) {
    input += bytes.substr(at, step);
    std::optional<Refusal> refusal;
    if (!parser.head_done()) refusal = parser.FeedHead(&input);
    if (!refusal && parser.head_done()) refusal = parser.FeedBody(&input);
    if (refusal) {
      parsed.status = refusal->status;
      return parsed;
    }
  }
  parsed.done = parser.done();
  if (parsed.done) parsed.body = parser.Take().body;
  parsed.rest = input;
  return parsed;
}

const std::string kHost = "Host: a\r\n";

std::string Chunked(const std::string& body) {
  return "POST / HTTP/1.1\r\n" + kHost + "Transfer-Encoding: chunked\r\n\r\n" + body;
}

struct Refused {
  std::string bytes;
  int status;
};

// What two servers in a row could understand differently.
std::vector<Refused> SmugglingCorpus() {
  const std::string get = "GET / HTTP/1.1\r\n";
  const std::string post = "POST / HTTP/1.1\r\n" + kHost;
  const std::string both = "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n";
  return {
      {post + both + "\r\n0\r\n\r\n", 400},
      {post + "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n", 400},
      {post + "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400},
      {post + "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400},
      {post + "Content-Length: 3, 3\r\n\r\nabc", 400},
      {post + "Content-Length: +3\r\n\r\nabc", 400},
      {post + "Content-Length: -3\r\n\r\nabc", 400},
      {post + "Content-Length: 0x3\r\n\r\nabc", 400},
      {post + "Content-Length: 3 3\r\n\r\nabc", 400},
      {post + "Content-Length:\r\n\r\n", 400},
      {post + "Content-Length: 99999999999999999999\r\n\r\n", 400},
      {post + "Transfer-Encoding: gzip, chunked\r\n\r\n", 400},
      {post + "Transfer-Encoding: chunked, chunked\r\n\r\n", 400},
      {post + "Transfer-Encoding: identity\r\n\r\n", 400},
      {post + "Transfer-Encoding: xchunked\r\n\r\n", 400},
      {post + "Transfer-Encoding: \"chunked\"\r\n\r\n", 400},
      {post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
      {post + "Transfer-Encoding: \x0b"
              "chunked\r\n\r\n",
       400},
      {post + "Transfer-Encoding : chunked\r\n\r\n", 400},
      {post + "Content-Length : 3\r\n\r\nabc", 400},
      {post + "Transfer-Encoding:\r\n chunked\r\n\r\n", 400},
      {"POST / HTTP/1.0\r\n" + kHost + "Transfer-Encoding: chunked\r\n\r\n", 400},
      {get + "Host: a\nX: b\r\n\r\n", 400},
      {"GET / HTTP/1.1\nHost: a\n\n", 400},
      {get + kHost + "X: a\rb\r\n\r\n", 400},
      {get + kHost + "X: a\r\n b\r\n\r\n", 400},
      {get + kHost + "X: a\r\n\tb\r\n\r\n", 400},
      {get + " X: a\r\n" + kHost + "\r\n", 400},
      {get + kHost + "X : a\r\n\r\n", 400},
      {get + kHost + "X\t: a\r\n\r\n", 400},
      {get + kHost + ": a\r\n\r\n", 400},
      {get + kHost + "nocolon\r\n\r\n", 400},
      {get + kHost + "X(: a\r\n\r\n", 400},
      {get + kHost + std::string("X: a\0b\r\n\r\n", 10), 400},
      {get + kHost + std::string("X\0: a\r\n\r\n", 9), 400},
      {get + kHost + "X: a\x01\r\n\r\n", 400},
      {get + kHost + "X: a\x7f\r\n\r\n", 400},
      {get + "\r\n", 400},
      {get + "X: a\r\n\r\n", 400},
      {get + kHost + kHost + "\r\n", 400},
      {get + "Host: a, b\r\n\r\n", 400},
      {get + "Host: a b\r\n\r\n", 400},
      {get + "Host: x@a\r\n\r\n", 400},
      {get + "Host: a/b\r\n\r\n", 400},
      {"GET /\r\n\r\n", 400},
      {"GET  / HTTP/1.1\r\n" + kHost + "\r\n", 400},
      {"GET /  HTTP/1.1\r\n" + kHost + "\r\n", 400},
      {"GET / HTTP/1.1 \r\n" + kHost + "\r\n", 400},
      {"GET\t/\tHTTP/1.1\r\n" + kHost + "\r\n", 400},
      {"GET / a HTTP/1.1\r\n" + kHost + "\r\n", 400},
      {"\r\nGET / HTTP/1.1\r\n" + kHost + "\r\n", 400},
      {" GET / HTTP/1.1\r\n" + kHost + "\r\n", 400},
      {"G@T / HTTP/1.1\r\n" + kHost + "\r\n", 400},
      {"GET / http/1.1\r\n" + kHost + "\r\n", 400},
      {"GET / HTTP/1.10\r\n" + kHost + "\r\n", 400},
      {"GET / HTTP/0.9\r\n" + kHost + "\r\n", 505},
      {"GET / HTTP/1.2\r\n" + kHost + "\r\n", 505},
      {"GET / HTTP/2.0\r\n" + kHost + "\r\n", 505},
      {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
      {"GET http://a/ HTTP/1.1\r\n" + kHost + "\r\n", 400},
      {"GET a HTTP/1.1\r\n" + kHost + "\r\n", 400},
      {"OPTIONS * HTTP/1.1\r\n" + kHost + "\r\n", 400},
      {"GET /../x HTTP/1.1\r\n" + kHost + "\r\n", 400},
      {"GET /%2e%2e/x HTTP/1.1\r\n" + kHost + "\r\n", 400},
      {"GET /%00 HTTP/1.1\r\n" + kHost + "\r\n", 400},
      {"GET /%g0 HTTP/1.1\r\n" + kHost + "\r\n", 400},
      {"GET /\x80 HTTP/1.1\r\n" + kHost + "\r\n", 400},
      {"CONNECT a:80 HTTP/1.1\r\n" + kHost + "\r\n", 501},
      {std::string(33, 'A') + " / HTTP/1.1\r\n" + kHost + "\r\n", 501},
      {post + "Expect: miracles\r\nContent-Length: 3\r\n\r\n", 417},
      {std::string("\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\n\r\n\r\n", 16), 400},
      {Chunked("3\nabc\r\n0\r\n\r\n"), 400},
      {Chunked("3\r\nabc\n0\r\n\r\n"), 400},
      {Chunked("3\r\nabcd\r\n0\r\n\r\n"), 400},
      {Chunked("0x3\r\nabc\r\n0\r\n\r\n"), 400},
      {Chunked("+3\r\nabc\r\n0\r\n\r\n"), 400},
      {Chunked("-3\r\nabc\r\n0\r\n\r\n"), 400},
      {Chunked(" 3\r\nabc\r\n0\r\n\r\n"), 400},
      {Chunked("3 \r\nabc\r\n0\r\n\r\n"), 400},
      {Chunked("3;\n\r\nabc\r\n0\r\n\r\n"), 400},
      {Chunked("3;a\nb\r\nabc\r\n0\r\n\r\n"), 400},
      {Chunked("3\rabc\r\n0\r\n\r\n"), 400},
      {Chunked("g\r\nabc\r\n0\r\n\r\n"), 400},
      {Chunked("\r\n\r\n"), 400},
      {Chunked("fffffffffffffffff\r\nabc"), 400},
      {Chunked("10000000000000003\r\nabc\r\n0\r\n\r\n"), 400},
      {Chunked("ffffffffffffffff\r\nabc"), 413},
      {Chunked("0\n\r\n\r\n"), 400},
      {Chunked("0\r\nbad\r\n\r\n"), 400},
      {Chunked("0\r\nX : y\r\n\r\n"), 400},
      {Chunked("0\r\nX: y\nZ: a\r\n\r\n"), 400},
  };
}

TEST(RequestParserTest, WhatIsAmbiguousIsRefused) {
  for (const Refused& test : SmugglingCorpus()) {
    for (const std::size_t step : {std::size_t{1}, test.bytes.size()}) {
      const Parsed parsed = Parse(test.bytes, step);
      EXPECT_EQ(parsed.status, test.status)
          << "in steps of " << step << ": " << testing::PrintToString(test.bytes);
    }
  }
}

TEST(RequestParserTest, BodiesArriveWholeAndLeaveWhatFollows) {
  const std::string next = "GET /next HTTP/1.1\r\n";
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"POST / HTTP/1.1\r\n" + kHost + "Content-Length: 5\r\n\r\nhello", "hello"},
      {"POST / HTTP/1.1\r\n" + kHost + "Content-Length: 0\r\n\r\n", ""},
      {"GET / HTTP/1.1\r\n" + kHost + "\r\n", ""},
      {"GET / HTTP/1.0\r\n\r\n", ""},
      {"POST / HTTP/1.1\r\n" + kHost + "Content-Length: \t5 \r\n\r\nhello", "hello"},
      {"POST / HTTP/1.1\r\n" + kHost + "tRANSFER-eNCODING: Chunked\r\n\r\n0\r\n\r\n", ""},
      {Chunked("5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"), "hello world"},
      {Chunked("5;ext=\"a b\";c\r\nhello\r\n0\r\nX-Trailer: a\r\n\r\n"), "hello"},
      {Chunked("00000A\r\n0123456789\r\n000\r\n\r\n"), "0123456789"},
  };
  for (const auto& [bytes, body] : cases) {
    const Parsed whole = Parse(bytes + next, bytes.size() + next.size());
    EXPECT_EQ(whole.status, 0) << bytes;
    EXPECT_TRUE(whole.done) << bytes;
    EXPECT_EQ(whole.body, body) << bytes;
    EXPECT_EQ(whole.rest, next) << bytes;
    const Parsed slow = Parse(bytes + next, 1);
    EXPECT_TRUE(slow.done) << bytes;
    EXPECT_EQ(slow.body, body) << bytes;
    EXPECT_EQ(slow.rest, "") << bytes;
  }
}

TEST(RequestParserTest, ATrailerAddsNoHeaders) {
  const HttpLimits limits;
  RequestParser parser(limits);
  std::string input = Chunked("0\r\nAuthorization: Bearer x\r\nHost: evil\r\n\r\n");
  ASSERT_FALSE(parser.FeedHead(&input).has_value());
  ASSERT_FALSE(parser.FeedBody(&input).has_value());
  ASSERT_TRUE(parser.done());
  const HttpRequest request = parser.Take();
  EXPECT_EQ(request.Header("authorization"), nullptr);
  EXPECT_EQ(*request.Header("host"), "a");
}

TEST(RequestParserTest, ARequestIsWhatItsBytesSay) {
  const HttpLimits limits;
  RequestParser parser(limits);
  std::string input =
      "PURGE /a%20b?x=%31 HTTP/1.1\r\nHost: a\r\nX-One:  two words \t\r\nEmpty:\r\n\r\n";
  ASSERT_FALSE(parser.FeedHead(&input).has_value());
  ASSERT_TRUE(parser.done());
  EXPECT_TRUE(parser.keep_alive());
  const HttpRequest request = parser.Take();
  EXPECT_EQ(request.method, "PURGE");
  EXPECT_EQ(request.path, "/a%20b");
  EXPECT_EQ(request.query.front(), std::pair(std::string("x"), std::string("1")));
  EXPECT_EQ(*request.Header("x-ONE"), "two words");
  EXPECT_EQ(*request.Header("Empty"), "");
}

TEST(RequestParserTest, LimitsBite) {
  HttpLimits limits;
  limits.header_bytes_max = 1000;
  limits.target_bytes_max = 300;
  limits.headers_max = 5;
  limits.body_bytes_max = 100;
  const std::string get = "GET / HTTP/1.1\r\n" + kHost;
  const std::string post = "POST / HTTP/1.1\r\n" + kHost;
  std::string six;
  for (int i = 0; i < 5; ++i) six += "X: y\r\n";
  const std::vector<Refused> cases = {
      {"GET /" + std::string(301, 'a') + " HTTP/1.1\r\n" + kHost + "\r\n", 414},
      {"GET /" + std::string(2000, 'a'), 414},
      {get + "X: " + std::string(1000, 'a') + "\r\n\r\n", 431},
      {get + "X: " + std::string(5000, 'a'), 431},
      {get + six + "\r\n", 431},
      {post + "Content-Length: 101\r\n\r\n", 413},
      {Chunked("65\r\n"), 413},
      {Chunked("40\r\n" + std::string(64, 'a') + "\r\n40\r\n" + std::string(64, 'a') + "\r\n"),
       413},
      {Chunked("1;" + std::string(5000, 'a')), 400},
      {Chunked("0\r\nX: " + std::string(5000, 'a')), 400},
  };
  for (const Refused& test : cases) {
    for (const std::size_t step : {std::size_t{1}, test.bytes.size()}) {
      EXPECT_EQ(Parse(test.bytes, step, limits).status, test.status)
          << "in steps of " << step << ": " << test.bytes.substr(0, 100);
    }
  }
  EXPECT_TRUE(Parse(post + "Content-Length: 100\r\n\r\n" + std::string(100, 'a'), 7, limits).done);
}

}  // namespace
}  // namespace bailiff
