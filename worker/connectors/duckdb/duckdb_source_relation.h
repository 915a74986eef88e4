#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "tidemark/v1/spec.pb.h"
#include "tidemark/v1/values.pb.h"
#include "worker/connectors/adbc/adbc_connection.h"
#include "worker/connectors/duckdb/duckdb_catalog.h"

namespace tidemark::duckdb {

// Rows of a relation.
struct Selection {
  std::string from;
  std::vector<std::string> conditions;

  void And(std::string condition) { conditions.push_back(std::move(condition)); }
  // " FROM … WHERE …".
  std::string Sql() const;
};

// What a job reads: a table, a view, or the user's query as a subquery.
struct SourceRelation {
  // Of the catalog; absent for a query.
  std::optional<Relation> relation;
  // The query; its placeholders are not bound yet.
  std::string query;
  v1::TableSchema schema;
  // Empty: the job has none.
  std::string watermark;
  // Reads everything whatever the window's `high`.
  bool unbounded_full = false;
  // For messages: "table orders".
  std::string what;

  bool is_table() const { return relation.has_value() && !relation->is_view; }
  const v1::Column* Find(absl::string_view column) const;

  absl::StatusOr<Selection> SelectWindow(const v1::Window& window) const;
  // Narrows to the rows of the range.
  absl::Status SelectRange(const v1::KeyRange& range, Selection* selection) const;
};

// Reads the catalog alone. InvalidArgument for a column of a type that is not read.
absl::StatusOr<SourceRelation> ResolveSource(adbc::Connection& db, const std::string& path, const v1::JobSpec& job);

}  // namespace tidemark::duckdb
