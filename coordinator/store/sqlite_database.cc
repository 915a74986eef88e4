#include "coordinator/store/sqlite_database.h"

#include <sqlite3.h>

#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace tidemark::coordinator {
namespace {

// Everyone waits behind it, heartbeats too: well below the lease.
constexpr int kBusyTimeoutMillis = 3'000;

absl::StatusCode CodeOf(int sqlite_code) {
  if (sqlite_code == SQLITE_CONSTRAINT_UNIQUE || sqlite_code == SQLITE_CONSTRAINT_PRIMARYKEY) {
    return absl::StatusCode::kAlreadyExists;
  }
  switch (sqlite_code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_IOERR:
      return absl::StatusCode::kUnavailable;
    case SQLITE_FULL:
    case SQLITE_NOMEM:
    case SQLITE_TOOBIG:
      return absl::StatusCode::kResourceExhausted;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return absl::StatusCode::kDataLoss;
    case SQLITE_PERM:
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
      return absl::StatusCode::kPermissionDenied;
    default:
      return absl::StatusCode::kInternal;
  }
}

}  // namespace

int64_t SqliteRow::Integer() { return sqlite3_column_int64(statement_, next_++); }

std::optional<std::string> SqliteRow::OptionalText() {
  const int column = next_++;
  const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
  if (text == nullptr) return std::nullopt;
  return std::string(text, sqlite3_column_bytes(statement_, column));
}

absl::StatusOr<std::unique_ptr<SqliteDatabase>> SqliteDatabase::Open(const std::string& path, Mode mode) {
  const int flags = SQLITE_OPEN_NOMUTEX |
                    (mode == Mode::kReadOnly ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
  sqlite3* handle = nullptr;
  const int code = sqlite3_open_v2(path.c_str(), &handle, flags, nullptr);
  if (handle == nullptr) return absl::ResourceExhaustedError(absl::StrCat(path, ": no memory to open it"));
  // Even a failed open leaves a handle, with the error in it.
  std::unique_ptr<SqliteDatabase> database(new SqliteDatabase(path, handle));
  if (code != SQLITE_OK) return database->Error(code);
  sqlite3_extended_result_codes(handle, 1);
  sqlite3_busy_timeout(handle, kBusyTimeoutMillis);
  if (mode == Mode::kReadWrite) {
    // Runs outlive their jobs; files of the first versions say otherwise.
    TM_RETURN_IF_ERROR(database->RunScript(
        "PRAGMA synchronous = FULL; PRAGMA foreign_keys = OFF; PRAGMA journal_size_limit = 16777216"));
  }
  return database;
}

SqliteDatabase::~SqliteDatabase() {
  for (auto& [sql, statement] : statements_) sqlite3_finalize(statement);
  sqlite3_close(handle_);
}

absl::Status SqliteDatabase::Error(int code) const {
  return absl::Status(CodeOf(code), absl::StrCat(path_, ": ", sqlite3_errmsg(handle_)));
}

absl::StatusOr<sqlite3_stmt*> SqliteDatabase::Prepare(std::string_view sql, const StoredValues& values) {
  auto entry = statements_.find(sql);
  if (entry == statements_.end()) {
    sqlite3_stmt* statement = nullptr;
    const int code = sqlite3_prepare_v3(handle_, sql.data(), static_cast<int>(sql.size()), SQLITE_PREPARE_PERSISTENT,
                                        &statement, nullptr);
    if (code != SQLITE_OK) return Error(code);
    entry = statements_.emplace(std::string(sql), statement).first;
  }
  sqlite3_stmt* statement = entry->second;
  for (size_t i = 0; i < values.size(); ++i) {
    const int index = static_cast<int>(i) + 1;
    int code = SQLITE_OK;
    if (const auto* number = std::get_if<int64_t>(&values[i])) {
      code = sqlite3_bind_int64(statement, index, *number);
    } else if (const auto* boolean = std::get_if<bool>(&values[i])) {
      code = sqlite3_bind_int64(statement, index, *boolean ? 1 : 0);
    } else if (const auto* text = std::get_if<std::string>(&values[i])) {
      // The values outlive the execution, and every execution binds anew.
      code = sqlite3_bind_text64(statement, index, text->data(), text->size(), SQLITE_STATIC, SQLITE_UTF8);
    } else {
      code = sqlite3_bind_null(statement, index);
    }
    if (code != SQLITE_OK) return Error(code);
  }
  return statement;
}

absl::Status SqliteDatabase::Query(std::string_view sql, const StoredValues& values,
                                   absl::FunctionRef<absl::Status(RowReader&)> on_row) {
  TM_ASSIGN_OR_RETURN(sqlite3_stmt * statement, Prepare(sql, values));
  absl::Cleanup reset = [statement] { sqlite3_reset(statement); };
  int code = SQLITE_OK;
  while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
    SqliteRow row(statement);
    TM_RETURN_IF_ERROR(on_row(row));
  }
  return code == SQLITE_DONE ? absl::OkStatus() : Error(code);
}

absl::StatusOr<int64_t> SqliteDatabase::Execute(std::string_view sql, const StoredValues& values) {
  TM_RETURN_IF_ERROR(Query(sql, values, [](RowReader&) { return absl::OkStatus(); }));
  return sqlite3_changes64(handle_);
}

absl::Status SqliteDatabase::RunScript(std::string_view sql) {
  const int code = sqlite3_exec(handle_, std::string(sql).c_str(), nullptr, nullptr, nullptr);
  return code == SQLITE_OK ? absl::OkStatus() : Error(code);
}

absl::Status SqliteDatabase::Transact(absl::FunctionRef<absl::Status(SqliteDatabase&)> body) {
  TM_RETURN_IF_ERROR(Execute("BEGIN IMMEDIATE").status());
  absl::Status status = body(*this);
  if (status.ok()) status = Execute("COMMIT").status();
  // SQLite itself has rolled back after some errors.
  if (!status.ok() && sqlite3_get_autocommit(handle_) == 0) Execute("ROLLBACK").IgnoreError();
  return status;
}

}  // namespace tidemark::coordinator
