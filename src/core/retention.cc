#include "core/retention.h"

#include <fcntl.h>

#include <algorithm>
#include <boost/json.hpp>
#include <optional>
#include <string_view>

#include "base/ids.h"
#include "core/clerks.h"
#include "core/commit.h"
#include "core/records.h"
#include "store/retention.h"
#include "sys/file.h"

namespace bailiff {
namespace {

constexpr std::size_t kLogsMax = 10'000'000;
constexpr std::size_t kLogsPerClerk = 10'000;
constexpr std::string_view kLogSuffix = ".json";

std::int64_t Before(const Context& context, std::chrono::nanoseconds age) {
  return context.NowNanos() - age.count();
}

Result<std::vector<std::string>> Overdue(Context& context) {
  const std::int64_t before_ns = Before(context, context.config().held_retention);
  return WaitingSince(context.store().connection(), before_ns, kStoreRowsMax);
}

// The ids of the executions whose documents lie in the folder.
Result<std::vector<std::string>> ListLogs(const Context& context, const std::string& folder) {
  const Result<Fd> dir = OpenDirBeneath(context.workspace().root(), folder, O_RDONLY);
  if (!dir.ok()) {
    if (IsNoEntry(dir.error())) return std::vector<std::string>();
    return dir.error();
  }
  std::vector<std::string> ids;
  for (std::string& name : TRY(ListDir(dir.value(), kLogsMax))) {
    if (!name.ends_with(kLogSuffix)) continue;
    name.resize(name.size() - kLogSuffix.size());
    if (IsId(name)) ids.push_back(std::move(name));
  }
  return ids;
}

}  // namespace

Result<std::vector<std::string>> ExpireHeld(Context& context, const WorkspaceLock& /*lock*/) {
  std::vector<std::string> expired;
  for (const std::string& id : TRY(Overdue(context))) {
    const ProposalRow row = TRY(context.store().GetProposal(id));
    TRY(DropWaiting(context, row, ProposalState::kExpired, "retention",
                    AboutProposal(context, row)));
    expired.push_back(id);
  }
  return expired;
}

Result<std::vector<std::string>> ExpireHeld(Context& context) {
  if (TRY(Overdue(context)).empty()) return std::vector<std::string>();
  const Result<WorkspaceLock> lock = WorkspaceLock::Take(context, std::chrono::milliseconds(0));
  if (lock.ok()) return ExpireHeld(context, lock.value());
  if (lock.error().code() != ErrorCode::kResourceExhausted) return lock.error();
  return std::vector<std::string>();
}

Result<std::int64_t> DropExecutionLogs(Context& context) {
  const std::string& folder = context.config().execution_logs;
  if (folder.empty()) return std::int64_t{0};
  const Connection& connection = context.store().connection();
  const std::vector<std::string> all = TRY(ListLogs(context, folder));
  const std::vector<std::string> old =
      TRY(EndedBefore(connection, all, Before(context, context.config().log_retention)));
  std::int64_t dropped = 0;
  for (std::size_t at = 0; at < old.size(); at += kLogsPerClerk) {
    const std::size_t end = std::min(old.size(), at + kLogsPerClerk);
    const std::vector<std::string> part(old.begin() + static_cast<std::ptrdiff_t>(at),
                                        old.begin() + static_cast<std::ptrdiff_t>(end));
    dropped += TRY(ClerkRemoveRecords(context, folder, part));
    TRY(ForgetLogFiles(connection, part));
  }
  return dropped;
}

}  // namespace bailiff
