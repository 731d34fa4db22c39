#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "store/store.h"

// What waits to be run, and the answers that are kept for requests which may be repeated.

namespace bailiff {

struct QueuedRow {
  std::string execution_id;
  std::string request;  // The core's own text.
};

// A request that its sender may repeat without having it done twice.
struct AnswerKey {
  std::string principal;
  std::string key;          // The sender's.
  std::string fingerprint;  // SHA-256 of what is asked, raw.
};

struct Answer {
  std::string fingerprint;
  int status = 0;        // HTTP status; 0: not answered yet, or its process died before it was.
  std::string resource;  // The id of what it made; empty: nothing so far.
  std::string body;
};

// In one transaction: inserts an execution whose status is "queued", what it takes to run it, and,
// with `key`, the id under which a repetition finds it. Durable when it returns.
// Errors: kConflict when there is one with this id.
Status Enqueue(Store& store, const ExecutionRow& row, std::string_view request,
               const AnswerKey* key);
Result<std::int64_t> QueueLength(const Store& store);

// The one that has waited longest.
Result<std::optional<QueuedRow>> NextQueued(const Store& store);

// Takes an execution off the queue: its status is "running", and `owner` runs it. Its request is
// erased. False when it was not there any more.
Result<bool> ClaimQueued(const Store& store, const std::string& id, std::string_view owner);

// Takes it off the queue, with `status` and `document` for good. False when it was not there.
Result<bool> DropQueued(const Store& store, const std::string& id, std::string_view status,
                        std::string_view document, std::int64_t now_ns);

// What was taken off the queue is not left behind in SQLite's log either. Waits for those who read;
// where one of them does not end, the log keeps it until it is written over.
void EraseFromLog(const Store& store);

// Says that the request is being worked on. Nothing when it is new; else what is known of it.
Result<std::optional<Answer>> BeginAnswer(const Store& store, const AnswerKey& key,
                                          std::int64_t now_ns);
Status FinishAnswer(const Store& store, const AnswerKey& key, int status, std::string_view body);
// The request was refused and has done nothing: a repetition is a new one.
Status ForgetAnswer(const Store& store, const AnswerKey& key);

}  // namespace bailiff
