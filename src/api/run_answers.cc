#include "api/run_answers.h"

#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/json.hpp>
#include <optional>
#include <utility>

#include "core/queries.h"

namespace bailiff {

namespace asio = boost::asio;

namespace {

// An execution that another process runs, or takes off the queue, tells nobody here when it ends.
constexpr std::chrono::milliseconds kLookAgain{500};

}  // namespace

void Signal::Raise() {
  asio::post(*io_, [self = shared_from_this()] {
    self->raised_ = true;
    self->timer_.cancel();
  });
}

asio::awaitable<void> Signal::Wait(std::chrono::steady_clock::time_point deadline) {
  if (!raised_) {
    timer_.expires_at(deadline);
    boost::system::error_code cancelled;
    co_await timer_.async_wait(asio::redirect_error(asio::use_awaitable, cancelled));
  }
  raised_ = false;
}

asio::awaitable<HttpResponse> ShowExecution(ApiParts& parts, Actor actor, std::string id,
                                            int status) {
  const auto work = [id](Context& context) -> Result<boost::json::object> {
    TRY(MaySee(context, id));
    return ExecutionDocument(context, id);
  };
  const Result<boost::json::object> document = co_await parts.readers->Run(actor, work);
  if (!document.ok()) co_return ProblemOf(document.error());
  HttpResponse response = JsonResponse(status, document.value());
  if (status == 201) response.headers.emplace_back("Location", "/v1/executions/" + id);
  co_return response;
}

asio::awaitable<void> WaitUntilEnded(ApiParts& parts, std::string id,
                                     std::chrono::milliseconds time) {
  const auto deadline = std::chrono::steady_clock::now() + time;
  const Actor nobody;
  const auto signal = std::make_shared<Signal>(parts.io);
  const auto subscription = parts.live->Subscribe(id, [signal] { signal->Raise(); });
  while (std::chrono::steady_clock::now() < deadline) {
    const std::optional<Live::State> state = parts.live->Get(id);
    if (state.has_value() && state->ended) co_return;
    if (state.has_value() && state->status != "queued") {
      co_await signal->Wait(deadline);
      continue;
    }
    const auto work = [id](Context& context) { return ExecutionDocument(context, id); };
    const Result<boost::json::object> document = co_await parts.readers->Run(nobody, work);
    if (!document.ok()) co_return;
    const std::string_view status = document.value().at("status").as_string();
    if (status != "queued" && status != "running") co_return;
    co_await signal->Wait(std::min(deadline, std::chrono::steady_clock::now() + kLookAgain));
  }
}

}  // namespace bailiff
