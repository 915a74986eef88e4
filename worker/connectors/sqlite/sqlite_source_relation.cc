#include "worker/connectors/sqlite/sqlite_source_relation.h"

#include <sqlite3.h>

#include <limits>
#include <set>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "common/base/status_macros.h"
#include "worker/connectors/sqlite/column_type.h"
#include "worker/connectors/sqlite/iso_text.h"

namespace tidemark::sqlite {
namespace {

using Type = v1::LogicalType;

constexpr int kSampleRows = 500;

bool IsInteger(Type::Kind kind) {
  return kind == Type::KIND_INT16 || kind == Type::KIND_INT32 || kind == Type::KIND_INT64 || kind == Type::KIND_BOOL;
}

// What a user's query sees as :last_watermark before the first window, and as :watermark_snapshot where there is no
// bound.
SqlValue Extreme(const v1::Column* watermark, bool greatest) {
  const Type::Kind kind = watermark != nullptr ? watermark->type().kind() : Type::KIND_TIMESTAMP;
  if (IsInteger(kind)) return greatest ? std::numeric_limits<int64_t>::max() : std::numeric_limits<int64_t>::min();
  if (kind == Type::KIND_DATE) return std::string(greatest ? "9999-12-31" : "0001-01-01");
  return std::string(greatest ? "9999-12-31 23:59:59.999999" : "0001-01-01 00:00:00");
}

absl::StatusOr<SqlValue> BoundValue(const v1::Column& column, const std::string& text) {
  if (IsInteger(column.type().kind())) {
    int64_t number;
    if (absl::SimpleAtoi(text, &number)) return number;
    return absl::InvalidArgumentError(
        absl::StrCat("column ", column.name(), " is an integer; '", text, "' bounds no range of it"));
  }
  if (column.type().kind() == Type::KIND_FLOAT64 || column.type().kind() == Type::KIND_FLOAT32) {
    double number;
    if (absl::SimpleAtod(text, &number)) return number;
    return absl::InvalidArgumentError(
        absl::StrCat("column ", column.name(), " is a float; '", text, "' bounds no range of it"));
  }
  return text;
}

// What the sampled values of one column tell.
struct Evidence {
  bool integers = false, reals = false, texts = false, blobs = false;
  bool all_instants = true;
};

absl::StatusOr<std::vector<Evidence>> Sample(Database& db, const SourceRelation& source,
                                             const std::vector<std::string>& columns) {
  std::vector<Evidence> evidence(columns.size());
  const std::string select = absl::StrCat(
      "SELECT ", absl::StrJoin(columns, ", ", [](std::string* out, const std::string& name) { *out += Quoted(name); }),
      " FROM ", source.from);
  // The last rows too: what is written today may differ from what was written first.
  std::vector<std::string> samples = {absl::StrCat(select, " LIMIT ", kSampleRows)};
  if (const std::string rowid = source.rowid_name(); !rowid.empty()) {
    samples.push_back(absl::StrCat(select, " ORDER BY ", rowid, " DESC LIMIT ", kSampleRows));
  }
  for (const std::string& sql : samples) {
    TM_ASSIGN_OR_RETURN(Statement statement, db.Prepare(sql));
    // Numbers sort below texts and texts below blobs, so these bounds let every value of a user's query through.
    if (const int low = statement.ParameterIndex(":last_watermark"); low > 0) {
      statement.BindDouble(low, -std::numeric_limits<double>::infinity());
    }
    if (const int high = statement.ParameterIndex(":watermark_snapshot"); high > 0) statement.BindBlob(high, "\xff");
    while (true) {
      TM_ASSIGN_OR_RETURN(const bool row, statement.Step());
      if (!row) break;
      for (size_t i = 0; i < columns.size(); ++i) {
        Evidence& seen = evidence[i];
        switch (sqlite3_column_type(statement.get(), static_cast<int>(i))) {
          case SQLITE_INTEGER:
            seen.integers = true;
            break;
          case SQLITE_FLOAT:
            seen.reals = true;
            break;
          case SQLITE_TEXT: {
            seen.texts = true;
            const auto timestamp = ParseTimestamp(statement.Text(static_cast<int>(i)));
            if (!timestamp || timestamp->suffix.empty()) seen.all_instants = false;
            break;
          }
          case SQLITE_BLOB:
            seen.blobs = true;
            break;
        }
      }
    }
  }
  return evidence;
}

// Sets the types that the declarations left open. A DATETIME column whose texts name an offset holds instants.
absl::Status SettleTypes(Database& db, SourceRelation* source, const std::vector<bool>& open) {
  std::vector<std::string> names;
  std::vector<int> positions;
  for (int i = 0; i < source->schema.columns_size(); ++i) {
    const v1::Column& column = source->schema.columns(i);
    if (!open[i] && column.type().kind() != Type::KIND_TIMESTAMP) continue;
    names.push_back(column.name());
    positions.push_back(i);
  }
  if (names.empty()) return absl::OkStatus();
  TM_ASSIGN_OR_RETURN(const std::vector<Evidence> evidence, Sample(db, *source, names));
  for (size_t i = 0; i < names.size(); ++i) {
    const Evidence& seen = evidence[i];
    Type* type = source->schema.mutable_columns(positions[i])->mutable_type();
    if (!open[positions[i]]) {
      if (seen.texts && seen.all_instants) type->set_kind(Type::KIND_TIMESTAMPTZ);
    } else if (seen.blobs && !seen.texts && !seen.integers && !seen.reals) {
      type->set_kind(Type::KIND_BYTES);
    } else if (seen.reals && !seen.texts && !seen.blobs) {
      type->set_kind(Type::KIND_FLOAT64);
    } else if (seen.integers && !seen.texts && !seen.blobs) {
      type->set_kind(Type::KIND_INT64);
    } else {
      type->set_kind(Type::KIND_STRING);
    }
  }
  return absl::OkStatus();
}

absl::Status DescribeColumns(Database& db, SourceRelation* source) {
  TM_ASSIGN_OR_RETURN(Statement statement, db.Prepare(absl::StrCat("SELECT * FROM ", source->from)));
  std::vector<bool> open;
  for (int i = 0; i < sqlite3_column_count(statement.get()); ++i) {
    v1::Column* column = source->schema.add_columns();
    column->set_name(sqlite3_column_name(statement.get(), i));
    const char* declared = sqlite3_column_decltype(statement.get(), i);
    column->set_native_type(declared != nullptr ? declared : "");
    const auto type = LogicalTypeOf(column->native_type());
    if (type) *column->mutable_type() = *type;
    open.push_back(!type.has_value());
    const CatalogColumn* known = source->relation ? source->relation->Find(column->name()) : nullptr;
    const bool never_null = known != nullptr && (known->not_null || known->name == source->relation->rowid_column ||
                                                 (source->relation->without_rowid && known->key_position > 0));
    column->set_nullable(!never_null);
  }
  if (source->relation && source->relation->kind == Relation::Kind::kTable) {
    for (const std::string& name : source->relation->PrimaryKey()) source->schema.add_primary_key(name);
  }
  return SettleTypes(db, source, open);
}

absl::StatusOr<std::string> WrappedQuery(Database& db, const std::string& query) {
  absl::string_view text = absl::StripAsciiWhitespace(query);
  while (absl::ConsumeSuffix(&text, ";")) text = absl::StripTrailingAsciiWhitespace(text);
  TM_ASSIGN_OR_RETURN(Statement statement, db.Prepare(text));
  if (statement.get() == nullptr || sqlite3_column_count(statement.get()) == 0 ||
      sqlite3_stmt_readonly(statement.get()) == 0) {
    return absl::InvalidArgumentError("source.query must be one SELECT");
  }
  for (int i = 1; i <= sqlite3_bind_parameter_count(statement.get()); ++i) {
    const char* name = sqlite3_bind_parameter_name(statement.get(), i);
    if (name == nullptr ||
        (absl::string_view(name) != ":last_watermark" && absl::string_view(name) != ":watermark_snapshot")) {
      return absl::InvalidArgumentError(absl::StrCat("source.query has the parameter ", name == nullptr ? "?" : name,
                                                     "; there are :last_watermark and :watermark_snapshot"));
    }
  }
  std::set<std::string> names;
  for (int i = 0; i < sqlite3_column_count(statement.get()); ++i) {
    const std::string name = sqlite3_column_name(statement.get(), i);
    if (!names.insert(name).second) {
      return absl::InvalidArgumentError(absl::StrCat(
          "source.query needs a distinct name for every column; give column ", i + 1, " (", name, ") an alias"));
    }
  }
  // On lines of their own, so that a comment at the end of the query swallows nothing.
  return absl::StrCat("(\n", text, "\n) AS tidemark_query");
}

}  // namespace

std::string Selection::Where() const {
  return conditions_.empty() ? std::string() : absl::StrCat(" WHERE ", absl::StrJoin(conditions_, " AND "));
}

void Selection::ApplyTo(Statement& statement) const {
  for (const auto& [name, value] : values_) {
    const int parameter = statement.ParameterIndex(name.c_str());
    if (parameter == 0) continue;
    if (const auto* number = std::get_if<int64_t>(&value)) {
      statement.BindInt(parameter, *number);
    } else if (const auto* real = std::get_if<double>(&value)) {
      statement.BindDouble(parameter, *real);
    } else {
      statement.BindText(parameter, std::get<std::string>(value));
    }
  }
}

absl::StatusOr<SqlValue> WatermarkValue(const v1::Watermark& watermark) {
  if (watermark.type() != kIntegerWatermark) return SqlValue(watermark.text());
  int64_t number;
  if (!absl::SimpleAtoi(watermark.text(), &number)) {
    return absl::InvalidArgumentError(absl::StrCat("the watermark '", watermark.text(), "' is not an integer"));
  }
  return SqlValue(number);
}

const v1::Column* SourceRelation::Find(absl::string_view column) const {
  for (const v1::Column& candidate : schema.columns()) {
    if (absl::EqualsIgnoreCase(candidate.name(), column)) return &candidate;
  }
  return nullptr;
}

absl::StatusOr<Selection> SourceRelation::SelectWindow(const v1::Window& window) const {
  Selection selection;
  const v1::Column* column = Find(watermark);
  SqlValue low = Extreme(column, false);
  SqlValue high = Extreme(column, true);
  if (window.has_low()) {
    TM_ASSIGN_OR_RETURN(low, WatermarkValue(window.low()));
  }
  const bool bounded = window.has_high() && !(window.kind() == v1::WINDOW_KIND_FULL && unbounded_full);
  if (bounded) {
    TM_ASSIGN_OR_RETURN(high, WatermarkValue(window.high()));
  }
  if (!watermark.empty() && (window.has_low() || bounded)) {
    // Without a lower bound most rows are in the window: the plus keeps SQLite from looking up each of them by the
    // watermark's index, when the range of the key would read them as they lie.
    const std::string name = absl::StrCat(window.has_low() ? "" : "+", Quoted(watermark));
    std::vector<std::string> bounds;
    if (window.has_low()) bounds.push_back(absl::StrCat(name, " > :tidemark_low"));
    if (bounded) bounds.push_back(absl::StrCat(name, " <= :tidemark_high"));
    const std::string condition = absl::StrJoin(bounds, " AND ");
    selection.And(window.nulls() ? absl::StrCat("((", condition, ") OR ", name, " IS NULL)") : condition);
  }
  selection.Bind(":tidemark_low", low);
  selection.Bind(":tidemark_high", high);
  selection.Bind(":last_watermark", std::move(low));
  selection.Bind(":watermark_snapshot", std::move(high));
  return selection;
}

absl::Status SourceRelation::SelectRange(const v1::KeyRange& range, Selection* selection) const {
  std::vector<v1::Column> columns;
  if (range.partitioning() == v1::PARTITIONING_NONE || range.partitioning() == v1::PARTITIONING_UNSPECIFIED)
    return absl::OkStatus();
  if (range.partitioning() == v1::PARTITIONING_PHYSICAL) {
    if (rowid_name().empty()) return absl::InvalidArgumentError(absl::StrCat(what, " has no rowid to be cut by"));
    v1::Column rowid;
    rowid.set_name(rowid_name());
    rowid.mutable_type()->set_kind(Type::KIND_INT64);
    columns.push_back(rowid);
  } else {
    for (const std::string& name : range.columns()) {
      const v1::Column* column = Find(name);
      if (column == nullptr)
        return absl::InvalidArgumentError(absl::StrCat(what, " has no column ", name, " to be cut by"));
      columns.push_back(*column);
    }
  }
  if (columns.empty()) return absl::InvalidArgumentError("a range of a key names no column");
  const auto joined = [&](absl::string_view separator, absl::string_view suffix) {
    return absl::StrJoin(columns, separator, [&](std::string* out, const v1::Column& column) {
      absl::StrAppend(out, Quoted(column.name()), suffix);
    });
  };
  if (range.nulls()) {
    selection->And(absl::StrCat("(", joined(" OR ", " IS NULL"), ")"));
    return absl::OkStatus();
  }
  // Without it a composite key with a NULL after its first column would be in two ranges.
  if (range.partitioning() == v1::PARTITIONING_KEY) selection->And(joined(" AND ", " IS NOT NULL"));
  const auto bound = [&](const v1::KeyBound& values, absl::string_view comparison,
                         absl::string_view name) -> absl::Status {
    if (values.values_size() != static_cast<int>(columns.size())) {
      return absl::InvalidArgumentError("the bound of a range has not one value per column of its key");
    }
    std::vector<std::string> parameters;
    for (size_t i = 0; i < columns.size(); ++i) {
      parameters.push_back(absl::StrCat(":tidemark_", name, i));
      TM_ASSIGN_OR_RETURN(SqlValue value, BoundValue(columns[i], values.values(static_cast<int>(i))));
      selection->Bind(parameters.back(), std::move(value));
    }
    selection->And(absl::StrCat("(", joined(", ", ""), ") ", comparison, " (", absl::StrJoin(parameters, ", "), ")"));
    return absl::OkStatus();
  };
  if (range.has_lower()) TM_RETURN_IF_ERROR(bound(range.lower(), ">=", "lower"));
  if (range.has_upper()) TM_RETURN_IF_ERROR(bound(range.upper(), "<", "upper"));
  return absl::OkStatus();
}

absl::StatusOr<SourceRelation> ResolveSource(Database& db, const v1::JobSpec& job) {
  SourceRelation source;
  source.unbounded_full = job.target().strategy() == v1::LOAD_STRATEGY_FULL;
  if (!job.source().query().empty()) {
    TM_ASSIGN_OR_RETURN(source.from, WrappedQuery(db, job.source().query()));
    source.what = "the query";
  } else {
    TM_ASSIGN_OR_RETURN(source.relation, FindRelation(db, job.source().table()));
    if (!source.relation) {
      return absl::NotFoundError(
          absl::StrCat("SQLite file ", db.path(), " has no table or view ", job.source().table()));
    }
    source.from = Quoted(source.relation->name);
    source.what = absl::StrCat("table ", source.relation->name);
  }
  TM_RETURN_IF_ERROR(DescribeColumns(db, &source));
  if (!job.source().watermark().empty()) {
    const v1::Column* column = source.Find(job.source().watermark());
    if (column == nullptr) {
      return absl::NotFoundError(absl::StrCat(
          source.what, " has no column ", job.source().watermark(), " to be the watermark; it has ",
          absl::StrJoin(source.schema.columns(), ", ",
                        [](std::string* out, const v1::Column& held) { absl::StrAppend(out, held.name()); })));
    }
    source.watermark = column->name();
  }
  return source;
}

}  // namespace tidemark::sqlite
