// The wrapper against the one driver of this build.
#include <arrow/array/builder_binary.h>
#include <arrow/array/builder_primitive.h>
#include <arrow/record_batch.h>
#include <arrow/type.h>

#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/temp_dir.h"
#include "worker/connectors/adbc/adbc_connection.h"
#include "worker/connectors/adbc/adbc_database.h"

extern "C" uint8_t duckdb_adbc_init(int version, void* driver, AdbcError* error);

namespace tidemark::adbc {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Row = Connection::Row;

std::shared_ptr<arrow::RecordBatch> Batch(const std::vector<std::optional<int64_t>>& ids, const std::string& note) {
  arrow::Int64Builder id;
  arrow::StringBuilder text;
  for (const auto& each : ids) {
    EXPECT_TRUE((each ? id.Append(*each) : id.AppendNull()).ok());
    EXPECT_TRUE(text.Append(note).ok());
  }
  return arrow::RecordBatch::Make(arrow::schema({arrow::field("id", arrow::int64()), arrow::field("n", arrow::utf8())}),
                                  static_cast<int64_t>(ids.size()), {*id.Finish(), *text.Finish()});
}

class AdbcDuckdbTest : public ::testing::Test {
 protected:
  std::shared_ptr<Database> OpenFile() {
    auto database = Database::Open({.init = &duckdb_adbc_init}, {{"path", directory_.File("a.db")}, {"threads", "2"}});
    EXPECT_TRUE(database.ok()) << database.status();
    return *std::move(database);
  }
  static std::unique_ptr<Connection> Connect(Database& database) {
    auto connection = database.Connect();
    EXPECT_TRUE(connection.ok()) << connection.status();
    return *std::move(connection);
  }
  static void Exec(Connection& connection, const std::string& sql) {
    const auto done = connection.Execute(sql);
    ASSERT_TRUE(done.ok()) << done.status();
  }
  static std::vector<Row> Query(Connection& connection, const std::string& sql) {
    auto rows = connection.Query(sql);
    EXPECT_TRUE(rows.ok()) << rows.status();
    return rows.ok() ? *std::move(rows) : std::vector<Row>();
  }

  test::TempDir directory_;
};

TEST_F(AdbcDuckdbTest, AFileKeepsWhatWasWritten) {
  Exec(*Connect(*OpenFile()), "CREATE TABLE t AS SELECT 1 AS id, 'a' AS n UNION ALL SELECT NULL, NULL");
  EXPECT_THAT(Query(*Connect(*OpenFile()), "SELECT id, n, id IS NULL FROM t ORDER BY id"),
              ElementsAre(Row{"1", "a", "false"}, Row{std::nullopt, std::nullopt, "true"}));
}

TEST_F(AdbcDuckdbTest, AConnectionKeepsItsDatabaseOpen) {
  const auto connection = Connect(*OpenFile());
  Exec(*connection, "CREATE TABLE t (id INTEGER)");
  EXPECT_THAT(Query(*connection, "SELECT count(*) FROM t"), ElementsAre(Row{"0"}));
}

TEST_F(AdbcDuckdbTest, ExecuteCountsTheRowsChanged) {
  const auto connection = Connect(*OpenFile());
  Exec(*connection, "CREATE TABLE t (id INTEGER)");
  EXPECT_EQ(*connection->Execute("INSERT INTO t SELECT unnest(range(5))"), 5);
  EXPECT_EQ(*connection->Execute("DELETE FROM t WHERE id > 2"), 2);
  EXPECT_EQ(*connection->Execute("MERGE INTO t USING (SELECT unnest([2, 7]) AS id) s USING (id) WHEN NOT MATCHED THEN "
                                 "INSERT WHEN MATCHED THEN UPDATE SET id = s.id"),
            2);
}

TEST_F(AdbcDuckdbTest, ATransactionIsSeenWholeOrNotAtAll) {
  const auto database = OpenFile();
  const auto writer = Connect(*database);
  const auto reader = Connect(*database);
  Exec(*writer, "CREATE TABLE t (id BIGINT, n VARCHAR)");
  const auto count = [&] { return *Query(*reader, "SELECT count(*) FROM t").at(0).at(0); };
  {
    Transaction transaction(*writer);
    ASSERT_TRUE(transaction.Begin().ok());
    ASSERT_TRUE(writer->Ingest({"main", "t"}, *Batch({1, std::nullopt}, "x")).ok());
    Exec(*writer, "CREATE TABLE beside (id INTEGER)");
    EXPECT_EQ(count(), "0");
  }
  EXPECT_EQ(count(), "0");
  Exec(*writer, "CREATE TABLE beside (id INTEGER)");
  Transaction transaction(*writer);
  ASSERT_TRUE(transaction.Begin().ok());
  EXPECT_EQ(*writer->Ingest({"main", "t"}, *Batch({1, std::nullopt}, "x")), 2);
  EXPECT_EQ(*writer->Ingest({"", "t"}, *Batch({3}, "y")), 1);
  EXPECT_EQ(count(), "0");
  ASSERT_TRUE(transaction.Commit().ok());
  EXPECT_EQ(count(), "3");
  // Outside of it, a statement is one again.
  Exec(*writer, "INSERT INTO t VALUES (4, 'z')");
  EXPECT_EQ(count(), "4");
}

TEST_F(AdbcDuckdbTest, RowsGoIntoATableOfAnotherSchema) {
  const auto connection = Connect(*OpenFile());
  Exec(*connection, "CREATE SCHEMA \"a \"\" b\"");
  Exec(*connection, "CREATE TABLE \"a \"\" b\".\"t'\" (id BIGINT, n VARCHAR)");
  const auto rows = connection->Ingest({"a \" b", "t'"}, *Batch({1}, "x"));
  ASSERT_TRUE(rows.ok()) << rows.status();
  EXPECT_THAT(Query(*connection, "SELECT * FROM \"a \"\" b\".\"t'\""), ElementsAre(Row{"1", "x"}));
  const absl::Status missing = connection->Ingest({"main", "t"}, *Batch({1}, "x")).status();
  EXPECT_FALSE(missing.ok());
}

TEST_F(AdbcDuckdbTest, AResultIsReadInBatches) {
  const auto connection = Connect(*OpenFile());
  auto reader = connection->Read("SELECT range AS id FROM range(100000)");
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_EQ((*reader)->schema()->field(0)->name(), "id");
  int64_t rows = 0, batches = 0;
  while (true) {
    const auto batch = (*reader)->Next();
    ASSERT_TRUE(batch.ok()) << batch.status();
    if (*batch == nullptr) break;
    rows += (*batch)->num_rows();
    ++batches;
  }
  EXPECT_EQ(rows, 100000);
  EXPECT_GT(batches, 1);
}

TEST_F(AdbcDuckdbTest, AnErrorHasTheDriversMessage) {
  const auto connection = Connect(*OpenFile());
  const absl::Status unknown = connection->Execute("SELECT * FROM nowhere").status();
  EXPECT_THAT(std::string(unknown.message()), HasSubstr("Table with name nowhere does not exist"));
  const absl::Status late = connection->Query("SELECT error('at row ' || range) FROM range(5000)").status();
  EXPECT_THAT(std::string(late.message()), HasSubstr("at row 0"));
  const absl::Status missing =
      Database::Open({.init = &duckdb_adbc_init}, {{"path", directory_.File("no/such/folder/a.db")}}).status();
  EXPECT_THAT(std::string(missing.message()), HasSubstr("no/such/folder"));
}

TEST_F(AdbcDuckdbTest, ADriverCanSayWhatItsErrorsMean) {
  const auto database = Database::Open(
      {.init = &duckdb_adbc_init,
       .read_error =
           [](const absl::Status& error) { return absl::AbortedError(absl::StrCat("told: ", error.message())); }},
      {{"path", directory_.File("a.db")}});
  ASSERT_TRUE(database.ok()) << database.status();
  const auto connection = Connect(**database);
  const absl::Status told = connection->Execute("SELECT * FROM nowhere").status();
  EXPECT_TRUE(absl::IsAborted(told)) << told;
  EXPECT_THAT(std::string(told.message()), HasSubstr("told: "));
  EXPECT_TRUE(absl::IsAborted(connection->Query("SELECT error('late')").status()));
}

TEST_F(AdbcDuckdbTest, CancelEndsAStatementAndAllAfterIt) {
  const auto database = OpenFile();
  const auto connection = Connect(*database);
  Exec(*connection, "CREATE TABLE t (id BIGINT)");
  Transaction transaction(*connection);
  ASSERT_TRUE(transaction.Begin().ok());
  Exec(*connection, "INSERT INTO t VALUES (1)");
  absl::Status ended;
  std::thread statement([&] {
    // A day's work in small steps; each of them ends by Cancel too.
    while (ended.ok()) ended = connection->Execute("INSERT INTO t SELECT count(*) FROM range(100000000)").status();
  });
  connection->Cancel();
  statement.join();
  EXPECT_TRUE(absl::IsCancelled(ended)) << ended;
  EXPECT_TRUE(absl::IsCancelled(connection->Query("SELECT 1").status()));
  EXPECT_TRUE(absl::IsCancelled(transaction.Commit()));
  EXPECT_THAT(Query(*Connect(*database), "SELECT count(*) FROM t"), ElementsAre(Row{"0"}));
}

}  // namespace
}  // namespace tidemark::adbc
