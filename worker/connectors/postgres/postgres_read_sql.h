#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "tidemark/v1/spec.pb.h"
#include "tidemark/v1/values.pb.h"
#include "tidemark/v1/worker_control.pb.h"
#include "worker/connectors/postgres/postgres_relation.h"

namespace tidemark::postgres {

// What a watermark column is to the horizon.
enum class WatermarkKind { kInstant, kNaive, kDate, kInteger, kXid8 };

// InvalidArgument, saying what is accepted, for a column that cannot be a watermark.
absl::StatusOr<WatermarkKind> WatermarkKindOf(const SourceColumn& column, const v1::SourceSpec& source);

// 'text'::"pg_catalog"."timestamptz".
std::string TypedLiteral(const BaseType& type, std::string_view text);

// Below and above every value of a watermark's type.
std::string LowestLiteral(const BaseType& type);
std::string HighestLiteral(const BaseType& type);

// What statements of a job select from and by: a pure function of the relation, the job, and the window.
class ReadSql {
 public:
  // `relation` and `job` outlive it. NotFound if the job's watermark column is not in the relation.
  static absl::StatusOr<ReadSql> Create(const Relation* relation, const v1::JobSpec* job);

  // The item of a FROM clause: the table, or the query as a subselect with its placeholders bound to `window`.
  absl::StatusOr<std::string> From(const v1::Window& window) const;
  // The same with TABLESAMPLE; only for tables.
  std::string FromSample(double percent) const;

  // A condition for `window`, in parentheses; "true" where it holds everything.
  absl::StatusOr<std::string> InWindow(const v1::Window& window) const;
  bool Bounded(const v1::Window& window) const;

  // A condition for `range`. The ranges of one plan hold every row exactly once.
  absl::StatusOr<std::string> InRange(const v1::KeyRange& range) const;

  // nullptr if the job has no watermark.
  const SourceColumn* watermark() const { return watermark_; }
  const Relation& relation() const { return *relation_; }

 private:
  ReadSql(const Relation* relation, const v1::JobSpec* job, const SourceColumn* watermark)
      : relation_(relation), job_(job), watermark_(watermark) {}
  absl::StatusOr<std::string> InKeyRange(const v1::KeyRange& range) const;

  const Relation* relation_;
  const v1::JobSpec* job_;
  const SourceColumn* watermark_;
};

}  // namespace tidemark::postgres
