#include "worker/connectors/duckdb/duckdb_control.h"

#include <nlohmann/json.hpp>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/absl_view.h"
#include "common/base/status_macros.h"
#include "worker/connector/fence_error.h"
#include "worker/connector/run_id.h"
#include "worker/connectors/duckdb/duckdb_catalog.h"

namespace tidemark::duckdb {
namespace {

// Without keys: one process has the file, its writers take turns, and what they insert they have looked for. An index
// would refuse a key that is deleted and written again as long as a reader's old snapshot still sees it.
constexpr const char* kControlDdl[] = {
    "CREATE SCHEMA IF NOT EXISTS tidemark",
    "CREATE TABLE IF NOT EXISTS tidemark.fence (target_table VARCHAR NOT NULL, cluster_id VARCHAR NOT NULL, "
    "job_uid VARCHAR NOT NULL, epoch BIGINT NOT NULL)",
    // `number` counts the commits to the file in their order.
    "CREATE TABLE IF NOT EXISTS tidemark.ledger (number BIGINT NOT NULL, run_id VARCHAR NOT NULL, "
    "target_table VARCHAR NOT NULL, cluster_id VARCHAR NOT NULL, job_uid VARCHAR NOT NULL, sequence BIGINT NOT NULL, "
    "kind VARCHAR NOT NULL CHECK (kind IN ('window', 'range', 'full')), "
    "low_type VARCHAR, low_text VARCHAR, low_precision INTEGER, low_zone VARCHAR, "
    "high_type VARCHAR, high_text VARCHAR, high_precision INTEGER, high_zone VARCHAR, "
    "rows_read BIGINT NOT NULL, rows_loaded BIGINT NOT NULL, rows_filtered BIGINT NOT NULL, "
    "rows_quarantined BIGINT NOT NULL, filtered_by_reason VARCHAR NOT NULL, swap VARCHAR NOT NULL, "
    "committed_at TIMESTAMPTZ NOT NULL DEFAULT now(), "
    "CHECK (rows_read = rows_loaded + rows_filtered + rows_quarantined))",
    "CREATE TABLE IF NOT EXISTS tidemark.moves (run_id VARCHAR NOT NULL, \"partition\" INTEGER NOT NULL, "
    "\"rows\" BIGINT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS tidemark.staging (run_id VARCHAR NOT NULL, target_table VARCHAR NOT NULL, "
    "cluster_id VARCHAR NOT NULL, job_uid VARCHAR NOT NULL, sequence BIGINT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS tidemark.quarantine (run_id VARCHAR NOT NULL, target_table VARCHAR NOT NULL, "
    "reason VARCHAR NOT NULL, payload VARCHAR NOT NULL, \"at\" TIMESTAMPTZ NOT NULL DEFAULT now())",
};

std::string TableLiteral(const TableName& table) { return Literal(KeyOf(table)); }

// cluster_id = … AND job_uid = …
std::string Owner(absl::string_view cluster_id, absl::string_view job_uid) {
  return absl::StrCat("cluster_id = ", Literal(cluster_id), " AND job_uid = ", Literal(job_uid));
}

absl::Status Run(adbc::Connection& db, const std::string& sql) { return db.Execute(sql).status(); }

int64_t Number(const std::optional<std::string>& cell) {
  int64_t number = 0;
  return cell && absl::SimpleAtoi(*cell, &number) ? number : 0;
}

// type, text, precision, zone.
std::string WatermarkValues(bool present, const v1::Watermark& watermark) {
  if (!present) return "NULL, NULL, NULL, NULL";
  return absl::StrCat(Literal(watermark.type()), ", ", Literal(watermark.text()), ", ", watermark.precision(), ", ",
                      Literal(watermark.zone()));
}

std::optional<v1::Watermark> WatermarkAt(const adbc::Connection::Row& row, size_t first) {
  if (!row[first + 1]) return std::nullopt;
  v1::Watermark watermark;
  watermark.set_type(row[first].value_or(""));
  watermark.set_text(*row[first + 1]);
  watermark.set_precision(static_cast<int>(Number(row[first + 2])));
  watermark.set_zone(row[first + 3].value_or(""));
  return watermark;
}

// Of the runs that `condition` finds in the list of staging tables.
absl::Status DropStagingWhere(adbc::Connection& db, const std::string& condition) {
  TM_ASSIGN_OR_RETURN(const auto runs, db.Query(absl::StrCat("SELECT run_id FROM tidemark.staging WHERE ", condition)));
  for (const auto& row : runs) TM_RETURN_IF_ERROR(DropStaging(db, *row[0]));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TableName> StagingName(absl::string_view run_id) {
  TM_RETURN_IF_ERROR(CheckRunId(Std(run_id)));
  return TableName{"tidemark", absl::StrCat("stg_", run_id)};
}

absl::Status CreateControlTables(adbc::Connection& db) {
  for (const char* sql : kControlDdl) TM_RETURN_IF_ERROR(Run(db, sql));
  return absl::OkStatus();
}

absl::StatusOr<bool> ControlTablesExist(adbc::Connection& db) {
  TM_ASSIGN_OR_RETURN(const int64_t count,
                      QueryInt(db,
                               "SELECT count(*) FROM duckdb_tables() WHERE database_name = current_database() AND "
                               "schema_name = 'tidemark' AND table_name IN ('fence', 'ledger', 'moves', 'quarantine', "
                               "'staging')"));
  return count == 5;
}

absl::StatusOr<std::optional<Fence>> ReadFence(adbc::Connection& db, const TableName& table) {
  TM_ASSIGN_OR_RETURN(const auto rows,
                      db.Query(absl::StrCat("SELECT cluster_id, job_uid, epoch FROM tidemark.fence WHERE "
                                            "target_table = ",
                                            TableLiteral(table))));
  if (rows.empty()) return std::nullopt;
  return Fence{*rows[0][0], *rows[0][1], Number(rows[0][2])};
}

absl::Status RaiseFence(adbc::Connection& db, const TableName& table, absl::string_view job, const RunIdentity& run,
                        TakeOver take_over) {
  TM_ASSIGN_OR_RETURN(const std::optional<Fence> fence, ReadFence(db, table));
  if (fence && fence->BelongsTo(run) && fence->epoch > run.epoch)
    return FencedOut(table.table, fence->epoch, run.epoch);
  if (fence && !fence->BelongsTo(run) && take_over == TakeOver::kNothing)
    return ForeignFence(table.table, *fence, run, Std(job));
  if (fence) {
    return Run(db, absl::StrCat("UPDATE tidemark.fence SET cluster_id = ", Literal(run.cluster_id),
                                ", job_uid = ", Literal(run.job_uid), ", epoch = ", run.epoch,
                                " WHERE target_table = ", TableLiteral(table)));
  }
  return Run(db, absl::StrCat("INSERT INTO tidemark.fence VALUES (", TableLiteral(table), ", ", Literal(run.cluster_id),
                              ", ", Literal(run.job_uid), ", ", run.epoch, ")"));
}

absl::StatusOr<std::vector<v1::StagedMove>> ReadMoves(adbc::Connection& db, absl::string_view run_id) {
  TM_ASSIGN_OR_RETURN(const auto rows,
                      db.Query(absl::StrCat("SELECT \"partition\", \"rows\" FROM tidemark.moves WHERE run_id = ",
                                            Literal(run_id), " ORDER BY \"partition\"")));
  std::vector<v1::StagedMove> moves;
  for (const auto& row : rows) {
    v1::StagedMove& move = moves.emplace_back();
    move.set_partition(static_cast<int>(Number(row[0])));
    move.set_rows(Number(row[1]));
  }
  return moves;
}

absl::Status InsertMove(adbc::Connection& db, absl::string_view run_id, int partition, int64_t rows) {
  return Run(db,
             absl::StrCat("INSERT INTO tidemark.moves VALUES (", Literal(run_id), ", ", partition, ", ", rows, ")"));
}

absl::Status RecordStaging(adbc::Connection& db, const TableName& table, const RunIdentity& run) {
  return Run(db, absl::StrCat("INSERT INTO tidemark.staging VALUES (", Literal(run.run_id), ", ", TableLiteral(table),
                              ", ", Literal(run.cluster_id), ", ", Literal(run.job_uid), ", ", run.sequence, ")"));
}

absl::Status DropStaging(adbc::Connection& db, absl::string_view run_id) {
  TM_ASSIGN_OR_RETURN(const TableName staging, StagingName(run_id));
  TM_RETURN_IF_ERROR(Run(db, absl::StrCat("DROP TABLE IF EXISTS ", Quoted(staging))));
  for (const char* table : {"moves", "staging"}) {
    TM_RETURN_IF_ERROR(Run(db, absl::StrCat("DELETE FROM tidemark.", table, " WHERE run_id = ", Literal(run_id))));
  }
  return absl::OkStatus();
}

absl::Status DropDeadStaging(adbc::Connection& db, const RunIdentity& run) {
  return DropStagingWhere(db, absl::StrCat(Owner(run.cluster_id, run.job_uid), " AND sequence < ", run.sequence,
                                           " AND run_id <> ", Literal(run.run_id)));
}

absl::Status DropForeignStaging(adbc::Connection& db, const TableName& table, const RunIdentity& run) {
  return DropStagingWhere(
      db, absl::StrCat("target_table = ", TableLiteral(table), " AND NOT (", Owner(run.cluster_id, run.job_uid), ")"));
}

absl::StatusOr<std::optional<LedgerEntry>> ReadLedgerEntry(adbc::Connection& db, absl::string_view run_id) {
  TM_ASSIGN_OR_RETURN(
      const auto rows,
      db.Query(absl::StrCat("SELECT rows_read, rows_loaded, rows_filtered, rows_quarantined, filtered_by_reason, swap, "
                            "high_type, high_text, high_precision, high_zone FROM tidemark.ledger WHERE run_id = ",
                            Literal(run_id))));
  if (rows.empty()) return std::nullopt;
  const adbc::Connection::Row& row = rows[0];
  LedgerEntry entry;
  entry.counts.set_read(Number(row[0]));
  entry.counts.set_loaded(Number(row[1]));
  entry.counts.set_filtered(Number(row[2]));
  entry.counts.set_quarantined(Number(row[3]));
  const auto reasons = nlohmann::json::parse(*row[4], nullptr, /*allow_exceptions=*/false);
  if (reasons.is_object()) {
    for (const auto& [reason, count] : reasons.items()) {
      if (count.is_number_integer()) (*entry.counts.mutable_filtered_by_reason())[reason] = count.get<int64_t>();
    }
  }
  entry.swap = *row[5];
  entry.high = WatermarkAt(row, 6);
  return entry;
}

absl::StatusOr<v1::LedgerHead> ReadLedgerHead(adbc::Connection& db, const TableName& table) {
  TM_ASSIGN_OR_RETURN(
      const auto rows,
      db.Query(absl::StrCat("SELECT run_id, sequence, kind, cluster_id, job_uid, high_type, high_text, "
                            "high_precision, high_zone FROM tidemark.ledger WHERE kind <> 'range' AND target_table = ",
                            TableLiteral(table), " ORDER BY number DESC LIMIT 1")));
  v1::LedgerHead head;
  if (!rows.empty()) {
    const adbc::Connection::Row& row = rows[0];
    head.set_exists(true);
    head.set_run_id(*row[0]);
    head.set_sequence(Number(row[1]));
    head.set_kind(ParseWindowKind(*row[2]));
    head.set_cluster_id(*row[3]);
    head.set_job_uid(*row[4]);
    if (auto high = WatermarkAt(row, 5)) *head.mutable_high() = *std::move(high);
  } else {
    TM_ASSIGN_OR_RETURN(const std::optional<Fence> fence, ReadFence(db, table));
    if (!fence) return head;
    head.set_cluster_id(fence->cluster_id);
    head.set_job_uid(fence->job_uid);
  }
  TM_ASSIGN_OR_RETURN(
      const int64_t ranges,
      QueryInt(db, absl::StrCat("SELECT (max(number) FILTER (WHERE kind = 'range') > coalesce(max(number) FILTER "
                                "(WHERE kind = 'full'), 0))::INTEGER FROM tidemark.ledger WHERE target_table = ",
                                TableLiteral(table), " AND ", Owner(head.cluster_id(), head.job_uid()))));
  head.set_has_ranges(ranges != 0);
  return head;
}

absl::StatusOr<bool> LedgerHasRows(adbc::Connection& db, const TableName& table, const v1::LedgerHead& head) {
  TM_ASSIGN_OR_RETURN(
      const int64_t rows,
      QueryInt(db,
               absl::StrCat("WITH own AS (SELECT number, kind, rows_loaded FROM tidemark.ledger WHERE target_table = ",
                            TableLiteral(table), " AND ", Owner(head.cluster_id(), head.job_uid()),
                            ") SELECT count(*) FROM own WHERE rows_loaded > 0 AND number >= (SELECT "
                            "coalesce(max(number), 0) FROM own WHERE kind = 'full')")));
  return rows > 0;
}

absl::Status AdoptChain(adbc::Connection& db, const TableName& table, const RunIdentity& run) {
  const std::string of_table = absl::StrCat("target_table = ", TableLiteral(table));
  TM_ASSIGN_OR_RETURN(const auto last,
                      db.Query(absl::StrCat("SELECT cluster_id, job_uid FROM tidemark.ledger WHERE ", of_table,
                                            " ORDER BY kind = 'range', number DESC LIMIT 1")));
  if (last.empty() || (*last[0][0] == run.cluster_id && *last[0][1] == run.job_uid)) return absl::OkStatus();
  TM_ASSIGN_OR_RETURN(const int64_t own,
                      QueryInt(db, absl::StrCat("SELECT max(sequence) FROM tidemark.ledger WHERE ", of_table, " AND ",
                                                Owner(run.cluster_id, run.job_uid))));
  return Run(db, absl::StrCat("UPDATE tidemark.ledger SET cluster_id = ", Literal(run.cluster_id),
                              ", job_uid = ", Literal(run.job_uid), ", sequence = sequence + ", own, " WHERE ",
                              of_table, " AND ", Owner(*last[0][0], *last[0][1])));
}

absl::Status InsertLedgerEntry(adbc::Connection& db, const TableName& table, const RunIdentity& run,
                               const v1::Window& window, const v1::RowCounts& counts, absl::string_view swap) {
  nlohmann::json reasons = nlohmann::json::object();
  for (const auto& [reason, count] : counts.filtered_by_reason()) reasons[reason] = count;
  return Run(
      db, absl::StrCat(
              "INSERT INTO tidemark.ledger SELECT (SELECT coalesce(max(number), 0) + 1 FROM tidemark.ledger), ",
              Literal(run.run_id), ", ", TableLiteral(table), ", ", Literal(run.cluster_id), ", ", Literal(run.job_uid),
              ", ", run.sequence, ", ", Literal(Abs(WindowKindText(window.kind()))), ", ",
              WatermarkValues(window.has_low(), window.low()), ", ", WatermarkValues(window.has_high(), window.high()),
              ", ", counts.read(), ", ", counts.loaded(), ", ", counts.filtered(), ", ", counts.quarantined(), ", ",
              Literal(reasons.dump()), ", ", Literal(swap), ", now()"));
}

absl::StatusOr<int64_t> Quarantine(adbc::Connection& db, const TableName& table, absl::string_view run_id,
                                   const TableName& staging, const std::vector<std::string>& columns,
                                   absl::string_view condition, absl::string_view reason) {
  const std::string where = absl::StrCat(" FROM ", Quoted(staging), " WHERE ", condition);
  // As texts: JSON has no word for NaN and infinity.
  const std::string payload = absl::StrJoin(columns, ", ", [](std::string* out, const std::string& column) {
    absl::StrAppend(out, Quoted(column), " := ", Quoted(column), "::VARCHAR");
  });
  TM_ASSIGN_OR_RETURN(const int64_t rows,
                      QueryInt(db, absl::StrCat("INSERT INTO tidemark.quarantine SELECT ", Literal(run_id), ", ",
                                                TableLiteral(table), ", ", Literal(reason), ", to_json(struct_pack(",
                                                payload, "))::VARCHAR, now()", where)));
  if (rows > 0) TM_RETURN_IF_ERROR(Run(db, absl::StrCat("DELETE", where)));
  return rows;
}

}  // namespace tidemark::duckdb
