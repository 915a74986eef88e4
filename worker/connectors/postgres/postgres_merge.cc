#include "worker/connectors/postgres/postgres_merge.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status_macros.h"
#include "common/model/row_counts.h"
#include "worker/connectors/postgres/postgres_target_table.h"

namespace tidemark::postgres {
namespace {

absl::StatusOr<int64_t> Count(Connection& connection, const std::string& sql, const std::vector<Text>& params = {}) {
  TM_ASSIGN_OR_RETURN(const Row row, connection.ExecuteRow(sql, params));
  int64_t count = 0;
  if (!row[0].has_value() || !absl::SimpleAtoi(*row[0], &count)) return absl::InternalError("a count is no number");
  return count;
}

std::string KeysEqual(const std::vector<std::string>& key, absl::string_view a, absl::string_view b) {
  return absl::StrJoin(key, " AND ", [&](std::string* out, const std::string& column) {
    absl::StrAppend(out, a, ".", QuoteIdentifier(column), " = ", b, ".", QuoteIdentifier(column));
  });
}

// A row of the columns as one value, to be compared byte by byte: types without an equality of their own (json, point)
// have that one, and 1.0 differs from 1.00.
std::string Image(const std::vector<std::string>& columns, absl::string_view alias) {
  return absl::StrCat("ROW(", ColumnList(columns, alias), ")::record");
}

std::string InsertInto(const MergeTables& tables, absl::string_view alias) {
  return absl::StrCat("INSERT INTO ", tables.target.Sql(), alias, " (", ColumnList(tables.columns), ")",
                      tables.overriding_identity ? " OVERRIDING SYSTEM VALUE" : "");
}

// The rows of `gone` (payload jsonb) into the quarantine.
std::string IntoQuarantine(absl::string_view reason, absl::string_view condition) {
  return absl::StrCat("INSERT INTO tidemark.quarantine (run_id, target_table, reason, payload) SELECT $1, $2, '",
                      reason, "', payload FROM gone", condition);
}

// Two counts in one row.
absl::Status CountTwo(Connection& connection, const std::string& sql, const std::vector<Text>& params, int64_t* first,
                      int64_t* second) {
  TM_ASSIGN_OR_RETURN(const Row row, connection.ExecuteRow(sql, params));
  if (absl::SimpleAtoi(row[0].value_or(""), first) && absl::SimpleAtoi(row[1].value_or(""), second))
    return absl::OkStatus();
  return absl::InternalError("a count is no number");
}

// `what` happened to rows on their way into the table, and who may have done it.
absl::Status RowsWentAstray(Connection& connection, const MergeTables& tables, absl::string_view what) {
  TM_ASSIGN_OR_RETURN(
      const Row row,
      connection.ExecuteRow(
          "SELECT pg_catalog.string_agg(DISTINCT pg_catalog.quote_ident(tgname), ', ') FROM pg_catalog.pg_trigger "
          "WHERE NOT tgisinternal AND tgenabled <> 'D' AND (tgrelid = $1::regclass "
          "OR tgrelid IN (SELECT relid FROM pg_catalog.pg_partition_tree($1::regclass)))",
          {tables.target.Sql()}));
  const std::string who = row[0].has_value() ? absl::StrCat("its triggers (", *row[0], ") or rules drop or add rows")
                                             : "a trigger or a rule of the table drops or adds rows";
  return absl::InvalidArgumentError(absl::StrCat(what, "; ", who));
}

}  // namespace

absl::Status QuarantineNullKeys(Connection& connection, const MergeTables& tables, v1::RowCounts* counts) {
  const std::string any_null = absl::StrJoin(tables.key, " OR ", [](std::string* out, const std::string& column) {
    absl::StrAppend(out, "s.", QuoteIdentifier(column), " IS NULL");
  });
  TM_ASSIGN_OR_RETURN(
      const int64_t moved,
      connection.ExecuteCommand(
          absl::StrCat("WITH gone AS (DELETE FROM ", tables.staging.Sql(), " s WHERE ", any_null,
                       " RETURNING pg_catalog.to_jsonb(s) AS payload) ", IntoQuarantine("null_key", "")),
          {tables.run_id, tables.control_name}));
  counts->set_quarantined(counts->quarantined() + moved);
  return absl::OkStatus();
}

absl::Status KeepOneRowPerKey(Connection& connection, const MergeTables& tables, v1::RowCounts* counts) {
  const std::string staging = tables.staging.Sql();
  const std::string key = ColumnList(tables.key, "s");
  // Nearly always there is nothing to do, and to see that is cheaper than to rank every row.
  TM_ASSIGN_OR_RETURN(const int64_t doubled,
                      Count(connection, absl::StrCat("SELECT count(*) FROM (SELECT 1 FROM ", staging, " s GROUP BY ",
                                                     key, " HAVING count(*) > 1 LIMIT 1) d")));
  if (doubled == 0) return absl::OkStatus();
  std::string order = "s.ctid DESC";
  std::string same_version = "true";
  if (!tables.watermark.empty()) {
    const std::string watermark = QuoteIdentifier(tables.watermark);
    order = absl::StrCat("s.", watermark, " DESC NULLS LAST, s.ctid DESC");
    same_version = absl::StrCat("s.", watermark, " IS NOT DISTINCT FROM b.", watermark);
  }
  const std::string sql = absl::StrCat(
      "WITH ranked AS (SELECT s.ctid AS row, pg_catalog.first_value(s.ctid) OVER (PARTITION BY ", key, " ORDER BY ",
      order, ") AS best FROM ", staging,
      " s), beaten AS (SELECT * FROM ranked WHERE row <> best), "
      "gone AS (DELETE FROM ",
      staging, " s USING beaten, ", staging, " b WHERE s.ctid = beaten.row AND b.ctid = beaten.best RETURNING ",
      same_version, " AND ", Image(tables.columns, "s"), " OPERATOR(pg_catalog.*<>) ", Image(tables.columns, "b"),
      " AS conflict, pg_catalog.to_jsonb(s) AS payload), kept AS (",
      IntoQuarantine("conflicting_version", " WHERE conflict"),
      " RETURNING 1) SELECT count(*), (SELECT count(*) FROM kept) FROM gone");
  int64_t gone = 0;
  int64_t conflicts = 0;
  TM_RETURN_IF_ERROR(CountTwo(connection, sql, {tables.run_id, tables.control_name}, &gone, &conflicts));
  counts->set_quarantined(counts->quarantined() + conflicts);
  AddFiltered("superseded", gone - conflicts, counts);
  return absl::OkStatus();
}

absl::Status RemoveLoaded(Connection& connection, const MergeTables& tables, v1::RowCounts* counts) {
  const std::string staging = tables.staging.Sql();
  std::string same_version = KeysEqual(tables.key, "t", "s");
  if (!tables.watermark.empty()) {
    const std::string watermark = QuoteIdentifier(tables.watermark);
    absl::StrAppend(&same_version, " AND t.", watermark, " IS NOT DISTINCT FROM s.", watermark);
  }
  const std::string sql =
      absl::StrCat("WITH known AS (SELECT s.ctid AS row, pg_catalog.bool_or(", Image(tables.columns, "t"),
                   " OPERATOR(pg_catalog.*=) ", Image(tables.columns, "s"), ") AS loaded FROM ", staging, " s JOIN ",
                   tables.target.Sql(), " t ON ", same_version, " GROUP BY s.ctid), gone AS (DELETE FROM ", staging,
                   " s USING known WHERE s.ctid = known.row RETURNING known.loaded, "
                   "CASE WHEN NOT known.loaded THEN pg_catalog.to_jsonb(s) END AS payload), kept AS (",
                   IntoQuarantine("conflicting_version", " WHERE NOT loaded"),
                   " RETURNING 1) SELECT count(*), (SELECT count(*) FROM kept) FROM gone");
  int64_t gone = 0;
  int64_t conflicts = 0;
  TM_RETURN_IF_ERROR(CountTwo(connection, sql, {tables.run_id, tables.control_name}, &gone, &conflicts));
  counts->set_quarantined(counts->quarantined() + conflicts);
  AddFiltered("already_loaded", gone - conflicts, counts);
  return absl::OkStatus();
}

absl::Status Append(Connection& connection, const MergeTables& tables, v1::RowCounts* counts) {
  TM_ASSIGN_OR_RETURN(const int64_t inserted, connection.ExecuteCommand(absl::StrCat(
                                                  InsertInto(tables, ""), " SELECT ", ColumnList(tables.columns, "s"),
                                                  " FROM ", tables.staging.Sql(), " s")));
  const int64_t candidates = Remaining(*counts);
  if (inserted != candidates) {
    return RowsWentAstray(connection, tables,
                          absl::StrCat("of ", candidates, " rows ", inserted, " arrived in ", tables.control_name));
  }
  counts->set_loaded(inserted);
  return absl::OkStatus();
}

absl::Status Upsert(Connection& connection, const MergeTables& tables, v1::RowCounts* counts) {
  std::vector<std::string> assignments;
  for (const std::string& column : tables.columns) {
    if (std::find(tables.key.begin(), tables.key.end(), column) != tables.key.end()) continue;
    const std::string quoted = QuoteIdentifier(column);
    assignments.push_back(absl::StrCat(quoted, " = excluded.", quoted));
  }
  std::string action = "NOTHING";
  std::string newer_in_target = "false";
  if (!assignments.empty()) {
    action = absl::StrCat("UPDATE SET ", absl::StrJoin(assignments, ", "), " WHERE ", Image(tables.columns, "t"),
                          " OPERATOR(pg_catalog.*<>) ", Image(tables.columns, "excluded"));
  }
  if (!tables.watermark.empty()) {
    const std::string watermark = QuoteIdentifier(tables.watermark);
    if (!assignments.empty()) {
      absl::StrAppend(&action, " AND (t.", watermark, " IS NULL OR t.", watermark, " <= excluded.", watermark, ")");
    }
    newer_in_target =
        absl::StrCat("t.", watermark, " IS NOT NULL AND (t.", watermark, " <= s.", watermark, ") IS NOT TRUE");
  }
  // In the order of the key, so that two merges lock rows in one order.
  TM_ASSIGN_OR_RETURN(
      const int64_t merged,
      connection.ExecuteCommand(absl::StrCat(
          InsertInto(tables, " AS t"), " SELECT ", ColumnList(tables.columns, "s"), " FROM ", tables.staging.Sql(),
          " s ORDER BY ", ColumnList(tables.key, "s"), " ON CONFLICT (", ColumnList(tables.key), ") DO ", action)));
  const int64_t candidates = Remaining(*counts);
  if (merged > candidates) {
    return RowsWentAstray(connection, tables,
                          absl::StrCat(candidates, " rows changed ", merged, " rows of ", tables.control_name));
  }
  counts->set_loaded(merged);
  if (merged == candidates) return absl::OkStatus();

  // Why the others were not merged: each has to find a row that is newer, or the very same. The rows this transaction
  // wrote were merged, whatever a trigger has made of their content.
  const std::string ours = "t.xmin = pg_catalog.pg_current_xact_id()::xid";
  const std::string same = assignments.empty() ? "true"
                                               : absl::StrCat(Image(tables.columns, "t"), " OPERATOR(pg_catalog.*=) ",
                                                              Image(tables.columns, "s"));
  int64_t astray = 0;
  int64_t superseded = 0;
  TM_RETURN_IF_ERROR(CountTwo(connection,
                              absl::StrCat("SELECT count(*) FILTER (WHERE t.xmin IS NULL OR NOT (", ours, " OR (",
                                           newer_in_target, ") OR ", same, ")), count(*) FILTER (WHERE NOT ", ours,
                                           " AND ", newer_in_target, ") FROM ", tables.staging.Sql(), " s LEFT JOIN ",
                                           tables.target.Sql(), " t ON ", KeysEqual(tables.key, "t", "s")),
                              {}, &astray, &superseded));
  if (astray > 0) {
    return RowsWentAstray(connection, tables,
                          absl::StrCat(astray, " of ", candidates, " rows did not arrive in ", tables.control_name));
  }
  superseded = std::min(superseded, candidates - merged);
  AddFiltered("superseded", superseded, counts);
  AddFiltered("unchanged", candidates - merged - superseded, counts);
  return absl::OkStatus();
}

}  // namespace tidemark::postgres
