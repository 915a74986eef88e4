#include "worker/connectors/duckdb/duckdb_error.h"

#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace tidemark::duckdb {
namespace {

using Code = absl::StatusCode;

constexpr std::pair<absl::string_view, Code> kKinds[] = {
    {"Binder Error", Code::kInvalidArgument},
    {"Catalog Error", Code::kInvalidArgument},
    {"Constraint Error", Code::kFailedPrecondition},
    {"Conversion Error", Code::kInvalidArgument},
    {"Dependency Error", Code::kFailedPrecondition},
    {"FATAL Error", Code::kUnavailable},
    {"INTERRUPT Error", Code::kCancelled},
    {"Invalid Input Error", Code::kInvalidArgument},
    {"Not implemented Error", Code::kInvalidArgument},
    {"Out of Memory Error", Code::kResourceExhausted},
    {"Out of Range Error", Code::kInvalidArgument},
    {"Parser Error", Code::kInvalidArgument},
    {"Permission Error", Code::kPermissionDenied},
    {"Serialization Error", Code::kFailedPrecondition},
    {"TransactionContext Error", Code::kAborted},
};

absl::Status Say(Code code, absl::string_view message, absl::string_view advice) {
  return absl::Status(code,
                      absl::StrCat("DuckDB: ", message, advice.empty() ? "" : " (", advice, advice.empty() ? "" : ")"));
}

}  // namespace

absl::Status ReadError(const absl::Status& error) {
  const absl::string_view message = error.message();
  const auto says = [&](absl::string_view words) { return absl::StrContains(message, words); };
  if (says("No space left") || says("Disk quota exceeded") || says("failed to offload data block")) {
    return Say(Code::kResourceExhausted, message, "make room on its disk, then run the job again");
  }
  if (says("Could not set lock on file")) {
    return Say(Code::kUnavailable, message, "another process has the file open; try again when it is done");
  }
  if (says("IO Error")) {
    if (says("No such file or directory")) {
      return Say(Code::kNotFound, message, "does its directory exist, and may this user read and write there?");
    }
    if (says("Permission denied") || says("Read-only file system")) return Say(Code::kPermissionDenied, message, "");
    if (says("not a valid DuckDB database file")) return Say(Code::kFailedPrecondition, message, "");
    return Say(Code::kUnavailable, message, "");
  }
  for (const auto& [kind, code] : kKinds) {
    if (absl::StartsWith(message, kind)) return Say(code, message, "");
  }
  return Say(error.code(), message, "");
}

absl::Status CommitOutcome(const absl::Status& status) {
  if (status.ok() || absl::IsAborted(status) || absl::IsCancelled(status)) return status;
  return absl::UnknownError(status.message());
}

}  // namespace tidemark::duckdb
