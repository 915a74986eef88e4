#pragma once

#include <optional>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "tidemark/v1/worker_control.pb.h"
#include "worker/connector/ledger_chain.h"
#include "worker/connector/target.h"
#include "worker/connectors/postgres/postgres_connection.h"

// tidemark.ledger: one row per committed run, written in the transaction that changed the target. It decides what is
// loaded. What its rows mean stands in worker/connector/ledger_chain.h.
namespace tidemark::postgres {

// nullopt if the run is not committed.
absl::StatusOr<std::optional<LedgerEntry>> ReadLedgerEntry(Connection& connection, absl::string_view run_id);

// The last window or full load of the job into the table; `exists` false without one. Ranges are the job's own too.
// `emptied` is not looked at.
absl::StatusOr<v1::LedgerHead> ReadLedgerHead(Connection& connection, absl::string_view target,
                                              absl::string_view cluster_id, absl::string_view job_uid);

// Whether the last full load of the job into the table, or anything it loaded since, has brought rows.
absl::StatusOr<bool> LedgerHasRows(Connection& connection, absl::string_view target, absl::string_view cluster_id,
                                   absl::string_view job_uid);

// For a run that holds the target's fence, in the same transaction: the rows of whoever loaded the target last become
// the run's job's, in their order, behind all that the job has loaded there itself. Of a target that holds backfills
// alone, those. Changes nothing where the job itself has loaded it last, or nobody has.
absl::Status AdoptChain(Connection& connection, absl::string_view target, const RunIdentity& run);

absl::Status InsertLedgerEntry(Connection& connection, absl::string_view target, const RunIdentity& run,
                               const v1::Window& window, const v1::RowCounts& counts, absl::string_view swap);

}  // namespace tidemark::postgres
