#pragma once

#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "coordinator/store/migrations/migrations.h"
#include "coordinator/store/postgres_database.h"

namespace tidemark::coordinator {

// Brings the schema that stands first in search_path to the last of `migrations`, all steps in one transaction; what is
// applied is written in etl_migrations. Returns the steps that it took. Of two that run at once one waits for the other
// and finds nothing to do. FailedPrecondition if the schema has steps beyond the last, or tables of these names that
// are another program's.
absl::StatusOr<std::vector<Migration>> Migrate(PostgresPool& pool, absl::Span<const Migration> migrations);

// FailedPrecondition, naming `tidemark migrate`, unless the schema is at the last of `migrations`.
absl::Status CheckMigrated(PostgresPool& pool, absl::Span<const Migration> migrations);

}  // namespace tidemark::coordinator
