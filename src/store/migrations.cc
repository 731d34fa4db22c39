#include <iterator>
#include <string>
#include <utility>

#include "store/sqlite.h"

namespace bailiff {
namespace {

constexpr Sql kInitialSchema = R"sql(
CREATE TABLE executions (
  seq         INTEGER PRIMARY KEY AUTOINCREMENT,
  id          TEXT NOT NULL UNIQUE,
  created_ns  INTEGER NOT NULL,
  updated_ns  INTEGER NOT NULL,
  status      TEXT NOT NULL,
  case_name   TEXT NOT NULL,
  script_path TEXT NOT NULL,
  principal   TEXT NOT NULL,
  owner       TEXT NOT NULL,
  document    TEXT NOT NULL
);
CREATE INDEX executions_by_status ON executions (status, seq);
CREATE INDEX executions_by_case ON executions (case_name, seq);

CREATE TABLE proposals (
  seq           INTEGER PRIMARY KEY AUTOINCREMENT,
  id            TEXT NOT NULL UNIQUE,
  kind          TEXT NOT NULL,
  state         TEXT NOT NULL,
  digest        BLOB NOT NULL,
  origin        TEXT NOT NULL,
  created_ns    INTEGER NOT NULL,
  decided_ns    INTEGER NOT NULL,
  decided_by    TEXT NOT NULL,
  created       INTEGER NOT NULL,
  modified      INTEGER NOT NULL,
  deleted       INTEGER NOT NULL,
  moved         INTEGER NOT NULL,
  metadata      INTEGER NOT NULL,
  bytes_written INTEGER NOT NULL,
  change_set    BLOB NOT NULL,
  problems      TEXT NOT NULL,
  epoch         INTEGER
);
CREATE INDEX proposals_by_state ON proposals (state, seq);

CREATE TABLE history (
  row         INTEGER PRIMARY KEY AUTOINCREMENT,
  epoch       INTEGER NOT NULL,
  proposal_id TEXT NOT NULL REFERENCES proposals (id),
  op          TEXT NOT NULL,
  type        TEXT NOT NULL,
  path        BLOB NOT NULL,
  from_path   BLOB NOT NULL,
  sha256      BLOB NOT NULL,
  size        INTEGER NOT NULL,
  at_ns       INTEGER NOT NULL
);
CREATE INDEX history_by_path ON history (path, epoch);
CREATE INDEX history_by_from_path ON history (from_path, epoch) WHERE from_path <> x'';

CREATE TABLE meta (
  key   TEXT PRIMARY KEY,
  value BLOB NOT NULL
) WITHOUT ROWID;

PRAGMA application_id = 1113680236;
PRAGMA user_version = 1;
)sql";

// What the server adds: a queue, plans, tokens, answers kept for repeated requests, and messages to
// be sent. Of an execution's outcome only what lists and statistics ask for has a column.
constexpr Sql kServerSchema = R"sql(
ALTER TABLE executions ADD COLUMN success INTEGER NOT NULL DEFAULT 0;
ALTER TABLE executions ADD COLUMN duration_seconds REAL NOT NULL DEFAULT 0;
UPDATE executions SET success = ifnull(json_extract(document, '$.success'), 0),
  duration_seconds = ifnull(json_extract(document, '$.duration_seconds'), 0);
-- Has all that statistics ask for: these columns lie behind the document.
CREATE INDEX executions_by_time ON executions
  (created_ns, status, success, duration_seconds, script_path, case_name, principal);

ALTER TABLE proposals ADD COLUMN created_by TEXT NOT NULL DEFAULT '';
ALTER TABLE proposals ADD COLUMN case_name TEXT NOT NULL DEFAULT '';
UPDATE proposals SET
  created_by = ifnull((SELECT principal FROM executions WHERE executions.id = proposals.id), ''),
  case_name = ifnull((SELECT case_name FROM executions WHERE executions.id = proposals.id), '');

CREATE TABLE queue (
  seq          INTEGER PRIMARY KEY AUTOINCREMENT,
  execution_id TEXT NOT NULL UNIQUE REFERENCES executions (id),
  request      TEXT NOT NULL
);

CREATE TABLE plans (
  seq         INTEGER PRIMARY KEY AUTOINCREMENT,
  id          TEXT NOT NULL UNIQUE,
  created_ns  INTEGER NOT NULL,
  created_by  TEXT NOT NULL,
  case_name   TEXT NOT NULL,
  document    TEXT NOT NULL
);

CREATE TABLE tokens (
  id            TEXT PRIMARY KEY,
  name          TEXT NOT NULL,
  role          TEXT NOT NULL,
  cases         TEXT NOT NULL,
  secret_sha256 BLOB NOT NULL,
  created_ns    INTEGER NOT NULL,
  created_by    TEXT NOT NULL,
  expires_ns    INTEGER NOT NULL,
  revoked_ns    INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE answers (
  principal   TEXT NOT NULL,
  key         TEXT NOT NULL,
  fingerprint BLOB NOT NULL,
  created_ns  INTEGER NOT NULL,
  status      INTEGER NOT NULL,
  resource    TEXT NOT NULL,
  body        TEXT NOT NULL,
  PRIMARY KEY (principal, key)
) WITHOUT ROWID;
CREATE INDEX answers_by_time ON answers (created_ns);

CREATE TABLE outbox (
  seq        INTEGER PRIMARY KEY AUTOINCREMENT,
  hook       TEXT NOT NULL,
  event      TEXT NOT NULL,
  body       TEXT NOT NULL,
  created_ns INTEGER NOT NULL,
  attempts   INTEGER NOT NULL,
  next_ns    INTEGER NOT NULL,
  last_error TEXT NOT NULL
);
CREATE INDEX outbox_by_next ON outbox (next_ns);

PRAGMA user_version = 2;
)sql";

// What lists are filtered by, so that what they leave out costs no look at its document.
constexpr Sql kListSchema = R"sql(
DROP INDEX executions_by_case;
CREATE INDEX executions_by_case ON executions (case_name, seq, status, created_ns);
CREATE INDEX executions_by_principal ON executions
  (principal, seq, status, case_name, created_ns);

PRAGMA user_version = 3;
)sql";

constexpr std::int64_t kApplicationId = 1113680236;  // "Bail" in ASCII.

// The step at index n takes version n to n + 1. A released step is never edited.
constexpr Sql kSteps[] = {kInitialSchema, kServerSchema, kListSchema};
constexpr std::int64_t kVersion = std::size(kSteps);

// Returns the version. Refuses what is not ours to touch.
Result<std::int64_t> CheckVersion(const Connection& connection) {
  // In one statement: another process may be making the database between two.
  Statement statement =
      TRY(connection.Prepare("SELECT (SELECT count(*) FROM sqlite_schema),"
                             " (SELECT user_version FROM pragma_user_version),"
                             " (SELECT application_id FROM pragma_application_id)"));
  const bool has_row = TRY(statement.Step());
  CHECK(has_row);
  const std::int64_t objects = statement.Int(0);
  const std::int64_t version = statement.Int(1);
  const std::int64_t application = statement.Int(2);
  const bool is_new = version == 0 && application == 0 && objects == 0;
  if (!is_new && (application != kApplicationId || version <= 0)) {
    return Error(
        ErrorCode::kInvalidArgument,
        connection.path() + ": is a database of another program; choose another state directory");
  }
  if (version > kVersion) {
    return Error(ErrorCode::kUnsupported,
                 connection.path() + ": was made by a newer bailiff (schema " +
                     std::to_string(version) + ", this one knows " + std::to_string(kVersion) +
                     "); use that version, or another state directory");
  }
  return version;
}

}  // namespace

Status Migrate(const Connection& connection) {
  const std::int64_t seen = TRY(CheckVersion(connection));
  if (seen == kVersion) return Ok();
  Transaction transaction = TRY(Transaction::Begin(connection));
  // Another process may have done it while this one waited for the lock.
  const std::int64_t version = TRY(CheckVersion(connection));
  for (std::int64_t step = version; step < kVersion; ++step) {
    TRY(connection.Execute(kSteps[step]));
  }
  return transaction.Commit();
}

}  // namespace bailiff
