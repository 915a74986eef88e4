#include "worker/connectors/postgres/postgres_ledger.h"

#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace tidemark::postgres {
namespace {

int64_t Number(const Text& cell) {
  int64_t value = 0;
  return cell.has_value() && absl::SimpleAtoi(*cell, &value) ? value : 0;
}

// Type, text, precision and zone, beginning at `first`; nullopt if they are NULL.
std::optional<v1::Watermark> ReadWatermark(const Row& row, size_t first) {
  if (!row[first].has_value()) return std::nullopt;
  v1::Watermark watermark;
  watermark.set_type(*row[first]);
  watermark.set_text(row[first + 1].value_or(""));
  watermark.set_precision(static_cast<int>(Number(row[first + 2])));
  watermark.set_zone(row[first + 3].value_or(""));
  return watermark;
}

void AppendWatermark(bool present, const v1::Watermark& watermark, std::vector<Text>* params) {
  if (!present) {
    params->resize(params->size() + 4);
    return;
  }
  params->push_back(watermark.type());
  params->push_back(watermark.text());
  params->push_back(absl::StrCat(watermark.precision()));
  params->push_back(watermark.zone());
}

}  // namespace

absl::StatusOr<std::optional<LedgerEntry>> ReadLedgerEntry(Connection& connection, absl::string_view run_id) {
  TM_ASSIGN_OR_RETURN(
      const std::vector<Row> rows,
      connection.Execute("SELECT rows_read, rows_loaded, rows_filtered, rows_quarantined, swap, high_type, high_text, "
                         "high_precision, high_zone FROM tidemark.ledger WHERE run_id = $1",
                         {std::string(run_id)}));
  if (rows.empty()) return std::nullopt;
  const Row& row = rows[0];
  LedgerEntry entry;
  entry.counts.set_read(Number(row[0]));
  entry.counts.set_loaded(Number(row[1]));
  entry.counts.set_filtered(Number(row[2]));
  entry.counts.set_quarantined(Number(row[3]));
  entry.swap = row[4].value_or("");
  entry.high = ReadWatermark(row, 5);
  TM_ASSIGN_OR_RETURN(const std::vector<Row> reasons,
                      connection.Execute("SELECT r.key, r.value FROM tidemark.ledger, "
                                         "pg_catalog.jsonb_each_text(filtered_by_reason) r WHERE run_id = $1",
                                         {std::string(run_id)}));
  for (const Row& reason : reasons) (*entry.counts.mutable_filtered_by_reason())[*reason[0]] = Number(reason[1]);
  return entry;
}

absl::StatusOr<v1::LedgerHead> ReadLedgerHead(Connection& connection, absl::string_view target,
                                              absl::string_view cluster_id, absl::string_view job_uid) {
  TM_ASSIGN_OR_RETURN(
      const std::vector<Row> rows,
      connection.Execute(
          "SELECT run_id, sequence, kind, high_type, high_text, high_precision, high_zone FROM tidemark.ledger "
          "WHERE target_table = $1 AND cluster_id = $2 AND job_uid = $3 AND kind IN ('window', 'full') "
          "ORDER BY sequence DESC LIMIT 1",
          {std::string(target), std::string(cluster_id), std::string(job_uid)}));
  TM_ASSIGN_OR_RETURN(
      const Row ranges,
      connection.ExecuteRow("SELECT coalesce(max(sequence) FILTER (WHERE kind = 'range') > "
                            "coalesce(max(sequence) FILTER (WHERE kind = 'full'), -1), false) FROM tidemark.ledger "
                            "WHERE target_table = $1 AND cluster_id = $2 AND job_uid = $3",
                            {std::string(target), std::string(cluster_id), std::string(job_uid)}));
  v1::LedgerHead head;
  head.set_cluster_id(std::string(cluster_id));
  head.set_job_uid(std::string(job_uid));
  head.set_has_ranges(ranges[0] == "t");
  if (rows.empty()) return head;
  const Row& row = rows[0];
  head.set_exists(true);
  head.set_run_id(*row[0]);
  head.set_sequence(Number(row[1]));
  head.set_kind(ParseWindowKind(*row[2]));
  if (std::optional<v1::Watermark> high = ReadWatermark(row, 3)) *head.mutable_high() = *high;
  return head;
}

absl::StatusOr<bool> LedgerHasRows(Connection& connection, absl::string_view target, absl::string_view cluster_id,
                                   absl::string_view job_uid) {
  TM_ASSIGN_OR_RETURN(
      const Row row,
      connection.ExecuteRow(
          "WITH own AS (SELECT sequence, kind, rows_loaded FROM tidemark.ledger WHERE target_table = $1 AND "
          "cluster_id = $2 AND job_uid = $3) SELECT EXISTS (SELECT FROM own WHERE rows_loaded > 0 AND sequence >= "
          "(SELECT coalesce(max(sequence), 0) FROM own WHERE kind = 'full'))",
          {std::string(target), std::string(cluster_id), std::string(job_uid)}));
  return row[0] == "t";
}

absl::Status AdoptChain(Connection& connection, absl::string_view target, const RunIdentity& run) {
  // By time, as the chain is found by whoever describes the target.
  return connection
      .ExecuteCommand(
          "WITH last AS (SELECT cluster_id, job_uid FROM tidemark.ledger WHERE target_table = $1 "
          "ORDER BY kind = 'range', committed_at DESC LIMIT 1) "
          "UPDATE tidemark.ledger l SET cluster_id = $2, job_uid = $3, sequence = l.sequence + (SELECT "
          "coalesce(max(sequence), 0) FROM tidemark.ledger WHERE target_table = $1 AND cluster_id = $2 AND job_uid = "
          "$3) FROM last WHERE l.target_table = $1 AND l.cluster_id = last.cluster_id AND l.job_uid = last.job_uid AND "
          "(l.cluster_id <> $2 OR l.job_uid <> $3)",
          {std::string(target), run.cluster_id, run.job_uid})
      .status();
}

absl::Status InsertLedgerEntry(Connection& connection, absl::string_view target, const RunIdentity& run,
                               const v1::Window& window, const v1::RowCounts& counts, absl::string_view swap) {
  std::vector<Text> params = {run.run_id,
                              std::string(target),
                              run.cluster_id,
                              run.job_uid,
                              absl::StrCat(run.sequence),
                              std::string(WindowKindText(window.kind())),
                              absl::StrCat(counts.read()),
                              absl::StrCat(counts.loaded()),
                              absl::StrCat(counts.filtered()),
                              absl::StrCat(counts.quarantined()),
                              std::string(swap)};
  AppendWatermark(window.has_low(), window.low(), &params);
  AppendWatermark(window.has_high(), window.high(), &params);
  // Pairs of reason and count, for jsonb_object.
  std::string reasons;
  for (const auto& [reason, count] : counts.filtered_by_reason()) {
    params.push_back(reason);
    absl::StrAppend(&reasons, reasons.empty() ? "" : ", ", "$", params.size(), "::text, ", count, "::bigint");
  }
  return connection
      .ExecuteCommand(
          absl::StrCat("INSERT INTO tidemark.ledger (run_id, target_table, cluster_id, job_uid, sequence, kind, "
                       "rows_read, rows_loaded, "
                       "rows_filtered, rows_quarantined, swap, low_type, low_text, low_precision, low_zone, high_type, "
                       "high_text, "
                       "high_precision, high_zone, filtered_by_reason) VALUES ($1, $2, $3, $4, $5::bigint, $6, "
                       "$7::bigint, $8::bigint, "
                       "$9::bigint, $10::bigint, $11, $12, $13, $14::integer, $15, $16, $17, $18::integer, $19, "
                       "pg_catalog.jsonb_build_object(",
                       reasons, "))"),
          params)
      .status();
}

}  // namespace tidemark::postgres
