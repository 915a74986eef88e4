#include "worker/connectors/sqlite/sqlite_swap.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status_macros.h"
#include "worker/connectors/sqlite/column_type.h"
#include "worker/connectors/sqlite/sqlite_merge.h"

namespace tidemark::sqlite {
namespace {

// What a user has put on a table, by names: two tables that had one name one after the other are alike if these are
// equal.
std::vector<std::string> Picture(const Relation& relation) {
  std::vector<std::string> facts;
  for (const CatalogColumn& column : relation.columns) {
    facts.push_back(absl::StrCat("column ", column.name, " ", column.declared, " ", column.collation, " ",
                                 column.not_null, " ", column.key_position, " ", column.generated));
  }
  for (const CatalogIndex& index : relation.indexes) {
    // Those behind constraints are numbered by SQLite.
    facts.push_back(absl::StrCat("index ", index.sql.empty() ? "" : index.name, " ", index.unique, " ", index.partial,
                                 " ", absl::StrJoin(index.columns, ","), " ", index.sql));
  }
  for (const std::string& sql : relation.trigger_sql) facts.push_back(absl::StrCat("trigger ", sql));
  facts.push_back(absl::StrCat("options ", relation.without_rowid, " ", relation.strict));
  std::sort(facts.begin(), facts.end());
  return facts;
}

// Foreign keys of `child` that name no row of their parent.
absl::StatusOr<int64_t> Orphans(Database& db, const std::string& child) {
  TM_ASSIGN_OR_RETURN(Statement check, db.Prepare("SELECT count(*) FROM pragma_foreign_key_check(?)"));
  check.BindText(1, child);
  TM_ASSIGN_OR_RETURN(const bool row, check.Step());
  return row ? check.Int(0) : 0;
}

// A new table counts from its own rows; the numbers the old one has given must not come again.
absl::Status KeepSequence(Database& db, const std::string& table, int64_t last) {
  TM_ASSIGN_OR_RETURN(Statement keep, db.Prepare("UPDATE sqlite_sequence SET seq = max(seq, ?2) WHERE name = ?1"));
  keep.BindText(1, table);
  keep.BindInt(2, last);
  TM_RETURN_IF_ERROR(keep.Step().status());
  if (db.Changes() > 0) return absl::OkStatus();
  TM_ASSIGN_OR_RETURN(Statement insert, db.Prepare("INSERT INTO sqlite_sequence (name, seq) VALUES (?1, ?2)"));
  insert.BindText(1, table);
  insert.BindInt(2, last);
  return insert.Step().status();
}

absl::Status Rename(Database& db, const Relation& old, absl::string_view loaded) {
  std::optional<int64_t> sequence;
  if (old.autoincrement) {
    TM_ASSIGN_OR_RETURN(sequence, LastOfSequence(db, old));
  }
  TM_RETURN_IF_ERROR(db.Exec(absl::StrCat("DROP TABLE ", Quoted(old.name))));
  TM_RETURN_IF_ERROR(db.Exec(absl::StrCat("ALTER TABLE ", Quoted(loaded), " RENAME TO ", Quoted(old.name))));
  for (const CatalogIndex& index : old.indexes) {
    if (!index.sql.empty()) TM_RETURN_IF_ERROR(db.Exec(index.sql));
  }
  for (const std::string& trigger : old.trigger_sql) TM_RETURN_IF_ERROR(db.Exec(trigger));
  if (sequence) TM_RETURN_IF_ERROR(KeepSequence(db, old.name, *sequence));
  TM_ASSIGN_OR_RETURN(const std::optional<Relation> now, FindRelation(db, old.name));
  if (!now || Picture(*now) != Picture(old)) {
    return absl::InternalError(
        absl::StrCat("table ", old.name, " would not be what it was after the swap; use swap: delete_insert"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> CloneStatement(const Relation& original, absl::string_view name) {
  // SQLite keeps "CREATE TABLE " and then the user's text from the name on.
  constexpr absl::string_view kCreate = "CREATE TABLE ";
  absl::string_view sql = original.sql;
  if (!absl::StartsWithIgnoreCase(sql, kCreate)) {
    return absl::FailedPreconditionError(
        absl::StrCat("table ", original.name, " has no definition that could be repeated"));
  }
  sql.remove_prefix(kCreate.size());
  sql = absl::StripLeadingAsciiWhitespace(sql);
  const char open = sql.empty() ? '\0' : sql.front();
  size_t end;
  if (open == '"' || open == '`' || open == '\'' || open == '[') {
    const char close = open == '[' ? ']' : open;
    end = 1;
    while (end < sql.size() && (sql[end] != close || (open != '[' && end + 1 < sql.size() && sql[end + 1] == close))) {
      end += sql[end] == close ? 2 : 1;
    }
    ++end;
  } else {
    end = sql.find_first_of(" \t\r\n(");
  }
  if (end == absl::string_view::npos || end >= sql.size()) {
    return absl::FailedPreconditionError(absl::StrCat("the definition of table ", original.name, " cannot be read"));
  }
  return absl::StrCat(kCreate, Quoted(name), " ", sql.substr(end));
}

std::string CreateStatement(const v1::TableSchema& schema, const v1::TargetSpec& target, absl::string_view name) {
  std::vector<std::string> key;
  if (target.strategy() == v1::LOAD_STRATEGY_UPSERT) {
    key.assign(target.key().begin(), target.key().end());
  } else if (target.strategy() == v1::LOAD_STRATEGY_FULL) {
    // An appended table may hold several versions of a row.
    key.assign(schema.primary_key().begin(), schema.primary_key().end());
  }
  std::vector<std::string> parts;
  for (const v1::Column& column : schema.columns()) {
    const bool in_key = std::any_of(
        key.begin(), key.end(), [&](const std::string& part) { return absl::EqualsIgnoreCase(part, column.name()); });
    parts.push_back(absl::StrCat(Quoted(column.name()), " ", DeclaredType(column.type()), in_key ? " NOT NULL" : ""));
  }
  if (!key.empty()) parts.push_back(absl::StrCat("PRIMARY KEY (", ColumnList(key), ")"));
  return absl::StrCat("CREATE TABLE ", Quoted(name), " (", absl::StrJoin(parts, ", "), ")");
}

absl::StatusOr<std::string> SwapIn(Database& db, absl::string_view loaded, absl::string_view table, v1::SwapMode mode,
                                   const std::vector<std::string>& columns) {
  TM_ASSIGN_OR_RETURN(const std::optional<Relation> old, FindRelation(db, table));
  if (!old) {
    TM_RETURN_IF_ERROR(db.Exec(absl::StrCat("ALTER TABLE ", Quoted(loaded), " RENAME TO ", Quoted(table))));
    return std::string("create");
  }
  TM_ASSIGN_OR_RETURN(std::vector<std::string> children, ReferencingTables(db, old->name));
  // A table that refers to itself is referred to by its clone.
  std::erase(children, loaded);
  std::vector<int64_t> orphans_before;
  for (const std::string& child : children) {
    TM_ASSIGN_OR_RETURN(orphans_before.emplace_back(), Orphans(db, child));
  }
  std::string how = "rename";
  if (mode == v1::SWAP_MODE_DELETE_INSERT || mode == v1::SWAP_MODE_TRUNCATE_INSERT) {
    how = "delete_insert";
    TM_RETURN_IF_ERROR(db.Exec(absl::StrCat("DELETE FROM ", Quoted(old->name))));
    TM_RETURN_IF_ERROR(db.Exec(absl::StrCat("INSERT INTO ", Quoted(old->name), " (", ColumnList(columns), ") SELECT ",
                                            ColumnList(columns), " FROM ", Quoted(loaded))));
    const int64_t inserted = db.Changes();
    TM_ASSIGN_OR_RETURN(const auto rows, db.QueryInt(absl::StrCat("SELECT count(*) FROM ", Quoted(loaded))));
    if (inserted != rows.value_or(0)) {
      return absl::FailedPreconditionError(
          absl::StrCat("of ", rows.value_or(0), " rows ", inserted, " arrived in table ", old->name,
                       "; a trigger or an ON CONFLICT clause of the table drops rows"));
    }
    TM_ASSIGN_OR_RETURN(const auto held, db.QueryInt(absl::StrCat("SELECT count(*) FROM ", Quoted(old->name))));
    if (held.value_or(0) != inserted) {
      return absl::FailedPreconditionError(
          absl::StrCat("table ", old->name, " holds ", held.value_or(0), " rows where ", inserted,
                       " were loaded; a trigger of the table keeps rows from being deleted, or adds some"));
    }
    TM_RETURN_IF_ERROR(db.Exec(absl::StrCat("DROP TABLE ", Quoted(loaded))));
  } else {
    TM_RETURN_IF_ERROR(Rename(db, *old, loaded));
  }
  for (size_t i = 0; i < children.size(); ++i) {
    TM_ASSIGN_OR_RETURN(const int64_t orphans, Orphans(db, children[i]));
    if (orphans > orphans_before[i]) {
      return absl::FailedPreconditionError(
          absl::StrCat("after the load ", orphans - orphans_before[i], " rows of table ", children[i],
                       " would refer to rows that table ", old->name,
                       " no longer has: load with strategy upsert, or drop the foreign key"));
    }
  }
  return how;
}

}  // namespace tidemark::sqlite
