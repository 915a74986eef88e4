#include "worker/connectors/duckdb/duckdb_source_relation.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/absl_view.h"
#include "common/base/status_macros.h"
#include "worker/connector/query_text.h"
#include "worker/connectors/duckdb/duckdb_name.h"
#include "worker/connectors/duckdb/duckdb_source_type.h"

namespace tidemark::duckdb {
namespace {

using Type = v1::LogicalType;

// What :last_watermark and :watermark_snapshot stand for where the window has no such bound.
std::string Extreme(const v1::Column* watermark, bool greatest) {
  if (watermark == nullptr) return absl::StrCat("TIMESTAMP '", greatest ? "" : "-", "infinity'");
  switch (watermark->type().kind()) {
    case Type::KIND_DATE:
    case Type::KIND_TIMESTAMP:
    case Type::KIND_TIMESTAMPTZ:
      return TypedLiteral(*watermark, greatest ? "infinity" : "-infinity");
    default:
      return absl::StrCat("CAST('", greatest ? "" : "-", "170141183460469231731687303715884105727' AS HUGEINT)");
  }
}

absl::Status AddColumn(absl::string_view name, absl::string_view data_type, absl::string_view comment, bool nullable,
                       SourceRelation* source) {
  const auto type = SourceTypeOf(data_type, comment);
  if (!type) {
    return absl::InvalidArgumentError(absl::StrCat("column ", name, " of ", source->what, " is of type ", data_type,
                                                   ", which is not read: convert or leave it out in source.query"));
  }
  v1::Column* column = source->schema.add_columns();
  column->set_name(std::string(name));
  column->set_native_type(std::string(data_type));
  column->set_nullable(nullable);
  *column->mutable_type() = *type;
  return absl::OkStatus();
}

absl::Status DescribeQuery(adbc::Connection& db, const std::string& query, SourceRelation* source) {
  source->what = "the query";
  TM_ASSIGN_OR_RETURN(source->query, CleanQuery(query));
  TM_ASSIGN_OR_RETURN(const std::string unbound, BindPlaceholders(source->query, "NULL", "NULL"));
  TM_ASSIGN_OR_RETURN(const auto columns, db.Query(absl::StrCat("SELECT column_name, column_type FROM (DESCRIBE SELECT "
                                                                "* FROM ",
                                                                AsSubselect(unbound), ")")));
  for (const auto& row : columns) TM_RETURN_IF_ERROR(AddColumn(*row[0], *row[1], "", true, source));
  return absl::OkStatus();
}

absl::Status DescribeTable(adbc::Connection& db, const std::string& path, const std::string& table,
                           SourceRelation* source) {
  source->what = absl::StrCat("table ", table);
  TM_ASSIGN_OR_RETURN(const TableName name, ParseTableName(table));
  TM_ASSIGN_OR_RETURN(source->relation, FindRelation(db, name));
  if (!source->relation) {
    return absl::NotFoundError(absl::StrCat("DuckDB file ", path, " has no table or view ", table));
  }
  const Relation& relation = *source->relation;
  for (const CatalogColumn& column : relation.columns) {
    TM_RETURN_IF_ERROR(AddColumn(column.name, column.data_type, column.comment, !column.not_null, source));
  }
  for (const std::string& key : relation.primary_key) source->schema.add_primary_key(key);
  return absl::OkStatus();
}

// The rows whose key is `comparison` the bound. Spelled out, since DuckDB compares rows without their collations.
std::string Compare(const std::vector<const v1::Column*>& columns, const v1::KeyBound& bound,
                    absl::string_view comparison, size_t from = 0) {
  const std::string name = Quoted(columns[from]->name());
  const std::string value = TypedLiteral(*columns[from], bound.values(static_cast<int>(from)));
  const bool last = from + 1 == columns.size();
  if (last) return absl::StrCat(name, " ", comparison, " ", value);
  const char strict[] = {comparison[0], '\0'};
  // The first condition says nothing new; by it DuckDB skips what lies outside.
  return absl::StrCat("(", name, " ", strict, "= ", value, " AND (", name, " ", strict, " ", value, " OR ",
                      Compare(columns, bound, comparison, from + 1), "))");
}

}  // namespace

std::string Selection::Sql() const {
  return absl::StrCat(" FROM ", from, conditions.empty() ? "" : " WHERE ", absl::StrJoin(conditions, " AND "));
}

const v1::Column* SourceRelation::Find(absl::string_view column) const {
  for (const v1::Column& candidate : schema.columns()) {
    if (absl::EqualsIgnoreCase(candidate.name(), column)) return &candidate;
  }
  return nullptr;
}

absl::StatusOr<Selection> SourceRelation::SelectWindow(const v1::Window& window) const {
  const v1::Column* column = watermark.empty() ? nullptr : Find(watermark);
  const bool bounded = window.has_high() && !(window.kind() == v1::WINDOW_KIND_FULL && unbounded_full);
  const std::string low =
      window.has_low() && column != nullptr ? TypedLiteral(*column, window.low().text()) : Extreme(column, false);
  const std::string high =
      bounded && column != nullptr ? TypedLiteral(*column, window.high().text()) : Extreme(column, true);
  Selection selection;
  if (relation) {
    selection.from = Quoted(relation->name);
  } else {
    TM_ASSIGN_OR_RETURN(const std::string bound, BindPlaceholders(query, low, high));
    selection.from = AsSubselect(bound);
  }
  if (column == nullptr || (!window.has_low() && !bounded)) return selection;
  const std::string name = Quoted(column->name());
  std::vector<std::string> bounds;
  if (window.has_low()) bounds.push_back(absl::StrCat(name, " > ", low));
  if (bounded) bounds.push_back(absl::StrCat(name, " <= ", high));
  const std::string condition = absl::StrJoin(bounds, " AND ");
  selection.And(window.nulls() ? absl::StrCat("((", condition, ") OR ", name, " IS NULL)") : condition);
  return selection;
}

absl::Status SourceRelation::SelectRange(const v1::KeyRange& range, Selection* selection) const {
  if (range.partitioning() == v1::PARTITIONING_NONE || range.partitioning() == v1::PARTITIONING_UNSPECIFIED)
    return absl::OkStatus();
  v1::Column rowid;
  std::vector<const v1::Column*> columns;
  if (range.partitioning() == v1::PARTITIONING_PHYSICAL) {
    if (!is_table()) return absl::InvalidArgumentError(absl::StrCat(what, " has no rowid to be cut by"));
    rowid.set_name("rowid");
    rowid.set_native_type("BIGINT");
    columns.push_back(&rowid);
  } else {
    for (const std::string& name : range.columns()) {
      columns.push_back(Find(name));
      if (columns.back() == nullptr)
        return absl::InvalidArgumentError(absl::StrCat(what, " has no column ", name, " to be cut by"));
    }
  }
  if (columns.empty()) return absl::InvalidArgumentError("a range of a key names no column");
  const auto all = [&](absl::string_view separator, absl::string_view condition) {
    return absl::StrJoin(columns, separator, [&](std::string* out, const v1::Column* column) {
      absl::StrAppend(out, Quoted(column->name()), condition);
    });
  };
  if (range.nulls()) {
    selection->And(absl::StrCat("(", all(" OR ", " IS NULL"), ")"));
    return absl::OkStatus();
  }
  if (range.partitioning() == v1::PARTITIONING_KEY) selection->And(all(" AND ", " IS NOT NULL"));
  for (const v1::KeyBound* bound :
       {range.has_lower() ? &range.lower() : nullptr, range.has_upper() ? &range.upper() : nullptr}) {
    if (bound == nullptr) continue;
    if (bound->values_size() != static_cast<int>(columns.size())) {
      return absl::InvalidArgumentError("the bound of a range has not one value per column of its key");
    }
    selection->And(Compare(columns, *bound, bound == &range.lower() ? ">=" : "<"));
  }
  return absl::OkStatus();
}

absl::StatusOr<SourceRelation> ResolveSource(adbc::Connection& db, const std::string& path, const v1::JobSpec& job) {
  SourceRelation source;
  source.unbounded_full = job.target().strategy() == v1::LOAD_STRATEGY_FULL;
  if (!job.source().query().empty()) {
    TM_RETURN_IF_ERROR(DescribeQuery(db, job.source().query(), &source));
  } else {
    TM_RETURN_IF_ERROR(DescribeTable(db, path, job.source().table(), &source));
  }
  if (!job.source().watermark().empty()) {
    const v1::Column* column = source.Find(job.source().watermark());
    if (column == nullptr) {
      return absl::NotFoundError(
          absl::StrCat(source.what, " has no column ", job.source().watermark(), " to be the watermark"));
    }
    source.watermark = column->name();
  }
  return source;
}

}  // namespace tidemark::duckdb
