#include "worker/connectors/sqlite/sqlite_partitions.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/base/status_macros.h"
#include "worker/connectors/sqlite/sqlite_row_batch.h"

namespace tidemark::sqlite {
namespace {

using Type = v1::LogicalType;
using Key = std::vector<std::string>;

// Cut points offered per range wanted, so that the planner can merge them into even ones.
constexpr int kCutsPerRange = 4;
// Keys held at most while a scan is sampled: at the limit every second one is dropped, and from then on every second
// one skipped.
constexpr size_t kSampleLimit = 65'536;

v1::PartitionFacts FactsOf(v1::Partitioning partitioning, const std::vector<std::string>& columns) {
  v1::PartitionFacts facts;
  facts.set_partitioning(partitioning);
  for (const std::string& column : columns) facts.add_columns(column);
  return facts;
}

void AddCut(v1::PartitionFacts* facts, const Key& key) {
  v1::KeyBound* bound = facts->add_quantiles();
  for (const std::string& value : key) bound->add_values(value);
}

// Keys that exist, at even distances between the least and the greatest: two seeks for each.
absl::Status CutByInterpolation(Database& db, const SourceRelation& source, const std::string& column, int cuts,
                                v1::PartitionFacts* facts) {
  const std::string name = Quoted(column);
  TM_ASSIGN_OR_RETURN(const auto least, db.QueryInt(absl::StrCat("SELECT min(", name, ") FROM ", source.from)));
  TM_ASSIGN_OR_RETURN(const auto greatest, db.QueryInt(absl::StrCat("SELECT max(", name, ") FROM ", source.from)));
  if (!least || !greatest) return absl::OkStatus();
  TM_ASSIGN_OR_RETURN(Statement next, db.Prepare(absl::StrCat("SELECT ", name, " FROM ", source.from, " WHERE ", name,
                                                              " >= ? ORDER BY ", name, " LIMIT 1")));
  const unsigned __int128 span = static_cast<unsigned __int128>(static_cast<__int128>(*greatest) - *least);
  int64_t last = *least;
  for (int i = 1; i < cuts; ++i) {
    next.BindInt(1, static_cast<int64_t>(
                        *least + static_cast<__int128>(span * static_cast<unsigned>(i) / static_cast<unsigned>(cuts))));
    TM_ASSIGN_OR_RETURN(const bool row, next.Step());
    if (!row) break;
    if (const int64_t key = next.Int(0); key > last) {
      AddCut(facts, {absl::StrCat(key)});
      last = key;
    }
    next.Reset();
  }
  return absl::OkStatus();
}

// The keys of the window's rows, each `stride`-th, in the order of the key. A cut point is told to the coordinator:
// InvalidArgument for one that is no valid text.
absl::StatusOr<std::vector<Key>> SampleKeys(Database& db, const SourceRelation& source, const v1::Window& window,
                                            const std::vector<std::string>& columns) {
  TM_ASSIGN_OR_RETURN(Selection selection, source.SelectWindow(window));
  std::vector<std::string> names;
  for (const std::string& column : columns) {
    names.push_back(Quoted(column));
    selection.And(absl::StrCat(names.back(), " IS NOT NULL"));
  }
  const std::string list = absl::StrJoin(names, ", ");
  TM_ASSIGN_OR_RETURN(Statement statement, db.Prepare(absl::StrCat("SELECT ", list, " FROM ", source.from,
                                                                   selection.Where(), " ORDER BY ", list)));
  selection.ApplyTo(statement);
  std::vector<Key> keys;
  int64_t stride = 1, position = 0;
  while (true) {
    TM_ASSIGN_OR_RETURN(const bool row, statement.Step());
    if (!row) return keys;
    if (position++ % stride != 0) continue;
    Key key;
    for (size_t i = 0; i < columns.size(); ++i) {
      const absl::string_view value = statement.Text(static_cast<int>(i));
      if (!IsUtf8(value)) {
        return absl::InvalidArgumentError(
            absl::StrCat("column ", columns[i], " of ", source.what, " holds TEXT that is not valid UTF-8, where x'",
                         absl::BytesToHexString(value),
                         "': rows cannot be partitioned by it, nor read; mend the row, or convert the column in "
                         "source.query"));
      }
      key.emplace_back(value);
    }
    keys.push_back(std::move(key));
    if (keys.size() < kSampleLimit) continue;
    for (size_t i = 0; i < keys.size() / 2; ++i) keys[i] = std::move(keys[2 * i]);
    keys.resize(keys.size() / 2);
    stride *= 2;
  }
}

absl::Status CutBySample(Database& db, const SourceRelation& source, const v1::Window& window,
                         const std::vector<std::string>& columns, int cuts, v1::PartitionFacts* facts) {
  TM_ASSIGN_OR_RETURN(const std::vector<Key> keys, SampleKeys(db, source, window, columns));
  std::optional<Key> last;
  if (!keys.empty()) last = keys.front();
  for (int i = 1; i < cuts && !keys.empty(); ++i) {
    const Key& key = keys[keys.size() * static_cast<size_t>(i) / static_cast<size_t>(cuts)];
    if (key == *last) continue;
    AddCut(facts, key);
    last = key;
  }
  return absl::OkStatus();
}

bool HasWindowBounds(const SourceRelation& source, const v1::Window& window) {
  const bool bounded = window.has_high() && !(window.kind() == v1::WINDOW_KIND_FULL && source.unbounded_full);
  return !source.watermark.empty() && (window.has_low() || bounded);
}

bool CanBeCutBy(const v1::Column& column) {
  return column.type().kind() != Type::KIND_BYTES && column.type().kind() != Type::KIND_FLOAT64 &&
         column.type().kind() != Type::KIND_FLOAT32;
}

}  // namespace

absl::StatusOr<std::vector<v1::PartitionFacts>> DescribeFilePartitions(Database& db, const SourceRelation& source,
                                                                       const v1::Window& window, absl::string_view by,
                                                                       int wanted, bool in_snapshot) {
  std::vector<v1::PartitionFacts> all;
  const int cuts = std::max(wanted, 1) * kCutsPerRange;
  const bool is_table = source.relation.has_value() && source.relation->kind == Relation::Kind::kTable;
  const std::vector<std::string> primary_key(source.schema.primary_key().begin(), source.schema.primary_key().end());
  std::vector<std::string> columns = primary_key;
  if (!by.empty()) {
    const v1::Column* column = source.Find(by);
    if (column == nullptr)
      return absl::NotFoundError(absl::StrCat(source.what, " has no column ", by, " to be partitioned by"));
    if (!CanBeCutBy(*column)) {
      return absl::InvalidArgumentError(
          absl::StrCat("column ", by, " (", column->native_type(),
                       ") cannot be partitioned by: choose an integer, a text or a date"));
    }
    columns = {column->name()};
  } else if (is_table && in_snapshot && source.relation->rowid_column.empty() && !source.rowid_name().empty()) {
    TM_ASSIGN_OR_RETURN(const auto greatest,
                        db.QueryInt(absl::StrCat("SELECT max(", source.rowid_name(), ") FROM ", source.from)));
    v1::PartitionFacts facts = FactsOf(v1::PARTITIONING_PHYSICAL, {source.rowid_name()});
    facts.set_blocks(std::max<int64_t>(greatest.value_or(0), 0));
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
  const bool is_rowid = is_table && columns.size() == 1 && columns.front() == source.relation->rowid_column;
  const bool window_is_found = HasWindowBounds(source, window) && source.Indexed(source.watermark) && window.has_low();
  if (is_rowid && !window_is_found) {
    TM_RETURN_IF_ERROR(CutByInterpolation(db, source, columns.front(), cuts, &facts));
  } else {
    TM_RETURN_IF_ERROR(CutBySample(db, source, window, columns, cuts, &facts));
  }
  all.push_back(std::move(facts));
  return all;
}

absl::StatusOr<int64_t> EstimateRows(Database& db, const SourceRelation& source) {
  if (!source.relation || source.relation->kind != Relation::Kind::kTable) return -1;
  if (const std::string rowid = source.rowid_name(); !rowid.empty()) {
    // Two seeks; asked for together, min and max would scan.
    TM_ASSIGN_OR_RETURN(const auto least, db.QueryInt(absl::StrCat("SELECT min(", rowid, ") FROM ", source.from)));
    TM_ASSIGN_OR_RETURN(const auto greatest, db.QueryInt(absl::StrCat("SELECT max(", rowid, ") FROM ", source.from)));
    if (!least || !greatest) return 0;
    TM_ASSIGN_OR_RETURN(const auto pages, db.QueryInt("PRAGMA page_count"));
    TM_ASSIGN_OR_RETURN(const auto page_size, db.QueryInt("PRAGMA page_size"));
    // Sparse numbers stand for fewer rows than fit into the file: a row takes 4 bytes at least.
    const __int128 span = static_cast<__int128>(*greatest) - *least + 1;
    return static_cast<int64_t>(std::min<__int128>(span, pages.value_or(0) * page_size.value_or(0) / 4));
  }
  TM_ASSIGN_OR_RETURN(const auto analyzed,
                      db.QueryInt("SELECT count(*) FROM sqlite_schema WHERE name = 'sqlite_stat1'"));
  if (analyzed.value_or(0) == 0) return -1;
  TM_ASSIGN_OR_RETURN(Statement statement,
                      db.Prepare("SELECT stat FROM sqlite_stat1 WHERE tbl = ? COLLATE NOCASE LIMIT 1"));
  statement.BindText(1, source.relation->name);
  TM_ASSIGN_OR_RETURN(const bool row, statement.Step());
  int64_t rows;
  if (!row || !absl::SimpleAtoi(std::vector<std::string>(absl::StrSplit(statement.Text(0), ' ')).front(), &rows))
    return -1;
  return rows;
}

}  // namespace tidemark::sqlite
