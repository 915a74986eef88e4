#pragma once

#include <cstdint>
#include <optional>

#include "absl/status/statusor.h"
#include "tidemark/v1/spec.pb.h"
#include "tidemark/v1/values.pb.h"
#include "worker/connector/source.h"
#include "worker/connectors/sqlite/sqlite_database.h"
#include "worker/connectors/sqlite/sqlite_source_relation.h"
#include "worker/connectors/sqlite/watermark_format.h"

namespace tidemark::sqlite {

// The horizon of an SQLite file. One transaction writes at a time, and it holds the write lock from its first write on;
// SQLite's own stamps are taken after that. So whoever holds the write lock knows that no writer is open, and every row
// that is not there yet will bear a stamp of a later clock: BEGIN IMMEDIATE, the clock, ROLLBACK is an exact barrier,
// held for microseconds. For a column of ascending integers the same barrier proves the greatest one.
//
// Lookback instead, said with its reason: the file is read-only or stays locked, the application stamps, the zone of a
// naive column has summer time, the clock is behind the last window, or that was read from another file.
absl::StatusOr<HorizonProbe> ProbeFileHorizon(Database& db, const SourceRelation& source, const v1::SourceSpec& spec,
                                              const std::optional<LastWindow>& last);

// The one spelling of the watermark column's texts. All values from `low`'s day on are looked at, and a sample before
// the first window; the rest of a window is checked as it is read. nullopt if there is nothing to tell it by.
// InvalidArgument counts the spellings of a mixture.
absl::StatusOr<std::optional<WatermarkFormat>> DetectWatermarkFormat(Database& db, const SourceRelation& source,
                                                                     const std::optional<v1::Watermark>& low);

bool IsIntegerColumn(const v1::Column& column);

}  // namespace tidemark::sqlite
