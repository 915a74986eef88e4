#include "worker/connectors/adbc/adbc_connector.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/base/absl_view.h"
#include "common/base/status_macros.h"
#include "common/model/dsn.h"
#include "common/secret/dsn.h"
#include "worker/connectors/adbc/adbc_connection.h"
#include "worker/connectors/adbc/adbc_source.h"

namespace tidemark::adbc {
namespace {

struct Dsn {
  std::string driver;
  std::string entrypoint;
  std::vector<std::pair<std::string, std::string>> options;
};

absl::StatusOr<Dsn> Parse(const std::string& dsn) {
  const size_t begin = DsnScheme(dsn).size() + 1;
  const size_t question = std::min(dsn.find('?'), dsn.size());
  Dsn parsed;
  parsed.driver = PercentDecode(dsn.substr(begin, question - begin));
  TM_RETURN_IF_ERROR(CheckDriver(parsed.driver));
  if (question == dsn.size()) return parsed;
  for (const absl::string_view parameter : absl::StrSplit(dsn.substr(question + 1), '&', absl::SkipEmpty())) {
    const std::pair<absl::string_view, absl::string_view> pair = absl::StrSplit(parameter, absl::MaxSplits('=', 1));
    std::string name = PercentDecode(Std(pair.first));
    std::string value = PercentDecode(Std(pair.second));
    if (name == "entrypoint") {
      parsed.entrypoint = std::move(value);
    } else {
      parsed.options.emplace_back(std::move(name), std::move(value));
    }
  }
  return parsed;
}

}  // namespace

absl::Status AdbcConnector::CheckDsn(const std::string& dsn) const { return Parse(dsn).status(); }

absl::StatusOr<std::unique_ptr<SourceSession>> AdbcConnector::OpenSource(const v1::ConnectionSpec& connection,
                                                                         const v1::JobSpec& job,
                                                                         const SessionOptions& options) {
  TM_ASSIGN_OR_RETURN(const Dsn dsn, Parse(connection.dsn()));
  TM_ASSIGN_OR_RETURN(const Driver driver, LoadDriver(dsn.driver, dsn.entrypoint, policy_));
  return OpenSourceSession(driver, dsn.driver, dsn.options, job);
}

absl::StatusOr<std::unique_ptr<TargetSession>> AdbcConnector::OpenTarget(const v1::ConnectionSpec& connection,
                                                                         const v1::JobSpec& job,
                                                                         const SessionOptions& options) {
  return absl::UnimplementedError("adbc: is a source only: nothing is known of how a driver commits");
}

absl::StatusOr<std::string> AdbcConnector::Test(const v1::ConnectionSpec& connection, const SessionOptions& options) {
  TM_ASSIGN_OR_RETURN(const Dsn dsn, Parse(connection.dsn()));
  TM_ASSIGN_OR_RETURN(const Driver driver, LoadDriver(dsn.driver, dsn.entrypoint, policy_));
  TM_ASSIGN_OR_RETURN(const auto database, Database::Open(driver, dsn.options));
  TM_RETURN_IF_ERROR(database->Connect().status());
  return absl::StrCat("ADBC driver ", dsn.driver);
}

}  // namespace tidemark::adbc
