#pragma once

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "worker/connectors/postgres/postgres_connection.h"

namespace tidemark::postgres {

// A READ COMMITTED transaction on a connection, rolled back at destruction unless it was committed: what a session's
// defaults say of isolation does not matter. One at a time per connection.
class Transaction {
 public:
  static absl::StatusOr<Transaction> Begin(Connection& connection);
  ~Transaction();
  Transaction(Transaction&& other) noexcept : connection_(std::exchange(other.connection_, nullptr)) {}
  Transaction& operator=(Transaction&&) = delete;

  // Unknown if the answer was lost: the transaction may be committed or not. `what` is for that message.
  absl::Status Commit(absl::string_view what);

 private:
  explicit Transaction(Connection* connection) : connection_(connection) {}
  Connection* connection_;
};

}  // namespace tidemark::postgres
