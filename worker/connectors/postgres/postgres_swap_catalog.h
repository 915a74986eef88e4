#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/connectors/postgres/postgres_connection.h"
#include "worker/connectors/postgres/postgres_name.h"

// What hangs on a table, read from the catalog: what a table put in its place would have to be given, and what it
// cannot be given.
namespace tidemark::postgres {

// What is bound to the table itself and would stay with the old one, or be lost, if another took its name: views,
// foreign keys that point to it, row-level security, publications, inheritance and more. One phrase each, for the user;
// empty if there is nothing. `is_shell_partition`: being a partition does not count.
absl::StatusOr<std::vector<std::string>> RenameObstacles(Connection& connection, uint32_t oid, bool is_shell_partition);

// Foreign keys of other tables that point to this one: they forbid to empty it.
absl::StatusOr<std::vector<std::string>> ReferencingKeys(Connection& connection, uint32_t oid);

// Everything the catalog says of a table that a user has put there, by names and never by OIDs, one fact a line: two
// tables that took the same name one after the other are alike if their pictures are equal.
absl::StatusOr<std::vector<std::string>> CatalogPicture(Connection& connection, uint32_t oid);

struct Partition {
  uint32_t oid = 0;
  QualifiedName name;
};
// The only partition of a partitioned table, if that is its DEFAULT partition; else nullopt.
absl::StatusOr<std::optional<Partition>> ShellPartition(Connection& connection, uint32_t oid);

// 0 if there is no such relation.
absl::StatusOr<uint32_t> RelationOid(Connection& connection, const QualifiedName& name);

// Statements that give the empty staging table the old one's storage settings.
absl::StatusOr<std::vector<std::string>> ShapeStatements(Connection& connection, uint32_t oid,
                                                         const QualifiedName& staging);
// Statements that build the old table's constraints and indexes, under their own names, on the loaded staging table.
absl::StatusOr<std::vector<std::string>> BuildStatements(Connection& connection, uint32_t oid,
                                                         const QualifiedName& staging);
// Statements that free what must outlive the old table (its sequences) of it.
absl::StatusOr<std::vector<std::string>> ReleaseStatements(Connection& connection, uint32_t oid);
// Statements that give the table which has taken the old one's name its owner, grants, comments, triggers, statistics,
// identity and sequences. Read while both are there: `staging_oid` tells which grants default privileges have added.
absl::StatusOr<std::vector<std::string>> CarryStatements(Connection& connection, uint32_t oid, uint32_t staging_oid);

}  // namespace tidemark::postgres
