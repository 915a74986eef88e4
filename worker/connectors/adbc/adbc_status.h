#pragma once

#include <cstdint>

#include "absl/status/status.h"

struct AdbcError;

namespace tidemark::adbc {

// The status of an AdbcStatusCode, with the driver's own message; OK for ADBC_STATUS_OK. Releases `error`.
absl::Status TakeStatus(uint8_t code, AdbcError* error);

}  // namespace tidemark::adbc
