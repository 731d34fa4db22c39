#pragma once

#include <boost/json/object.hpp>

#include "base/result.h"
#include "core/context.h"
#include "core/stats.h"
#include "core/webhook.h"
#include "store/store.h"

// Puts into the outbox what webhooks want to know; core/deliver.h sends it. Neither content of
// files nor output of scripts is ever among it.
//
// Nothing here fails what it tells of: a message that could not be kept is noted in the ledger
// ("notification_failed"). Where no hook wants an event, its function does nothing.

namespace bailiff {

// `payload` gets event, time and workspace before its own keys.
void QueueNotification(Context& context, NotifyEvent event, const boost::json::object& payload);

// That `row` is now in `state`: held, committed, denied, or in conflict (needs_attention included).
void NotifyProposal(Context& context, const ProposalRow& row, ProposalState state);

// That an execution, whose document this is, ended otherwise than it should: not where it succeeded
// or somebody cancelled it.
void NotifyEnded(Context& context, const boost::json::object& document);

// Checks the health of the workspace and sends each alert, that of one metric at most once an hour.
// For a timer; its context sees everything. Errors: those of CheckHealth().
Result<Health> AlertOnHealth(Context& context);

// How many messages were lost so far because the outbox was full.
Result<std::int64_t> LostMessages(Context& context);

// What a Slack hook is sent for a payload: {"text": ...}.
boost::json::object ToSlack(const boost::json::object& payload);

}  // namespace bailiff
