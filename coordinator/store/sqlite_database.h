#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coordinator/store/rows.h"

struct sqlite3;
struct sqlite3_stmt;

namespace tidemark::coordinator {

class SqliteRow final : public RowReader {
 public:
  explicit SqliteRow(sqlite3_stmt* statement) : statement_(statement) {}
  int64_t Integer() override;
  bool Boolean() override { return Integer() != 0; }
  std::optional<std::string> OptionalText() override;
  void Skip(int columns) override { next_ += columns; }

 private:
  sqlite3_stmt* const statement_;
  int next_ = 0;
};

// One connection to a SQLite file. Every commit is synced before it returns (synchronous = FULL: with NORMAL a power
// cut takes back the last commits of a WAL file, and a committed watermark must not come back as an older one).
// Statements are prepared once. One thread at a time.
//
// Errors: Unavailable while another process is in the way for longer than 3 s or the disk fails, ResourceExhausted if
// it is full, DataLoss for a damaged file, AlreadyExists for a unique value that is taken.
class SqliteDatabase {
 public:
  enum class Mode { kReadWrite, kReadOnly };
  static absl::StatusOr<std::unique_ptr<SqliteDatabase>> Open(const std::string& path, Mode mode);
  ~SqliteDatabase();
  SqliteDatabase(const SqliteDatabase&) = delete;
  SqliteDatabase& operator=(const SqliteDatabase&) = delete;

  const std::string& path() const { return path_; }

  // Runs one statement with `values` bound in order; returns how many rows it changed.
  absl::StatusOr<int64_t> Execute(std::string_view sql, const StoredValues& values = {});
  // Calls `on_row` for every row of the result, until it returns an error.
  absl::Status Query(std::string_view sql, const StoredValues& values,
                     absl::FunctionRef<absl::Status(RowReader&)> on_row);
  // Runs any number of statements.
  absl::Status RunScript(std::string_view sql);
  // Runs `body` in a transaction that has the write lock from its start; what the body did is rolled back if it returns
  // an error.
  absl::Status Transact(absl::FunctionRef<absl::Status(SqliteDatabase&)> body);

 private:
  SqliteDatabase(std::string path, sqlite3* handle) : path_(std::move(path)), handle_(handle) {}
  absl::Status Error(int code) const;
  absl::StatusOr<sqlite3_stmt*> Prepare(std::string_view sql, const StoredValues& values);

  const std::string path_;
  sqlite3* const handle_;
  std::map<std::string, sqlite3_stmt*, std::less<>> statements_;
};

}  // namespace tidemark::coordinator
