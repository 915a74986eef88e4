#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

struct AdbcDatabase;
struct AdbcError;

namespace tidemark::adbc {

class Connection;

// A kind of database, by the ADBC driver for it.
struct Driver {
  // The driver's entry point, an AdbcDriverInitFunc that is linked in.
  uint8_t (*init)(int version, void* driver, AdbcError* error) = nullptr;
  // What the driver's error means where its ADBC status code does not say: from that code and the driver's message, the
  // status that callers get. Null: the code says it all.
  absl::Status (*read_error)(const absl::Status& error) = nullptr;
};

// An open database behind an ADBC driver; closed with the last of its handle and its connections. Thread-safe.
//
// Errors, here and of a Connection, carry the driver's message, which names neither the options nor, unless it is
// wrong, the SQL; their codes are those of TargetSession, as the driver's `read_error` tells them.
class Database : public std::enable_shared_from_this<Database> {
 public:
  // `options`: names and values as the driver documents them.
  static absl::StatusOr<std::shared_ptr<Database>> Open(
      const Driver& driver, const std::vector<std::pair<std::string, std::string>>& options);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  absl::StatusOr<std::unique_ptr<Connection>> Connect();

 private:
  explicit Database(const Driver& driver);
  absl::Status Read(uint8_t code, AdbcError* error) const;

  friend class Connection;

  const Driver driver_;
  std::unique_ptr<AdbcDatabase> database_;
};

}  // namespace tidemark::adbc
