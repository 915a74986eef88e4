#include "worker/connectors/postgres/postgres_partitions.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status_macros.h"
#include "worker/connectors/postgres/postgres_error.h"
#include "worker/connectors/postgres/postgres_name.h"

namespace tidemark::postgres {
namespace {

// A window of fewer rows is read faster in one piece than cut: every range would search it again.
constexpr int64_t kWorthCutting = 100'000;
// Rows sampled for each range that is wanted.
constexpr int64_t kSampleRowsPerRange = 200;
constexpr int64_t kLeastSampleRows = 100'000;
// Smaller tables are sampled whole: a block more or less would matter.
constexpr int64_t kSmallBytes = 8 << 20;
constexpr int64_t kMostRanges = 4096;

int64_t Number(const Text& text) {
  int64_t number = 0;
  (void)absl::SimpleAtoi(text.value_or("0"), &number);
  return number;
}

struct Key {
  std::vector<const SourceColumn*> columns;
  bool nullable = false;
  bool immutable = false;

  std::vector<std::string> Names() const {
    std::vector<std::string> names;
    for (const SourceColumn* column : columns) names.push_back(QuoteIdentifier(column->column.name()));
    return names;
  }
};

// nullopt: the relation has no key of its own and none was asked for.
absl::StatusOr<std::optional<Key>> ChooseKey(const Relation& relation, std::string_view by) {
  Key key;
  const std::vector<std::string>& primary = relation.primary_key;
  if (by.empty()) {
    if (primary.empty()) return std::nullopt;
    for (const std::string& name : primary) {
      TM_ASSIGN_OR_RETURN(const SourceColumn* column, relation.Column(name));
      key.columns.push_back(column);
    }
    key.immutable = true;
    return key;
  }
  TM_ASSIGN_OR_RETURN(const SourceColumn* column, relation.Column(by));
  key.columns.push_back(column);
  key.nullable = column->column.nullable();
  key.immutable = std::find(primary.begin(), primary.end(), by) != primary.end();
  return key;
}

// Cut points of a sorted set of rows, which `rows` selects with the key's columns: one at the end of each of `wanted`
// equal parts but the last. Rows that are equal to the server fall together.
absl::StatusOr<std::vector<v1::KeyBound>> Quantiles(Connection& connection, const Key& key, const std::string& rows,
                                                    int wanted) {
  std::vector<std::string> keys;
  std::vector<std::string> texts;
  for (size_t i = 0; i < key.columns.size(); ++i) {
    keys.push_back(absl::StrCat("k", i));
    // Under another name: an ORDER BY of k would be of the text, and 1001 stand before 501.
    texts.push_back(absl::StrCat("k", i, "::text AS text", i));
  }
  const std::string list = absl::StrJoin(keys, ", ");
  // Row n of t begins a new part where n * wanted / t takes a new whole value.
  const std::string sql =
      absl::StrCat("WITH chosen(", list, ") AS MATERIALIZED (", rows, "), ranked AS (SELECT ", list,
                   ", row_number() OVER (ORDER BY ", list, ") - 1 AS n, count(*) OVER () AS t FROM chosen) SELECT ",
                   absl::StrJoin(texts, ", "), " FROM ranked WHERE n > 0 AND n * ", wanted, " / t > (n - 1) * ", wanted,
                   " / t GROUP BY ", list, " ORDER BY ", list);
  TM_ASSIGN_OR_RETURN(const std::vector<Row> cuts, connection.Execute(sql));
  std::vector<v1::KeyBound> bounds;
  for (const Row& cut : cuts) {
    v1::KeyBound bound;
    for (const Text& value : cut) bound.add_values(value.value_or(""));
    bounds.push_back(std::move(bound));
  }
  return bounds;
}

// Cut points from a histogram that speaks for every row: of a column without most common values, whose table has not
// changed much since it was analysed. Empty if there is none that is fine enough.
absl::StatusOr<std::vector<v1::KeyBound>> Histogram(Connection& connection, const Relation& relation,
                                                    const SourceColumn& column, int wanted) {
  TM_ASSIGN_OR_RETURN(
      const std::vector<Row> stats,
      connection.Execute("SELECT s.histogram_bounds::text FROM pg_class c JOIN pg_namespace n ON n.oid = "
                         "c.relnamespace JOIN pg_stats s ON "
                         "s.schemaname = n.nspname AND s.tablename = c.relname AND NOT s.inherited JOIN "
                         "pg_stat_all_tables t ON t.relid = "
                         "c.oid WHERE c.oid = $1::oid AND s.attname = $2 AND s.histogram_bounds IS NOT NULL AND "
                         "s.most_common_vals IS NULL "
                         "AND s.null_frac = 0 AND c.reltuples > 0 AND t.n_mod_since_analyze < c.reltuples / 10",
                         {absl::StrCat(relation.oid), column.column.name()}));
  std::vector<v1::KeyBound> bounds;
  if (stats.empty()) return bounds;
  TM_ASSIGN_OR_RETURN(const std::vector<Row> steps,
                      connection.Execute(absl::StrCat("SELECT b.value::text FROM unnest($1::", column.type.Sql(),
                                                      "[]) WITH ORDINALITY AS b(value, n) ORDER BY b.n"),
                                         {stats[0][0]}));
  // The outermost bounds are the least and the greatest value seen.
  const int64_t buckets = static_cast<int64_t>(steps.size()) - 1;
  if (buckets < wanted) return bounds;
  for (int64_t cut = 1; cut < wanted; ++cut) {
    v1::KeyBound bound;
    bound.add_values(steps[cut * buckets / wanted][0].value_or(""));
    bounds.push_back(std::move(bound));
  }
  return bounds;
}

absl::StatusOr<std::vector<v1::KeyBound>> CutKey(Connection& connection, const ReadSql& sql, const Key& key,
                                                 const v1::Window& window, int wanted, int64_t estimate) {
  const Relation& relation = sql.relation();
  if (wanted < 2) return std::vector<v1::KeyBound>();
  if (!sql.Bounded(window) && relation.kind == 'r' && key.columns.size() == 1) {
    TM_ASSIGN_OR_RETURN(std::vector<v1::KeyBound> bounds, Histogram(connection, relation, *key.columns[0], wanted));
    if (!bounds.empty()) return bounds;
  }
  const std::vector<std::string> names = key.Names();
  TM_ASSIGN_OR_RETURN(const std::string in_window, sql.InWindow(window));
  std::string condition = in_window;
  if (key.nullable) absl::StrAppend(&condition, " AND ", names[0], " IS NOT NULL");
  TM_ASSIGN_OR_RETURN(std::string from, sql.From(window));
  const int64_t sample = std::max(kLeastSampleRows, wanted * kSampleRowsPerRange);
  if ((relation.kind == 'r' || relation.kind == 'm' || relation.kind == 'p') && !relation.foreign &&
      estimate > 2 * sample) {
    TM_ASSIGN_OR_RETURN(const int64_t bytes, EstimateBytes(connection, relation));
    const double percent = 100.0 * static_cast<double>(sample) / static_cast<double>(estimate);
    if (bytes > kSmallBytes) {
      // Blocks are drawn from the whole table and the window's rows kept: no guess about where they lie is needed.
      const std::string rows =
          absl::StrCat("SELECT ", absl::StrJoin(names, ", "), " FROM ", sql.FromSample(percent), " WHERE ", condition);
      TM_ASSIGN_OR_RETURN(std::vector<v1::KeyBound> bounds, Quantiles(connection, key, rows, wanted));
      if (static_cast<int>(bounds.size()) >= wanted / 2) return bounds;
    }
  }
  return Quantiles(connection, key,
                   absl::StrCat("SELECT ", absl::StrJoin(names, ", "), " FROM ", from, " WHERE ", condition), wanted);
}

}  // namespace

absl::StatusOr<int64_t> EstimateRows(Connection& connection, const ReadSql& sql, const v1::Window& window) {
  const Relation& relation = sql.relation();
  if (relation.heap) {
    // The planner takes a table that was never analysed for ten blocks at least.
    TM_ASSIGN_OR_RETURN(const Row row,
                        connection.ExecuteRow("SELECT pg_relation_size($1::oid)", {absl::StrCat(relation.oid)}));
    if (Number(row[0]) == 0) return 0;
  }
  TM_ASSIGN_OR_RETURN(const std::string from, sql.From(window));
  TM_ASSIGN_OR_RETURN(const std::string condition, sql.InWindow(window));
  TM_ASSIGN_OR_RETURN(
      const std::vector<Row> plan,
      connection.Execute(absl::StrCat("EXPLAIN (FORMAT JSON) SELECT * FROM ", from, " WHERE ", condition)));
  const std::string text = plan.empty() ? "" : plan[0][0].value_or("");
  // The first is of the topmost node.
  static constexpr char kLabel[] = "\"Plan Rows\": ";
  const size_t at = text.find(kLabel);
  if (at == std::string::npos) return absl::InternalError("EXPLAIN told no number of rows");
  const size_t begin = at + sizeof(kLabel) - 1;
  return Number(text.substr(begin, text.find_first_not_of("0123456789", begin) - begin));
}

absl::StatusOr<int64_t> EstimateBytes(Connection& connection, const Relation& relation) {
  if (relation.kind != 'r' && relation.kind != 'm' && relation.kind != 'p') return -1;
  TM_ASSIGN_OR_RETURN(
      const Row row,
      connection.ExecuteRow(
          relation.kind == 'p'
              ? "SELECT coalesce(sum(pg_table_size(relid)), 0)::bigint FROM pg_partition_tree($1::oid) WHERE isleaf"
              : "SELECT pg_table_size($1::oid)",
          {absl::StrCat(relation.oid)}));
  return Number(row[0]);
}

absl::StatusOr<std::vector<v1::PartitionFacts>> DescribePartitions(Connection& connection, const ReadSql& sql,
                                                                   const v1::PartitionSpec& asked,
                                                                   const v1::Window& window, std::string_view by,
                                                                   int wanted, bool in_snapshot) {
  const Relation& relation = sql.relation();
  std::vector<v1::PartitionFacts> facts;
  if (in_snapshot && relation.heap && by.empty()) {
    v1::PartitionFacts physical;
    physical.set_partitioning(v1::PARTITIONING_PHYSICAL);
    TM_ASSIGN_OR_RETURN(const Row row,
                        connection.ExecuteRow("SELECT pg_relation_size($1::oid) / current_setting('block_size')::int8",
                                              {absl::StrCat(relation.oid)}));
    physical.set_blocks(Number(row[0]));
    facts.push_back(std::move(physical));
    return facts;
  }
  TM_ASSIGN_OR_RETURN(const std::optional<Key> key, ChooseKey(relation, by));
  if (!key.has_value()) {
    facts.emplace_back().set_partitioning(v1::PARTITIONING_NONE);
    return facts;
  }
  v1::PartitionFacts ranges;
  ranges.set_partitioning(v1::PARTITIONING_KEY);
  for (const SourceColumn* column : key->columns) ranges.add_columns(column->column.name());
  ranges.set_nullable(key->nullable);
  ranges.set_immutable(key->immutable);
  TM_ASSIGN_OR_RETURN(const int64_t estimate, EstimateRows(connection, sql, window));
  const bool forced = !by.empty() || asked.count() > 0 || asked.rows() > 0;
  if (forced || estimate >= kWorthCutting) {
    if (asked.count() > 0) wanted = asked.count();
    if (asked.rows() > 0)
      wanted = static_cast<int>(std::max<int64_t>(wanted, std::min<int64_t>(estimate / asked.rows() + 1, kMostRanges)));
    const auto cuts = CutKey(connection, sql, *key, window, wanted, estimate);
    if (!cuts.ok())
      return Annotate(cuts.status(),
                      absl::StrCat("cutting ", relation.label, " by ", absl::StrJoin(key->Names(), ", ")));
    for (const v1::KeyBound& cut : *cuts) *ranges.add_quantiles() = cut;
  }
  facts.push_back(std::move(ranges));
  return facts;
}

}  // namespace tidemark::postgres
