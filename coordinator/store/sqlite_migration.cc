#include "coordinator/store/sqlite_migration.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "coordinator/store/rows.h"

namespace tidemark::coordinator {
namespace {

absl::StatusOr<int64_t> Number(SqliteDatabase& database, std::string_view sql) {
  int64_t number = 0;
  TM_RETURN_IF_ERROR(database.Query(sql, {}, [&number](RowReader& row) {
    number = row.Integer();
    return absl::OkStatus();
  }));
  return number;
}

// The file's schema: the last migration it has seen, 0 for a new file.
absl::StatusOr<int64_t> Version(SqliteDatabase& database) {
  TM_ASSIGN_OR_RETURN(const int64_t ours,
                      Number(database, "SELECT count(*) FROM sqlite_master WHERE name = 'etl_migrations'"));
  if (ours > 0) return Number(database, "SELECT coalesce(max(number), 0) FROM etl_migrations");
  TM_ASSIGN_OR_RETURN(const int64_t others, Number(database, "SELECT count(*) FROM sqlite_master"));
  if (others > 0) {
    return absl::FailedPreconditionError(
        absl::StrCat(database.path(), " is another program's database: name another file for Tidemark's state"));
  }
  return 0;
}

absl::Status CheckNotNewer(const SqliteDatabase& database, int64_t version, absl::Span<const Migration> migrations) {
  if (version <= static_cast<int64_t>(migrations.size())) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(database.path(),
                                                    " was written by a newer version of Tidemark (schema ", version,
                                                    ", this version knows ", migrations.size(), "): use that version"));
}

}  // namespace

absl::StatusOr<std::vector<Migration>> Migrate(SqliteDatabase& database, absl::Span<const Migration> migrations,
                                               absl::Time now) {
  std::vector<Migration> applied;
  TM_RETURN_IF_ERROR(database.Transact([&](SqliteDatabase& db) -> absl::Status {
    TM_ASSIGN_OR_RETURN(const int64_t version, Version(db));
    TM_RETURN_IF_ERROR(CheckNotNewer(db, version, migrations));
    if (version == 0) {
      TM_RETURN_IF_ERROR(
          db.RunScript("CREATE TABLE IF NOT EXISTS etl_migrations "
                       "(number BIGINT NOT NULL PRIMARY KEY, name TEXT NOT NULL, applied_at TIMESTAMPTZ NOT NULL)"));
    }
    for (const Migration& migration : migrations.subspan(version)) {
      TM_RETURN_IF_ERROR(db.RunScript(migration.sql));
      TM_RETURN_IF_ERROR(db.RunScript(migration.sqlite));
      TM_RETURN_IF_ERROR(db.Execute("INSERT INTO etl_migrations (number, name, applied_at) VALUES (?1, ?2, ?3)",
                                    {int64_t{migration.number}, std::string(migration.name), TimeText(now)})
                             .status());
      applied.push_back(migration);
    }
    return absl::OkStatus();
  }));
  return applied;
}

absl::Status CheckMigrated(SqliteDatabase& database, absl::Span<const Migration> migrations) {
  TM_ASSIGN_OR_RETURN(const int64_t version, Version(database));
  TM_RETURN_IF_ERROR(CheckNotNewer(database, version, migrations));
  if (version == static_cast<int64_t>(migrations.size())) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(database.path(), " is of an older version of Tidemark (schema ",
                                                    version, ", this version needs ", migrations.size(),
                                                    "): the next run migrates it"));
}

}  // namespace tidemark::coordinator
