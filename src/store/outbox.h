#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "store/sqlite.h"

// Messages that wait to be sent. Errors of all functions: as Statement::Step().

namespace bailiff {

// A longer outbox loses its oldest messages.
inline constexpr std::int64_t kOutboxRowsMax = 10'000;

struct OutboxRow {
  std::int64_t seq = 0;  // Given by the store, never twice.
  std::string hook;      // The webhook's name.
  std::string event;
  std::string body;
  std::int64_t created_ns = 0;
  std::int64_t attempts = 0;
  std::int64_t next_ns = 0;  // Not to be sent before.
  std::string last_error{};
};

Status Enqueue(const Connection& connection, const OutboxRow& row);

// Those for `hook` that are due, oldest first.
Result<std::vector<OutboxRow>> DueMessages(const Connection& connection, const std::string& hook,
                                           std::int64_t now_ns, std::int64_t limit);

// Those for hooks that are not among `known`, oldest first.
Result<std::vector<OutboxRow>> StrayMessages(const Connection& connection,
                                             const std::vector<std::string>& known,
                                             std::int64_t limit);

// When the next one is due; nothing when there is none.
Result<std::optional<std::int64_t>> NextDue(const Connection& connection);

// Counts an attempt that failed, and has the next one wait until `next_ns`.
Status DeferMessage(const Connection& connection, std::int64_t seq, std::int64_t next_ns,
                    const std::string& error);
Status RemoveMessage(const Connection& connection, std::int64_t seq);

// Removes those made before `before_ns`; returns how many.
Result<std::int64_t> RemoveOldMessages(const Connection& connection, std::int64_t before_ns);

// How many were ever lost because the outbox was full.
Result<std::int64_t> LostMessages(const Connection& connection);

}  // namespace bailiff
