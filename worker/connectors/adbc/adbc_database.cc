#include "worker/connectors/adbc/adbc_database.h"

#include <arrow-adbc/adbc.h>
#include <arrow-adbc/adbc_driver_manager.h>

#include "common/base/status_macros.h"
#include "worker/connectors/adbc/adbc_connection.h"
#include "worker/connectors/adbc/adbc_status.h"

namespace tidemark::adbc {

Database::Database(const Driver& driver) : driver_(driver), database_(std::make_unique<AdbcDatabase>()) {}

absl::StatusOr<std::shared_ptr<Database>> Database::Open(
    const Driver& driver, const std::vector<std::pair<std::string, std::string>>& options) {
  std::shared_ptr<Database> database(new Database(driver));
  AdbcDatabase* const handle = database->database_.get();
  AdbcError error = ADBC_ERROR_INIT;
  TM_RETURN_IF_ERROR(database->Read(AdbcDatabaseNew(handle, &error), &error));
  TM_RETURN_IF_ERROR(database->Read(AdbcDriverManagerDatabaseSetInitFunc(handle, driver.init, &error), &error));
  for (const auto& [name, value] : options) {
    TM_RETURN_IF_ERROR(database->Read(AdbcDatabaseSetOption(handle, name.c_str(), value.c_str(), &error), &error));
  }
  TM_RETURN_IF_ERROR(database->Read(AdbcDatabaseInit(handle, &error), &error));
  return database;
}

Database::~Database() {
  AdbcError error = ADBC_ERROR_INIT;
  if (database_->private_data != nullptr)
    TakeStatus(AdbcDatabaseRelease(database_.get(), &error), &error).IgnoreError();
}

absl::StatusOr<std::unique_ptr<Connection>> Database::Connect() {
  std::unique_ptr<Connection> connection(new Connection(shared_from_this()));
  TM_RETURN_IF_ERROR(connection->Init());
  return connection;
}

absl::Status Database::Read(uint8_t code, AdbcError* error) const {
  absl::Status status = TakeStatus(code, error);
  *error = ADBC_ERROR_INIT;
  if (status.ok() || driver_.read_error == nullptr) return status;
  return driver_.read_error(status);
}

}  // namespace tidemark::adbc
