#include "worker/connectors/postgres/postgres_read_sql.h"

#include <cstdint>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status_macros.h"
#include "worker/connectors/postgres/postgres_name.h"
#include "worker/connector/query_text.h"

namespace tidemark::postgres {
namespace {

// (a, b), or a alone.
std::string Tuple(const std::vector<std::string>& parts) {
  return parts.size() == 1 ? parts[0] : absl::StrCat("(", absl::StrJoin(parts, ", "), ")");
}

absl::StatusOr<std::string> InBlockRange(const v1::KeyRange& range) {
  std::vector<std::string> conditions;
  const auto add = [&](const char* op, const v1::KeyBound& bound) -> absl::Status {
    int64_t block = -1;
    if (bound.values_size() != 1 || !absl::SimpleAtoi(bound.values(0), &block) || block < 0) {
      return absl::InvalidArgumentError("a physical range needs block numbers as bounds");
    }
    conditions.push_back(absl::StrCat("ctid ", op, " '(", block, ",0)'::tid"));
    return absl::OkStatus();
  };
  if (range.nulls()) return absl::InvalidArgumentError("a physical range has no NULL keys");
  if (range.has_lower()) TM_RETURN_IF_ERROR(add(">=", range.lower()));
  if (range.has_upper()) TM_RETURN_IF_ERROR(add("<", range.upper()));
  return conditions.empty() ? "true" : absl::StrCat("(", absl::StrJoin(conditions, " AND "), ")");
}

}  // namespace

absl::StatusOr<WatermarkKind> WatermarkKindOf(const SourceColumn& column, const v1::SourceSpec& source) {
  switch (column.type.oid) {
    case kTimestamptzOid:
      return WatermarkKind::kInstant;
    case kTimestampOid:
      if (source.watermark_timezone().empty()) {
        return absl::InvalidArgumentError(absl::StrCat("watermark column ", column.column.name(),
                                                       " is a timestamp without time zone: set watermark_timezone to "
                                                       "the zone its values are written in, e.g. UTC"));
      }
      return WatermarkKind::kNaive;
    case kDateOid:
      return WatermarkKind::kDate;
    case kInt2Oid:
    case kInt4Oid:
    case kInt8Oid:
      return WatermarkKind::kInteger;
    case kXid8Oid:
      return WatermarkKind::kXid8;
    default:
      return absl::InvalidArgumentError(absl::StrCat("watermark column ", column.column.name(), " is ",
                                                     column.column.native_type(),
                                                     "; a PostgreSQL watermark is a timestamptz, timestamp (with "
                                                     "watermark_timezone), date, smallint, integer, bigint or "
                                                     "xid8 column"));
  }
}

std::string TypedLiteral(const BaseType& type, std::string_view text) {
  return absl::StrCat(QuoteLiteral(text), "::", type.Sql());
}

std::string LowestLiteral(const BaseType& type) {
  switch (type.oid) {
    case kInt2Oid:
      return TypedLiteral(type, absl::StrCat(INT16_MIN));
    case kInt4Oid:
      return TypedLiteral(type, absl::StrCat(INT32_MIN));
    case kInt8Oid:
      return TypedLiteral(type, absl::StrCat(INT64_MIN));
    case kXid8Oid:
      return TypedLiteral(type, "0");
    default:
      return TypedLiteral(type, "-infinity");
  }
}

std::string HighestLiteral(const BaseType& type) {
  switch (type.oid) {
    case kInt2Oid:
      return TypedLiteral(type, absl::StrCat(INT16_MAX));
    case kInt4Oid:
      return TypedLiteral(type, absl::StrCat(INT32_MAX));
    case kInt8Oid:
      return TypedLiteral(type, absl::StrCat(INT64_MAX));
    case kXid8Oid:
      return TypedLiteral(type, absl::StrCat(UINT64_MAX));
    default:
      return TypedLiteral(type, "infinity");
  }
}

absl::StatusOr<ReadSql> ReadSql::Create(const Relation* relation, const v1::JobSpec* job) {
  const SourceColumn* watermark = nullptr;
  if (!job->source().watermark().empty()) {
    TM_ASSIGN_OR_RETURN(watermark, relation->Column(job->source().watermark()));
    TM_RETURN_IF_ERROR(WatermarkKindOf(*watermark, job->source()).status());
  } else if (relation->is_query() && HasPlaceholders(relation->sql)) {
    return absl::InvalidArgumentError(
        "the source query uses :last_watermark or :watermark_snapshot, but the job names no watermark column");
  }
  return ReadSql(relation, job, watermark);
}

absl::StatusOr<std::string> ReadSql::From(const v1::Window& window) const {
  if (!relation_->is_query()) return relation_->sql;
  std::string low = "NULL";
  std::string high = "NULL";
  if (watermark_ != nullptr) {
    const BaseType& type = watermark_->type;
    const bool bounded = Bounded(window);
    low = bounded && window.has_low() ? TypedLiteral(type, window.low().text()) : LowestLiteral(type);
    high = bounded && window.has_high() ? TypedLiteral(type, window.high().text()) : HighestLiteral(type);
  }
  TM_ASSIGN_OR_RETURN(const std::string bound, BindPlaceholders(relation_->sql, low, high));
  return AsSubselect(bound);
}

std::string ReadSql::FromSample(double percent) const {
  // A fixed seed: the same window described twice is cut the same way.
  return absl::StrCat(relation_->sql, " TABLESAMPLE SYSTEM (", percent, ") REPEATABLE (42)");
}

bool ReadSql::Bounded(const v1::Window& window) const {
  if (!window.has_low() && !window.has_high()) return false;
  // The strategy full takes everything; `high` is only what a later increment goes on from.
  return window.kind() != v1::WINDOW_KIND_FULL || job_->target().strategy() != v1::LOAD_STRATEGY_FULL;
}

absl::StatusOr<std::string> ReadSql::InWindow(const v1::Window& window) const {
  if (!Bounded(window)) return "true";
  if (watermark_ == nullptr) {
    return absl::InvalidArgumentError("a window has bounds, but the job names no watermark column");
  }
  const std::string column = QuoteIdentifier(watermark_->column.name());
  std::vector<std::string> conditions;
  if (window.has_low())
    conditions.push_back(absl::StrCat(column, " > ", TypedLiteral(watermark_->type, window.low().text())));
  if (window.has_high())
    conditions.push_back(absl::StrCat(column, " <= ", TypedLiteral(watermark_->type, window.high().text())));
  const std::string inside = absl::StrCat("(", absl::StrJoin(conditions, " AND "), ")");
  return window.nulls() ? absl::StrCat("(", inside, " OR ", column, " IS NULL)") : inside;
}

absl::StatusOr<std::string> ReadSql::InRange(const v1::KeyRange& range) const {
  switch (range.partitioning()) {
    case v1::PARTITIONING_UNSPECIFIED:
    case v1::PARTITIONING_NONE:
      return "true";
    case v1::PARTITIONING_PHYSICAL:
      if (!relation_->heap)
        return absl::InvalidArgumentError(absl::StrCat(relation_->label, " has no physical ranges"));
      return InBlockRange(range);
    case v1::PARTITIONING_KEY:
      return InKeyRange(range);
    default:
      return absl::InvalidArgumentError("a range of an unknown partitioning");
  }
}

absl::StatusOr<std::string> ReadSql::InKeyRange(const v1::KeyRange& range) const {
  if (range.columns().empty()) return absl::InvalidArgumentError("a key range names no column");
  std::vector<const SourceColumn*> columns;
  std::vector<std::string> names;
  std::vector<std::string> conditions;
  for (const std::string& name : range.columns()) {
    TM_ASSIGN_OR_RETURN(const SourceColumn* column, relation_->Column(name));
    columns.push_back(column);
    names.push_back(QuoteIdentifier(name));
  }
  if (range.nulls()) {
    for (const std::string& name : names) conditions.push_back(absl::StrCat(name, " IS NULL"));
    return absl::StrCat("(", absl::StrJoin(conditions, " OR "), ")");
  }
  // Rows with a NULL have a range of their own, also where this one is open at both ends, and where a composite key's
  // order is decided before its NULL is seen.
  for (size_t i = 0; i < columns.size(); ++i) {
    if (columns[i]->column.nullable()) conditions.push_back(absl::StrCat(names[i], " IS NOT NULL"));
  }
  const auto add = [&](const char* op, const v1::KeyBound& bound) -> absl::Status {
    if (bound.values_size() != range.columns_size()) {
      return absl::InvalidArgumentError(
          absl::StrCat("a key range over ", range.columns_size(), " columns has a bound of ", bound.values_size()));
    }
    std::vector<std::string> values;
    for (size_t i = 0; i < columns.size(); ++i) {
      values.push_back(TypedLiteral(columns[i]->type, bound.values(static_cast<int>(i))));
    }
    conditions.push_back(absl::StrCat(Tuple(names), " ", op, " ", Tuple(values)));
    return absl::OkStatus();
  };
  if (range.has_lower()) TM_RETURN_IF_ERROR(add(">=", range.lower()));
  if (range.has_upper()) TM_RETURN_IF_ERROR(add("<", range.upper()));
  return conditions.empty() ? "true" : absl::StrCat("(", absl::StrJoin(conditions, " AND "), ")");
}

}  // namespace tidemark::postgres
