#include "worker/connectors/postgres/postgres_error.h"

#include <optional>

#include "absl/strings/cord.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"

namespace tidemark::postgres {
namespace {

constexpr char kSqlStatePayload[] = "tidemark/sqlstate";

// Server messages may span lines (context, carets); a Tidemark error is one line.
std::string OneLine(std::string message) {
  while (!message.empty() && (message.back() == '\n' || message.back() == ' ')) message.pop_back();
  return absl::StrReplaceAll(message, {{"\r", ""}, {"\n\t", "; "}, {"\n", "; "}});
}

absl::Status Rebuild(const absl::Status& status, absl::StatusCode code, absl::string_view message) {
  absl::Status rebuilt(code, message);
  status.ForEachPayload([&](absl::string_view url, const absl::Cord& payload) { rebuilt.SetPayload(url, payload); });
  return rebuilt;
}

}  // namespace

absl::StatusCode CodeOf(std::string_view sqlstate, bool cancelled) {
  struct Exact {
    std::string_view sqlstate;
    absl::StatusCode code;
  };
  static constexpr Exact kExact[] = {
      {"25006", absl::StatusCode::kFailedPrecondition},  // read_only_sql_transaction
      {"25P02", absl::StatusCode::kFailedPrecondition},  // in_failed_sql_transaction
      {"25P03", absl::StatusCode::kUnavailable},         // idle_in_transaction_session_timeout
      {"23505", absl::StatusCode::kAlreadyExists},
      {"42P04", absl::StatusCode::kAlreadyExists},
      {"42P06", absl::StatusCode::kAlreadyExists},
      {"42P07", absl::StatusCode::kAlreadyExists},
      {"42710", absl::StatusCode::kAlreadyExists},
      {"3D000", absl::StatusCode::kNotFound},
      {"3F000", absl::StatusCode::kNotFound},
      {"42P01", absl::StatusCode::kNotFound},
      {"42703", absl::StatusCode::kNotFound},
      {"42704", absl::StatusCode::kNotFound},
      {"42883", absl::StatusCode::kNotFound},
      {"42501", absl::StatusCode::kPermissionDenied},
      {"53300", absl::StatusCode::kUnavailable},  // too_many_connections
      {"55P03", absl::StatusCode::kAborted},      // lock_not_available
      {"55006", absl::StatusCode::kAborted},      // object_in_use
      {"57P01", absl::StatusCode::kUnavailable},
      {"57P02", absl::StatusCode::kUnavailable},
      {"57P03", absl::StatusCode::kUnavailable},
      {"57P05", absl::StatusCode::kUnavailable},
  };
  if (sqlstate.empty()) return absl::StatusCode::kUnavailable;
  if (sqlstate == "57014") return cancelled ? absl::StatusCode::kCancelled : absl::StatusCode::kDeadlineExceeded;
  for (const Exact& exact : kExact) {
    if (exact.sqlstate == sqlstate) return exact.code;
  }
  const std::string_view klass = sqlstate.substr(0, 2);
  if (klass == "08") return absl::StatusCode::kUnavailable;
  if (klass == "28") return absl::StatusCode::kUnauthenticated;
  if (klass == "40") return absl::StatusCode::kAborted;
  if (klass == "53") return absl::StatusCode::kResourceExhausted;
  if (klass == "0A" || klass == "21" || klass == "22" || klass == "23" || klass == "42" || klass == "44") {
    return absl::StatusCode::kInvalidArgument;
  }
  return absl::StatusCode::kInternal;
}

absl::Status ServerError(const std::string& sqlstate, const std::string& message, bool cancelled) {
  std::string text = OneLine(message);
  if (text.empty()) text = "the connection to the server was lost";
  if (!sqlstate.empty()) absl::StrAppend(&text, " (SQLSTATE ", sqlstate, ")");
  absl::Status status(CodeOf(sqlstate, cancelled), text);
  if (!sqlstate.empty()) status.SetPayload(kSqlStatePayload, absl::Cord(sqlstate));
  return status;
}

std::string SqlState(const absl::Status& status) {
  const auto payload = status.GetPayload(kSqlStatePayload);
  return payload.has_value() ? std::string(*payload) : std::string();
}

absl::Status Annotate(const absl::Status& status, const std::string& context) {
  if (status.ok()) return status;
  return Rebuild(status, status.code(), absl::StrCat(context, ": ", status.message()));
}

absl::Status WithCode(const absl::Status& status, absl::StatusCode code) {
  return Rebuild(status, code, status.message());
}

}  // namespace tidemark::postgres
