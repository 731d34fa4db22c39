#pragma once

#include <boost/json/object.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "core/admission.h"
#include "core/cancel_socket.h"
#include "core/context.h"
#include "core/documents.h"
#include "core/request.h"
#include "core/supervise.h"

namespace bailiff {

// A run that was checked, and whose sandbox is being built while its caller does other work.
// Nothing of it runs or is recorded; dropped, it is gone.
struct PreparedRun {
  RunRequest request;
  Admitted admitted;
  Fd monitor;
  RunPipes pipes;
  std::int64_t started_ns = 0;             // Changes of others since then are conflicts.
  std::optional<std::int64_t> base_epoch;  // Known where the database was open by then.
  std::optional<CancelSocket> claim{};     // Of one that was queued and is taken from there.
};

// Needs neither the database nor the ledger; on a file system whose times do not tell what changed
// they are to be open already. Errors: those of Admit(); kIo.
// `id`: of an execution that is known already; empty: a new one.
Result<PreparedRun> Prepare(Context& context, RunRequest request, std::string id = "");

// Runs one script or command in its sandbox, decides what becomes of its changes, and records all
// of it. Blocks until all that is done.
//
// A script that fails, runs into a limit or is cancelled is a result, not an error. So is a sandbox
// that could not be started once the execution was recorded (status `error`).
//
// Errors: kResourceExhausted when too much is held already; those of the ledger and the store,
//         without which nothing runs.
Result<Execution> Execute(Context& context, PreparedRun run, const RunObserver& observer);

// An execution as it is before it has run, what the ledger says of it, and its row.
Execution DescribeRun(const Context& context, const RunRequest& request, const Admitted& admitted);
boost::json::object AboutSubmission(const Execution& execution, const RunRequest& request);
ExecutionRow RowOf(const Execution& execution);

// Ends a running execution, whichever process runs it, and waits until it has ended. False when it
// was not running (any more). Errors: kNotFound.
Result<bool> Cancel(Context& context, const std::string& id);

// Ends the books on an execution that no process runs any more: the ledger gets `data` as a record
// of `type`, the workspace and the database get `document`, and webhooks are told.
Status CloseBooks(Context& context, const std::string& id, const std::string& type,
                  const boost::json::object& data, boost::json::object document);

// The emergency stop: pauses the queue, so that what waits there does not start meanwhile, then
// ends everything that runs, whichever process runs it. Returns the ids of those that it ended.
// Errors: those of PauseQueue().
Result<std::vector<std::string>> CancelAll(Context& context);

// Ends the books on executions whose process is gone: status `interrupted`, changes discarded.
// Returns their ids.
Result<std::vector<std::string>> FinishAbandoned(Context& context);

}  // namespace bailiff
