#pragma once

#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "coordinator/store/migrations/migrations.h"
#include "coordinator/store/sqlite_database.h"

namespace tidemark::coordinator {

// Brings the file to the last of `migrations`, all steps in one transaction; what is applied is written in
// etl_migrations. Returns the steps it took. FailedPrecondition if the file has steps beyond the last, or holds tables
// and no etl_migrations: it is another program's.
absl::StatusOr<std::vector<Migration>> Migrate(SqliteDatabase& database, absl::Span<const Migration> migrations,
                                               absl::Time now);

// FailedPrecondition unless the file is at the last of `migrations`.
absl::Status CheckMigrated(SqliteDatabase& database, absl::Span<const Migration> migrations);

}  // namespace tidemark::coordinator
