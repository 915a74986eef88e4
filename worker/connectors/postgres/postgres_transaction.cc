#include "worker/connectors/postgres/postgres_transaction.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/connectors/postgres/postgres_error.h"

namespace tidemark::postgres {
namespace {

// The server took part in the decision and said no: nothing is committed. Anything else at COMMIT (the connection
// broke, the server is going down, the session was ended) may have come after the commit record.
bool ServerRefused(const absl::Status& status) {
  const std::string state = SqlState(status);
  return !state.empty() && !absl::StartsWith(state, "08") && !absl::StartsWith(state, "57") &&
         !absl::StartsWith(state, "XX") && !absl::StartsWith(state, "58");
}

}  // namespace

absl::StatusOr<Transaction> Transaction::Begin(Connection& connection) {
  TM_RETURN_IF_ERROR(connection.ExecuteCommand("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE").status());
  return Transaction(&connection);
}

Transaction::~Transaction() {
  // A connection that is broken has rolled back already.
  if (connection_ != nullptr && connection_->alive()) connection_->ExecuteCommand("ROLLBACK").IgnoreError();
}

absl::Status Transaction::Commit(absl::string_view what) {
  Connection* connection = std::exchange(connection_, nullptr);
  const absl::Status committed = connection->ExecuteCommand("COMMIT").status();
  if (committed.ok() || ServerRefused(committed)) return committed;
  return absl::UnknownError(absl::StrCat("the answer to the COMMIT of ", what, " was lost: ", committed.message()));
}

}  // namespace tidemark::postgres
