#include <boost/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "core/cancel_socket.h"
#include "core/clerks.h"
#include "core/executions.h"
#include "core/notify.h"
#include "core/queue_pause.h"
#include "core/records.h"

namespace bailiff {
namespace {

namespace json = boost::json;

Status MarkInterrupted(Context& context, const ExecutionRow& row) {
  boost::system::error_code error;
  json::value document = json::parse(row.document, error);
  if (error || !document.is_object()) document = json::object();
  json::object& object = document.as_object();
  object["status"] = "interrupted";
  object["success"] = false;
  object["error"] = "the process that ran it ended before it did; its changes were discarded";
  const Result<ProposalRow> proposal = context.store().GetProposal(row.id);
  if (proposal.ok()) {
    // It had come as far as a change set: that lives on, only its execution has no ending.
    object["error"] = "the process that ran it ended before it was recorded";
    SetChangeState(&object, proposal.value().state);
  } else if (proposal.error().code() == ErrorCode::kNotFound) {
    TRY(ClerkDiscardStaged(context, row.id));
  } else {
    return proposal.error();
  }
  json::object data;
  data["id"] = row.id;
  return CloseBooks(context, row.id, "interrupted", data, std::move(object));
}

}  // namespace

Status CloseBooks(Context& context, const std::string& id, const std::string& type,
                  const json::object& data, json::object document) {
  TRY(context.ledger().Append(type, data));
  WriteExecutionRecord(context, id, &document);
  const std::string status(document.at("status").as_string());
  TRY(context.store().UpdateExecution(id, status, json::serialize(document), context.NowNanos()));
  NotifyEnded(context, document);
  return Ok();
}

Result<bool> Cancel(Context& context, const std::string& id) {
  TRY(context.store().GetExecution(id));
  if (!TRY(CancelSocket::Ask(context.run_dir(), id))) return false;
  // It may have ended by itself in the same moment.
  const ExecutionRow row = TRY(context.store().GetExecution(id));
  return row.status == "cancelled";
}

Result<std::vector<std::string>> CancelAll(Context& context) {
  TRY(PauseQueue(context));
  std::vector<std::string> cancelled;
  for (const ExecutionRow& row : TRY(context.store().RunningExecutions())) {
    if (row.status == "running" && TRY(Cancel(context, row.id))) cancelled.push_back(row.id);
  }
  return cancelled;
}

Result<std::vector<std::string>> FinishAbandoned(Context& context) {
  std::vector<std::string> finished;
  for (const ExecutionRow& row : TRY(context.store().RunningExecutions())) {
    const bool waits = row.status == "queued";  // For a server, which may come back.
    if (waits || TRY(CancelSocket::IsAlive(context.run_dir(), row.id))) continue;
    // One that ended since the list was made has let go of its lock after that was recorded.
    if (TRY(context.store().GetExecution(row.id)).status != row.status) continue;
    TRY(MarkInterrupted(context, row));
    TRY(CancelSocket::Remove(context.run_dir(), row.id));
    finished.push_back(row.id);
  }
  return finished;
}

}  // namespace bailiff
