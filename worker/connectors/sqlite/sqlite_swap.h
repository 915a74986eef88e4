#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "tidemark/v1/spec.pb.h"
#include "tidemark/v1/values.pb.h"
#include "worker/connectors/sqlite/sqlite_catalog.h"
#include "worker/connectors/sqlite/sqlite_database.h"

// A full load takes the place of a table. By rename: the loaded table has the old one's definition, gets its indexes
// and triggers and its name; views and foreign keys bind by name in SQLite and stay. Or by DELETE and INSERT, if the
// job says so. Foreign keys of other tables must hold afterwards, else nothing is changed.
namespace tidemark::sqlite {

// Statement that creates `name` with the definition of `original`: columns, defaults and constraints, without indexes
// and triggers.
absl::StatusOr<std::string> CloneStatement(const Relation& original, absl::string_view name);

// Statement that creates the table a job loads into, from the source's columns.
std::string CreateStatement(const v1::TableSchema& schema, const v1::TargetSpec& target, absl::string_view name);

// Inside the caller's transaction, on a connection with legacy_alter_table on and foreign_keys off: puts the rows of
// `loaded` in the place of `table`, which may not exist, and drops `loaded`. Returns how: "rename", "delete_insert" or
// "create".
absl::StatusOr<std::string> SwapIn(Database& db, absl::string_view loaded, absl::string_view table, v1::SwapMode mode,
                                   const std::vector<std::string>& columns);

}  // namespace tidemark::sqlite
