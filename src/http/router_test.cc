#include "http/router.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

namespace bailiff {
namespace {

HttpHandler Named(const std::string& name) {
  return [name](HttpRequest request) -> boost::asio::awaitable<HttpResponse> {
    HttpResponse response;
    response.body = name;
    for (const auto& [key, value] : request.params) response.body.append(" " + key + "=" + value);
    co_return response;
  };
}

HttpResponse Route(const Router& router, const std::string& method, const std::string& path) {
  HttpRequest request;
  request.method = method;
  request.path = path;
  HttpResponse response;
  boost::asio::io_context io;
  boost::asio::co_spawn(
      io, router.Handle(std::move(request)),
      [&](const std::exception_ptr&, HttpResponse answer) { response = std::move(answer); });
  io.run();
  return response;
}

Router MakeRouter() {
  Router router;
  router.Add("GET", "/v1/things", Named("list"));
  router.Add("POST", "/v1/things", Named("create"));
  router.Add("GET", "/v1/things/{id}/files/{path*}", Named("file"));
  router.Add("GET", "/v1/things/{id}", Named("one"));
  router.Add("POST", "/v1/things/search", Named("search"));
  return router;
}

TEST(RouterTest, PathsLeadToTheirHandlers) {
  const Router router = MakeRouter();
  const std::vector<std::array<std::string, 3>> cases = {
      {"GET", "/v1/things", "list"},
      {"POST", "/v1/things", "create"},
      {"GET", "/v1/things/a%20b", "one id=a b"},
      {"GET", "/v1/things/a%2Fb", "one id=a/b"},
      {"POST", "/v1/things/search", "search"},
      {"GET", "/v1/things/7/files/x/y%20z", "file id=7 path=x/y z"},
      {"GET", "/v1/things/7/files/x%2Fy", "file id=7 path=x/y"},
      {"HEAD", "/v1/things", "list"},
  };
  for (const auto& [method, path, body] : cases) {
    const HttpResponse response = Route(router, method, path);
    EXPECT_EQ(response.status, 200) << path;
    EXPECT_EQ(response.body, body) << path;
  }
}

TEST(RouterTest, WhatWasNotAddedIsNotFound) {
  const Router router = MakeRouter();
  for (const std::string path :
       {"/", "/v1", "/v1/things/", "/v1/things//files/x", "/v1//things", "/v1/things/7/files",
        "/v1/things/7/files/", "/V1/things", "/v1/things/7/files/x//y", "/v1/things/7/other"}) {
    EXPECT_EQ(Route(router, "GET", path).status, 404) << path;
  }
}

TEST(RouterTest, AnotherMethodIsAnsweredWithThoseThatAre) {
  const Router router = MakeRouter();
  const HttpResponse refused = Route(router, "DELETE", "/v1/things");
  EXPECT_EQ(refused.status, 405);
  ASSERT_NE(FindHeader(refused.headers, "allow"), nullptr);
  EXPECT_EQ(*FindHeader(refused.headers, "allow"), "OPTIONS, HEAD, GET, POST");
  const HttpResponse literal = Route(router, "GET", "/v1/things/search");
  EXPECT_EQ(literal.status, 405);
  EXPECT_EQ(*FindHeader(literal.headers, "allow"), "OPTIONS, POST");
  const HttpResponse options = Route(router, "OPTIONS", "/v1/things/7");
  EXPECT_EQ(options.status, 204);
  EXPECT_EQ(*FindHeader(options.headers, "allow"), "OPTIONS, HEAD, GET");
}

TEST(RouterTest, RoutesListsAll) {
  std::vector<std::string> routes;
  for (const Router::Route& route : MakeRouter().routes()) {
    routes.push_back(route.method + " " + route.pattern);
  }
  EXPECT_THAT(routes, testing::UnorderedElementsAre("GET /v1/things", "POST /v1/things",
                                                    "GET /v1/things/{id}", "POST /v1/things/search",
                                                    "GET /v1/things/{id}/files/{path*}"));
}

TEST(RouterTest, ASecondHandlerOfOneRouteIsABug) {
  Router router = MakeRouter();
  EXPECT_DEATH(router.Add("GET", "/v1/things", Named("again")), "CHECK failed");
  EXPECT_DEATH(router.Add("GET", "/v1/{all*}/more", Named("bad")), "CHECK failed");
}

}  // namespace
}  // namespace bailiff
