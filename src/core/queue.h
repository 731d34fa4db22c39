#pragma once

#include <boost/json/object.hpp>
#include <functional>
#include <optional>
#include <string>

#include "base/result.h"
#include "core/cancel_socket.h"
#include "core/context.h"
#include "core/documents.h"
#include "core/supervise.h"
#include "store/queue.h"

// Executions that wait for a worker of the server. What was accepted survives the server: it is run
// once, or reported as interrupted with its changes discarded.

namespace bailiff {

// Checks what `body` (core/request_json.h) asks for, on behalf of the context's actor, and queues
// it as execution `id`, a new one. Durable, and in the ledger, when it returns. Returns the
// execution, whose status is "queued".
//
// Errors: those of RequestFromJson(), ParseRequire() and Admit(); kResourceExhausted when the queue
// is full.
Result<Execution> Enqueue(Context& context, const std::string& id, const boost::json::object& body,
                          std::int64_t length_max, const AnswerKey* key);

// An execution that was taken off the queue, for this process alone to run.
struct Claimed {
  QueuedRow row;
  CancelSocket socket;
};

// Takes the one that has waited longest. Nothing when none waits, or when a person has stopped the
// queue. One thread of one process at a time. Errors: those of the store; kIo.
Result<std::optional<Claimed>> ClaimNext(Context& context);

// Runs it to its end, as Execute() does, for whoever asked for it. What can no longer be run, or
// fails on its way, ends with status `error`. Errors: those of the store and the ledger.
Result<Execution> RunClaimed(Context& context, Claimed claimed, const RunObserver& observer);

// What is run at once, by a worker that has nothing to do, for one who waits for its end: such a
// request needs no place in the queue, which costs it three syncs and a second look at the request.
struct HandedRun {
  Actor actor;
  std::string id;  // A new one.
  boost::json::object body;
  std::int64_t length_max = 0;  // Of the queue.
  // Called once: with the error when nothing was run or ever will be; else when the execution is
  // known, whatever happens to this process, though until Store::Sync() not to the machine.
  std::function<void(Status)> known;
};

// Checks it and runs it to its end; or queues it, and returns it as "queued", when others wait or
// the queue is paused. Errors: as Enqueue() and RunClaimed().
Result<Execution> RunHanded(Context& context, const HandedRun& handed, const RunObserver& observer);

// Takes an execution off the queue again. False when it did not wait there (any more).
Result<bool> CancelQueued(Context& context, const std::string& id);

}  // namespace bailiff
