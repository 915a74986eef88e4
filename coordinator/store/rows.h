#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "coordinator/store/records.h"

namespace tidemark::coordinator {

// How records stand in the tables of every database.

// What stands in a column. A time is its TimeText.
using StoredValue = std::variant<std::monostate, bool, int64_t, std::string>;
using StoredValues = std::vector<StoredValue>;

struct StoredColumn {
  enum class Kind { kText, kInteger, kBoolean, kTime };
  std::string name;
  Kind kind = Kind::kText;
};

// A table of revision-checked rows. Its columns, the key first, agree with Values and Read of its record; `version`,
// the revision, stands behind them.
struct StoredTable {
  std::string name;
  std::vector<StoredColumn> columns;
  // How many columns after the key an update leaves alone.
  size_t fixed = 0;
};

// A row of a query's result, read column by column from the left.
class RowReader {
 public:
  virtual ~RowReader() = default;
  virtual int64_t Integer() = 0;
  virtual bool Boolean() = 0;
  virtual std::optional<std::string> OptionalText() = 0;
  virtual void Skip(int columns) = 0;
  // Empty for NULL.
  std::string Text() { return OptionalText().value_or(""); }
};

const StoredTable& ConnectionTable();
const StoredTable& JobTable();
const StoredTable& RunTable();
const StoredTable& TaskTable();
const StoredTable& PermitTable();
// Of etl_triggers, whose rows are never updated and have no `version`.
const std::vector<StoredColumn>& TriggerColumns();

// Surrogates are written by inserts alone: `job.id`, and `job_id`, that of the run's job.
absl::StatusOr<StoredValues> Values(const ConnectionRecord& connection);
absl::StatusOr<StoredValues> Values(const JobRecord& job);
absl::StatusOr<StoredValues> Values(const RunRecord& run, int64_t job_id);
absl::StatusOr<StoredValues> Values(const TaskRecord& task);
absl::StatusOr<StoredValues> Values(const PermitRecord& permit);
StoredValues Values(const TriggerRecord& trigger);

// Read the columns of their tables, `version` last. DataLoss if a column holds what no version of the store writes.
absl::StatusOr<ConnectionRecord> ReadConnection(RowReader& row);
absl::StatusOr<JobRecord> ReadJob(RowReader& row);
absl::StatusOr<RunRecord> ReadRun(RowReader& row);
absl::StatusOr<TaskRecord> ReadTask(RowReader& row);
absl::StatusOr<PermitRecord> ReadPermit(RowReader& row);
absl::StatusOr<TriggerRecord> ReadTrigger(RowReader& row);
// happened_at, actor, action, subject, detail.
absl::StatusOr<AuditEvent> ReadAudit(RowReader& row);

// RFC 3339 in UTC with six digits, so that times sort as text.
std::string TimeText(absl::Time time);
absl::StatusOr<absl::Time> ParseTime(const std::string& text);

}  // namespace tidemark::coordinator
