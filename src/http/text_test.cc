#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>

#include "base/bytes.h"
#include "http/credential.h"
#include "http/problem.h"
#include "http/range.h"
#include "http/response_writer.h"
#include "http/site_guard.h"
#include "http/sse.h"
#include "http/target.h"

namespace bailiff {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(EventFrameTest, EachLineIsAField) {
  EXPECT_EQ(EventFrame("7", "output", "one\ntwo\r\nthree\rfour"),
            "id: 7\nevent: output\ndata: one\ndata: two\ndata: three\ndata: four\n\n");
  EXPECT_EQ(EventFrame("", "", ""), "data: \n\n");
  EXPECT_EQ(EventFrame("", "done", "end\n"), "event: done\ndata: end\ndata: \n\n");
}

TEST(EventFrameTest, IdAndEventCannotAddFields) {
  EXPECT_EQ(EventFrame("1\nevent: x", std::string_view("a\r\ndata: y\0", 11), "z"),
            "id: 1 event: x\nevent: a  data: y \ndata: z\n\n");
}

TEST(ParseRangeTest, OneRangeIsCutToWhatThereIs) {
  using Kind = ByteRange::Kind;
  struct Case {
    std::string header;
    std::int64_t size;
    Kind kind;
    std::int64_t first;
    std::int64_t length;
  };
  const std::vector<Case> cases = {
      {"bytes=0-9", 100, Kind::kPart, 0, 10},
      {"Bytes=90-", 100, Kind::kPart, 90, 10},
      {"bytes=90-1000", 100, Kind::kPart, 90, 10},
      {"bytes=90-99999999999999999999", 100, Kind::kPart, 90, 10},
      {"bytes=-10", 100, Kind::kPart, 90, 10},
      {"bytes=-1000", 100, Kind::kPart, 0, 100},
      {"bytes=99-99", 100, Kind::kPart, 99, 1},
      {"bytes=100-", 100, Kind::kUnsatisfiable, 0, 0},
      {"bytes=99999999999999999999-", 100, Kind::kUnsatisfiable, 0, 0},
      {"bytes=0-", 0, Kind::kUnsatisfiable, 0, 0},
      {"bytes=-0", 100, Kind::kUnsatisfiable, 0, 0},
      {"bytes=-5", 0, Kind::kUnsatisfiable, 0, 0},
      {"bytes=5-2", 100, Kind::kWhole, 0, 100},
      {"bytes=0-1,3-4", 100, Kind::kWhole, 0, 100},
      {"bytes=", 100, Kind::kWhole, 0, 100},
      {"bytes=-", 100, Kind::kWhole, 0, 100},
      {"bytes=a-b", 100, Kind::kWhole, 0, 100},
      {"bytes=+1-2", 100, Kind::kWhole, 0, 100},
      {"bytes=--1", 100, Kind::kWhole, 0, 100},
      {"lines=0-1", 100, Kind::kWhole, 0, 100},
      {"", 100, Kind::kWhole, 0, 100},
  };
  for (const Case& test : cases) {
    const ByteRange range = ParseRange(test.header, test.size);
    EXPECT_EQ(range.kind, test.kind) << test.header;
    EXPECT_EQ(range.first, test.first) << test.header;
    EXPECT_EQ(range.size, test.length) << test.header;
  }
}

std::optional<std::string> CredentialIn(const std::vector<std::string>& values) {
  HttpRequest request;
  for (const std::string& value : values) request.headers.emplace_back("authorization", value);
  return CredentialOf(request);
}

TEST(CredentialTest, BearerTokenOrBasicPassword) {
  EXPECT_EQ(CredentialIn({"Bearer abc.DEF-_~+/=="}), "abc.DEF-_~+/==");
  EXPECT_EQ(CredentialIn({"bearer abc"}), "abc");
  EXPECT_EQ(CredentialIn({"Basic " + ToBase64("x:secret")}), "secret");
  EXPECT_EQ(CredentialIn({"Basic " + ToBase64("x:with:colon")}), "with:colon");
  EXPECT_EQ(CredentialIn({"Basic " + ToBase64(":alone")}), "alone");
}

TEST(CredentialTest, NothingWhereTheHeaderIsMalformed) {
  const std::vector<std::vector<std::string>> cases = {
      {},
      {""},
      {"Bearer"},
      {"Bearer "},
      {"Bearer  two"},
      {"Bearer a b"},
      {"Bearer =="},
      {"Bearer a=b"},
      {"Bearer a,b"},
      {"Bearer one", "Bearer one"},
      {"Digest abc"},
      {"Basic"},
      {"Basic !!!!"},
      {"Basic abc"},
      {"Basic " + ToBase64("nocolon")},
      {"Basic " + ToBase64("x:")},
      {"Basic " + ToBase64("x:a\nb")},
      {"Basic " + ToBase64(std::string("x:a\0b", 5))},
      {"Basic  " + ToBase64("x:y")},
  };
  for (const auto& values : cases) {
    EXPECT_EQ(CredentialIn(values), std::nullopt) << testing::PrintToString(values);
  }
}

TEST(ParseTargetTest, PathStaysAndQueryIsDecoded) {
  const Result<Target> target = ParseTarget("/a%20b/c?x=1+2&y=%26%3D&flag&x=2&&=v");
  ASSERT_TRUE(target.ok());
  EXPECT_EQ(target.value().path, "/a%20b/c");
  EXPECT_THAT(target.value().query,
              testing::ElementsAre(std::pair("x", "1 2"), std::pair("y", "&="),
                                   std::pair("flag", ""), std::pair("x", "2"), std::pair("", "v")));
}

TEST(ParseTargetTest, WhatCouldMeanSomethingElseIsRefused) {
  for (const std::string text :
       {"",     "*",         "x",       "http://a/b",  "a:80",  "/..",     "/a/../b", "/a/.",
        "/./a", "/%2e%2e/a", "/a/%2E.", "/a%2f..%2fb", "/%",    "/%1",     "/%zz",    "/a%00",
        "/a#b", "/a b",      "/a\x80",  "/a\x7f",      "/?x=%", "/?x=%00", "/?%zz=1"}) {
    const Result<Target> target = ParseTarget(text);
    ASSERT_FALSE(target.ok()) << text;
    EXPECT_EQ(target.error().code(), ErrorCode::kInvalidArgument);
  }
  EXPECT_TRUE(ParseTarget("/..a/b../...").ok());
}

TEST(ProblemTest, HasWhatTheStandardWants) {
  const HttpResponse problem = Problem(404, "not_found", "no \xff such", "id");
  EXPECT_EQ(*FindHeader(problem.headers, "content-type"), "application/problem+json");
  const boost::json::object document = boost::json::parse(problem.body).as_object();
  EXPECT_EQ(document.at("type"), "about:blank");
  EXPECT_EQ(document.at("title"), "Not Found");
  EXPECT_EQ(document.at("status"), 404);
  EXPECT_EQ(document.at("detail"), "no \xef\xbf\xbd such");
  EXPECT_EQ(document.at("code"), "not_found");
  EXPECT_EQ(document.at("field"), "id");
  EXPECT_FALSE(boost::json::parse(Problem(400, "x", "y").body).as_object().contains("field"));
}

TEST(ResponseHeadTest, NobodyCanAddAHeaderByAValue) {
  HttpResponse response;
  response.body = "four";
  response.headers = {{"X-Name", "a\r\nSet-Cookie: b\n\x01"},
                      {"Bad\r\nName", "x"},
                      {"A: b", "x"},
                      {"content-length", "1"},
                      {"Transfer-Encoding", "chunked"},
                      {"Connection", "x"}};
  EXPECT_EQ(ResponseHead(response, BodyFraming::kLength, true),
            "HTTP/1.1 200 OK\r\nX-Name: a  Set-Cookie: b  \r\nX-Content-Type-Options: nosniff\r\n"
            "Cache-Control: no-store\r\nContent-Length: 4\r\nConnection: keep-alive\r\n\r\n");
}

TEST(ResponseHeadTest, HeadersOfTheHandlerStay) {
  HttpResponse response;
  response.headers = {{"cache-control", "max-age=5"}};
  const std::string head = ResponseHead(response, BodyFraming::kChunked, false);
  EXPECT_THAT(head, HasSubstr("cache-control: max-age=5\r\n"));
  EXPECT_THAT(head, Not(HasSubstr("no-store")));
  EXPECT_THAT(head, HasSubstr("Transfer-Encoding: chunked\r\n"));
  EXPECT_THAT(head, Not(HasSubstr("Content-Length")));
  EXPECT_THAT(head, HasSubstr("Connection: close\r\n"));
}

TEST(SiteGuardTest, HostMustBeAllowedButOnAUnixSocket) {
  SiteGuard guard;
  guard.Allow("LocalHost:80");
  HttpRequest request;
  request.headers = {{"Host", "localhost:80"}};
  EXPECT_FALSE(guard.Refuse(request).has_value());
  for (const std::string host : {"localhost", "localhost:81", "evil.example:80", ""}) {
    request.headers = {{"Host", host}};
    ASSERT_TRUE(guard.Refuse(request).has_value()) << host;
    EXPECT_EQ(guard.Refuse(request)->status, 421);
    EXPECT_EQ(guard.Refuse(request)->code, "host_not_allowed");
  }
  request.peer.is_unix = true;
  EXPECT_FALSE(guard.Refuse(request).has_value());
}

TEST(SiteGuardTest, PagesOfOtherSitesAreRefused) {
  struct Case {
    std::string name;
    std::string value;
    bool is_tls;
    bool refused;
  };
  const std::vector<Case> cases = {
      {"Origin", "http://localhost:80", false, false},
      {"Origin", "https://localhost:80", false, false},
      {"Origin", "https://localhost:80", true, false},
      {"Origin", "http://localhost:80", true, true},
      {"Origin", "http://localhost:81", false, true},
      {"Origin", "http://evil.example", false, true},
      {"Origin", "null", false, true},
      {"Origin", "", false, true},
      {"Sec-Fetch-Site", "same-origin", false, false},
      {"Sec-Fetch-Site", "none", false, false},
      {"Sec-Fetch-Site", "cross-site", false, true},
      {"Sec-Fetch-Site", "same-site", false, true},
      {"Sec-Fetch-Site", "news", false, true},
  };
  SiteGuard guard;
  guard.Allow("localhost:80");
  for (const Case& test : cases) {
    for (const bool is_unix : {false, true}) {
      HttpRequest request;
      request.is_tls = test.is_tls;
      request.peer.is_unix = is_unix;
      request.headers = {{"Host", "localhost:80"}, {test.name, test.value}};
      const std::optional<Refusal> refusal = guard.Refuse(request);
      EXPECT_EQ(refusal.has_value(), test.refused) << test.name << ": " << test.value;
      EXPECT_EQ(refusal ? refusal->code : "cross_site", "cross_site");
    }
  }
  // The second of two counts as well.
  HttpRequest request;
  request.headers = {{"Host", "localhost:80"},
                     {"Origin", "http://localhost:80"},
                     {"origin", "http://evil.example"}};
  EXPECT_TRUE(guard.Refuse(request).has_value());
}

}  // namespace
}  // namespace bailiff
