#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tidemark/v1/spec.pb.h"
#include "tidemark/v1/values.pb.h"
#include "worker/connectors/postgres/postgres_connection.h"
#include "worker/connectors/postgres/postgres_source_type.h"

namespace tidemark::postgres {

struct SourceColumn {
  v1::Column column;
  BaseType type;
  // pg_attribute.attnum; 0 in a query.
  int number = 0;
};

// What a job reads: a table (of any kind that can be selected from) or a user's query.
struct Relation {
  // pg_class.relkind, or 0 for a query.
  char kind = 0;
  uint32_t oid = 0;
  // Table: its quoted name. Query: its text, without a trailing semicolon, placeholders unbound.
  std::string sql;
  // For messages: the table's name, or "the query".
  std::string label;
  std::vector<SourceColumn> columns;
  // In the key's order; empty without one.
  std::vector<std::string> primary_key;
  // Has blocks that ctid addresses: a plain table or materialized view stored as a heap.
  bool heap = false;
  // Once LoadWhatItReads has looked; of anything it reads, through views, heirs and partitions. Rows of another server,
  // whose transactions this one does not see (or a plan that cannot be read); rows that come by logical replication,
  // with stamps made elsewhere; a materialized view.
  bool reads_known = false;
  bool foreign = false;
  bool replicated = false;
  bool materialized = false;
  std::vector<std::string> notes;

  bool is_query() const { return kind == 0; }
  // nullptr if there is no such column.
  const SourceColumn* Find(std::string_view name) const;
  // NotFound names the columns there are.
  absl::StatusOr<const SourceColumn*> Column(std::string_view name) const;
};

// Reads the catalog. NotFound for a table or column that does not exist, PermissionDenied with the GRANT that would
// help, InvalidArgument for a query that is not one SELECT with distinctly named columns.
absl::StatusOr<Relation> LoadRelation(Connection& connection, const v1::SourceSpec& source);

// Asks for the server's plan, which takes its time for a table of many partitions: for who probes a horizon or cuts
// ranges, not for every move.
absl::Status LoadWhatItReads(Connection& connection, const std::string& watermark, Relation& relation);

}  // namespace tidemark::postgres
