#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "worker/connectors/postgres/postgres_connection.h"
#include "worker/connectors/postgres/postgres_name.h"
#include "worker/connectors/postgres/postgres_target_type.h"

namespace tidemark::postgres {

struct TargetColumn {
  std::string name;
  ColumnType type;
  bool not_null = false;
  // A default, an identity or a domain's default: a row may leave the column out.
  bool has_default = false;
  // Computed from other columns; nothing can be written to it.
  bool generated = false;
  // GENERATED ALWAYS AS IDENTITY: an INSERT must override it.
  bool identity_always = false;
  bool identity = false;
};

// A table rows are loaded into, as the catalog describes it.
struct TargetTable {
  uint32_t oid = 0;
  QualifiedName name;
  // pg_class.relkind.
  char kind = 'r';
  std::vector<TargetColumn> columns;
  std::vector<std::string> primary_key;
  // Columns of every unique index that ON CONFLICT can name: valid, immediate, neither partial nor on expressions.
  std::vector<std::vector<std::string>> unique_keys;
  // The session's role owns it, or is a member of the role that does.
  bool owned = false;
  // Rows by the planner's estimate; -1 before the first ANALYZE.
  int64_t estimated_rows = -1;

  const TargetColumn* Find(absl::string_view column) const;
};

// The name with its schema: where it is found on the search path, or where an unqualified name would be created.
// NotFound if nothing could be created under an unqualified name.
absl::StatusOr<QualifiedName> ResolveTargetName(Connection& connection, const std::string& table);

// nullopt if no relation has the name.
absl::StatusOr<std::optional<TargetTable>> ReadTargetTable(Connection& connection, const QualifiedName& name);

// "a", "b": quoted and joined.
std::string ColumnList(const std::vector<std::string>& columns);
// s."a", s."b"
std::string ColumnList(const std::vector<std::string>& columns, absl::string_view alias);

}  // namespace tidemark::postgres
