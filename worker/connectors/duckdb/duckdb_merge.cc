#include "worker/connectors/duckdb/duckdb_merge.h"

#include <algorithm>
#include <cstdint>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status_macros.h"
#include "common/model/row_counts.h"
#include "worker/connectors/duckdb/duckdb_catalog.h"
#include "worker/connectors/duckdb/duckdb_control.h"
#include "worker/connectors/duckdb/duckdb_staging.h"

namespace tidemark::duckdb {
namespace {

std::string KeysEqual(const MergeTables& tables) {
  return absl::StrJoin(tables.key, " AND ", [](std::string* out, const std::string& column) {
    absl::StrAppend(out, "t.", Quoted(column), " = s.", Quoted(column));
  });
}

// Texts by their bytes: what a collation takes for equal may still be a change. (0 and -0 are none to DuckDB's UPDATE.)
std::string ContentDiffers(const v1::TableSchema& schema, absl::string_view a, absl::string_view b) {
  return absl::StrCat("(",
                      absl::StrJoin(schema.columns(), " OR ",
                                    [&](std::string* out, const v1::Column& column) {
                                      const bool text = column.type().kind() == v1::LogicalType::KIND_STRING;
                                      const std::string name = Quoted(column.name());
                                      absl::StrAppend(out, text ? "encode(" : "(", a, ".", name, ") IS DISTINCT FROM ",
                                                      text ? "encode(" : "(", b, ".", name, ")");
                                    }),
                      ")");
}

// Nothing of it outlasts the transaction.
constexpr absl::string_view kFound = "temp.main.tidemark_found";

absl::Status Find(adbc::Connection& db, const std::string& select) {
  return db.Execute(absl::StrCat("CREATE OR REPLACE TEMP TABLE tidemark_found AS ", select)).status();
}

std::string StagedRowsWhere(absl::string_view condition) {
  return absl::StrCat("rowid IN (SELECT \"row\" FROM ", kFound, " WHERE ", condition, ")");
}

absl::StatusOr<int64_t> DeleteStaged(adbc::Connection& db, const MergeTables& tables, absl::string_view condition) {
  return QueryInt(db, absl::StrCat("DELETE FROM ", Quoted(tables.staging), " WHERE ", StagedRowsWhere(condition)));
}

absl::Status QuarantineConflicts(adbc::Connection& db, const MergeTables& tables, absl::string_view condition,
                                 v1::RowCounts* counts) {
  TM_ASSIGN_OR_RETURN(const int64_t rows, Quarantine(db, tables.target, tables.run_id, tables.staging, tables.columns,
                                                     StagedRowsWhere(condition), "conflicting_version"));
  counts->set_quarantined(counts->quarantined() + rows);
  return absl::OkStatus();
}

absl::Status InsertAll(adbc::Connection& db, const MergeTables& tables, v1::RowCounts* counts) {
  const std::string columns = ColumnList(tables.columns);
  TM_ASSIGN_OR_RETURN(const int64_t inserted,
                      QueryInt(db, absl::StrCat("INSERT INTO ", Quoted(tables.target), " (", columns, ") SELECT ",
                                                columns, " FROM ", Quoted(tables.staging))));
  counts->set_loaded(inserted);
  return absl::OkStatus();
}

}  // namespace

absl::Status QuarantineNullKeys(adbc::Connection& db, const MergeTables& tables, v1::RowCounts* counts) {
  const std::string any_null = absl::StrJoin(tables.key, " OR ", [](std::string* out, const std::string& column) {
    absl::StrAppend(out, Quoted(column), " IS NULL");
  });
  TM_ASSIGN_OR_RETURN(const int64_t rows, Quarantine(db, tables.target, tables.run_id, tables.staging, tables.columns,
                                                     any_null, "null_key"));
  counts->set_quarantined(counts->quarantined() + rows);
  return absl::OkStatus();
}

absl::Status KeepOneRowPerKey(adbc::Connection& db, const MergeTables& tables, v1::RowCounts* counts) {
  const std::string staging = Quoted(tables.staging);
  const std::string key = ColumnList(tables.key);
  const std::string doubled =
      absl::StrCat("SELECT ", key, " FROM ", staging, " GROUP BY ", key, " HAVING count(*) > 1");
  // Nearly always there is nothing to do, and to see that is cheaper than to rank every row.
  TM_ASSIGN_OR_RETURN(const int64_t any, QueryInt(db, absl::StrCat("SELECT count(*) FROM (", doubled, " LIMIT 1)")));
  if (any == 0) return absl::OkStatus();
  const std::string w = Quoted(tables.watermark);
  const std::string by_watermark = tables.watermark.empty() ? "" : absl::StrCat(w, " DESC NULLS LAST, ");
  const std::string same_version =
      tables.watermark.empty() ? "TRUE" : absl::StrCat("s.", w, " IS NOT DISTINCT FROM b.", w);
  TM_RETURN_IF_ERROR(Find(
      db, absl::StrCat("WITH ranked AS (SELECT rowid AS \"row\", first_value(rowid) OVER (PARTITION BY ", key,
                       " ORDER BY ", by_watermark, Quoted(kPartitionColumn), " DESC, rowid DESC) AS best FROM ",
                       staging, " SEMI JOIN (", doubled, ") USING (", key, ")) SELECT \"row\", ", same_version, " AND ",
                       ContentDiffers(tables.schema, "s", "b"), " AS conflicts FROM ranked JOIN ", staging,
                       " s ON s.rowid = \"row\" JOIN ", staging, " b ON b.rowid = best WHERE \"row\" <> best")));
  TM_RETURN_IF_ERROR(QuarantineConflicts(db, tables, "conflicts", counts));
  TM_ASSIGN_OR_RETURN(const int64_t superseded, DeleteStaged(db, tables, "NOT conflicts"));
  AddFiltered("superseded", superseded, counts);
  return absl::OkStatus();
}

absl::Status Append(adbc::Connection& db, const MergeTables& tables, bool skip_loaded, v1::RowCounts* counts) {
  if (skip_loaded) {
    const std::string w = Quoted(tables.watermark);
    const std::string same_version =
        tables.watermark.empty() ? "" : absl::StrCat(" AND t.", w, " IS NOT DISTINCT FROM s.", w);
    TM_RETURN_IF_ERROR(
        Find(db, absl::StrCat("SELECT s.rowid AS \"row\", bool_or(NOT ", ContentDiffers(tables.schema, "t", "s"),
                              ") AS same FROM ", Quoted(tables.target), " t JOIN ", Quoted(tables.staging), " s ON ",
                              KeysEqual(tables), same_version, " GROUP BY s.rowid")));
    // A version has one content. What comes in its name with another is neither loaded already nor to be lost.
    TM_RETURN_IF_ERROR(QuarantineConflicts(db, tables, "NOT same", counts));
    TM_ASSIGN_OR_RETURN(const int64_t skipped, DeleteStaged(db, tables, "same"));
    AddFiltered("already_loaded", skipped, counts);
  }
  return InsertAll(db, tables, counts);
}

absl::Status Upsert(adbc::Connection& db, const MergeTables& tables, v1::RowCounts* counts) {
  const std::string w = Quoted(tables.watermark);
  const std::string superseded = tables.watermark.empty()
                                     ? "FALSE"
                                     : absl::StrCat("NOT coalesce(t.", w, " IS NULL OR t.", w, " <= s.", w, ", FALSE)");
  TM_RETURN_IF_ERROR(
      Find(db, absl::StrCat("SELECT s.rowid AS \"row\", ", superseded, " AS superseded, ",
                            ContentDiffers(tables.schema, "t", "s"), " AS differs FROM ", Quoted(tables.target),
                            " t JOIN ", Quoted(tables.staging), " s ON ", KeysEqual(tables))));
  TM_ASSIGN_OR_RETURN(const int64_t doubled,
                      QueryInt(db, absl::StrCat("SELECT count(*) - count(DISTINCT \"row\") FROM ", kFound)));
  if (doubled > 0) {
    return absl::FailedPreconditionError(absl::StrCat("table ", tables.target.table, " has rows that share the key (",
                                                      ColumnList(tables.key), "), by which they cannot be told apart"));
  }
  TM_ASSIGN_OR_RETURN(const int64_t older, DeleteStaged(db, tables, "superseded"));
  AddFiltered("superseded", older, counts);
  TM_ASSIGN_OR_RETURN(const int64_t unchanged, DeleteStaged(db, tables, "NOT superseded AND NOT differs"));
  AddFiltered("unchanged", unchanged, counts);
  // A key equal by a collation of its own may be spelled anew: it is set too.
  const std::string assignments = absl::StrJoin(tables.columns, ", ", [](std::string* out, const std::string& column) {
    absl::StrAppend(out, Quoted(column), " = s.", Quoted(column));
  });
  TM_ASSIGN_OR_RETURN(
      const int64_t merged,
      QueryInt(db,
               absl::StrCat("MERGE INTO ", Quoted(tables.target), " AS t USING (SELECT ", ColumnList(tables.columns),
                            " FROM ", Quoted(tables.staging), ") AS s ON ", KeysEqual(tables),
                            " WHEN MATCHED THEN UPDATE SET ", assignments, " WHEN NOT MATCHED THEN INSERT (",
                            ColumnList(tables.columns), ") VALUES (", ColumnList(tables.columns, "s"), ")")));
  counts->set_loaded(merged);
  return absl::OkStatus();
}

absl::Status Replace(adbc::Connection& db, const MergeTables& tables, v1::RowCounts* counts) {
  TM_RETURN_IF_ERROR(db.Execute(absl::StrCat("DELETE FROM ", Quoted(tables.target))).status());
  return InsertAll(db, tables, counts);
}

}  // namespace tidemark::duckdb
