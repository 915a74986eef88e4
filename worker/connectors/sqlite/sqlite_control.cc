#include "worker/connectors/sqlite/sqlite_control.h"

#include <sqlite3.h>

#include <nlohmann/json.hpp>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/absl_view.h"
#include "common/base/status_macros.h"
#include "worker/connector/fence_error.h"
#include "worker/connector/run_id.h"

namespace tidemark::sqlite {
namespace {

constexpr const char* kControlDdl = R"sql(
CREATE TABLE IF NOT EXISTS _tidemark_fence (
  target_table TEXT PRIMARY KEY COLLATE NOCASE NOT NULL,
  cluster_id TEXT NOT NULL,
  job_uid TEXT NOT NULL,
  epoch INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS _tidemark_ledger (
  run_id TEXT PRIMARY KEY NOT NULL,
  target_table TEXT NOT NULL COLLATE NOCASE,
  cluster_id TEXT NOT NULL,
  job_uid TEXT NOT NULL,
  sequence INTEGER NOT NULL,
  kind TEXT NOT NULL CHECK (kind IN ('window', 'range', 'full')),
  low_type TEXT, low_text TEXT, low_precision INTEGER, low_zone TEXT,
  high_type TEXT, high_text TEXT, high_precision INTEGER, high_zone TEXT,
  rows_read INTEGER NOT NULL,
  rows_loaded INTEGER NOT NULL,
  rows_filtered INTEGER NOT NULL,
  rows_quarantined INTEGER NOT NULL,
  filtered_by_reason TEXT NOT NULL,
  swap TEXT NOT NULL,
  committed_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%fZ', 'now')),
  CHECK (rows_read = rows_loaded + rows_filtered + rows_quarantined));
CREATE TABLE IF NOT EXISTS _tidemark_moves (
  run_id TEXT NOT NULL,
  partition INTEGER NOT NULL,
  rows INTEGER NOT NULL,
  PRIMARY KEY (run_id, partition)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS _tidemark_staging (
  run_id TEXT PRIMARY KEY NOT NULL,
  target_table TEXT NOT NULL COLLATE NOCASE,
  cluster_id TEXT NOT NULL,
  job_uid TEXT NOT NULL,
  sequence INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS _tidemark_quarantine (
  run_id TEXT NOT NULL,
  target_table TEXT NOT NULL,
  reason TEXT NOT NULL,
  payload TEXT NOT NULL,
  at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%fZ', 'now')));
CREATE INDEX IF NOT EXISTS _tidemark_quarantine_run ON _tidemark_quarantine (run_id);
)sql";

void BindWatermark(Statement& statement, int first, bool present, const v1::Watermark& watermark) {
  if (!present) {
    for (int i = 0; i < 4; ++i) statement.BindNull(first + i);
    return;
  }
  statement.BindText(first, watermark.type());
  statement.BindText(first + 1, watermark.text());
  statement.BindInt(first + 2, watermark.precision());
  statement.BindText(first + 3, watermark.zone());
}

std::optional<v1::Watermark> WatermarkAt(const Statement& statement, int first) {
  if (statement.IsNull(first + 1)) return std::nullopt;
  v1::Watermark watermark;
  watermark.set_type(std::string(statement.Text(first)));
  watermark.set_text(std::string(statement.Text(first + 1)));
  watermark.set_precision(static_cast<int>(statement.Int(first + 2)));
  watermark.set_zone(std::string(statement.Text(first + 3)));
  return watermark;
}

// The value as JSON can say it: numbers and texts as they are, bytes in hexadecimal.
nlohmann::json JsonValue(sqlite3_stmt* row, int column) {
  switch (sqlite3_column_type(row, column)) {
    case SQLITE_INTEGER:
      return sqlite3_column_int64(row, column);
    case SQLITE_FLOAT:
      return sqlite3_column_double(row, column);
    case SQLITE_TEXT:
      return std::string(reinterpret_cast<const char*>(sqlite3_column_text(row, column)),
                         sqlite3_column_bytes(row, column));
    case SQLITE_BLOB: {
      const auto* data = static_cast<const char*>(sqlite3_column_blob(row, column));
      return absl::StrCat("\\x", absl::BytesToHexString(absl::string_view(data, sqlite3_column_bytes(row, column))));
    }
    default:
      return nullptr;
  }
}

// Of the runs whose ids `read` yields. It is done with before anything is dropped.
absl::Status DropStagingOfRuns(Database& db, Statement read) {
  std::vector<std::string> runs;
  {
    Statement ids = std::move(read);
    while (true) {
      TM_ASSIGN_OR_RETURN(const bool row, ids.Step());
      if (!row) break;
      runs.emplace_back(ids.Text(0));
    }
  }
  for (const std::string& run_id : runs) TM_RETURN_IF_ERROR(DropStaging(db, run_id));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> StagingName(absl::string_view run_id) {
  TM_RETURN_IF_ERROR(CheckRunId(Std(run_id)));
  return absl::StrCat("_tidemark_stg_", run_id);
}

absl::Status CreateControlTables(Database& db) { return db.Exec(kControlDdl); }

absl::StatusOr<bool> ControlTablesExist(Database& db) {
  TM_ASSIGN_OR_RETURN(
      const auto count,
      db.QueryInt(
          "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name IN ('_tidemark_fence', '_tidemark_ledger', "
          "'_tidemark_moves', '_tidemark_quarantine')"));
  return count.value_or(0) == 4;
}

absl::StatusOr<std::optional<Fence>> ReadFence(Database& db, absl::string_view table) {
  TM_ASSIGN_OR_RETURN(Statement read,
                      db.Prepare("SELECT cluster_id, job_uid, epoch FROM _tidemark_fence WHERE target_table = ?"));
  read.BindText(1, table);
  TM_ASSIGN_OR_RETURN(const bool claimed, read.Step());
  if (!claimed) return std::nullopt;
  return Fence{std::string(read.Text(0)), std::string(read.Text(1)), read.Int(2)};
}

absl::Status RaiseFence(Database& db, absl::string_view table, absl::string_view job, const RunIdentity& run,
                        TakeOver take_over) {
  TM_ASSIGN_OR_RETURN(const std::optional<Fence> fence, ReadFence(db, table));
  if (fence && fence->BelongsTo(run) && fence->epoch > run.epoch) return FencedOut(Std(table), fence->epoch, run.epoch);
  if (fence && !fence->BelongsTo(run) && take_over == TakeOver::kNothing)
    return ForeignFence(Std(table), *fence, run, Std(job));
  TM_ASSIGN_OR_RETURN(
      Statement write,
      db.Prepare("INSERT INTO _tidemark_fence (target_table, cluster_id, job_uid, epoch) VALUES (?, ?, ?, ?) "
                 "ON CONFLICT (target_table) DO UPDATE SET cluster_id = excluded.cluster_id, "
                 "job_uid = excluded.job_uid, epoch = excluded.epoch"));
  write.BindText(1, table);
  write.BindText(2, run.cluster_id);
  write.BindText(3, run.job_uid);
  write.BindInt(4, run.epoch);
  return write.Run();
}

absl::StatusOr<std::vector<v1::StagedMove>> ReadMoves(Database& db, absl::string_view run_id) {
  TM_ASSIGN_OR_RETURN(Statement read,
                      db.Prepare("SELECT partition, rows FROM _tidemark_moves WHERE run_id = ? ORDER BY partition"));
  read.BindText(1, run_id);
  std::vector<v1::StagedMove> moves;
  while (true) {
    TM_ASSIGN_OR_RETURN(const bool row, read.Step());
    if (!row) return moves;
    v1::StagedMove& move = moves.emplace_back();
    move.set_partition(static_cast<int>(read.Int(0)));
    move.set_rows(read.Int(1));
  }
}

absl::Status InsertMove(Database& db, absl::string_view run_id, int partition, int64_t rows) {
  TM_ASSIGN_OR_RETURN(Statement write,
                      db.Prepare("INSERT INTO _tidemark_moves (run_id, partition, rows) VALUES (?, ?, ?)"));
  write.BindText(1, run_id);
  write.BindInt(2, partition);
  write.BindInt(3, rows);
  return write.Run();
}

absl::Status RecordStaging(Database& db, absl::string_view table, const RunIdentity& run) {
  TM_ASSIGN_OR_RETURN(Statement write,
                      db.Prepare("INSERT INTO _tidemark_staging (run_id, target_table, cluster_id, job_uid, sequence) "
                                 "VALUES (?, ?, ?, ?, ?)"));
  write.BindText(1, run.run_id);
  write.BindText(2, table);
  write.BindText(3, run.cluster_id);
  write.BindText(4, run.job_uid);
  write.BindInt(5, run.sequence);
  return write.Run();
}

absl::Status DropStaging(Database& db, absl::string_view run_id) {
  // A file that an earlier version has prepared lacks the list of staging tables.
  TM_RETURN_IF_ERROR(CreateControlTables(db));
  TM_ASSIGN_OR_RETURN(const std::string staging, StagingName(run_id));
  TM_RETURN_IF_ERROR(db.Exec(absl::StrCat("DROP TABLE IF EXISTS ", Quoted(staging))));
  for (const char* sql :
       {"DELETE FROM _tidemark_moves WHERE run_id = ?", "DELETE FROM _tidemark_staging WHERE run_id = ?"}) {
    TM_ASSIGN_OR_RETURN(Statement write, db.Prepare(sql));
    write.BindText(1, run_id);
    TM_RETURN_IF_ERROR(write.Run());
  }
  return absl::OkStatus();
}

absl::Status DropDeadStaging(Database& db, const RunIdentity& run) {
  TM_ASSIGN_OR_RETURN(Statement read,
                      db.Prepare("SELECT run_id FROM _tidemark_staging WHERE cluster_id = ? AND job_uid = ? AND "
                                 "sequence < ? AND run_id <> ?"));
  read.BindText(1, run.cluster_id);
  read.BindText(2, run.job_uid);
  read.BindInt(3, run.sequence);
  read.BindText(4, run.run_id);
  return DropStagingOfRuns(db, std::move(read));
}

absl::Status DropForeignStaging(Database& db, absl::string_view table, const RunIdentity& run) {
  TM_ASSIGN_OR_RETURN(Statement read,
                      db.Prepare("SELECT run_id FROM _tidemark_staging WHERE target_table = ? AND (cluster_id <> ? OR "
                                 "job_uid <> ?)"));
  read.BindText(1, table);
  read.BindText(2, run.cluster_id);
  read.BindText(3, run.job_uid);
  return DropStagingOfRuns(db, std::move(read));
}

absl::StatusOr<std::optional<LedgerEntry>> ReadLedgerEntry(Database& db, absl::string_view run_id) {
  TM_ASSIGN_OR_RETURN(
      Statement read,
      db.Prepare("SELECT rows_read, rows_loaded, rows_filtered, rows_quarantined, filtered_by_reason, swap, "
                 "high_type, high_text, high_precision, high_zone FROM _tidemark_ledger WHERE run_id = ?"));
  read.BindText(1, run_id);
  TM_ASSIGN_OR_RETURN(const bool row, read.Step());
  if (!row) return std::nullopt;
  LedgerEntry entry;
  entry.counts.set_read(read.Int(0));
  entry.counts.set_loaded(read.Int(1));
  entry.counts.set_filtered(read.Int(2));
  entry.counts.set_quarantined(read.Int(3));
  const auto reasons = nlohmann::json::parse(std::string(read.Text(4)), nullptr, /*allow_exceptions=*/false);
  if (reasons.is_object()) {
    for (const auto& [reason, count] : reasons.items()) {
      if (count.is_number_integer()) (*entry.counts.mutable_filtered_by_reason())[reason] = count.get<int64_t>();
    }
  }
  entry.swap = std::string(read.Text(5));
  entry.high = WatermarkAt(read, 6);
  return entry;
}

absl::StatusOr<v1::LedgerHead> ReadLedgerHead(Database& db, absl::string_view table) {
  // In the order of commits: a job that took the table over counts its own sequence.
  TM_ASSIGN_OR_RETURN(
      Statement read,
      db.Prepare("SELECT run_id, sequence, kind, cluster_id, job_uid, high_type, high_text, high_precision, high_zone "
                 "FROM _tidemark_ledger WHERE target_table = ? AND kind <> 'range' ORDER BY rowid DESC LIMIT 1"));
  read.BindText(1, table);
  TM_ASSIGN_OR_RETURN(const bool found, read.Step());
  v1::LedgerHead head;
  if (found) {
    head.set_exists(true);
    head.set_run_id(std::string(read.Text(0)));
    head.set_sequence(read.Int(1));
    head.set_kind(ParseWindowKind(Std(read.Text(2))));
    head.set_cluster_id(std::string(read.Text(3)));
    head.set_job_uid(std::string(read.Text(4)));
    if (auto high = WatermarkAt(read, 5)) *head.mutable_high() = *std::move(high);
  } else {
    TM_ASSIGN_OR_RETURN(const std::optional<Fence> fence, ReadFence(db, table));
    if (!fence) return head;
    head.set_cluster_id(fence->cluster_id);
    head.set_job_uid(fence->job_uid);
  }
  TM_ASSIGN_OR_RETURN(
      Statement ranges,
      db.Prepare(
          "SELECT max(rowid) FILTER (WHERE kind = 'range') > coalesce(max(rowid) FILTER (WHERE kind = 'full'), 0) "
          "FROM _tidemark_ledger WHERE target_table = ? AND cluster_id = ? AND job_uid = ?"));
  ranges.BindText(1, table);
  ranges.BindText(2, head.cluster_id());
  ranges.BindText(3, head.job_uid());
  TM_RETURN_IF_ERROR(ranges.Step().status());
  head.set_has_ranges(ranges.Int(0) != 0);
  return head;
}

absl::StatusOr<bool> LedgerHasRows(Database& db, absl::string_view table, const v1::LedgerHead& head) {
  TM_ASSIGN_OR_RETURN(
      Statement rows,
      db.Prepare("WITH own AS (SELECT rowid AS number, kind, rows_loaded FROM _tidemark_ledger WHERE target_table = ? "
                 "AND cluster_id = ? AND job_uid = ?) SELECT EXISTS (SELECT 1 FROM own WHERE rows_loaded > 0 AND "
                 "number >= (SELECT coalesce(max(number), 0) FROM own WHERE kind = 'full'))"));
  rows.BindText(1, table);
  rows.BindText(2, head.cluster_id());
  rows.BindText(3, head.job_uid());
  TM_RETURN_IF_ERROR(rows.Step().status());
  return rows.Int(0) != 0;
}

absl::Status AdoptChain(Database& db, absl::string_view table, const RunIdentity& run) {
  TM_ASSIGN_OR_RETURN(
      Statement write,
      db.Prepare("WITH last AS (SELECT cluster_id, job_uid FROM _tidemark_ledger WHERE target_table = ?1 ORDER BY kind "
                 "= 'range', rowid DESC LIMIT 1), "
                 "own AS (SELECT coalesce(max(sequence), 0) AS sequence FROM _tidemark_ledger WHERE target_table = ?1 "
                 "AND cluster_id = ?2 AND job_uid = ?3) "
                 "UPDATE _tidemark_ledger SET cluster_id = ?2, job_uid = ?3, sequence = _tidemark_ledger.sequence + "
                 "own.sequence FROM last, own WHERE target_table = ?1 AND _tidemark_ledger.cluster_id = "
                 "last.cluster_id AND _tidemark_ledger.job_uid = last.job_uid AND (last.cluster_id <> ?2 OR "
                 "last.job_uid <> ?3)"));
  write.BindText(1, table);
  write.BindText(2, run.cluster_id);
  write.BindText(3, run.job_uid);
  return write.Run();
}

absl::Status InsertLedgerEntry(Database& db, absl::string_view table, const RunIdentity& run, const v1::Window& window,
                               const v1::RowCounts& counts, absl::string_view swap) {
  TM_ASSIGN_OR_RETURN(Statement write,
                      db.Prepare("INSERT INTO _tidemark_ledger (run_id, target_table, cluster_id, job_uid, sequence, "
                                 "kind, low_type, low_text, low_precision, low_zone, "
                                 "high_type, high_text, high_precision, high_zone, rows_read, rows_loaded, "
                                 "rows_filtered, rows_quarantined, filtered_by_reason, swap) "
                                 "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"));
  write.BindText(1, run.run_id);
  write.BindText(2, table);
  write.BindText(3, run.cluster_id);
  write.BindText(4, run.job_uid);
  write.BindInt(5, run.sequence);
  write.BindText(6, Abs(WindowKindText(window.kind())));
  BindWatermark(write, 7, window.has_low(), window.low());
  BindWatermark(write, 11, window.has_high(), window.high());
  write.BindInt(15, counts.read());
  write.BindInt(16, counts.loaded());
  write.BindInt(17, counts.filtered());
  write.BindInt(18, counts.quarantined());
  nlohmann::json reasons = nlohmann::json::object();
  for (const auto& [reason, count] : counts.filtered_by_reason()) reasons[reason] = count;
  write.BindText(19, reasons.dump());
  write.BindText(20, swap);
  return write.Run();
}

absl::StatusOr<int64_t> Quarantine(Database& db, absl::string_view table, absl::string_view run_id,
                                   absl::string_view staging, const std::vector<std::string>& columns,
                                   absl::string_view condition, absl::string_view reason) {
  const std::string list =
      absl::StrJoin(columns, ", ", [](std::string* out, const std::string& column) { *out += Quoted(column); });
  TM_ASSIGN_OR_RETURN(Statement read,
                      db.Prepare(absl::StrCat("SELECT ", list, " FROM ", Quoted(staging), " WHERE ", condition)));
  TM_ASSIGN_OR_RETURN(
      Statement write,
      db.Prepare("INSERT INTO _tidemark_quarantine (run_id, target_table, reason, payload) VALUES (?, ?, ?, ?)"));
  write.BindText(1, run_id);
  write.BindText(2, table);
  write.BindText(3, reason);
  int64_t rows = 0;
  while (true) {
    TM_ASSIGN_OR_RETURN(const bool row, read.Step());
    if (!row) break;
    nlohmann::json payload = nlohmann::json::object();
    for (size_t i = 0; i < columns.size(); ++i) payload[columns[i]] = JsonValue(read.get(), static_cast<int>(i));
    write.BindText(4, payload.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
    TM_RETURN_IF_ERROR(write.Run());
    ++rows;
  }
  TM_RETURN_IF_ERROR(db.Exec(absl::StrCat("DELETE FROM ", Quoted(staging), " WHERE ", condition)));
  return rows;
}

}  // namespace tidemark::sqlite
