#pragma once

#include <boost/json/object.hpp>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "api/call.h"
#include "api/context_pool.h"
#include "core/live.h"
#include "core/workers.h"
#include "http/router.h"

namespace bailiff {

// What one server, and one principal, may take.
struct ApiLimits {
  std::int64_t queue_length_max = 1'000;  // Executions that wait. 429.
  std::size_t streams_max = 1'024;        // Followed at once. 503.
  std::size_t streams_per_principal = 32;
  std::chrono::seconds wait_max{300};  // ?wait= beyond it is an error.
};

// What the routes work with. All of it outlives the Api.
struct ApiParts {
  boost::asio::io_context* io = nullptr;
  ContextPool* readers = nullptr;  // For what only reads, and is quick.
  ContextPool* writers = nullptr;  // For what may wait for the workspace's lock.
  Live* live = nullptr;
  Workers* workers = nullptr;
  // The length of the queue is looked at and changed by one request at a time.
  std::shared_ptr<std::mutex> queueing = std::make_shared<std::mutex>();
  ApiLimits limits;
  uid_t local_uid = 0;  // Who may write the state directory: an admin on the unix socket.
};

// The routes: who may come in, what they get, and what is told of them at /openapi.json. It
// translates between HTTP and the core, and decides nothing. Runs on the io thread.
class Api {
 public:
  explicit Api(ApiParts parts);
  Api(const Api&) = delete;
  Api& operator=(const Api&) = delete;

  boost::asio::awaitable<HttpResponse> Handle(HttpRequest request) {
    return router_.Handle(std::move(request));
  }

  const std::vector<ApiRoute>& routes() const { return routes_; }

 private:
  boost::asio::awaitable<HttpResponse> Enter(const ApiRoute& route, HttpRequest request);
  boost::asio::awaitable<std::optional<Actor>> WhoIs(const HttpRequest& request);
  boost::asio::awaitable<HttpResponse> Repeatable(const ApiRoute& route, ApiCall call);
  boost::asio::awaitable<HttpResponse> AnswerAgain(Answer answer, const ApiCall& call);
  boost::asio::awaitable<void> TellDenied(Actor actor, std::string action, std::string reason);

  ApiParts parts_;
  std::vector<ApiRoute> routes_;
  Router router_;
  std::set<std::pair<std::string, std::string>> answering_;  // Principal and key.
  std::string openapi_;
};

// The routes of each part of the contract.
std::vector<ApiRoute> ExecutionRoutes(ApiParts* parts);
std::vector<ApiRoute> EventRoutes(ApiParts* parts);
std::vector<ApiRoute> ProposalRoutes(ApiParts* parts);
std::vector<ApiRoute> PlanRoutes(ApiParts* parts);
std::vector<ApiRoute> FamiliarRoutes(ApiParts* parts);
std::vector<ApiRoute> SystemRoutes(ApiParts* parts);

// The document that tells of all of them (OpenAPI 3.1).
boost::json::object MakeOpenApi(const std::vector<ApiRoute>& routes);

}  // namespace bailiff
