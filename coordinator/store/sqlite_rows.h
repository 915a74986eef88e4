#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "coordinator/store/records.h"
#include "coordinator/store/sqlite_database.h"

namespace tidemark::coordinator {

// The statements that write and read one table's rows. They agree with the Values and Read functions of its record.
struct SqliteTable {
  // Binds Values(record).
  std::string insert;
  // Binds Values(record) and, after them, the revision the row must have.
  std::string update;
  // Without a WHERE; gives the columns that Read… reads, `version` last.
  std::string select;
};

const SqliteTable& JobTable();
const SqliteTable& RunTable();
const SqliteTable& TaskTable();
const SqliteTable& PermitTable();

// `job.id` is written by the insert alone. `job_id` is the surrogate of the run's job.
absl::StatusOr<SqliteValues> Values(const JobRecord& job);
absl::StatusOr<SqliteValues> Values(const RunRecord& run, int64_t job_id);
absl::StatusOr<SqliteValues> Values(const TaskRecord& task);
absl::StatusOr<SqliteValues> Values(const PermitRecord& permit);

// DataLoss if a column holds what no version of the store writes.
absl::StatusOr<JobRecord> ReadJob(SqliteRow& row);
absl::StatusOr<RunRecord> ReadRun(SqliteRow& row);
absl::StatusOr<TaskRecord> ReadTask(SqliteRow& row);
absl::StatusOr<PermitRecord> ReadPermit(SqliteRow& row);

// RFC 3339 in UTC with six digits, so that times sort as text.
std::string TimeText(absl::Time time);
absl::StatusOr<absl::Time> ParseTime(const std::string& text);

}  // namespace tidemark::coordinator
