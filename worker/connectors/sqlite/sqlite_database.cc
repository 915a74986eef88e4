#include "worker/connectors/sqlite/sqlite_database.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/base/status_macros.h"

namespace tidemark::sqlite {
namespace {

// Short: a writer that takes the lock again and again leaves only such gaps.
constexpr int kBusyNapMs = 2;
// Virtual machine steps between two looks at the cancel flag: far under a millisecond of work.
constexpr int kProgressSteps = 20'000;

// SQLite tells a full disk only where a write says so; to it a quota, and a sync that finds the disk full, are errors
// of the disk.
bool DiskIsFull(sqlite3* db, int code) {
  if ((code & 0xff) == SQLITE_FULL) return true;
  if ((code & 0xff) != SQLITE_IOERR || db == nullptr) return false;
  const int error = sqlite3_system_errno(db);
  return error == ENOSPC || error == EDQUOT;
}

}  // namespace

std::string Quoted(absl::string_view name) {
  return absl::StrCat("\"", absl::StrReplaceAll(name, {{"\"", "\"\""}}), "\"");
}

absl::Status SqliteError(sqlite3* db, int code, absl::string_view where) {
  const std::string message =
      absl::StrCat("SQLite file ", where, ": ", db != nullptr ? sqlite3_errmsg(db) : sqlite3_errstr(code));
  if (DiskIsFull(db, code)) {
    return absl::ResourceExhaustedError(absl::StrCat(message, " (make room on its disk, then run the job again)"));
  }
  switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return absl::UnavailableError(
          absl::StrCat(message, " (another connection holds its lock; try again when it is done)"));
    case SQLITE_INTERRUPT:
      return absl::CancelledError(message);
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
      return absl::PermissionDeniedError(message);
    case SQLITE_CANTOPEN:
      return absl::NotFoundError(
          absl::StrCat(message, " (does its directory exist, and may this user read and write there?)"));
    case SQLITE_NOMEM:
      return absl::ResourceExhaustedError(message);
    case SQLITE_ERROR:
    case SQLITE_RANGE:
    case SQLITE_MISMATCH:
      return absl::InvalidArgumentError(message);
    case SQLITE_CONSTRAINT:
    case SQLITE_TOOBIG:
    case SQLITE_NOTADB:
      return absl::FailedPreconditionError(message);
    default:
      return absl::InternalError(message);
  }
}

Statement& Statement::operator=(Statement&& other) noexcept {
  std::swap(stmt_, other.stmt_);
  std::swap(where_, other.where_);
  std::swap(bind_error_, other.bind_error_);
  return *this;
}

Statement::~Statement() { sqlite3_finalize(stmt_); }

void Statement::Keep(int code) {
  if (code != SQLITE_OK && bind_error_ == 0) bind_error_ = code;
}

void Statement::BindNull(int parameter) { Keep(sqlite3_bind_null(stmt_, parameter)); }
void Statement::BindInt(int parameter, int64_t value) { Keep(sqlite3_bind_int64(stmt_, parameter, value)); }
void Statement::BindDouble(int parameter, double value) { Keep(sqlite3_bind_double(stmt_, parameter, value)); }
void Statement::BindText(int parameter, absl::string_view value) {
  // A null pointer would bind NULL.
  const char* data = value.data() != nullptr ? value.data() : "";
  Keep(sqlite3_bind_text64(stmt_, parameter, data, value.size(), SQLITE_TRANSIENT, SQLITE_UTF8));
}
void Statement::BindBlob(int parameter, absl::string_view value) {
  const char* data = value.data() != nullptr ? value.data() : "";
  Keep(sqlite3_bind_blob64(stmt_, parameter, data, value.size(), SQLITE_TRANSIENT));
}
int Statement::ParameterIndex(const char* name) const { return sqlite3_bind_parameter_index(stmt_, name); }

absl::StatusOr<bool> Statement::Step() {
  if (bind_error_ != 0) return SqliteError(nullptr, bind_error_, where_);
  const int code = sqlite3_step(stmt_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  sqlite3* db = sqlite3_db_handle(stmt_);
  absl::Status status = SqliteError(db, code, where_);
  sqlite3_reset(stmt_);
  return status;
}

absl::Status Statement::Run() {
  while (true) {
    TM_ASSIGN_OR_RETURN(const bool row, Step());
    if (!row) break;
  }
  Reset();
  return absl::OkStatus();
}

void Statement::Reset() { sqlite3_reset(stmt_); }
bool Statement::IsNull(int column) const { return sqlite3_column_type(stmt_, column) == SQLITE_NULL; }
int64_t Statement::Int(int column) const { return sqlite3_column_int64(stmt_, column); }
absl::string_view Statement::Text(int column) const {
  const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(stmt_, column));
  if (text == nullptr) return {};
  return absl::string_view(text, sqlite3_column_bytes(stmt_, column));
}

absl::StatusOr<std::unique_ptr<Database>> Database::Open(const std::string& path, Mode mode) {
  return Open(path, mode, Patience());
}

absl::StatusOr<std::unique_ptr<Database>> Database::Open(const std::string& path, Mode mode, const Patience& patience) {
  std::error_code ignored;
  if (mode == Mode::kExisting && !std::filesystem::exists(path, ignored)) {
    return absl::NotFoundError(
        absl::StrCat("SQLite file ", path, " does not exist (a target's is made by its first run)"));
  }
  std::unique_ptr<Database> database(new Database(path, patience));
  const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | (mode == Mode::kCreate ? SQLITE_OPEN_CREATE : 0);
  int code = sqlite3_open_v2(path.c_str(), &database->db_, flags, nullptr);
  if (code != SQLITE_OK) return SqliteError(database->db_, code, path);
  sqlite3_extended_result_codes(database->db_, 1);
  sqlite3_busy_handler(database->db_, &Database::OnBusy, database.get());
  sqlite3_progress_handler(database->db_, kProgressSteps, &Database::OnProgress, database.get());
  // The open is lazy: the first read tells whether this is a database at all. A view or a trigger of the file must not
  // run functions with side effects for us.
  TM_RETURN_IF_ERROR(
      database->Exec("PRAGMA trusted_schema = OFF; PRAGMA cache_size = -16000; SELECT 1 FROM sqlite_schema"));
  return database;
}

absl::StatusOr<std::unique_ptr<Database>> Database::TemporaryCopy(Database& source) {
  std::string name = (std::filesystem::temp_directory_path() / "tidemark-copy-XXXXXX").string();
  const int fd = mkstemp(name.data());
  if (fd < 0) return absl::ResourceExhaustedError(absl::StrCat("no temporary file can be made as ", name));
  close(fd);
  auto copy = Open(name, Mode::kExisting);
  // Unlinked while it is open, so that not even kill -9 leaves it behind.
  unlink(name.c_str());
  TM_RETURN_IF_ERROR(copy.status());
  TM_RETURN_IF_ERROR(
      (*copy)->Exec("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA locking_mode = EXCLUSIVE"));
  sqlite3_backup* backup = sqlite3_backup_init((*copy)->db_, "main", source.db_, "main");
  if (backup == nullptr) return SqliteError((*copy)->db_, sqlite3_errcode((*copy)->db_), source.path_);
  int code = sqlite3_backup_step(backup, -1);
  for (int attempt = 0; (code == SQLITE_BUSY || code == SQLITE_LOCKED) && OnBusy(&source, attempt) != 0; ++attempt) {
    code = sqlite3_backup_step(backup, -1);
  }
  sqlite3_backup_finish(backup);
  if (code != SQLITE_DONE) return SqliteError(nullptr, code, DiskIsFull(nullptr, code) ? name : source.path_);
  return copy;
}

Database::~Database() { sqlite3_close_v2(db_); }

int Database::OnBusy(void* self, int attempt) {
  auto* database = static_cast<Database*>(self);
  if (database->Cancelled() || attempt >= database->busy_attempts_) return 0;
  sqlite3_sleep(kBusyNapMs);
  return 1;
}

int Database::OnProgress(void* self) { return static_cast<Database*>(self)->Cancelled() ? 1 : 0; }

void Database::SetBusyWait(absl::Duration wait) {
  busy_attempts_ = static_cast<int>(absl::ToInt64Milliseconds(wait) / kBusyNapMs);
}

absl::Status Database::Exec(absl::string_view sql) {
  const int code = sqlite3_exec(db_, std::string(sql).c_str(), nullptr, nullptr, nullptr);
  return code == SQLITE_OK ? absl::OkStatus() : SqliteError(db_, code, path_);
}

absl::StatusOr<Statement> Database::Prepare(absl::string_view sql) {
  sqlite3_stmt* stmt = nullptr;
  const int code = sqlite3_prepare_v2(db_, sql.data(), static_cast<int>(sql.size()), &stmt, nullptr);
  if (code != SQLITE_OK) return SqliteError(db_, code, path_);
  return Statement(stmt, path_);
}

absl::StatusOr<std::optional<int64_t>> Database::QueryInt(absl::string_view sql) {
  TM_ASSIGN_OR_RETURN(Statement statement, Prepare(sql));
  TM_ASSIGN_OR_RETURN(const bool row, statement.Step());
  if (!row || statement.IsNull(0)) return std::nullopt;
  return statement.Int(0);
}

absl::StatusOr<std::string> Database::QueryText(absl::string_view sql) {
  TM_ASSIGN_OR_RETURN(Statement statement, Prepare(sql));
  TM_ASSIGN_OR_RETURN(const bool row, statement.Step());
  return row ? std::string(statement.Text(0)) : std::string();
}

int64_t Database::Changes() const { return sqlite3_changes64(db_); }
bool Database::InTransaction() const { return sqlite3_get_autocommit(db_) == 0; }
bool Database::ReadOnly() const { return sqlite3_db_readonly(db_, "main") == 1; }

bool Database::WriteAheadLog() {
  const auto mode = QueryText("PRAGMA journal_mode");
  return mode.ok() && *mode == "wal";
}

void Database::Cancel() {
  cancelled_ = true;
  sqlite3_interrupt(db_);
}

Transaction::~Transaction() { Rollback(); }

absl::Status Transaction::BeginImmediate() {
  TM_RETURN_IF_ERROR(db_->Exec("BEGIN IMMEDIATE"));
  open_ = true;
  return absl::OkStatus();
}

absl::Status Transaction::Commit() {
  absl::Status status = db_->Exec("COMMIT");
  if (status.ok()) {
    open_ = false;
    return status;
  }
  // Still inside: it did not happen, and the destructor rolls back. Otherwise SQLite ended the transaction by itself,
  // after an error of the disk: only the ledger can tell.
  if (db_->InTransaction()) return status;
  open_ = false;
  return absl::UnknownError(absl::StrCat("COMMIT: ", status.message()));
}

void Transaction::Rollback() {
  if (!open_) return;
  open_ = false;
  // A cancelled connection refuses every statement but this one must run: closing it would roll back too, only later.
  if (db_->InTransaction()) sqlite3_exec(db_->get(), "ROLLBACK", nullptr, nullptr, nullptr);
}

}  // namespace tidemark::sqlite
