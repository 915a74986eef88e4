#include "worker/connectors/sqlite/sqlite_merge.h"

#include <sqlite3.h>

#include <algorithm>
#include <cstddef>
#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status_macros.h"
#include "common/model/row_counts.h"
#include "worker/connectors/sqlite/iso_text.h"
#include "worker/connectors/sqlite/sqlite_catalog.h"
#include "worker/connectors/sqlite/sqlite_control.h"

namespace tidemark::sqlite {
namespace {

constexpr char kOrder[] = "tidemark_order";

int CompareWatermarks(void*, int size_a, const void* a, int size_b, const void* b) {
  return CompareByValue(absl::string_view(static_cast<const char*>(a), static_cast<size_t>(size_a)),
                        absl::string_view(static_cast<const char*>(b), static_cast<size_t>(size_b)));
}

// By the key's collation in the target, which its unique index has.
std::string KeysEqual(const MergeTables& tables) {
  return absl::StrJoin(tables.key, " AND ", [](std::string* out, const std::string& column) {
    absl::StrAppend(out, "t.", Quoted(column), " = s.", Quoted(column));
  });
}

std::string ContentDiffers(const std::vector<std::string>& columns, absl::string_view a, absl::string_view b) {
  // By bytes: what a collation takes for equal may still be a change.
  return absl::StrCat("(",
                      absl::StrJoin(columns, " OR ",
                                    [&](std::string* out, const std::string& column) {
                                      absl::StrAppend(out, a, ".", Quoted(column), " IS NOT ", b, ".", Quoted(column),
                                                      " COLLATE BINARY");
                                    }),
                      ")");
}

std::string NewerOrEqual(const std::string& watermark, absl::string_view target, absl::string_view staged) {
  const std::string w = Quoted(watermark);
  return absl::StrCat("(", target, ".", w, " IS NULL OR ", target, ".", w, " <= ", staged, ".", w, " COLLATE ", kOrder,
                      ")");
}

absl::StatusOr<int64_t> Delete(Database& db, const std::string& sql) {
  TM_RETURN_IF_ERROR(db.Exec(sql));
  return db.Changes();
}

// Serves the grouping by key, the lookups of a merge and its insert in the order of the key. Goes with staging.
absl::Status IndexKey(Database& db, const MergeTables& tables) {
  return db.Exec(absl::StrCat("CREATE INDEX IF NOT EXISTS ", Quoted(absl::StrCat(tables.staging, "_key")), " ON ",
                              Quoted(tables.staging), " (", ColumnList(tables.key), ")"));
}

// What was inserted must be what was to be: a trigger with RAISE(IGNORE) or a conflict clause of the table may drop
// rows in silence.
absl::Status CheckLoaded(const MergeTables& tables, int64_t wanted, int64_t changed) {
  if (wanted == changed) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat("of ", wanted, " rows ", changed, " arrived in table ",
                                                    tables.target,
                                                    "; a trigger or an ON CONFLICT clause of the table drops rows"));
}

// A NULL for the table's rowid would become a number that the source never had. (A full load's staging has the table's
// own key: there the writer sees to it.)
absl::Status RefuseNullRowids(Database& db, const MergeTables& tables) {
  TM_ASSIGN_OR_RETURN(const std::optional<Relation> table, FindRelation(db, tables.target));
  if (!table) return absl::OkStatus();
  for (const std::string& column : tables.columns) {
    if (!absl::EqualsIgnoreCase(column, table->rowid_column)) continue;
    TM_ASSIGN_OR_RETURN(const auto nulls, db.QueryInt(absl::StrCat("SELECT count(*) FROM ", Quoted(tables.staging),
                                                                   " WHERE ", Quoted(column), " IS NULL")));
    if (nulls.value_or(0) == 0) continue;
    return absl::InvalidArgumentError(absl::StrCat("column ", column, " holds NULL in ", *nulls,
                                                   " rows, and is the INTEGER PRIMARY KEY of table ", tables.target,
                                                   ", where SQLite would give them numbers of its own"));
  }
  return absl::OkStatus();
}

}  // namespace

std::string ColumnList(const std::vector<std::string>& columns, absl::string_view alias) {
  return absl::StrJoin(columns, ", ", [&](std::string* out, const std::string& column) {
    absl::StrAppend(out, alias, alias.empty() ? "" : ".", Quoted(column));
  });
}

absl::Status RegisterWatermarkOrder(Database& db) {
  const int code = sqlite3_create_collation(db.get(), kOrder, SQLITE_UTF8, nullptr, &CompareWatermarks);
  return code == SQLITE_OK ? absl::OkStatus() : SqliteError(db.get(), code, db.path());
}

absl::Status QuarantineNullKeys(Database& db, const MergeTables& tables, v1::RowCounts* counts) {
  const std::string any_null = absl::StrJoin(tables.key, " OR ", [](std::string* out, const std::string& column) {
    absl::StrAppend(out, Quoted(column), " IS NULL");
  });
  TM_ASSIGN_OR_RETURN(const int64_t rows, Quarantine(db, tables.target, tables.run_id, tables.staging, tables.columns,
                                                     any_null, "null_key"));
  counts->set_quarantined(counts->quarantined() + rows);
  return absl::OkStatus();
}

absl::Status KeepOneRowPerKey(Database& db, const MergeTables& tables, v1::RowCounts* counts) {
  const std::string staging = Quoted(tables.staging);
  const std::string key = ColumnList(tables.key);
  TM_RETURN_IF_ERROR(IndexKey(db, tables));
  // Nearly always there is nothing to do, and to see that is cheaper than to rank every row.
  TM_ASSIGN_OR_RETURN(const auto doubled, db.QueryInt(absl::StrCat("SELECT 1 FROM ", staging, " GROUP BY ", key,
                                                                   " HAVING count(*) > 1 LIMIT 1")));
  if (!doubled) return absl::OkStatus();
  const std::string w = Quoted(tables.watermark);
  const std::string by_watermark =
      tables.watermark.empty() ? "" : absl::StrCat(w, " COLLATE ", kOrder, " DESC NULLS LAST, ");
  TM_RETURN_IF_ERROR(
      db.Exec(absl::StrCat("DROP TABLE IF EXISTS temp.tidemark_beaten; CREATE TEMP TABLE tidemark_beaten AS SELECT * "
                           "FROM (SELECT rowid AS row, first_value(rowid) OVER "
                           "(PARTITION BY ",
                           key, " ORDER BY ", by_watermark, Quoted(kPartitionColumn),
                           " DESC, rowid DESC) AS best FROM ", staging, ") WHERE row <> best")));
  const std::string same_version =
      tables.watermark.empty() ? "TRUE" : absl::StrCat("s.", w, " IS b.", w, " COLLATE ", kOrder);
  const std::string conflicts = absl::StrCat("rowid IN (SELECT s.rowid FROM temp.tidemark_beaten d JOIN ", staging,
                                             " s ON s.rowid = d.row JOIN ", staging, " b ON b.rowid = d.best WHERE ",
                                             same_version, " AND ", ContentDiffers(tables.columns, "s", "b"), ")");
  TM_ASSIGN_OR_RETURN(const int64_t quarantined, Quarantine(db, tables.target, tables.run_id, tables.staging,
                                                            tables.columns, conflicts, "conflicting_version"));
  counts->set_quarantined(counts->quarantined() + quarantined);
  TM_ASSIGN_OR_RETURN(
      const int64_t superseded,
      Delete(db, absl::StrCat("DELETE FROM ", staging, " WHERE rowid IN (SELECT row FROM temp.tidemark_beaten)")));
  AddFiltered("superseded", superseded, counts);
  return db.Exec("DROP TABLE temp.tidemark_beaten");
}

absl::Status Append(Database& db, const MergeTables& tables, bool skip_loaded, v1::RowCounts* counts) {
  const std::string staging = Quoted(tables.staging);
  const std::string target = Quoted(tables.target);
  if (skip_loaded) {
    TM_RETURN_IF_ERROR(IndexKey(db, tables));
    std::string same_version;
    if (!tables.watermark.empty()) {
      const std::string w = Quoted(tables.watermark);
      same_version = absl::StrCat(" AND t.", w, " IS s.", w, " COLLATE ", kOrder);
    }
    // One pass over the target, which need not have an index of the key.
    TM_RETURN_IF_ERROR(db.Exec(
        absl::StrCat("DROP TABLE IF EXISTS temp.tidemark_matched; CREATE TEMP TABLE tidemark_matched AS SELECT s.rowid "
                     "AS row, max(NOT ",
                     ContentDiffers(tables.columns, "t", "s"), ") AS same FROM ", target, " t JOIN ", staging, " s ON ",
                     KeysEqual(tables), same_version, " GROUP BY s.rowid")));
    // A version has one content. What comes in its name with another is neither loaded already nor to be lost.
    TM_ASSIGN_OR_RETURN(
        const int64_t conflicts,
        Quarantine(db, tables.target, tables.run_id, tables.staging, tables.columns,
                   "rowid IN (SELECT row FROM temp.tidemark_matched WHERE NOT same)", "conflicting_version"));
    counts->set_quarantined(counts->quarantined() + conflicts);
    TM_ASSIGN_OR_RETURN(
        const int64_t skipped,
        Delete(db, absl::StrCat("DELETE FROM ", staging, " WHERE rowid IN (SELECT row FROM temp.tidemark_matched)")));
    AddFiltered("already_loaded", skipped, counts);
    TM_RETURN_IF_ERROR(db.Exec("DROP TABLE temp.tidemark_matched"));
  }
  TM_RETURN_IF_ERROR(RefuseNullRowids(db, tables));
  TM_RETURN_IF_ERROR(db.Exec(absl::StrCat("INSERT INTO ", target, " (", ColumnList(tables.columns), ") SELECT ",
                                          ColumnList(tables.columns), " FROM ", staging, " ORDER BY ",
                                          Quoted(kPartitionColumn), ", rowid")));
  counts->set_loaded(db.Changes());
  return CheckLoaded(tables, Remaining(*counts), counts->loaded());
}

absl::Status Upsert(Database& db, const MergeTables& tables, v1::RowCounts* counts) {
  const std::string staging = Quoted(tables.staging);
  const std::string target = Quoted(tables.target);
  const std::string matched =
      absl::StrCat("SELECT s.rowid FROM ", staging, " s JOIN ", target, " t ON ", KeysEqual(tables), " WHERE ");
  if (!tables.watermark.empty()) {
    TM_ASSIGN_OR_RETURN(const int64_t superseded,
                        Delete(db, absl::StrCat("DELETE FROM ", staging, " WHERE rowid IN (", matched, "NOT coalesce(",
                                                NewerOrEqual(tables.watermark, "t", "s"), ", FALSE))")));
    AddFiltered("superseded", superseded, counts);
  }
  TM_ASSIGN_OR_RETURN(const int64_t unchanged,
                      Delete(db, absl::StrCat("DELETE FROM ", staging, " WHERE rowid IN (", matched, "NOT ",
                                              ContentDiffers(tables.columns, "t", "s"), ")")));
  AddFiltered("unchanged", unchanged, counts);
  TM_RETURN_IF_ERROR(RefuseNullRowids(db, tables));
  // A key equal by a collation of its own may be spelled anew: it is set too.
  const std::string assignments = absl::StrJoin(tables.columns, ", ", [](std::string* out, const std::string& column) {
    absl::StrAppend(out, Quoted(column), " = excluded.", Quoted(column));
  });
  const std::string guard =
      tables.watermark.empty() ? "" : absl::StrCat(" WHERE ", NewerOrEqual(tables.watermark, "t", "excluded"));
  TM_RETURN_IF_ERROR(db.Exec(absl::StrCat("INSERT INTO ", target, " AS t (", ColumnList(tables.columns), ") SELECT ",
                                          ColumnList(tables.columns), " FROM ", staging, " WHERE TRUE ORDER BY ",
                                          ColumnList(tables.key), " ON CONFLICT (", ColumnList(tables.key),
                                          ") DO UPDATE SET ", assignments, guard)));
  counts->set_loaded(db.Changes());
  return CheckLoaded(tables, Remaining(*counts), counts->loaded());
}

}  // namespace tidemark::sqlite
