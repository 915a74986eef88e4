#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>
#include "absl/strings/string_view.h"

#include "absl/status/statusor.h"
#include "worker/connectors/sqlite/sqlite_database.h"

namespace tidemark::sqlite {

struct CatalogColumn {
  std::string name;
  std::string declared;
  std::string collation;
  bool not_null = false;
  bool has_default = false;
  bool generated = false;
  // Position in the primary key from 1; 0 if it is no part of it.
  int key_position = 0;
};

struct CatalogIndex {
  std::string name;
  bool unique = false;
  bool partial = false;
  // In index order; an expression is an empty name.
  std::vector<std::string> columns;
  // Empty for the indexes behind PRIMARY KEY and UNIQUE.
  std::string sql;
};

// A table, view or virtual table as the file's catalog describes it.
struct Relation {
  enum class Kind { kTable, kView, kVirtual };
  Kind kind = Kind::kTable;
  std::string name;
  std::string sql;
  bool without_rowid = false;
  bool strict = false;
  std::vector<CatalogColumn> columns;
  std::vector<CatalogIndex> indexes;
  std::vector<std::string> trigger_sql;
  // The column that is the rowid by another name (INTEGER PRIMARY KEY); empty if there is none.
  std::string rowid_column;
  // It is AUTOINCREMENT: the number of a deleted row is never given again.
  bool autoincrement = false;
  // A name by which the rowid can be read; empty where there is none.
  std::string rowid_name;

  const CatalogColumn* Find(absl::string_view column) const;
  std::vector<std::string> PrimaryKey() const;
  // An index, or the rowid itself, that begins with `column`.
  bool Indexed(absl::string_view column) const;
  // A unique index over exactly `columns`, in any order, over all rows.
  bool UniqueOver(const std::vector<std::string>& columns) const;
};

// The relation a user calls `name`: so called, with "main." before it or in double quotes. nullopt if there is none.
absl::StatusOr<std::optional<Relation>> FindRelation(Database& db, absl::string_view name);

// The greatest number an AUTOINCREMENT table has given; nullopt if none.
absl::StatusOr<std::optional<int64_t>> LastOfSequence(Database& db, const Relation& table);

// "main.orders" and "orders" are one table; in double quotes a name may hold anything. InvalidArgument for another
// schema: a file has none.
absl::StatusOr<std::string> PlainTableName(absl::string_view name);

// FileIdentity for a table of the file.
std::string TableIdentity(const std::string& path, const Relation& relation);

// The tables whose foreign keys point to `table`, itself left out.
absl::StatusOr<std::vector<std::string>> ReferencingTables(Database& db, absl::string_view table);

}  // namespace tidemark::sqlite
