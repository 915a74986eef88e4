// What a run promises not to exceed: rows per second on the source over all workers, memory of the process.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/substitute.h"
#include "absl/time/time.h"
#include "tests/integration/postgres_oracle.h"
#include "tests/integration/project.h"
#include "tests/support/postgres_server.h"

namespace tidemark::test {
namespace {

// Kilobytes, from the kernel's own high-water mark of the process.
int64_t PeakResidentKilobytes(int pid) {
  std::ifstream status(absl::StrCat("/proc/", pid, "/status"));
  for (std::string line; std::getline(status, line);) {
    if (line.rfind("VmHWM:", 0) == 0) return std::atoll(line.c_str() + 6);
  }
  return 0;
}

TEST(Limits, RowsPerSecondHoldOverTwoWorkers) {
  PostgresServer& server = PostgresServer::Shared();
  const std::string source = server.NewDatabase();
  const std::string target = server.NewDatabase();
  const char* wanted = std::getenv("TIDEMARK_TEST_RATE_ROWS");
  const int64_t rows = wanted ? std::atoll(wanted) : 400'000;
  Exec(source,
       absl::StrCat("CREATE TABLE t AS SELECT g::bigint AS id, md5(g::text) AS payload FROM generate_series(1, ", rows,
                    ") g; ALTER TABLE t ADD PRIMARY KEY (id)"));
  Project project(absl::Substitute(R"(
connections:
  shop: { dsn: "$0", max_connections: 4, max_rows_per_second: 50000 }
  warehouse: { dsn: "$1" }
jobs:
  t:
    source: { connection: shop, table: public.t, partitions: 8 }
    target: { connection: warehouse, table: public.t, strategy: full }
)",
                                   source, target));
  RunOutcome outcome = project.Run({"--workers", "2"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(outcome.job()["rows_loaded"], rows);
  // Reading is the slowest stage here by far, so the run lasts as long as the limit makes it. What a run takes before
  // its first row and after its last weighs on a short one.
  const double rate = rows / outcome.job()["duration_seconds"].get<double>();
  RecordProperty("rows_per_second", absl::StrCat(rate));
  EXPECT_LE(rate, 55'000);
  EXPECT_GE(rate, wanted ? 45'000 : 40'000) << outcome.job().dump();
}

// What AddressSanitizer keeps besides: its shadow, and freed memory in quarantine. The program is built like this test,
// unless TIDEMARK_BIN names another.
int64_t SanitizerMegabytes() {
#ifdef __SANITIZE_ADDRESS__
  return std::getenv("TIDEMARK_BIN") == nullptr ? 448 : 0;
#else
  return 0;
#endif
}

TEST(Limits, MemoryStaysWithinTheBudget) {
  PostgresServer& server = PostgresServer::Shared();
  const std::string source = server.NewDatabase();
  const std::string target = server.NewDatabase();
  const char* wanted = std::getenv("TIDEMARK_TEST_WIDE_ROWS");
  const int64_t rows = wanted ? std::atoll(wanted) : 90'000;
  // Incompressible, so that 10 kB are 10 kB on the wire.
  Exec(source, absl::StrCat("CREATE TABLE wide (id bigint PRIMARY KEY, payload text);"
                            "ALTER TABLE wide ALTER payload SET STORAGE EXTERNAL;"
                            "INSERT INTO wide SELECT g, repeat(md5(g::text), 312) FROM generate_series(1, ",
                            rows, ") g"));
  Project project(absl::Substitute(R"(
connections:
  shop: { dsn: "$0", max_connections: 4 }
  warehouse: { dsn: "$1" }
jobs:
  wide:
    source: { connection: shop, table: public.wide, partitions: 4 }
    target: { connection: warehouse, table: public.wide, strategy: full }
)",
                                   source, target));
  const int64_t budget_megabytes = wanted ? 1024 : 128;
  auto process = project.Start({"--memory", absl::StrCat(budget_megabytes, "MiB")});
  int64_t peak = 0;
  absl::StatusOr<int> exit_code;
  do {
    exit_code = process->Wait(absl::Milliseconds(20));
    if (!exit_code.ok()) peak = std::max(peak, PeakResidentKilobytes(process->pid()));
  } while (absl::IsDeadlineExceeded(exit_code.status()));
  ASSERT_EQ(exit_code.value(), 0) << process->err();
  RecordProperty("peak_resident_megabytes", std::to_string(peak / 1024));
  RecordProperty("budget_megabytes", std::to_string(budget_megabytes));
  EXPECT_GT(peak, 0);
  EXPECT_LE(peak, (budget_megabytes * 11 / 10 + SanitizerMegabytes()) * 1024);
  EXPECT_EQ(Fingerprint(source, "wide", "id, payload"), Fingerprint(target, "wide", "id, payload"));
}

}  // namespace
}  // namespace tidemark::test
