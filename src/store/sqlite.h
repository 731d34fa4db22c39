#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

struct sqlite3;
struct sqlite3_stmt;

namespace bailiff {

// SQL text that is known when this program is compiled. A string that is put together at run time
// does not convert, so a value can reach the database only through Statement::Bind...().
class Sql {
 public:
  template <std::size_t kSize>
  // NOLINTNEXTLINE(google-explicit-constructor): a literal is meant to be one.
  consteval Sql(const char (&text)[kSize]) : text_(text), size_(kSize - 1) {}

  std::string_view text() const { return {text_, size_}; }

 private:
  const char* text_;
  std::size_t size_;
};

// One prepared statement and the row it stands on. Parameters count from 1, columns from 0.
class Statement {
 public:
  // Binding fails only for lack of memory or a wrong index, which Step() then reports.
  Statement& Bind(int index, std::int64_t value);
  Statement& BindText(int index, std::string_view value);
  Statement& BindBlob(int index, std::string_view value);
  Statement& BindNull(int index);

  // True when there is a row. Errors: kConflict for a violated constraint; kResourceExhausted when
  // the database stays locked or the disk is full; kIo, with what to do when it is damaged.
  Result<bool> Step();

  // For a statement that gives no rows.
  Status Run();

  // Makes it ready to be bound and stepped again.
  void Reset();

  std::int64_t Int(int column) const;
  std::string Bytes(int column) const;  // Text or blob.
  bool IsNull(int column) const;

 private:
  friend class Connection;
  struct Finalizer {
    void operator()(sqlite3_stmt* statement) const;
  };
  Statement(sqlite3_stmt* statement, const std::string* path);

  std::unique_ptr<sqlite3_stmt, Finalizer> statement_;
  const std::string* path_;  // The connection's; for messages.
  int bind_error_ = 0;
};

// One SQLite connection: WAL, full sync, foreign keys, a 10 s wait for locks, defensive mode.
// One thread at a time; not to be used on both sides of a fork.
class Connection {
 public:
  // Opens or makes (0600) the database. Errors: as Statement::Step(), and kNotFound when its
  // directory does not exist.
  static Result<Connection> Open(const std::string& path);

  Result<Statement> Prepare(Sql sql) const;

  // Runs one or more statements without parameters and results.
  Status Execute(Sql sql) const;

  std::int64_t ChangedRows() const;  // By the last statement.
  std::int64_t LastRowId() const;
  const std::string& path() const { return *path_; }

 private:
  struct Closer {
    void operator()(sqlite3* database) const;
  };
  explicit Connection(const std::string& path);
  Status Configure() const;

  std::unique_ptr<std::string> path_;  // Its address stays when the connection moves.
  std::unique_ptr<sqlite3, Closer> database_;
};

// For as long as it lives, transactions are whole and in order, but durable only together with the
// next one that is synced: a power cut may take the last of them back.
class Unsynced {
 public:
  explicit Unsynced(const Connection& connection);
  Unsynced(const Unsynced&) = delete;
  Unsynced& operator=(const Unsynced&) = delete;
  ~Unsynced();

 private:
  const Connection& connection_;
};

// A write transaction. Rolls back when it dies uncommitted. Keep it short: other processes wait.
class Transaction {
 public:
  static Result<Transaction> Begin(const Connection& connection);
  Transaction(Transaction&& other) noexcept;
  Transaction& operator=(Transaction&&) = delete;
  ~Transaction();

  Status Commit();

 private:
  explicit Transaction(const Connection* connection) : connection_(connection) {}
  const Connection* connection_;  // Null once committed or moved from.
};

// Brings the schema up to this program's version. Errors: kUnsupported for a database that a newer
// version made; kInvalidArgument for one that is not Bailiff's; else as Statement::Step().
Status Migrate(const Connection& connection);

}  // namespace bailiff
