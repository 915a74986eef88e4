#include "worker/connectors/adbc/adbc_connection.h"

#include <arrow-adbc/adbc.h>
#include <arrow/array/array_base.h>
#include <arrow/c/abi.h>
#include <arrow/c/bridge.h>
#include <arrow/record_batch.h>
#include <arrow/scalar.h>
#include <arrow/type.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/connectors/adbc/adbc_status.h"

namespace tidemark::adbc {
namespace {

absl::Status FromArrow(const arrow::Status& status) {
  if (status.ok()) return absl::OkStatus();
  if (status.IsCancelled()) return absl::CancelledError(status.message());
  if (status.IsInvalid()) return absl::InvalidArgumentError(status.message());
  return absl::InternalError(status.message());
}

// Released with its scope, unless it was moved from, which leaves its `release` null.
template <typename Released>
struct Owned : Released {
  Owned() : Released() {}
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;
  ~Owned() {
    if (this->release != nullptr) this->release(this);
  }
};

}  // namespace

class Connection::Statement {
 public:
  explicit Statement(Connection& connection) : connection_(connection) {}
  ~Statement() {
    AdbcError error = ADBC_ERROR_INIT;
    if (statement_.private_data != nullptr) TakeStatus(AdbcStatementRelease(&statement_, &error), &error).IgnoreError();
  }
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  absl::Status Init() {
    TM_RETURN_IF_ERROR(connection_.CheckNotCancelled());
    return Read(AdbcStatementNew(connection_.connection_.get(), &statement_, &error_));
  }
  absl::Status SetSql(absl::string_view sql) {
    TM_RETURN_IF_ERROR(Init());
    return Read(AdbcStatementSetSqlQuery(&statement_, std::string(sql).c_str(), &error_));
  }
  absl::Status SetOption(const char* name, const std::string& value) {
    return Read(AdbcStatementSetOption(&statement_, name, value.c_str(), &error_));
  }
  absl::Status Bind(ArrowArray* rows, ArrowSchema* schema) {
    return Read(AdbcStatementBind(&statement_, rows, schema, &error_));
  }
  // Rows changed. `out`: null if the result is of no interest.
  absl::StatusOr<int64_t> Execute(ArrowArrayStream* out) {
    int64_t rows = -1;
    TM_RETURN_IF_ERROR(Read(AdbcStatementExecuteQuery(&statement_, out, &rows, &error_)));
    return rows;
  }

 private:
  absl::Status Read(AdbcStatusCode code) { return connection_.Read(code, &error_); }

  Connection& connection_;
  AdbcStatement statement_ = {};
  AdbcError error_ = ADBC_ERROR_INIT;
};

class Connection::StatementReader final : public BatchReader {
 public:
  explicit StatementReader(Connection& connection) : connection_(connection), statement_(connection) {}

  absl::Status Open(absl::string_view sql) {
    TM_RETURN_IF_ERROR(statement_.SetSql(sql));
    Owned<ArrowArrayStream> stream;
    TM_RETURN_IF_ERROR(statement_.Execute(&stream).status());
    auto reader = arrow::ImportRecordBatchReader(&stream);
    if (!reader.ok()) return connection_.Explain(FromArrow(reader.status()));
    reader_ = *std::move(reader);
    schema_ = reader_->schema();
    return absl::OkStatus();
  }

  const std::shared_ptr<arrow::Schema>& schema() const override { return schema_; }

  absl::StatusOr<std::shared_ptr<arrow::RecordBatch>> Next() override {
    TM_RETURN_IF_ERROR(connection_.CheckNotCancelled());
    std::shared_ptr<arrow::RecordBatch> batch;
    const arrow::Status status = reader_->ReadNext(&batch);
    if (!status.ok()) return connection_.Explain(FromArrow(status));
    return batch;
  }

 private:
  Connection& connection_;
  // Outlives the stream it has made.
  Statement statement_;
  std::shared_ptr<arrow::RecordBatchReader> reader_;
  std::shared_ptr<arrow::Schema> schema_;
};

Connection::Connection(std::shared_ptr<Database> database)
    : database_(std::move(database)), connection_(std::make_unique<AdbcConnection>()) {}

absl::Status Connection::Init() {
  AdbcError error = ADBC_ERROR_INIT;
  TM_RETURN_IF_ERROR(Read(AdbcConnectionNew(connection_.get(), &error), &error));
  return Read(AdbcConnectionInit(connection_.get(), database_->database_.get(), &error), &error);
}

Connection::~Connection() {
  AdbcError error = ADBC_ERROR_INIT;
  if (connection_->private_data != nullptr) {
    TakeStatus(AdbcConnectionRelease(connection_.get(), &error), &error).IgnoreError();
  }
}

absl::Status Connection::CheckNotCancelled() const {
  return cancelled_ ? absl::CancelledError("the session was cancelled") : absl::OkStatus();
}

absl::Status Connection::Read(uint8_t code, AdbcError* error) const {
  const absl::Status status = database_->Read(code, error);
  if (!status.ok()) TM_RETURN_IF_ERROR(CheckNotCancelled());
  return status;
}

absl::Status Connection::Explain(const absl::Status& status) const {
  TM_RETURN_IF_ERROR(CheckNotCancelled());
  return database_->driver_.read_error != nullptr ? database_->driver_.read_error(status) : status;
}

absl::Status Connection::SetAutocommit(bool on) {
  if (!on) TM_RETURN_IF_ERROR(CheckNotCancelled());
  AdbcError error = ADBC_ERROR_INIT;
  return Read(AdbcConnectionSetOption(connection_.get(), ADBC_CONNECTION_OPTION_AUTOCOMMIT,
                                      on ? ADBC_OPTION_VALUE_ENABLED : ADBC_OPTION_VALUE_DISABLED, &error),
              &error);
}

absl::Status Connection::Commit() {
  TM_RETURN_IF_ERROR(CheckNotCancelled());
  AdbcError error = ADBC_ERROR_INIT;
  // Whatever was cancelled meanwhile, what has become of the commit is the driver's to say.
  return database_->Read(AdbcConnectionCommit(connection_.get(), &error), &error);
}

absl::Status Connection::Rollback() {
  AdbcError error = ADBC_ERROR_INIT;
  return Read(AdbcConnectionRollback(connection_.get(), &error), &error);
}

absl::StatusOr<int64_t> Connection::Execute(absl::string_view sql) {
  Statement statement(*this);
  TM_RETURN_IF_ERROR(statement.SetSql(sql));
  return statement.Execute(nullptr);
}

absl::StatusOr<std::vector<Connection::Row>> Connection::Query(absl::string_view sql) {
  TM_ASSIGN_OR_RETURN(const auto reader, Read(sql));
  std::vector<Row> rows;
  while (true) {
    TM_ASSIGN_OR_RETURN(const auto batch, reader->Next());
    if (batch == nullptr) return rows;
    for (int64_t i = 0; i < batch->num_rows(); ++i) {
      Row& row = rows.emplace_back();
      for (const auto& column : batch->columns()) {
        row.emplace_back();
        if (column->IsNull(i)) continue;
        const auto cell = column->GetScalar(i);
        if (!cell.ok()) return FromArrow(cell.status());
        row.back() = (*cell)->ToString();
      }
    }
  }
}

absl::StatusOr<std::unique_ptr<BatchReader>> Connection::Read(absl::string_view sql) {
  auto reader = std::make_unique<StatementReader>(*this);
  TM_RETURN_IF_ERROR(reader->Open(sql));
  return reader;
}

absl::StatusOr<int64_t> Connection::Ingest(const TableName& into, const arrow::RecordBatch& rows) {
  Statement statement(*this);
  TM_RETURN_IF_ERROR(statement.Init());
  TM_RETURN_IF_ERROR(statement.SetOption(ADBC_INGEST_OPTION_TARGET_TABLE, into.table));
  if (!into.schema.empty()) TM_RETURN_IF_ERROR(statement.SetOption(ADBC_INGEST_OPTION_TARGET_DB_SCHEMA, into.schema));
  TM_RETURN_IF_ERROR(statement.SetOption(ADBC_INGEST_OPTION_MODE, ADBC_INGEST_OPTION_MODE_APPEND));
  Owned<ArrowArray> array;
  Owned<ArrowSchema> schema;
  TM_RETURN_IF_ERROR(FromArrow(arrow::ExportRecordBatch(rows, &array, &schema)));
  TM_RETURN_IF_ERROR(statement.Bind(&array, &schema));
  TM_RETURN_IF_ERROR(statement.Execute(nullptr).status());
  return rows.num_rows();
}

void Connection::Cancel() {
  cancelled_ = true;
  AdbcError error = ADBC_ERROR_INIT;
  TakeStatus(AdbcConnectionCancel(connection_.get(), &error), &error).IgnoreError();
}

absl::Status Transaction::Begin() {
  TM_RETURN_IF_ERROR(connection_->SetAutocommit(false));
  open_ = true;
  return absl::OkStatus();
}

absl::Status Transaction::Commit() {
  const absl::Status committed = connection_->Commit();
  Rollback();
  return committed;
}

void Transaction::Rollback() {
  if (!open_) return;
  open_ = false;
  // Also after a commit: the driver has begun the next transaction.
  connection_->Rollback().IgnoreError();
  connection_->SetAutocommit(true).IgnoreError();
}

}  // namespace tidemark::adbc
