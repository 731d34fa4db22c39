#include "api/metrics.h"

#include <fmt/format.h>

#include <map>
#include <optional>
#include <string_view>

#include "core/notify.h"
#include "core/queue.h"
#include "core/queue_pause.h"

namespace bailiff {
namespace {

// Names of statuses and states are letters and underscores: they need no escape.
void AddFamily(std::string_view name, std::string_view type, std::string_view help,
               std::string* text) {
  *text += fmt::format("# HELP {0} {2}\n# TYPE {0} {1}\n", name, type, help);
}

void AddOne(std::string_view name, std::string_view type, std::string_view help, std::int64_t value,
            std::string* text) {
  AddFamily(name, type, help, text);
  *text += fmt::format("{} {}\n", name, value);
}

void AddByLabel(std::string_view name, std::string_view label, std::string_view help,
                const std::map<std::string, std::int64_t>& counts, std::string* text) {
  AddFamily(name, "gauge", help, text);
  for (const auto& [value, count] : counts) {
    *text += fmt::format("{}{{{}=\"{}\"}} {}\n", name, label, value, count);
  }
}

}  // namespace

Result<std::string> MetricsText(Context& context, std::size_t workers, std::size_t busy) {
  std::string text;
  AddByLabel("bailiff_executions", "status", "Executions that are known, by status.",
             TRY(context.store().CountExecutions()), &text);
  AddByLabel("bailiff_proposals", "state", "Change sets that are known, by state.",
             TRY(context.store().CountProposals()), &text);
  AddOne("bailiff_queue_length", "gauge", "Executions that wait for a worker.",
         TRY(QueueLength(context.store())), &text);
  AddOne("bailiff_queue_paused", "gauge", "1 while the queue is paused.",
         TRY(PausedBy(context)).has_value() ? 1 : 0, &text);
  AddOne("bailiff_workers", "gauge", "Executions that may run at once.",
         static_cast<std::int64_t>(workers), &text);
  AddOne("bailiff_workers_busy", "gauge", "Executions that run.", static_cast<std::int64_t>(busy),
         &text);
  AddOne("bailiff_commits_total", "counter", "Commits to the workspace.",
         TRY(context.store().CurrentEpoch()), &text);
  AddOne("bailiff_webhook_messages_lost_total", "counter",
         "Messages to webhooks that a full outbox had no room for.", TRY(LostMessages(context)),
         &text);
  return text;
}

}  // namespace bailiff
