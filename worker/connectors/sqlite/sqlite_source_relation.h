#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>
#include "absl/strings/string_view.h"

#include "absl/status/statusor.h"
#include "tidemark/v1/spec.pb.h"
#include "tidemark/v1/values.pb.h"
#include "tidemark/v1/worker_control.pb.h"
#include "worker/connectors/sqlite/sqlite_catalog.h"
#include "worker/connectors/sqlite/sqlite_database.h"

namespace tidemark::sqlite {

using SqlValue = std::variant<int64_t, double, std::string>;

// The conditions of one SELECT with the values of their parameters.
class Selection {
 public:
  void And(std::string condition) { conditions_.push_back(std::move(condition)); }
  // A parameter of ours, by its name with the colon. Bound where the statement has it.
  void Bind(std::string name, SqlValue value) { values_.emplace_back(std::move(name), std::move(value)); }
  // " WHERE …", or nothing.
  std::string Where() const;
  void ApplyTo(Statement& statement) const;

 private:
  std::vector<std::string> conditions_;
  std::vector<std::pair<std::string, SqlValue>> values_;
};

// What a job reads: a table, a view or the user's query, wrapped so that windows and ranges can be put around it.
struct SourceRelation {
  // What follows FROM.
  std::string from;
  // Of the catalog; absent for a query.
  std::optional<Relation> relation;
  v1::TableSchema schema;
  // Empty: the job has none.
  std::string watermark;
  // Reads everything whatever the window's `high`.
  bool unbounded_full = false;

  // For messages: "table orders".
  std::string what;

  const v1::Column* Find(absl::string_view column) const;
  // False where only reading every row would tell.
  bool Indexed(absl::string_view column) const { return relation.has_value() && relation->Indexed(column); }
  std::string rowid_name() const { return relation.has_value() ? relation->rowid_name : std::string(); }

  // The rows of the window. Binds the user's :last_watermark and :watermark_snapshot too.
  absl::StatusOr<Selection> SelectWindow(const v1::Window& window) const;
  // Narrows to the rows of the range.
  absl::Status SelectRange(const v1::KeyRange& range, Selection* selection) const;
};

// Reads the catalog, and for columns whose declaration does not tell their type a sample of at most 1000 rows.
absl::StatusOr<SourceRelation> ResolveSource(Database& db, const v1::JobSpec& job);

// A watermark as SQLite compares it: an integer, or text.
absl::StatusOr<SqlValue> WatermarkValue(const v1::Watermark& watermark);

// Of watermarks of an integer column; all others are text.
inline constexpr absl::string_view kIntegerWatermark = "integer";

}  // namespace tidemark::sqlite
