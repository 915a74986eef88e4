#include "coordinator/store/open_store.h"

#include <optional>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "common/model/dsn.h"
#include "common/secret/dsn.h"

namespace tidemark::coordinator {
namespace {

bool IsPostgres(const std::string& dsn) {
  const std::string_view scheme = DsnScheme(dsn);
  return scheme == "postgresql" || scheme == "postgres";
}

// Of sqlite:PATH.
std::optional<std::string> SqlitePath(const std::string& dsn) {
  const std::optional<std::string_view> path = DsnLocalPath(dsn);
  if (DsnScheme(dsn) != "sqlite" || path->empty()) return std::nullopt;
  return std::string(*path);
}

absl::Status Unknown(const std::string& dsn) {
  return absl::InvalidArgumentError(
      absl::StrCat("a store is named by postgresql://HOST/DATABASE or sqlite:PATH, not by \"", RedactDsn(dsn), "\""));
}

}  // namespace

absl::StatusOr<std::unique_ptr<MetadataStore>> OpenStore(const std::string& dsn, const Clock* clock) {
  if (IsPostgres(dsn)) return OpenPostgresStore(dsn);
  if (const std::optional<std::string> path = SqlitePath(dsn)) return OpenSqliteStore(*path, clock);
  return Unknown(dsn);
}

absl::StatusOr<std::vector<Migration>> MigrateStore(const std::string& dsn, const Clock& clock) {
  if (IsPostgres(dsn)) return MigratePostgresStore(dsn, clock);
  if (const std::optional<std::string> path = SqlitePath(dsn)) return MigrateSqliteStore(*path, clock);
  return Unknown(dsn);
}

}  // namespace tidemark::coordinator
