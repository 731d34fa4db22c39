#include "store/sqlite.h"

#include <fcntl.h>
#include <sqlite3.h>

#include <cerrno>
#include <climits>
#include <utility>

#include "base/check.h"
#include "sys/file.h"

namespace bailiff {
namespace {

constexpr int kBusyTimeoutMs = 10'000;
constexpr int kWalAttemptsMax = 200;
constexpr int kWalPauseMs = 20;
// The first process to open the database reads this much of the log; more is moved to the file.
constexpr int kWalPagesMax = 100;

Error FromSqlite(int code, const std::string& path, std::string_view detail) {
  const std::string prefix = path + ": ";
  switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return {ErrorCode::kResourceExhausted,
              prefix + "another process keeps the database locked; try again later"};
    case SQLITE_FULL:
      return {ErrorCode::kResourceExhausted, prefix + "the disk is full"};
    case SQLITE_CONSTRAINT:
      return {ErrorCode::kConflict, prefix + std::string(detail)};
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
      return {ErrorCode::kPermissionDenied, prefix + std::string(detail)};
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return {ErrorCode::kIo, prefix + std::string(detail) +
                                  ". The database is damaged: stop all bailiff processes, keep a "
                                  "copy of the file, and restore it from a backup"};
    default:
      return {ErrorCode::kIo, prefix + std::string(detail)};
  }
}

}  // namespace

void Statement::Finalizer::operator()(sqlite3_stmt* statement) const {
  // Repeats the error of the last step, which has been reported.
  (void)::sqlite3_finalize(statement);
}

Statement::Statement(sqlite3_stmt* statement, const std::string* path)
    : statement_(statement), path_(path) {}

Statement& Statement::Bind(int index, std::int64_t value) {
  bind_error_ |= ::sqlite3_bind_int64(statement_.get(), index, value);
  return *this;
}

Statement& Statement::BindText(int index, std::string_view value) {
  bind_error_ |= ::sqlite3_bind_text64(statement_.get(), index, value.data(), value.size(),
                                       SQLITE_TRANSIENT, SQLITE_UTF8);
  return *this;
}

Statement& Statement::BindBlob(int index, std::string_view value) {
  // A null pointer would bind NULL where an empty blob is meant.
  const char* data = value.data() == nullptr ? "" : value.data();
  bind_error_ |=
      ::sqlite3_bind_blob64(statement_.get(), index, data, value.size(), SQLITE_TRANSIENT);
  return *this;
}

Statement& Statement::BindNull(int index) {
  bind_error_ |= ::sqlite3_bind_null(statement_.get(), index);
  return *this;
}

Result<bool> Statement::Step() {
  sqlite3* const database = ::sqlite3_db_handle(statement_.get());
  if (bind_error_ != 0) {
    return Error(ErrorCode::kInternal, *path_ + ": a value could not be bound");
  }
  const int code = ::sqlite3_step(statement_.get());
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  return FromSqlite(::sqlite3_extended_errcode(database), *path_, ::sqlite3_errmsg(database));
}

Status Statement::Run() {
  const bool has_row = TRY(Step());
  CHECK(!has_row);
  return Ok();
}

void Statement::Reset() {
  // Repeats the error of the last step, which has been reported.
  (void)::sqlite3_reset(statement_.get());
  (void)::sqlite3_clear_bindings(statement_.get());
}

std::int64_t Statement::Int(int column) const {
  return ::sqlite3_column_int64(statement_.get(), column);
}

std::string Statement::Bytes(int column) const {
  const void* data = ::sqlite3_column_blob(statement_.get(), column);
  const int size = ::sqlite3_column_bytes(statement_.get(), column);
  if (data == nullptr) return "";
  return {static_cast<const char*>(data), static_cast<std::size_t>(size)};
}

bool Statement::IsNull(int column) const {
  return ::sqlite3_column_type(statement_.get(), column) == SQLITE_NULL;
}

void Connection::Closer::operator()(sqlite3* database) const {
  CHECK(::sqlite3_close(database) == SQLITE_OK);  // Else a Statement outlives its Connection.
}

Connection::Connection(const std::string& path) : path_(std::make_unique<std::string>(path)) {}

Result<Connection> Connection::Open(const std::string& path) {
  // SQLite would make it readable for others; its -wal and -shm files take the mode of this one.
  // An existing file is left alone: closing any descriptor of it drops the POSIX locks that another
  // connection in this process may hold.
  Result<Fd> made = OpenPath(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
  if (made.ok()) {
    TRY(made.value().Close());
  } else if (made.error().sys_errno() != EEXIST) {
    return std::move(made).error();
  }
  Connection connection(path);
  sqlite3* database = nullptr;
  const int code = ::sqlite3_open_v2(
      path.c_str(), &database, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW,
      nullptr);
  connection.database_.reset(database);
  if (code != SQLITE_OK) return FromSqlite(code, path, ::sqlite3_errstr(code));
  TRY(connection.Configure());
  return connection;
}

Status Connection::Configure() const {
  sqlite3* const database = database_.get();
  CHECK(::sqlite3_extended_result_codes(database, 1) == SQLITE_OK);
  CHECK(::sqlite3_busy_timeout(database, kBusyTimeoutMs) == SQLITE_OK);
  CHECK(::sqlite3_db_config(database, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr) == SQLITE_OK);
  CHECK(::sqlite3_db_config(database, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr) == SQLITE_OK);
  CHECK(::sqlite3_db_config(database, SQLITE_DBCONFIG_ENABLE_FKEY, 1, nullptr) == SQLITE_OK);
  // Each command would move its few pages from the log to the file, sync both and delete the log.
  CHECK(::sqlite3_db_config(database, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr) == SQLITE_OK);
  CHECK(::sqlite3_wal_autocheckpoint(database, kWalPagesMax) == SQLITE_OK);
  // Two processes that open a new database at once: SQLite gives up on this one change of mode
  // without waiting for its busy timeout.
  Status wal = Ok();
  for (int attempt = 0; attempt < kWalAttemptsMax; ++attempt) {
    wal = Execute("PRAGMA journal_mode = WAL");
    if (wal.ok() || wal.error().code() != ErrorCode::kResourceExhausted) break;
    (void)::sqlite3_sleep(kWalPauseMs);
  }
  TRY(std::move(wal));
  // A server may open no file outside of its state.
  TRY(Execute("PRAGMA temp_store = MEMORY"));
  return Execute("PRAGMA synchronous = FULL");
}

Result<Statement> Connection::Prepare(Sql sql) const {
  sqlite3_stmt* raw = nullptr;
  const std::string_view text = sql.text();
  CHECK(text.size() < INT_MAX);
  const int code = ::sqlite3_prepare_v2(database_.get(), text.data(), static_cast<int>(text.size()),
                                        &raw, nullptr);
  if (code != SQLITE_OK) return FromSqlite(code, *path_, ::sqlite3_errmsg(database_.get()));
  return Statement(raw, path_.get());
}

Status Connection::Execute(Sql sql) const {
  // A literal ends with a zero byte.
  const int code = ::sqlite3_exec(database_.get(), sql.text().data(), nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) return FromSqlite(code, *path_, ::sqlite3_errmsg(database_.get()));
  return Ok();
}

std::int64_t Connection::ChangedRows() const {
  return ::sqlite3_changes64(database_.get());
}

std::int64_t Connection::LastRowId() const {
  return ::sqlite3_last_insert_rowid(database_.get());
}

Unsynced::Unsynced(const Connection& connection) : connection_(connection) {
  CHECK(connection_.Execute("PRAGMA synchronous = NORMAL").ok());
}

Unsynced::~Unsynced() {
  CHECK(connection_.Execute("PRAGMA synchronous = FULL").ok());
}

Result<Transaction> Transaction::Begin(const Connection& connection) {
  // IMMEDIATE: a transaction that reads first and writes later can fail at the write with no way
  // but to start over.
  TRY(connection.Execute("BEGIN IMMEDIATE"));
  return Transaction(&connection);
}

Transaction::Transaction(Transaction&& other) noexcept
    : connection_(std::exchange(other.connection_, nullptr)) {}

Transaction::~Transaction() {
  // Fails where the error that brings us here has already rolled back.
  if (connection_ != nullptr) (void)connection_->Execute("ROLLBACK");
}

Status Transaction::Commit() {
  CHECK(connection_ != nullptr);
  TRY(connection_->Execute("COMMIT"));
  connection_ = nullptr;
  return Ok();
}

}  // namespace bailiff
