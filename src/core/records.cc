#include "core/records.h"

#include <boost/json.hpp>
#include <utility>

#include "base/bytes.h"
#include "base/sha256.h"
#include "core/clerks.h"
#include "core/context.h"
#include "core/documents.h"
#include "engine/clerk.h"

namespace bailiff {
namespace {

namespace json = boost::json;

// Keeps one record well under the ledger's own limit, with the longest of paths.
constexpr std::size_t kRecordBytes = 256UL * 1024;
constexpr std::size_t kGroupRecords = 16;

json::object Short(const Change& change) {
  json::object object;
  object["op"] = Name(change.op);
  object["type"] = Name(change.type);
  PutBytes(&object, "path", change.path);
  if (!change.from.empty()) PutBytes(&object, "from", change.from);
  if (!change.sha256.empty()) object["sha256"] = ToHex(change.sha256);
  if (!change.link_target.empty()) PutBytes(&object, "link_target", change.link_target.str());
  if (!change.link_to.empty()) PutBytes(&object, "link_to", change.link_to.str());
  if (!change.base.has_value()) return object;
  object["base_inode"] = change.base->ino;
  if (!change.base->sha256.empty()) object["base_sha256"] = ToHex(change.base->sha256);
  if (!change.base->tree_sha256.empty()) object["base_tree"] = ToHex(change.base->tree_sha256);
  return object;
}

}  // namespace

std::vector<HistoryRow> HistoryRows(const ChangeSet& set, std::int64_t now_ns) {
  std::vector<HistoryRow> rows;
  rows.reserve(set.changes.size());
  for (const Change& change : set.changes) {
    HistoryRow row;
    row.op = Name(change.op);
    row.type = Name(change.type);
    row.path = change.path;
    row.from_path = change.from;
    row.sha256 = change.sha256;
    row.size = change.size;
    row.at_ns = now_ns;
    rows.push_back(std::move(row));
  }
  return rows;
}

json::object AboutProposal(const Context& context, const ProposalRow& row) {
  json::object data;
  data["id"] = row.id;
  data["digest"] = row.digest.empty() ? json::value() : json::value(FormatDigest(row.digest));
  data["principal"] = context.principal();
  if (!row.origin.empty()) data["rolls_back"] = row.origin;
  return data;
}

Status AppendCommit(Context& context, const std::string& type, const ProposalRow& row,
                    const ChangeSet& set, json::object data) {
  std::vector<NewRecord> records;
  json::array part;
  std::size_t part_bytes = 0;
  const auto close_part = [&] {
    json::object changes = AboutProposal(context, row);
    changes["changes"] = std::exchange(part, {});
    records.push_back({"changes", std::move(changes)});
    part_bytes = 0;
  };
  for (const Change& change : set.changes) {
    json::object item = Short(change);
    part_bytes += json::serialize(item).size();
    part.push_back(std::move(item));
    if (part_bytes < kRecordBytes) continue;
    close_part();
    if (records.size() < kGroupRecords) continue;
    TRY(context.ledger().AppendAll(records, Ledger::Sync::kWithNext));
    records.clear();
  }
  if (!part.empty()) close_part();
  records.push_back({type, std::move(data)});
  TRY(context.ledger().AppendAll(records, Ledger::Sync::kWithNext));
  return Ok();
}

void WriteExecutionRecord(Context& context, const std::string& id, json::object* document) {
  FinishExecutionRecord(BeginExecutionRecord(context, id, *document), document);
}

std::optional<Result<Fd>> BeginExecutionRecord(Context& context, const std::string& id,
                                               const json::object& document) {
  const std::string& folder = context.config().execution_logs;
  if (folder.empty()) return std::nullopt;
  return ClerkBeginRecord(context, folder + "/" + id + ".json", Pretty(document));
}

void FinishExecutionRecord(std::optional<Result<Fd>> begun, json::object* document) {
  if (!begun.has_value()) return;
  const Status written = [&]() -> Status {
    const Fd clerk = TRY(std::move(*begun));
    TRY(AwaitAnswer(clerk));
    return Ok();
  }();
  if (written.ok()) return;
  (*document)["log_file"] = nullptr;
  json::value* warnings = document->if_contains("warnings");
  if (warnings == nullptr || !warnings->is_array()) return;
  warnings->as_array().emplace_back(
      ToUtf8Lossy("the execution record was not written: " + written.error().message()));
}

}  // namespace bailiff
