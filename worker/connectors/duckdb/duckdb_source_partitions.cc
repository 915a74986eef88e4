#include "worker/connectors/duckdb/duckdb_source_partitions.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status_macros.h"
#include "worker/connectors/duckdb/duckdb_catalog.h"
#include "worker/connectors/duckdb/duckdb_name.h"
#include "worker/connectors/duckdb/duckdb_source_type.h"

namespace tidemark::duckdb {
namespace {

// Cut points offered per range wanted, so that the planner can merge them into even ones.
constexpr int kCutsPerRange = 4;
constexpr int kSampleRows = 65'536;

v1::PartitionFacts FactsOf(v1::Partitioning partitioning, const std::vector<std::string>& columns) {
  v1::PartitionFacts facts;
  facts.set_partitioning(partitioning);
  for (const std::string& column : columns) facts.add_columns(column);
  return facts;
}

// The first key of each of `cuts` equal parts of a sample of the window's rows, but for that of the first part.
absl::Status CutBySample(adbc::Connection& db, const SourceRelation& source, const v1::Window& window,
                         const std::vector<std::string>& columns, int cuts, v1::PartitionFacts* facts) {
  TM_ASSIGN_OR_RETURN(Selection selection, source.SelectWindow(window));
  for (const std::string& column : columns) selection.And(absl::StrCat(Quoted(column), " IS NOT NULL"));
  const std::string keys = ColumnList(columns);
  const std::string texts = absl::StrJoin(columns, ", ", [](std::string* out, const std::string& column) {
    absl::StrAppend(out, "CAST(", Quoted(column), " AS VARCHAR)");
  });
  TM_ASSIGN_OR_RETURN(
      const auto rows,
      db.Query(absl::StrCat(
          "SELECT ", texts, " FROM (SELECT ", keys, ", row_number() OVER (ORDER BY ", keys,
          ") - 1 AS tidemark_position, count(*) OVER () AS tidemark_rows FROM (SELECT * FROM (SELECT ", keys,
          selection.Sql(), ") USING SAMPLE reservoir(", kSampleRows,
          " ROWS) REPEATABLE (1))) WHERE tidemark_position > 0 AND tidemark_position * ", cuts,
          " // tidemark_rows <> (tidemark_position - 1) * ", cuts, " // tidemark_rows ORDER BY tidemark_position")));
  for (const adbc::Connection::Row& row : rows) {
    v1::KeyBound bound;
    for (const auto& value : row) bound.add_values(*value);
    const int known = facts->quantiles_size();
    if (known > 0 &&
        std::equal(bound.values().begin(), bound.values().end(), facts->quantiles(known - 1).values().begin())) {
      continue;
    }
    *facts->add_quantiles() = std::move(bound);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<v1::PartitionFacts>> DescribeFilePartitions(adbc::Connection& db,
                                                                       const SourceRelation& source,
                                                                       const v1::Window& window, absl::string_view by,
                                                                       int wanted, bool in_snapshot) {
  std::vector<v1::PartitionFacts> all;
  const std::vector<std::string> primary_key(source.schema.primary_key().begin(), source.schema.primary_key().end());
  std::vector<std::string> columns = primary_key;
  if (!by.empty()) {
    const v1::Column* column = source.Find(by);
    if (column == nullptr)
      return absl::NotFoundError(absl::StrCat(source.what, " has no column ", by, " to be partitioned by"));
    if (!CanBeCutBy(*column)) {
      return absl::InvalidArgumentError(absl::StrCat("column ", by, " (", column->native_type(),
                                                     ") cannot be partitioned by: choose an integer, a text or a "
                                                     "date"));
    }
    columns = {column->name()};
  } else if (columns.empty() && in_snapshot && source.is_table() && source.Find("rowid") == nullptr) {
    v1::PartitionFacts facts = FactsOf(v1::PARTITIONING_PHYSICAL, {"rowid"});
    TM_ASSIGN_OR_RETURN(const int64_t rows,
                        QueryInt(db, absl::StrCat("SELECT max(rowid) + 1 FROM ", Quoted(source.relation->name))));
    facts.set_blocks(rows);
    all.push_back(std::move(facts));
    return all;
  }
  if (columns.empty()) return all;
  v1::PartitionFacts facts = FactsOf(v1::PARTITIONING_KEY, columns);
  facts.set_immutable(columns == primary_key);
  for (const std::string& name : columns) {
    const v1::Column* column = source.Find(name);
    if (column == nullptr || !CanBeCutBy(*column)) return all;
    if (column->nullable()) facts.set_nullable(true);
  }
  TM_RETURN_IF_ERROR(CutBySample(db, source, window, columns, std::max(wanted, 1) * kCutsPerRange, &facts));
  all.push_back(std::move(facts));
  return all;
}

}  // namespace tidemark::duckdb
