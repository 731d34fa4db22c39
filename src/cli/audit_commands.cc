#include "cli/audit_commands.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <limits>
#include <optional>
#include <utility>

#include "base/bytes.h"
#include "base/units.h"
#include "core/documents.h"
#include "ledger/verify.h"
#include "sys/file.h"

namespace bailiff {
namespace {

namespace json = boost::json;

constexpr std::size_t kKeyBytesMax = 64UL * 1024;
constexpr int kExitLedgerWrong = 1;

Result<std::string> ReadFileAt(const std::string& path) {
  const Fd file = TRY(OpenPath(path, O_RDONLY));
  Result<std::string> text = ReadAll(file, kKeyBytesMax);
  if (!text.ok()) return std::move(text).error().WithContext(path);
  return text;
}

// Opens the ledger without opening the rest of the state: verification must not depend on it, and
// must not write.
Result<Fd> OpenLedger(Session& session, const std::string& given) {
  if (!given.empty()) return OpenPath(session.Absolute(given), O_RDONLY | O_DIRECTORY);
  const Context* context = TRY(session.Open(Session::Purpose::kRead));
  return OpenDirBeneath(context->ledger_dir(), ".", O_RDONLY);
}

Result<VerifyReport> VerifyLedger(Session& session, const AuditVerifyOptions& options) {
  const Fd ledger = TRY(OpenLedger(session, options.ledger));
  std::string key;
  if (options.key.empty()) {
    const Entry entry{TRY(OpenDirBeneath(ledger, ".")), "key.pub"};
    const Fd file = TRY(OpenEntry(entry, O_RDONLY));
    key = TRY(ReadAll(file, kKeyBytesMax));
  } else {
    key = TRY(ReadFileAt(session.Absolute(options.key)));
  }
  std::optional<std::string> checkpoint;
  if (!options.checkpoint.empty()) {
    checkpoint = TRY(ReadFileAt(session.Absolute(options.checkpoint)));
  }
  return Verify(ledger, key, checkpoint);
}

json::object RecordToJson(const Record& record) {
  json::object object;
  object["seq"] = record.seq;
  object["time"] = record.time;
  object["type"] = record.type;
  object["hash"] = ToHex(record.hash);
  object["data"] = record.data;
  return object;
}

Result<int> Show(Session& session, const AuditShowOptions& options) {
  Context* context = TRY(session.Open(Session::Purpose::kRead));
  if (options.checkpoint) {
    const std::string text = TRY(context->ledger().Checkpoint());
    json::object document;
    document["checkpoint"] = text;
    session.Answer(document, text);
    return 0;
  }
  const std::int64_t from = TRY(ParseCount(options.from, std::numeric_limits<std::int64_t>::max()));
  const bool as_json = session.options().json;
  json::array records;
  TRY(Ledger::ForEach(
      context->ledger_dir(), static_cast<std::uint64_t>(from), [&](const Record& record) {
        if (as_json) {
          records.push_back(RecordToJson(record));
          return true;
        }
        const std::string line = fmt::format("{:>6}  {}  {:<12} {}\n", record.seq, record.time,
                                             record.type, json::serialize(record.data));
        return WriteTo(STDOUT_FILENO, EscapeForTerminal(line, Lines::kMultiple));
      }));
  if (!as_json) return 0;
  json::object document;
  document["records"] = std::move(records);
  session.Answer(document, "");
  return 0;
}

}  // namespace

int AuditVerifyCommand(Session& session, const AuditVerifyOptions& options) {
  const Result<VerifyReport> verified = VerifyLedger(session, options);
  if (!verified.ok()) return session.Fail(verified.error());
  const VerifyReport& report = verified.value();
  const bool whole = report.finding == LedgerFinding::kOk;
  json::object document;
  document["ok"] = whole;
  document["finding"] = Name(report.finding);
  document["detail"] = ToUtf8Lossy(report.detail);
  document["file"] = ToUtf8Lossy(report.file);
  document["line"] = report.line;
  document["seq"] = report.seq;
  document["records"] = report.records;
  document["head"] = ToHex(report.head);
  document["signed_seq"] = report.signed_seq;
  session.Answer(document, Describe(report) + "\n");
  return whole ? 0 : kExitLedgerWrong;
}

int AuditShowCommand(Session& session, const AuditShowOptions& options) {
  const Result<int> exit_code = Show(session, options);
  return exit_code.ok() ? exit_code.value() : session.Fail(exit_code.error());
}

}  // namespace bailiff
