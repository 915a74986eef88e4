#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "worker/connectors/adbc/adbc_connection.h"
#include "worker/connectors/duckdb/duckdb_name.h"

namespace tidemark::duckdb {

struct CatalogColumn {
  std::string name;
  // As duckdb_columns() spells it.
  std::string data_type;
  std::string comment;
  bool not_null = false;
};

// A table or view as the catalog describes it.
struct Relation {
  TableName name;
  bool is_view = false;
  std::vector<CatalogColumn> columns;
  std::vector<std::string> primary_key;

  const CatalogColumn* Find(absl::string_view column) const;
};

// nullopt if there is none of that name.
absl::StatusOr<std::optional<Relation>> FindRelation(adbc::Connection& db, const TableName& name);

// FileIdentity for a relation of the file.
std::string TableIdentity(const std::string& path, const TableName& name);

// The first cell of a query, as a number; 0 for NULL and where there is no row. Of an INSERT, DELETE or MERGE it is the
// rows changed, which Execute does not tell where there are none.
absl::StatusOr<int64_t> QueryInt(adbc::Connection& db, absl::string_view sql);

// "a", "b"; each after `alias` and a dot, if there is one.
std::string ColumnList(const std::vector<std::string>& columns, absl::string_view alias = "");

}  // namespace tidemark::duckdb
