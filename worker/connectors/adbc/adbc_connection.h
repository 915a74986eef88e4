#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "worker/connectors/adbc/adbc_database.h"

struct AdbcConnection;
struct AdbcError;

namespace arrow {
class RecordBatch;
class RecordBatchReader;
class Schema;
}  // namespace arrow

namespace tidemark::adbc {

// The rows of a query as they come. Of one thread; the connection runs nothing else until it is destroyed, and outlives
// it.
class BatchReader {
 public:
  virtual ~BatchReader() = default;
  virtual const std::shared_ptr<arrow::Schema>& schema() const = 0;
  // nullptr after the last batch. A batch may be empty.
  virtual absl::StatusOr<std::shared_ptr<arrow::RecordBatch>> Next() = 0;
};

// A table, by the parts of its name as they are, unquoted. An empty schema is the connection's own.
struct TableName {
  std::string schema;
  std::string table;
};

// One connection to a database, which it keeps open. All methods but Cancel are called by one thread at a time. SQL is
// one statement. What is not committed is rolled back with the connection.
class Connection {
 public:
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Off: what runs from now on is one transaction until Commit or Rollback, which begin the next. On, as at first:
  // every statement is one; what was open is committed.
  absl::Status SetAutocommit(bool on);
  absl::Status Commit();
  absl::Status Rollback();

  // Rows changed, as the driver tells them; -1 where it does not (as DuckDB where there are none).
  absl::StatusOr<int64_t> Execute(absl::string_view sql);
  // A small result, cell by cell as text; nullopt for NULL. For integers, booleans and texts: what else is wanted is
  // cast by the query.
  using Row = std::vector<std::optional<std::string>>;
  absl::StatusOr<std::vector<Row>> Query(absl::string_view sql);
  // A result of any size.
  absl::StatusOr<std::unique_ptr<BatchReader>> Read(absl::string_view sql);
  // Appends to a table that exists, column by column in their order, inside the transaction if one is open. The rows
  // appended.
  absl::StatusOr<int64_t> Ingest(const TableName& into, const arrow::RecordBatch& rows);

  // Stops what runs, and refuses what would run afterwards: both end with Cancelled, and the connection is of no
  // further use but to be rolled back. A statement that begins at this very moment may run to its end. Any thread, any
  // time; returns at once.
  void Cancel();

 private:
  friend class Database;
  class Statement;
  class StatementReader;

  explicit Connection(std::shared_ptr<Database> database);
  absl::Status Init();
  absl::Status CheckNotCancelled() const;
  // As Database::Read; Cancelled after Cancel.
  absl::Status Read(uint8_t code, AdbcError* error) const;
  absl::Status Explain(const absl::Status& status) const;

  const std::shared_ptr<Database> database_;
  std::unique_ptr<AdbcConnection> connection_;
  std::atomic<bool> cancelled_ = false;
};

// Rolls back at destruction unless committed.
class Transaction {
 public:
  explicit Transaction(Connection& connection) : connection_(&connection) {}
  ~Transaction() { Rollback(); }
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;

  absl::Status Begin();
  // Ends the transaction, whatever it returns: whether an error leaves it committed is the driver's to tell by its
  // code.
  absl::Status Commit();
  void Rollback();

 private:
  Connection* connection_;
  bool open_ = false;
};

}  // namespace tidemark::adbc
