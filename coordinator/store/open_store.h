#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/clock.h"
#include "coordinator/store/metadata_store.h"
#include "coordinator/store/migrations/migrations.h"

namespace tidemark::coordinator {

// The store that a DSN names: postgresql:// (or postgres://), see OpenPostgresStore; sqlite:PATH, see OpenSqliteStore,
// whose clock is `clock`. InvalidArgument for others.
absl::StatusOr<std::unique_ptr<MetadataStore>> OpenStore(const std::string& dsn, const Clock* clock);

// Brings the store's schema to this version's and returns the steps it took.
absl::StatusOr<std::vector<Migration>> MigrateStore(const std::string& dsn, const Clock& clock);

}  // namespace tidemark::coordinator
