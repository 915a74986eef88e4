#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "tidemark/v1/worker_control.pb.h"
#include "worker/connector/fence.h"
#include "worker/connector/ledger_chain.h"
#include "worker/connector/target.h"
#include "worker/connectors/adbc/adbc_connection.h"
#include "worker/connectors/duckdb/duckdb_name.h"

// The tables by which a target file defends itself: fence, ledger, moves, quarantine and the list of staging tables
// (staging) in the schema tidemark, and those. A target table is known there by its KeyOf.
// Functions that write run inside the caller's transaction, whose turn it is to write to the file: what they have
// checked stays true until it ends.
namespace tidemark::duckdb {

// The run's staging table; InvalidArgument as CheckRunId says.
absl::StatusOr<TableName> StagingName(absl::string_view run_id);

absl::Status CreateControlTables(adbc::Connection& db);
// False in a file Tidemark has not written to.
absl::StatusOr<bool> ControlTablesExist(adbc::Connection& db);

// nullopt if nobody has claimed the table.
absl::StatusOr<std::optional<Fence>> ReadFence(adbc::Connection& db, const TableName& table);
// Claims the fence of `table` or raises it to the run's epoch. FailedPrecondition if it stands higher (this writer is a
// zombie), or belongs to another cluster or job: from those, any `take_over` but kNothing takes it.
absl::Status RaiseFence(adbc::Connection& db, const TableName& table, absl::string_view job, const RunIdentity& run,
                        TakeOver take_over);

absl::StatusOr<std::vector<v1::StagedMove>> ReadMoves(adbc::Connection& db, absl::string_view run_id);
absl::Status InsertMove(adbc::Connection& db, absl::string_view run_id, int partition, int64_t rows);

// Notes whose staging it is, for DropDeadStaging. Once, when staging is made.
absl::Status RecordStaging(adbc::Connection& db, const TableName& table, const RunIdentity& run);
// Drops the run's staging, if there is any, and its moves.
absl::Status DropStaging(adbc::Connection& db, absl::string_view run_id);
// Drops what earlier runs of the job have left: their commits would be refused as superseded by this one's, and whoever
// should have aborted them may be no more.
absl::Status DropDeadStaging(adbc::Connection& db, const RunIdentity& run);
// For a run that has taken the table's fence over: drops what others have staged for the table, which no fence lets
// them commit any more.
absl::Status DropForeignStaging(adbc::Connection& db, const TableName& table, const RunIdentity& run);

// nullopt if the run is not committed.
absl::StatusOr<std::optional<LedgerEntry>> ReadLedgerEntry(adbc::Connection& db, absl::string_view run_id);
// The last window or full load into the table, whoever made it; `exists` false without one. Ranges are those of its
// job, or without one, of the fence's. `emptied` is not looked at.
absl::StatusOr<v1::LedgerHead> ReadLedgerHead(adbc::Connection& db, const TableName& table);
// Whether the last full load of the head's job into the table, or anything it loaded since, has brought rows.
absl::StatusOr<bool> LedgerHasRows(adbc::Connection& db, const TableName& table, const v1::LedgerHead& head);
// For a run that holds the table's fence: the rows of whoever loaded the table last become the run's job's, in their
// order, behind all that the job has loaded there itself. Of a table that holds backfills alone, those. Changes nothing
// where the job itself has loaded it last, or nobody has.
absl::Status AdoptChain(adbc::Connection& db, const TableName& table, const RunIdentity& run);
absl::Status InsertLedgerEntry(adbc::Connection& db, const TableName& table, const RunIdentity& run,
                               const v1::Window& window, const v1::RowCounts& counts, absl::string_view swap);

// Moves the rows of staging that satisfy `condition` to the quarantine and returns their number.
absl::StatusOr<int64_t> Quarantine(adbc::Connection& db, const TableName& table, absl::string_view run_id,
                                   const TableName& staging, const std::vector<std::string>& columns,
                                   absl::string_view condition, absl::string_view reason);

}  // namespace tidemark::duckdb
