#pragma once

#include <functional>
#include <optional>

#include "absl/status/statusor.h"
#include "tidemark/v1/spec.pb.h"
#include "worker/connector/source.h"
#include "worker/connector/writer_queue.h"
#include "worker/connectors/adbc/adbc_connection.h"
#include "worker/connectors/duckdb/duckdb_source_relation.h"

namespace tidemark::duckdb {

// The horizon of a DuckDB file, outside of a transaction of `db`. DuckDB stamps a row by the beginning of the
// transaction that writes it (now() and its like). While this process has the file open no other one writes to it, for
// DuckDB's lock; this one's writers queue in `writers`. So whoever has a turn there knows that no writer is open, and
// every row that is not there yet will bear a stamp of a later clock. For a column numbered by a sequence the same turn
// proves the greatest number.
//
// Lookback instead, said with its reason: a load kept its turn for longer than the barrier waits, the application
// stamps, the zone of a naive column has summer time, the clock is behind the last window, or that was read from
// another file. A naive column needs source.watermark_timezone: DuckDB's stamps there are of the writer's own zone.
absl::StatusOr<HorizonProbe> ProbeFileHorizon(adbc::Connection& db, WriterQueue& writers,
                                              const std::function<bool()>& cancelled, const SourceRelation& source,
                                              const v1::SourceSpec& spec, const std::optional<LastWindow>& last);

}  // namespace tidemark::duckdb
