// The main job from a SQLite file to PostgreSQL with the real program: full, upsert of what changed, nothing.
// TIDEMARK_TEST_ROWS sets the size of lineitem (the `long` tier runs 6,000,000).
#include <gtest/gtest.h>

#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "absl/strings/substitute.h"
#include "tests/integration/postgres_oracle.h"
#include "tests/integration/project.h"
#include "tests/integration/sqlite_file.h"
#include "tests/support/postgres_server.h"

namespace tidemark::test {
namespace {

int64_t Rows() {
  const char* rows = std::getenv("TIDEMARK_TEST_ROWS");
  return rows ? std::atoll(rows) : 40'000;
}

std::string LineitemProject(const std::string& target, const std::string& strategy) {
  return absl::Substitute(R"(
connections:
  shop: { dsn: "sqlite:shop.db", max_connections: 2 }
  warehouse: { dsn: "$0" }
jobs:
  lineitem:
    source: { connection: shop, table: lineitem, watermark: updated_at, partitions: 8 }
    target: { connection: warehouse, table: public.lineitem, strategy: $1, key: [id] }
)",
                          target, strategy);
}

void CreateSqliteLineitem(const std::string& path, int64_t rows) {
  SqliteExec(path, absl::StrCat(R"(
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = OFF;
    CREATE TABLE lineitem (
      id INTEGER PRIMARY KEY, l_orderkey BIGINT NOT NULL, l_partkey BIGINT NOT NULL, l_suppkey BIGINT NOT NULL,
      l_linenumber BIGINT NOT NULL, l_quantity DECIMAL(15,2) NOT NULL, l_extendedprice DECIMAL(15,2) NOT NULL,
      l_discount DECIMAL(15,2) NOT NULL, l_tax DECIMAL(15,2) NOT NULL, l_returnflag VARCHAR NOT NULL,
      l_linestatus VARCHAR NOT NULL, l_shipdate DATE NOT NULL, l_commitdate DATE NOT NULL, l_receiptdate DATE NOT NULL,
      l_shipinstruct VARCHAR NOT NULL, l_shipmode VARCHAR NOT NULL, l_comment VARCHAR NOT NULL,
      updated_at TIMESTAMPTZ NOT NULL);
    INSERT INTO lineitem
      WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < )",
                                rows, R"(), s AS (SELECT i, (i * 2654435761) & 2147483647 AS h FROM n)
      SELECT i, i / 4 + 1, 1 + (h & 65535) * 3, 1 + (h >> 8 & 8191), i % 4 + 1, 1 + h % 50,
             ((h & 65535) + 900) * (1 + h % 50) / 100.0, (h >> 3) % 11 / 100.0, (h >> 5) % 9 / 100.0,
             substr('ANR', 1 + (h >> 7) % 3, 1), substr('OF', 1 + (h >> 9) % 2, 1),
             date('1992-01-02', ((h >> 2) % 2526) || ' days'), date('1992-01-31', ((h >> 4) % 2466) || ' days'),
             date('1992-01-04', ((h >> 6) % 2554) || ' days'), 'DELIVER IN PERSON',
             substr('AIR  RAIL SHIP TRUCK', 1 + 5 * ((h >> 13) % 4), 5), 'carefully "final", ' || h,
             strftime('%Y-%m-%dT%H:%M:%fZ', 1735689600 + i / 1000.0, 'unixepoch')
        FROM s;
    CREATE INDEX lineitem_updated_at ON lineitem (updated_at))"));
}

// Of the file's rows, brought to the server by the two programs' own CSV: a way that shares no code with ours.
std::string SourceFingerprint(const std::string& file, const std::string& target) {
  Exec(target, "DROP TABLE IF EXISTS expected; CREATE TABLE expected (LIKE lineitem)");
  const std::string copy = absl::Substitute(
      R"(sqlite3 -csv '$0' 'SELECT $1 FROM lineitem' | psql -qX '$2' -c '\copy expected ($1) FROM STDIN (FORMAT csv)')",
      file, kLineitemColumns, target);
  const ProcessResult result = *RunProcess({"sh", "-c", copy}, absl::Minutes(30));
  EXPECT_EQ(result.exit_code, 0) << result.err;
  return Fingerprint(target, "expected", kLineitemColumns);
}

TEST(SqliteLine, FullThenChangesThenNothing) {
  const std::string target = PostgresServer::Shared().NewDatabase();
  const int64_t rows = Rows();
  Project project(LineitemProject(target, "full"));
  const std::string file = project.directory() + "/shop.db";
  CreateSqliteLineitem(file, rows);

  RunOutcome full = project.Run();
  ASSERT_EQ(full.exit_code, 0) << full.err;
  EXPECT_EQ(full.job()["rows_read"], rows);
  EXPECT_EQ(full.job()["rows_loaded"], rows);
  EXPECT_GE(full.job()["partitions"], 8);
  EXPECT_LE(full.job()["peak_source_connections"], 2);
  RecordProperty("rows", std::to_string(rows));
  RecordProperty("partitions", full.job()["partitions"].dump());
  RecordProperty("full_seconds", full.job()["duration_seconds"].dump());
  EXPECT_EQ(full.job()["completeness"], "proved");
  EXPECT_EQ(SourceFingerprint(file, target), Fingerprint(target, "lineitem", kLineitemColumns));

  SqliteExec(file,
             "UPDATE lineitem SET l_quantity = l_quantity + 1, l_comment = 'changed', "
             "updated_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now') WHERE id % 10 = 0");
  project.Write(LineitemProject(target, "upsert"));
  RunOutcome changed = project.Run();
  ASSERT_EQ(changed.exit_code, 0) << changed.err;
  EXPECT_EQ(changed.job()["rows_read"], rows / 10);
  EXPECT_EQ(changed.job()["rows_loaded"], rows / 10);
  RecordProperty("upsert_seconds", changed.job()["duration_seconds"].dump());
  EXPECT_EQ(SourceFingerprint(file, target), Fingerprint(target, "lineitem", kLineitemColumns));

  RunOutcome nothing = project.Run();
  ASSERT_EQ(nothing.exit_code, 0) << nothing.err;
  EXPECT_EQ(nothing.job()["rows_read"], 0);
  EXPECT_EQ(nothing.job()["status"], "success");
  EXPECT_EQ(LedgerViolations(target, "public.lineitem"), "");
}

}  // namespace
}  // namespace tidemark::test
