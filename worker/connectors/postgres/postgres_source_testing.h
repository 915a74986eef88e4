#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tidemark/v1/spec.pb.h"
#include "tidemark/v1/worker_control.pb.h"
#include "worker/connector/source.h"
#include "worker/connectors/postgres/postgres_connection.h"

namespace tidemark::postgres {

// What tests of the PostgreSQL source share. Anything that fails ends the test program with its message.

v1::JobSpec TableJob(const std::string& table, const std::string& watermark = "");
v1::JobSpec QueryJob(const std::string& query, const std::string& watermark = "");

std::unique_ptr<SourceSession> MustOpen(const std::string& dsn, const v1::JobSpec& job,
                                        int64_t max_rows_per_second = 0);
// A plain session for what a test does beside the source.
std::unique_ptr<Connection> MustConnect(const std::string& dsn);
void MustRun(Connection& connection, const std::string& sql);

v1::Watermark MakeWatermark(const std::string& type, const std::string& text);
v1::Window MakeWindow(const std::optional<v1::Watermark>& low, const std::optional<v1::Watermark>& high);

// Every row as text, "NULL" for NULL, read as Arrow.
absl::StatusOr<std::vector<std::vector<std::string>>> ReadRows(SourceSession& session, const v1::TableSchema& schema,
                                                               const v1::Window& window = {},
                                                               const v1::KeyRange& range = {});
// The first column, sorted.
std::vector<std::string> ReadKeys(SourceSession& session, const v1::Window& window = {},
                                  const v1::KeyRange& range = {});
// Loads what the source reads in wire format into a table of the same columns; returns the number of rows.
int64_t CopyWire(SourceSession& session, const v1::TableSchema& schema, Connection& target, const std::string& table);

// The ranges that the cut points of `facts` make, the one of NULL keys included.
std::vector<v1::KeyRange> RangesOf(const v1::PartitionFacts& facts);
// Physical ranges of `blocks_each` blocks.
std::vector<v1::KeyRange> BlockRanges(const v1::PartitionFacts& facts, int64_t blocks_each);

}  // namespace tidemark::postgres
