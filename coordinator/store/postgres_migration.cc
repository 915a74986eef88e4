#include "coordinator/store/postgres_migration.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace tidemark::coordinator {
namespace {

// The last migration the schema has seen, 0 for one without our tables.
absl::StatusOr<int64_t> Version(PostgresTransaction& transaction) {
  bool has_schema = false;
  bool has_table = false;
  TM_RETURN_IF_ERROR(
      transaction.Query("SELECT current_schema() IS NOT NULL, "
                        "to_regclass(quote_ident(current_schema()) || '.etl_migrations') IS NOT NULL",
                        {}, [&](RowReader& row) {
                          has_schema = row.Boolean();
                          has_table = row.Boolean();
                          return absl::OkStatus();
                        }));
  if (!has_schema) {
    return absl::FailedPreconditionError("no schema of its search_path is there: create one, or name another");
  }
  int64_t version = 0;
  if (!has_table) return version;
  TM_RETURN_IF_ERROR(transaction.Query("SELECT coalesce(max(number), 0) FROM etl_migrations", {}, [&](RowReader& row) {
    version = row.Integer();
    return absl::OkStatus();
  }));
  return version;
}

absl::Status CheckNotNewer(const PostgresPool& pool, int64_t version, absl::Span<const Migration> migrations) {
  if (version <= static_cast<int64_t>(migrations.size())) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      pool.address().redacted, " was migrated by a newer version of Tidemark (schema ", version,
      ", this version knows ", migrations.size(), "): use that version's `tidemark migrate` and programs"));
}

}  // namespace

absl::StatusOr<std::vector<Migration>> Migrate(PostgresPool& pool, absl::Span<const Migration> migrations) {
  std::vector<Migration> applied;
  TM_RETURN_IF_ERROR(pool.Transact([&](PostgresTransaction& transaction) -> absl::Status {
    // Ends with the transaction, so that it works behind a pooler.
    TM_RETURN_IF_ERROR(
        transaction.Query("SELECT pg_advisory_xact_lock(hashtext('tidemark migrate ' || current_schema()))", {},
                          [](RowReader&) { return absl::OkStatus(); }));
    TM_ASSIGN_OR_RETURN(const int64_t version, Version(transaction));
    TM_RETURN_IF_ERROR(CheckNotNewer(pool, version, migrations));
    if (version == 0) {
      TM_RETURN_IF_ERROR(transaction.RunScript(
          "CREATE TABLE IF NOT EXISTS etl_migrations "
          "(number BIGINT NOT NULL PRIMARY KEY, name TEXT NOT NULL, applied_at TIMESTAMPTZ NOT NULL)"));
    }
    for (const Migration& migration : migrations.subspan(version)) {
      TM_RETURN_IF_ERROR(transaction.RunScript(migration.sql));
      if (!migration.postgres.empty()) TM_RETURN_IF_ERROR(transaction.RunScript(migration.postgres));
      TM_RETURN_IF_ERROR(
          transaction
              .Execute("INSERT INTO etl_migrations (number, name, applied_at) VALUES ($1, $2, clock_timestamp())",
                       {absl::StrCat(migration.number), std::string(migration.name)})
              .status());
      applied.push_back(migration);
    }
    return absl::OkStatus();
  }));
  return applied;
}

absl::Status CheckMigrated(PostgresPool& pool, absl::Span<const Migration> migrations) {
  int64_t version = 0;
  TM_RETURN_IF_ERROR(pool.Transact([&](PostgresTransaction& transaction) -> absl::Status {
    TM_ASSIGN_OR_RETURN(version, Version(transaction));
    return absl::OkStatus();
  }));
  TM_RETURN_IF_ERROR(CheckNotNewer(pool, version, migrations));
  if (version == static_cast<int64_t>(migrations.size())) return absl::OkStatus();
  return absl::FailedPreconditionError(
      version == 0 ? absl::StrCat(pool.address().redacted, " holds no state of Tidemark yet: run `tidemark migrate`")
                   : absl::StrCat(pool.address().redacted, " is of an older version of Tidemark (schema ", version,
                                  ", this version needs ", migrations.size(), "): run `tidemark migrate`"));
}

}  // namespace tidemark::coordinator
