#include "worker/connectors/generator/generator_connector.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/base/status_macros.h"
#include "worker/connectors/generator/generated_table.h"
#include "worker/connectors/generator/generator_source.h"

namespace tidemark::generator {
namespace {

absl::StatusOr<GeneratedTable> TableOfDsn(absl::string_view dsn) {
  if (!absl::ConsumePrefix(&dsn, "generator:"))
    return absl::InvalidArgumentError("the DSN of a generator is generator:rows=…&seed=…&row_bytes=…");
  return GeneratedTable::Parse(dsn, GeneratedTable());
}

}  // namespace

absl::Status GeneratorConnector::CheckDsn(const std::string& dsn) const { return TableOfDsn(dsn).status(); }

absl::StatusOr<std::unique_ptr<SourceSession>> GeneratorConnector::OpenSource(const v1::ConnectionSpec& connection,
                                                                              const v1::JobSpec& job,
                                                                              const SessionOptions& options) {
  if (!job.source().query().empty()) return absl::InvalidArgumentError("a generator has no SQL: give source.table");
  TM_ASSIGN_OR_RETURN(GeneratedTable table, TableOfDsn(connection.dsn()));
  // A name that sets nothing is only a name.
  if (absl::StrContains(job.source().table(), '=')) {
    TM_ASSIGN_OR_RETURN(table, GeneratedTable::Parse(job.source().table(), table));
  }
  return OpenGeneratorSource(table, job.source().watermark());
}

absl::StatusOr<std::unique_ptr<TargetSession>> GeneratorConnector::OpenTarget(const v1::ConnectionSpec& connection,
                                                                              const v1::JobSpec& job,
                                                                              const SessionOptions& options) {
  return absl::UnimplementedError("a generator is a source only");
}

absl::StatusOr<std::string> GeneratorConnector::Test(const v1::ConnectionSpec& connection,
                                                     const SessionOptions& options) {
  TM_ASSIGN_OR_RETURN(const GeneratedTable table, TableOfDsn(connection.dsn()));
  return absl::StrCat("generator of ", table.rows(), " rows of ", table.row_bytes(), " bytes");
}

}  // namespace tidemark::generator
