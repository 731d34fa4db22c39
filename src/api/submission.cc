#include "api/submission.h"

#include <boost/asio/post.hpp>
#include <boost/json.hpp>
#include <memory>
#include <utility>

#include "api/run_answers.h"
#include "core/queue.h"

namespace bailiff {
namespace {

namespace asio = boost::asio;

constexpr std::chrono::seconds kKnownWithin{60};  // Else it is waited for again.

// What a worker has said of a run that was handed to it; nothing yet.
struct Handover {
  explicit Handover(asio::io_context* io) : signal(std::make_shared<Signal>(io)) {}
  std::shared_ptr<Signal> signal;
  std::optional<Status> known;  // Set before the signal is raised.
};

// Queues it. Durable when it returns.
asio::awaitable<Status> Queue(ApiParts* parts, const ApiCall* call, std::string id) {
  const auto work = [id, one_by_one = parts->queueing, body = call->body, key = call->key,
                     length_max = parts->limits.queue_length_max](Context& context) -> Status {
    const std::lock_guard lock(*one_by_one);
    TRY(Enqueue(context, id, body, length_max, key.has_value() ? &*key : nullptr));
    return Ok();
  };
  Status queued = co_await parts->readers->Run(call->actor, work);
  if (queued.ok()) parts->workers->Notify();
  co_return queued;
}

// Has it run without a place in the queue, where a worker has nothing to do. Nothing when none is.
asio::awaitable<std::optional<Status>> HandOver(ApiParts* parts, const ApiCall* call,
                                                std::string id) {
  const auto handover = std::make_shared<Handover>(parts->io);
  HandedRun handed;
  handed.actor = call->actor;
  handed.id = std::move(id);
  handed.body = call->body;
  handed.length_max = parts->limits.queue_length_max;
  handed.known = [io = parts->io, handover](Status status) {
    const auto shared = std::make_shared<Status>(std::move(status));
    asio::post(*io, [handover, shared] {
      handover->known = std::move(*shared);
      handover->signal->Raise();
    });
  };
  if (!parts->workers->Hand(&handed)) co_return std::nullopt;
  while (!handover->known.has_value()) {
    co_await handover->signal->Wait(std::chrono::steady_clock::now() + kKnownWithin);
  }
  co_return std::move(handover->known);
}

}  // namespace

asio::awaitable<std::optional<HttpResponse>> SubmitRun(ApiParts* parts, const ApiCall* call,
                                                       std::string id,
                                                       std::chrono::milliseconds wait) {
  // Before a worker can know of it.
  parts->live->Begin(id, "queued");
  std::optional<Status> accepted;
  // Nobody hears of it before its end, or a sync; a key is kept together with a place in the queue.
  if (wait.count() > 0 && !call->key.has_value()) accepted = co_await HandOver(parts, call, id);
  const bool is_handed = accepted.has_value();
  if (!is_handed) accepted = co_await Queue(parts, call, id);
  if (!accepted->ok()) {
    parts->live->End(id);
    co_return ProblemOfRun(accepted->error());
  }
  if (wait.count() > 0) co_await WaitUntilEnded(*parts, id, wait);
  const std::optional<Live::State> state = parts->live->Get(id);
  if (is_handed && state.has_value() && !state->ended) {
    const auto sync = [](Context& context) { return context.store().Sync(); };
    const Status synced = co_await parts->readers->Run(call->actor, sync);
    if (!synced.ok()) co_return ProblemOf(synced.error());
  }
  co_return std::nullopt;
}

}  // namespace bailiff
