#include "worker/connectors/adbc/adbc_source.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "common/base/status_macros.h"
#include "common/model/duration.h"
#include "common/model/source_settings.h"
#include "common/model/watermark.h"
#include "worker/connector/query_text.h"
#include "worker/connectors/adbc/adbc_connection.h"
#include "worker/connectors/adbc/arrow_chunk_reader.h"

namespace tidemark::adbc {
namespace {

using Type = v1::LogicalType;

std::string Quoted(absl::string_view name) {
  return absl::StrCat("\"", absl::StrReplaceAll(name, {{"\"", "\"\""}}), "\"");
}

bool IsInteger(Type::Kind kind) {
  return kind == Type::KIND_INT16 || kind == Type::KIND_INT32 || kind == Type::KIND_INT64;
}

bool IsTime(Type::Kind kind) {
  return kind == Type::KIND_DATE || kind == Type::KIND_TIMESTAMP || kind == Type::KIND_TIMESTAMPTZ;
}

absl::StatusOr<int64_t> NumberOf(const v1::Watermark& watermark) {
  int64_t number;
  if (absl::SimpleAtoi(watermark.text(), &number)) return number;
  return absl::InvalidArgumentError(absl::StrCat("the watermark '", watermark.text(), "' is no integer"));
}

absl::StatusOr<absl::Time> TimeOf(const v1::Watermark& watermark) {
  if (const auto time = InstantOf(watermark)) return *time;
  return absl::InvalidArgumentError(absl::StrCat("the watermark '", watermark.text(), "' is no date or time"));
}

class DriverSourceSession final : public SourceSession {
 public:
  DriverSourceSession(std::unique_ptr<Connection> connection, const std::string& name, const v1::JobSpec& job)
      : connection_(std::move(connection)), name_(name), job_(job) {}

  absl::StatusOr<SourceDescription> Describe() override {
    TM_RETURN_IF_ERROR(Resolve());
    SourceDescription description;
    description.schema = *schema_;
    description.capabilities.add_partitionings(v1::PARTITIONING_NONE);
    description.capabilities.add_partitionings(v1::PARTITIONING_KEY);
    description.capabilities.add_formats(v1::CHUNK_FORMAT_ARROW);
    description.notes.push_back(Untested());
    return description;
  }

  absl::StatusOr<std::string> Identity() override { return std::string(); }

  absl::StatusOr<HorizonProbe> ProbeHorizon(const std::optional<LastWindow>& last) override {
    TM_ASSIGN_OR_RETURN(const v1::Column* column, WatermarkColumn());
    TM_ASSIGN_OR_RETURN(const std::string from, From({}));
    TM_ASSIGN_OR_RETURN(const auto rows,
                        connection_->Query(absl::StrCat("SELECT max(", Quoted(column->name()), ") FROM ", from)));
    HorizonProbe probe;
    probe.high = rows.empty() || !rows[0].at(0) ? LeastOf(*column) : WatermarkOf(*column, *rows[0][0]);
    // A value that cannot be ordered is of no use for the next window.
    TM_RETURN_IF_ERROR(IsAbove(probe.high, probe.high).status());
    const absl::Duration lookback = IsInteger(column->type().kind()) ? absl::ZeroDuration() : Lookback(job_.source());
    probe.completeness.set_level(v1::Completeness::LEVEL_LOOKBACK);
    probe.completeness.set_lookback_seconds(absl::ToInt64Seconds(lookback));
    probe.completeness.add_premises(Untested());
    probe.completeness.add_premises(absl::StrCat("the bound is the greatest ", column->name(),
                                                 " seen: a transaction that is open may commit below it"));
    if (lookback == absl::ZeroDuration()) {
      probe.completeness.add_premises("the numbers are no times: nothing before the last watermark is read again");
    }
    if (!last) return probe;
    TM_ASSIGN_OR_RETURN(const bool above, IsAbove(probe.high, last->high));
    if (!above) probe.high = last->high;
    const absl::Duration reach =
        IsInteger(column->type().kind()) ? absl::ZeroDuration() : std::max(lookback, last->lookback);
    // What has committed late stands below a greatest value that need not have moved.
    probe.empty = !above && reach == absl::ZeroDuration();
    if (reach > absl::ZeroDuration()) {
      TM_ASSIGN_OR_RETURN(const absl::Time low, TimeOf(last->high));
      probe.effective_low = WatermarkOf(*column, TextOf(*column, low - reach));
      probe.effective_low->set_zone(last->high.zone());
    }
    return probe;
  }

  absl::StatusOr<bool> MayHoldRowsAbove(const v1::Watermark&) override { return true; }

  absl::StatusOr<bool> IsAbove(const v1::Watermark& value, const v1::Watermark& bound) override {
    TM_ASSIGN_OR_RETURN(const v1::Column* column, WatermarkColumn());
    if (IsInteger(column->type().kind())) {
      TM_ASSIGN_OR_RETURN(const int64_t a, NumberOf(value));
      TM_ASSIGN_OR_RETURN(const int64_t b, NumberOf(bound));
      return a > b;
    }
    TM_ASSIGN_OR_RETURN(const absl::Time a, TimeOf(value));
    TM_ASSIGN_OR_RETURN(const absl::Time b, TimeOf(bound));
    return a > b;
  }

  absl::StatusOr<bool> HorizonReached(const v1::Watermark&) override {
    return absl::UnimplementedError("an ADBC driver has no horizon to wait for");
  }

  absl::StatusOr<int64_t> CountNullWatermarks() override {
    TM_ASSIGN_OR_RETURN(const v1::Column* column, WatermarkColumn());
    TM_ASSIGN_OR_RETURN(const std::string from, From({}));
    return QueryInt(absl::StrCat("SELECT count(*) FROM ", from, " WHERE ", Quoted(column->name()), " IS NULL"));
  }

  absl::StatusOr<std::string> OpenSnapshot() override {
    return absl::UnimplementedError("an ADBC driver offers no snapshot");
  }
  absl::Status ImportSnapshot(std::string_view) override {
    return absl::UnimplementedError("an ADBC driver offers no snapshot");
  }

  absl::StatusOr<std::vector<v1::PartitionFacts>> DescribePartitions(const v1::Window& window, std::string_view by,
                                                                     int wanted) override {
    TM_RETURN_IF_ERROR(Resolve());
    std::vector<v1::PartitionFacts> all;
    if (by.empty()) return all;
    const v1::Column* column = Find(absl::string_view(by.data(), by.size()));
    if (column == nullptr)
      return absl::NotFoundError(absl::StrCat(what_, " has no column ", std::string(by), " to be partitioned by"));
    if (!IsInteger(column->type().kind())) {
      return absl::InvalidArgumentError(absl::StrCat("column ", column->name(), " (", column->native_type(),
                                                     ") cannot be partitioned by through an ADBC driver: choose an "
                                                     "integer"));
    }
    TM_ASSIGN_OR_RETURN(const std::string rows, RowsOf(window));
    const std::string name = Quoted(column->name());
    TM_ASSIGN_OR_RETURN(const auto ends,
                        connection_->Query(absl::StrCat("SELECT min(", name, "), max(", name, ") FROM ", rows)));
    v1::PartitionFacts facts;
    facts.set_partitioning(v1::PARTITIONING_KEY);
    facts.add_columns(column->name());
    facts.set_nullable(true);
    int64_t least, greatest;
    if (!ends.empty() && ends[0].at(0) && absl::SimpleAtoi(*ends[0][0], &least) &&
        absl::SimpleAtoi(*ends[0].at(1), &greatest)) {
      // Even steps: how the keys lie between them only a scan would tell.
      const __int128 span = static_cast<__int128>(greatest) - least + 1;
      int64_t last = least;
      for (int i = 1; i < std::max(wanted, 1); ++i) {
        const auto cut = static_cast<int64_t>(least + span * i / std::max(wanted, 1));
        if (cut > last) facts.add_quantiles()->add_values(absl::StrCat(cut));
        last = cut;
      }
    }
    all.push_back(std::move(facts));
    return all;
  }

  absl::StatusOr<std::unique_ptr<ChunkReader>> Read(const ReadRequest& request) override {
    TM_RETURN_IF_ERROR(Resolve());
    if (request.format != v1::CHUNK_FORMAT_ARROW) return absl::InvalidArgumentError("ADBC speaks Arrow only");
    std::vector<std::string> columns;
    for (const v1::Column& column : request.schema.columns()) {
      if (Find(column.name()) == nullptr) {
        return absl::NotFoundError(absl::StrCat(what_, " no longer has the column ", column.name()));
      }
      columns.push_back(Quoted(column.name()));
    }
    TM_ASSIGN_OR_RETURN(std::string rows, RowsOf(request.window));
    TM_RETURN_IF_ERROR(AddRange(request.range, &rows));
    TM_ASSIGN_OR_RETURN(auto reader,
                        connection_->Read(absl::StrCat("SELECT ", absl::StrJoin(columns, ", "), " FROM ", rows)));
    return ReadChunks(std::move(reader), request.schema);
  }

  void Cancel() override { connection_->Cancel(); }

 private:
  std::string Untested() const {
    return absl::StrCat("Tidemark is not tested with the ADBC driver ", name_,
                        ": nothing is known of its transactions and its clock");
  }

  absl::Status Resolve() {
    if (schema_) return absl::OkStatus();
    if (job_.source().query().empty()) {
      what_ = absl::StrCat("table ", job_.source().table());
    } else {
      what_ = "the query";
      TM_ASSIGN_OR_RETURN(query_, CleanQuery(job_.source().query()));
    }
    // The types of a driver that reads them off its rows are those of the first ones.
    TM_ASSIGN_OR_RETURN(const std::string from, From({}));
    TM_ASSIGN_OR_RETURN(const auto reader, connection_->Read(absl::StrCat("SELECT * FROM ", from)));
    TM_ASSIGN_OR_RETURN(v1::TableSchema schema, SchemaOf(*reader->schema()));
    schema_ = std::move(schema);
    return absl::OkStatus();
  }

  const v1::Column* Find(absl::string_view name) const {
    for (const v1::Column& column : schema_->columns()) {
      if (absl::EqualsIgnoreCase(column.name(), name)) return &column;
    }
    return nullptr;
  }

  absl::StatusOr<const v1::Column*> WatermarkColumn() {
    TM_RETURN_IF_ERROR(Resolve());
    const std::string& name = job_.source().watermark();
    if (name.empty()) return absl::UnimplementedError(absl::StrCat(what_, " is read without a watermark"));
    const v1::Column* column = Find(name);
    if (column == nullptr)
      return absl::NotFoundError(absl::StrCat(what_, " has no column ", name, " to be the watermark"));
    const Type::Kind kind = column->type().kind();
    if (IsInteger(kind) || IsTime(kind)) return column;
    return absl::InvalidArgumentError(absl::StrCat(
        "column ", name, " (", column->native_type(),
        ") cannot be a watermark: it needs ascending integers, dates or timestamps; convert it in source.query"));
  }

  v1::Watermark WatermarkOf(const v1::Column& column, absl::string_view text) const {
    v1::Watermark watermark;
    const Type::Kind kind = column.type().kind();
    if (kind == Type::KIND_TIMESTAMPTZ) {
      watermark.set_text(absl::StrCat(absl::StripSuffix(text, "Z"), absl::EndsWith(text, "Z") ? "+00" : ""));
    } else {
      watermark.set_text(std::string(text));
    }
    watermark.set_type(IsInteger(kind)                  ? "bigint"
                       : kind == Type::KIND_DATE        ? "date"
                       : kind == Type::KIND_TIMESTAMPTZ ? "timestamptz"
                                                        : "timestamp");
    watermark.set_precision(column.type().scale());
    if (kind == Type::KIND_TIMESTAMP) watermark.set_zone(job_.source().watermark_timezone());
    return watermark;
  }

  std::string TextOf(const v1::Column& column, absl::Time time) const {
    if (column.type().kind() == Type::KIND_DATE) return absl::FormatTime("%Y-%m-%d", time, absl::UTCTimeZone());
    return absl::StrCat(absl::FormatTime("%Y-%m-%d %H:%M:%E6S", time, absl::UTCTimeZone()),
                        column.type().kind() == Type::KIND_TIMESTAMPTZ ? "+00" : "");
  }

  // Of a relation without rows: the next window has everything.
  v1::Watermark LeastOf(const v1::Column& column) const {
    if (IsInteger(column.type().kind())) return WatermarkOf(column, absl::StrCat(std::numeric_limits<int64_t>::min()));
    return WatermarkOf(column, column.type().kind() == Type::KIND_DATE          ? "0001-01-01"
                               : column.type().kind() == Type::KIND_TIMESTAMPTZ ? "0001-01-01 00:00:00+00"
                                                                                : "0001-01-01 00:00:00");
  }

  // A literal that every dialect compares with the column.
  absl::StatusOr<std::string> Literal(const v1::Column& column, const v1::Watermark& watermark) const {
    if (!IsInteger(column.type().kind())) {
      TM_RETURN_IF_ERROR(TimeOf(watermark).status());
      return absl::StrCat("'", watermark.text(), "'");
    }
    TM_ASSIGN_OR_RETURN(const int64_t number, NumberOf(watermark));
    return absl::StrCat(number);
  }

  bool IsBounded(const v1::Window& window) const {
    return window.has_high() &&
           !(window.kind() == v1::WINDOW_KIND_FULL && job_.target().strategy() == v1::LOAD_STRATEGY_FULL);
  }

  // What follows FROM: the table, or the query, bound to `window`.
  absl::StatusOr<std::string> From(const v1::Window& window) {
    if (query_.empty()) {
      const std::vector<std::string> parts = TableParts(job_.source().table());
      return absl::StrJoin(parts, ".",
                           [](std::string* out, const std::string& part) { absl::StrAppend(out, Quoted(part)); });
    }
    if (!HasPlaceholders(query_)) return AsSubselect(query_);
    std::string low = "'0001-01-01 00:00:00'", high = "'9999-12-31 23:59:59'";
    const v1::Column* column = schema_ ? Find(job_.source().watermark()) : nullptr;
    if (column != nullptr && IsInteger(column->type().kind())) {
      low = absl::StrCat(std::numeric_limits<int64_t>::min() + 1);
      high = absl::StrCat(std::numeric_limits<int64_t>::max());
    } else if (column == nullptr) {
      low = high = "NULL";
    }
    if (column != nullptr && window.has_low()) {
      TM_ASSIGN_OR_RETURN(low, Literal(*column, window.low()));
    }
    if (column != nullptr && IsBounded(window)) {
      TM_ASSIGN_OR_RETURN(high, Literal(*column, window.high()));
    }
    TM_ASSIGN_OR_RETURN(const std::string bound, BindPlaceholders(query_, low, high));
    return AsSubselect(bound);
  }

  static std::vector<std::string> TableParts(const std::string& table) {
    std::vector<std::string> parts(1);
    bool quoted = false;
    for (size_t i = 0; i < table.size(); ++i) {
      if (table[i] == '"' && quoted && i + 1 < table.size() && table[i + 1] == '"') {
        parts.back().push_back(table[++i]);
      } else if (table[i] == '"') {
        quoted = !quoted;
      } else if (table[i] == '.' && !quoted) {
        parts.emplace_back();
      } else {
        parts.back().push_back(table[i]);
      }
    }
    return parts;
  }

  // "… WHERE …": the rows of the window.
  absl::StatusOr<std::string> RowsOf(const v1::Window& window) {
    TM_ASSIGN_OR_RETURN(std::string rows, From(window));
    absl::StrAppend(&rows, " WHERE 1 = 1");
    if (job_.source().watermark().empty() || (!window.has_low() && !IsBounded(window))) return rows;
    TM_ASSIGN_OR_RETURN(const v1::Column* column, WatermarkColumn());
    const std::string name = Quoted(column->name());
    std::vector<std::string> bounds;
    if (window.has_low()) {
      TM_ASSIGN_OR_RETURN(const std::string low, Literal(*column, window.low()));
      bounds.push_back(absl::StrCat(name, " > ", low));
    }
    if (IsBounded(window)) {
      TM_ASSIGN_OR_RETURN(const std::string high, Literal(*column, window.high()));
      bounds.push_back(absl::StrCat(name, " <= ", high));
    }
    const std::string condition = absl::StrJoin(bounds, " AND ");
    absl::StrAppend(&rows, " AND ((", condition, ")", window.nulls() ? absl::StrCat(" OR ", name, " IS NULL") : "",
                    ")");
    return rows;
  }

  absl::Status AddRange(const v1::KeyRange& range, std::string* rows) const {
    if (range.partitioning() == v1::PARTITIONING_NONE || range.partitioning() == v1::PARTITIONING_UNSPECIFIED)
      return absl::OkStatus();
    const v1::Column* column = range.columns_size() == 1 ? Find(range.columns(0)) : nullptr;
    if (range.partitioning() != v1::PARTITIONING_KEY || column == nullptr)
      return absl::InvalidArgumentError(absl::StrCat(what_, " is cut by one of its columns only"));
    const std::string name = Quoted(column->name());
    if (range.nulls()) {
      absl::StrAppend(rows, " AND ", name, " IS NULL");
      return absl::OkStatus();
    }
    absl::StrAppend(rows, " AND ", name, " IS NOT NULL");
    for (const v1::KeyBound* bound :
         {range.has_lower() ? &range.lower() : nullptr, range.has_upper() ? &range.upper() : nullptr}) {
      if (bound == nullptr) continue;
      int64_t value;
      if (bound->values_size() != 1 || !absl::SimpleAtoi(bound->values(0), &value))
        return absl::InvalidArgumentError("the bound of a range is no integer");
      absl::StrAppend(rows, " AND ", name, bound == &range.lower() ? " >= " : " < ", value);
    }
    return absl::OkStatus();
  }

  absl::StatusOr<int64_t> QueryInt(const std::string& sql) {
    TM_ASSIGN_OR_RETURN(const auto rows, connection_->Query(sql));
    int64_t number;
    if (rows.empty() || !rows[0].at(0) || !absl::SimpleAtoi(*rows[0][0], &number))
      return absl::InternalError(absl::StrCat("the ADBC driver ", name_, " counted no rows"));
    return number;
  }

  const std::unique_ptr<Connection> connection_;
  const std::string name_;
  const v1::JobSpec job_;
  std::string what_;
  // Empty: a table is read.
  std::string query_;
  std::optional<v1::TableSchema> schema_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<SourceSession>> OpenSourceSession(
    const Driver& driver, const std::string& name, const std::vector<std::pair<std::string, std::string>>& options,
    const v1::JobSpec& job) {
  TM_ASSIGN_OR_RETURN(const auto database, Database::Open(driver, options));
  TM_ASSIGN_OR_RETURN(auto connection, database->Connect());
  return std::make_unique<DriverSourceSession>(std::move(connection), name, job);
}

}  // namespace tidemark::adbc
