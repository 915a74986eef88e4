#include "worker/connectors/sqlite/sqlite_catalog.h"

#include <algorithm>

#include <sqlite3.h>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "common/base/status_macros.h"
#include "worker/connector/file_identity.h"

namespace tidemark::sqlite {
namespace {

// What stands between double quotes, those inside it doubled; nullopt if `name` is not quoted so.
std::optional<std::string> Unquoted(absl::string_view name) {
  if (name.size() < 3 || name.front() != '"' || name.back() != '"') return std::nullopt;
  name = name.substr(1, name.size() - 2);
  std::string plain = absl::StrReplaceAll(name, {{"\"\"", "\""}});
  return Quoted(plain).size() == name.size() + 2 ? std::optional(std::move(plain)) : std::nullopt;
}

absl::Status ReadColumns(Database& db, Relation* relation) {
  TM_ASSIGN_OR_RETURN(
      Statement columns,
      db.Prepare(
          "SELECT name, type, \"notnull\", pk, hidden, dflt_value FROM pragma_table_xinfo(?) WHERE hidden <> 1"));
  columns.BindText(1, relation->name);
  while (true) {
    TM_ASSIGN_OR_RETURN(const bool row, columns.Step());
    if (!row) return absl::OkStatus();
    CatalogColumn column;
    column.name = std::string(columns.Text(0));
    column.declared = std::string(columns.Text(1));
    column.not_null = columns.Int(2) != 0;
    column.key_position = static_cast<int>(columns.Int(3));
    column.generated = columns.Int(4) != 0;
    column.has_default = !columns.IsNull(5);
    const char* collation = nullptr;
    int autoincrement = 0;
    if (relation->kind == Relation::Kind::kTable &&
        sqlite3_table_column_metadata(db.get(), "main", relation->name.c_str(), column.name.c_str(), nullptr,
                                      &collation, nullptr, nullptr, &autoincrement) == SQLITE_OK) {
      if (collation != nullptr) column.collation = collation;
      relation->autoincrement = relation->autoincrement || autoincrement != 0;
    }
    relation->columns.push_back(std::move(column));
  }
}

absl::Status ReadIndexes(Database& db, Relation* relation) {
  TM_ASSIGN_OR_RETURN(
      Statement list,
      db.Prepare("SELECT l.name, l.\"unique\", l.partial, coalesce(s.sql, ''), l.origin FROM pragma_index_list(?) l "
                 "LEFT JOIN sqlite_schema s ON s.type = 'index' AND s.name = l.name ORDER BY l.seq DESC"));
  list.BindText(1, relation->name);
  bool key_index = false;
  while (true) {
    TM_ASSIGN_OR_RETURN(const bool row, list.Step());
    if (!row) break;
    CatalogIndex index;
    index.name = std::string(list.Text(0));
    index.unique = list.Int(1) != 0;
    index.partial = list.Int(2) != 0;
    index.sql = std::string(list.Text(3));
    key_index |= list.Text(4) == "pk";
    TM_ASSIGN_OR_RETURN(Statement columns,
                        db.Prepare("SELECT coalesce(name, '') FROM pragma_index_info(?) ORDER BY seqno"));
    columns.BindText(1, index.name);
    while (true) {
      TM_ASSIGN_OR_RETURN(const bool column, columns.Step());
      if (!column) break;
      index.columns.emplace_back(columns.Text(0));
    }
    relation->indexes.push_back(std::move(index));
  }
  // A primary key without an index of its own, in a table that has rowids, is the rowid.
  const std::vector<std::string> key = relation->PrimaryKey();
  if (key.size() == 1 && !key_index && !relation->without_rowid) relation->rowid_column = key.front();
  return absl::OkStatus();
}

absl::Status ReadTriggers(Database& db, Relation* relation) {
  TM_ASSIGN_OR_RETURN(
      Statement list,
      db.Prepare("SELECT sql FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = ? COLLATE NOCASE"));
  list.BindText(1, relation->name);
  while (true) {
    TM_ASSIGN_OR_RETURN(const bool row, list.Step());
    if (!row) return absl::OkStatus();
    relation->trigger_sql.emplace_back(list.Text(0));
  }
}

}  // namespace

const CatalogColumn* Relation::Find(absl::string_view column) const {
  for (const CatalogColumn& candidate : columns) {
    if (absl::EqualsIgnoreCase(candidate.name, column)) return &candidate;
  }
  return nullptr;
}

std::vector<std::string> Relation::PrimaryKey() const {
  std::vector<const CatalogColumn*> members;
  for (const CatalogColumn& column : columns) {
    if (column.key_position > 0) members.push_back(&column);
  }
  std::sort(members.begin(), members.end(),
            [](const auto* a, const auto* b) { return a->key_position < b->key_position; });
  std::vector<std::string> names;
  for (const CatalogColumn* column : members) names.push_back(column->name);
  return names;
}

bool Relation::Indexed(absl::string_view column) const {
  if (absl::EqualsIgnoreCase(column, rowid_column)) return true;
  if (const auto key = PrimaryKey(); without_rowid && !key.empty() && absl::EqualsIgnoreCase(key.front(), column))
    return true;
  return std::any_of(indexes.begin(), indexes.end(), [&](const CatalogIndex& index) {
    return !index.partial && !index.columns.empty() && absl::EqualsIgnoreCase(index.columns.front(), column);
  });
}

bool Relation::UniqueOver(const std::vector<std::string>& wanted) const {
  const auto same = [&](const std::vector<std::string>& columns) {
    return columns.size() == wanted.size() && std::all_of(wanted.begin(), wanted.end(), [&](const std::string& name) {
             return std::any_of(columns.begin(), columns.end(),
                                [&](const std::string& column) { return absl::EqualsIgnoreCase(column, name); });
           });
  };
  return same(PrimaryKey()) || std::any_of(indexes.begin(), indexes.end(), [&](const CatalogIndex& index) {
           return index.unique && !index.partial && same(index.columns);
         });
}

absl::StatusOr<std::optional<Relation>> FindRelation(Database& db, absl::string_view name) {
  TM_ASSIGN_OR_RETURN(Statement find,
                      db.Prepare("SELECT l.name, l.type, l.wr, l.strict, coalesce(s.sql, '') FROM pragma_table_list l "
                                 "LEFT JOIN sqlite_schema s ON s.name = l.name AND s.type IN ('table', 'view') "
                                 "WHERE l.schema = 'main' AND l.name = ? COLLATE NOCASE"));
  find.BindText(1, name);
  TM_ASSIGN_OR_RETURN(const bool found, find.Step());
  if (!found) {
    if (absl::StartsWithIgnoreCase(name, "main.")) return FindRelation(db, name.substr(5));
    if (const std::optional<std::string> unquoted = Unquoted(name)) return FindRelation(db, *unquoted);
    return std::nullopt;
  }
  Relation relation;
  relation.name = std::string(find.Text(0));
  relation.kind = find.Text(1) == "view"      ? Relation::Kind::kView
                  : find.Text(1) == "virtual" ? Relation::Kind::kVirtual
                                              : Relation::Kind::kTable;
  relation.without_rowid = find.Int(2) != 0;
  relation.strict = find.Int(3) != 0;
  relation.sql = std::string(find.Text(4));
  TM_RETURN_IF_ERROR(ReadColumns(db, &relation));
  if (relation.kind == Relation::Kind::kTable) {
    TM_RETURN_IF_ERROR(ReadIndexes(db, &relation));
    if (!relation.without_rowid) {
      for (const char* alias : {"rowid", "_rowid_", "oid"}) {
        const CatalogColumn* shadow = relation.Find(alias);
        if (shadow != nullptr && shadow->name != relation.rowid_column) continue;
        relation.rowid_name = alias;
        break;
      }
    }
  }
  TM_RETURN_IF_ERROR(ReadTriggers(db, &relation));
  return relation;
}

absl::StatusOr<std::string> PlainTableName(absl::string_view name) {
  if (absl::StartsWithIgnoreCase(name, "main.")) name.remove_prefix(5);
  if (std::optional<std::string> unquoted = Unquoted(name)) return *std::move(unquoted);
  if (const size_t dot = name.find('.'); dot != name.npos) {
    return absl::InvalidArgumentError(
        absl::StrCat("table ", name, ": a SQLite file has no schemas; name the table ", name.substr(dot + 1)));
  }
  return std::string(name);
}

absl::StatusOr<std::optional<int64_t>> LastOfSequence(Database& db, const Relation& table) {
  TM_ASSIGN_OR_RETURN(Statement read, db.Prepare("SELECT max(seq) FROM sqlite_sequence WHERE name = ?"));
  read.BindText(1, table.name);
  TM_RETURN_IF_ERROR(read.Step().status());
  return read.IsNull(0) ? std::nullopt : std::optional<int64_t>(read.Int(0));
}

std::string TableIdentity(const std::string& path, const Relation& relation) {
  const std::string file = FileIdentity(path);
  return file.empty() ? file : absl::StrCat(file, "/", absl::AsciiStrToLower(relation.name));
}

absl::StatusOr<std::vector<std::string>> ReferencingTables(Database& db, absl::string_view table) {
  TM_ASSIGN_OR_RETURN(
      Statement list,
      db.Prepare("SELECT DISTINCT s.name FROM sqlite_schema s, pragma_foreign_key_list(s.name) f "
                 "WHERE s.type = 'table' AND f.\"table\" = ?1 COLLATE NOCASE AND s.name <> ?1 COLLATE NOCASE"));
  list.BindText(1, table);
  std::vector<std::string> names;
  while (true) {
    TM_ASSIGN_OR_RETURN(const bool row, list.Step());
    if (!row) return names;
    names.emplace_back(list.Text(0));
  }
}

}  // namespace tidemark::sqlite
