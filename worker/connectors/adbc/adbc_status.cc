#include "worker/connectors/adbc/adbc_status.h"

#include <arrow-adbc/adbc.h>
#include <arrow-adbc/adbc_driver_manager.h>

namespace tidemark::adbc {
namespace {

absl::StatusCode CodeOf(AdbcStatusCode code) {
  switch (code) {
    case ADBC_STATUS_NOT_IMPLEMENTED:
      return absl::StatusCode::kUnimplemented;
    case ADBC_STATUS_NOT_FOUND:
      return absl::StatusCode::kNotFound;
    case ADBC_STATUS_ALREADY_EXISTS:
    case ADBC_STATUS_INVALID_ARGUMENT:
      return absl::StatusCode::kInvalidArgument;
    case ADBC_STATUS_INVALID_STATE:
    case ADBC_STATUS_INVALID_DATA:
    case ADBC_STATUS_INTEGRITY:
      return absl::StatusCode::kFailedPrecondition;
    case ADBC_STATUS_IO:
    case ADBC_STATUS_TIMEOUT:
      return absl::StatusCode::kUnavailable;
    case ADBC_STATUS_CANCELLED:
      return absl::StatusCode::kCancelled;
    case ADBC_STATUS_UNAUTHENTICATED:
    case ADBC_STATUS_UNAUTHORIZED:
      return absl::StatusCode::kPermissionDenied;
    default:
      return absl::StatusCode::kInternal;
  }
}

}  // namespace

absl::Status TakeStatus(uint8_t code, AdbcError* error) {
  absl::Status status;
  if (code != ADBC_STATUS_OK) {
    status = absl::Status(CodeOf(code), error->message != nullptr ? error->message : AdbcStatusCodeMessage(code));
  }
  if (error->release != nullptr) error->release(error);
  return status;
}

}  // namespace tidemark::adbc
