#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include "absl/strings/string_view.h"

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

struct sqlite3;
struct sqlite3_stmt;

namespace tidemark::sqlite {

// `name` as a quoted SQL identifier.
std::string Quoted(absl::string_view name);

// A prepared statement. Must not outlive its Database. Parameters and columns are numbered as SQLite does: parameters
// from 1, columns from 0. A failed Bind shows at the next Step.
class Statement {
 public:
  Statement() = default;
  Statement(sqlite3_stmt* stmt, absl::string_view where) : stmt_(stmt), where_(where) {}
  Statement(Statement&& other) noexcept { *this = std::move(other); }
  Statement& operator=(Statement&& other) noexcept;
  ~Statement();

  void BindNull(int parameter);
  void BindInt(int parameter, int64_t value);
  void BindDouble(int parameter, double value);
  void BindText(int parameter, absl::string_view value);
  void BindBlob(int parameter, absl::string_view value);
  // 0 if the statement has no parameter of this name (":name").
  int ParameterIndex(const char* name) const;

  // True: a row is there to read.
  absl::StatusOr<bool> Step();
  // Steps to the end and makes the statement ready to run again, its bindings kept.
  absl::Status Run();
  void Reset();

  bool IsNull(int column) const;
  int64_t Int(int column) const;
  // Valid until the next Step.
  absl::string_view Text(int column) const;
  sqlite3_stmt* get() const { return stmt_; }

 private:
  void Keep(int code);

  sqlite3_stmt* stmt_ = nullptr;
  std::string where_;
  int bind_error_ = 0;
};

// One connection to one file. All methods but Cancel are called by one thread at a time.
//
// Errors: Unavailable when the file stays locked by others longer than the busy wait, Cancelled after Cancel,
// PermissionDenied for a read-only file, NotFound for a missing one, ResourceExhausted for a full disk or a quota,
// InvalidArgument for SQL that does not compile, FailedPrecondition for a violated constraint. They name the file.
class Database {
 public:
  enum class Mode {
    kExisting,  // Writable if the file allows it.
    kCreate,    // Made if it is missing.
  };
  // What a statement does about a lock of another connection, those that open the file included.
  struct Patience {
    absl::Duration busy_wait = absl::Seconds(5);
    // Once true, it is as after Cancel. Must outlive the database.
    const std::atomic<bool>* cancelled = nullptr;
  };
  static absl::StatusOr<std::unique_ptr<Database>> Open(const std::string& path, Mode mode);
  static absl::StatusOr<std::unique_ptr<Database>> Open(const std::string& path, Mode mode, const Patience& patience);
  // A private copy of the state `source` shows now, in an unlinked temporary file: it vanishes with the connection.
  // `source` is read-locked only while its pages are copied.
  static absl::StatusOr<std::unique_ptr<Database>> TemporaryCopy(Database& source);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  // Runs one or several statements, their rows ignored.
  absl::Status Exec(absl::string_view sql);
  absl::StatusOr<Statement> Prepare(absl::string_view sql);
  // First column of the first row; nullopt if there is no row or it is NULL.
  absl::StatusOr<std::optional<int64_t>> QueryInt(absl::string_view sql);
  absl::StatusOr<std::string> QueryText(absl::string_view sql);

  // How long a statement waits for a lock of another connection. Cancel ends the wait.
  void SetBusyWait(absl::Duration wait);

  // Rows changed by the last statement, triggers not counted.
  int64_t Changes() const;
  bool InTransaction() const;
  bool ReadOnly() const;
  bool WriteAheadLog();
  const std::string& path() const { return path_; }
  sqlite3* get() const { return db_; }

  // Stops what runs and what will run on this connection: it is of no further use. Any thread, any time; returns at
  // once.
  void Cancel();

 private:
  Database(std::string path, const Patience& patience) : path_(std::move(path)), also_cancelled_(patience.cancelled) {
    SetBusyWait(patience.busy_wait);
  }
  bool Cancelled() const { return cancelled_ || (also_cancelled_ != nullptr && *also_cancelled_); }
  static int OnBusy(void* self, int attempt);
  static int OnProgress(void* self);

  const std::string path_;
  const std::atomic<bool>* const also_cancelled_;
  sqlite3* db_ = nullptr;
  std::atomic<bool> cancelled_ = false;
  std::atomic<int> busy_attempts_ = 0;
};

// Rolls back at destruction unless committed.
class Transaction {
 public:
  explicit Transaction(Database& db) : db_(&db) {}
  ~Transaction();
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;

  // Takes the file's one write lock now, so that nothing inside fails for a lock later.
  absl::Status BeginImmediate();
  // Unknown if it cannot be told whether the commit happened.
  absl::Status Commit();
  void Rollback();

 private:
  Database* db_;
  bool open_ = false;
};

// The status of an SQLite result code; `db` may be null.
absl::Status SqliteError(sqlite3* db, int code, absl::string_view where);

}  // namespace tidemark::sqlite
