#include "worker/connectors/duckdb/duckdb_target.h"

#include <arrow/array/builder_binary.h>
#include <arrow/array/builder_decimal.h>
#include <arrow/array/builder_primitive.h>
#include <arrow/array/builder_time.h>
#include <arrow/record_batch.h>
#include <arrow/util/decimal.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <limits>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/temp_dir.h"
#include "worker/batch/arrow_schema.h"
#include "worker/connectors/duckdb/duckdb_connector.h"
#include "worker/connectors/duckdb/duckdb_file.h"
#include "worker/connectors/duckdb/duckdb_name.h"
#include "worker/connectors/duckdb/duckdb_type.h"

namespace tidemark::duckdb {
namespace {

using ::testing::HasSubstr;
using Type = v1::LogicalType;

v1::Column* AddColumn(const std::string& name, Type::Kind kind, v1::TableSchema* schema) {
  v1::Column* column = schema->add_columns();
  column->set_name(name);
  column->set_nullable(true);
  column->mutable_type()->set_kind(kind);
  return column;
}

v1::TableSchema SchemaOf(Type::Kind kind, int precision = 0, int scale = 0) {
  v1::TableSchema schema;
  v1::Column* column = AddColumn("v", kind, &schema);
  column->mutable_type()->set_precision(precision);
  column->mutable_type()->set_scale(scale);
  return schema;
}

template <typename Builder, typename Value>
std::shared_ptr<arrow::Array> ArrayOf(Builder builder, const std::vector<Value>& values) {
  for (const Value& value : values) EXPECT_TRUE(builder.Append(value).ok());
  std::shared_ptr<arrow::Array> array;
  EXPECT_TRUE(builder.Finish(&array).ok());
  return array;
}

Chunk ChunkOf(const v1::TableSchema& schema, const arrow::ArrayVector& arrays) {
  return Chunk::FromArrow(arrow::RecordBatch::Make(*ArrowSchema(schema), arrays.at(0)->length(), arrays));
}

template <typename Builder, typename Value>
Chunk OneColumn(const v1::TableSchema& schema, Builder builder, const std::vector<Value>& values) {
  return ChunkOf(schema, {ArrayOf(std::move(builder), values)});
}

Chunk Integers(const std::vector<int64_t>& values) {
  return OneColumn(SchemaOf(Type::KIND_INT64), arrow::Int64Builder(), values);
}

Chunk Texts(const v1::TableSchema& schema, const std::vector<std::string>& values) {
  return OneColumn(schema, arrow::StringBuilder(), values);
}

std::string Message(const absl::Status& status) { return std::string(status.message()); }

RunIdentity RunOf(int number) {
  return {.cluster_id = "c", .job_uid = "j", .run_id = absl::StrCat("run", number), .epoch = 1, .sequence = number};
}

class DuckdbTarget : public ::testing::Test {
 protected:
  std::string path() const { return directory_.File("t.duckdb"); }

  static absl::StatusOr<std::unique_ptr<FileConnection>> TryOpen(const std::string& path) {
    return FileConnection::Open(path, FileConnection::Mode::kCreate);
  }
  void Sql(const std::string& sql) const {
    const auto file = TryOpen(path());
    ASSERT_TRUE(file.ok()) << file.status();
    const auto done = (**file)->Execute(sql);
    ASSERT_TRUE(done.ok()) << done.status();
  }
  std::string Scalar(const std::string& sql) const {
    const auto file = TryOpen(path());
    const auto rows = (**file)->Query(sql);
    EXPECT_TRUE(rows.ok()) << rows.status();
    return rows.ok() && !rows->empty() ? rows->at(0).at(0).value_or("NULL") : "";
  }

  static v1::JobSpec Job(v1::LoadStrategy strategy, const std::string& table = "t") {
    v1::JobSpec job;
    job.set_name("job");
    job.mutable_target()->set_table(table);
    job.mutable_target()->set_strategy(strategy);
    if (strategy == v1::LOAD_STRATEGY_UPSERT) job.mutable_target()->add_key("id");
    return job;
  }

  std::unique_ptr<TargetSession> Open(const v1::JobSpec& job) {
    v1::ConnectionSpec connection;
    connection.set_dsn(absl::StrCat("duckdb:", path()));
    auto session = connector_.OpenTarget(connection, job, {});
    EXPECT_TRUE(session.ok()) << session.status();
    return *std::move(session);
  }

  // One load of one chunk.
  absl::StatusOr<v1::CommitResult> Load(int number, const v1::JobSpec& job, const v1::TableSchema& schema,
                                        const Chunk& chunk, v1::WindowKind kind) {
    const auto session = Open(job);
    if (absl::Status status = session->Describe(schema, {v1::CHUNK_FORMAT_ARROW}).status(); !status.ok()) return status;
    if (absl::Status status = session->Prepare(RunOf(number), schema, TakeOver::kNothing); !status.ok()) return status;
    v1::CommitWork work;
    work.mutable_window()->set_kind(kind);
    *work.mutable_schema() = schema;
    auto writer = session->BeginMove(RunOf(number), 0, schema, v1::CHUNK_FORMAT_ARROW);
    if (!writer.ok()) return writer.status();
    if (absl::Status status = (*writer)->Write(chunk); !status.ok()) return status;
    const auto outcome = (*writer)->Commit();
    if (!outcome.ok()) return outcome.status();
    work.add_moves()->set_rows(outcome->rows);
    return session->Commit(RunOf(number), work);
  }
  absl::StatusOr<v1::CommitResult> LoadFull(int number, const v1::TableSchema& schema, const Chunk& chunk) {
    return Load(number, Job(v1::LOAD_STRATEGY_FULL), schema, chunk, v1::WINDOW_KIND_FULL);
  }
  std::string RefusalOf(const v1::TableSchema& schema, const Chunk& chunk) {
    const absl::Status status = LoadFull(1, schema, chunk).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    return Message(status);
  }

  test::TempDir directory_;
  DuckdbConnector connector_;
};

TEST(DuckdbName, ATableIsNamedByOneOrTwoParts) {
  for (const auto& [text, schema, table] :
       std::vector<std::tuple<std::string, std::string, std::string>>{{"orders", "main", "orders"},
                                                                      {"main.orders", "main", "orders"},
                                                                      {"\"a.b\"", "main", "a.b"},
                                                                      {"s.\"a \"\" b\"", "s", "a \" b"},
                                                                      {"\"s\".t", "s", "t"},
                                                                      {"grüße 🌊", "main", "grüße 🌊"}}) {
    const auto name = ParseTableName(text);
    ASSERT_TRUE(name.ok()) << text;
    EXPECT_EQ(name->schema, schema);
    EXPECT_EQ(name->table, table);
  }
  for (const char* text : {"", "a.", ".a", "a.b.c", "\"a", "\"a\"b", "\"\"", "a..b"})
    EXPECT_TRUE(absl::IsInvalidArgument(ParseTableName(text).status())) << text;
}

TEST(DuckdbType, WhatWeDeclareIsReadBack) {
  for (int kind = Type::KIND_BOOL; kind <= Type::KIND_JSON; ++kind) {
    Type type;
    type.set_kind(static_cast<Type::Kind>(kind));
    for (const int precision :
         kind == Type::KIND_DECIMAL ? std::vector<int>{0, 1, 38, 39, 76, 200} : std::vector<int>{0}) {
      type.set_precision(precision);
      type.set_scale(precision > 2 ? 2 : 0);
      const Type back = LogicalTypeOf(DeclaredType(type), CommentOf(type));
      EXPECT_EQ(back.kind(), type.kind()) << DeclaredType(type);
      EXPECT_EQ(back.precision(), type.precision()) << DeclaredType(type);
      if (kind == Type::KIND_DECIMAL) {
        EXPECT_EQ(back.scale(), type.scale());
      }
      EXPECT_TRUE(Holds(DeclaredType(type), type));
    }
  }
}

TEST(DuckdbType, AColumnHoldsWhatItWidensExactly) {
  Type type;
  type.set_kind(Type::KIND_INT32);
  for (const char* wide : {"INTEGER", "BIGINT", "HUGEINT"}) EXPECT_TRUE(Holds(wide, type)) << wide;
  for (const char* narrow : {"SMALLINT", "UBIGINT", "UINTEGER", "DOUBLE", "DECIMAL(18,0)", "VARCHAR"})
    EXPECT_FALSE(Holds(narrow, type)) << narrow;
  type.set_kind(Type::KIND_DECIMAL);
  type.set_precision(10);
  type.set_scale(2);
  for (const char* wide : {"DECIMAL(10,2)", "DECIMAL(12,4)", "DECIMAL(38,2)"}) EXPECT_TRUE(Holds(wide, type)) << wide;
  for (const char* narrow : {"DECIMAL(10,3)", "DECIMAL(9,2)", "DECIMAL(12,1)", "DOUBLE", "VARCHAR"})
    EXPECT_FALSE(Holds(narrow, type)) << narrow;
  type.set_kind(Type::KIND_TIMESTAMPTZ);
  EXPECT_FALSE(Holds("TIMESTAMP", type));
  EXPECT_FALSE(Holds("TIMESTAMP_NS", type));
}

TEST_F(DuckdbTarget, EdgesOfTypesAreKept) {
  ASSERT_TRUE(
      LoadFull(1, SchemaOf(Type::KIND_TIME),
               OneColumn(SchemaOf(Type::KIND_TIME),
                         arrow::Time64Builder(arrow::time64(arrow::TimeUnit::MICRO), arrow::default_memory_pool()),
                         std::vector<int64_t>{86'400'000'000}))
          .ok());
  EXPECT_EQ(Scalar("SELECT v::VARCHAR FROM t"), "24:00:00");
  Sql("DROP TABLE t");
  const v1::TableSchema vast = SchemaOf(Type::KIND_DECIMAL, 60, 5);
  arrow::Decimal256Builder decimals(ArrowType(vast.columns(0).type()));
  const std::string digits = "-1234567890123456789012345678901234567890123456789012345.00001";
  ASSERT_TRUE(
      LoadFull(2, vast, OneColumn(vast, std::move(decimals), std::vector{*arrow::Decimal256::FromString(digits)}))
          .ok());
  EXPECT_EQ(Scalar("SELECT v FROM t"), digits);
  EXPECT_EQ(Scalar("SELECT comment FROM duckdb_columns() WHERE table_name = 't'"), "decimal(60,5)");
  Sql("DROP TABLE t");
  const v1::TableSchema text = SchemaOf(Type::KIND_STRING);
  ASSERT_TRUE(LoadFull(3, text, Texts(text, {std::string("a\0b", 3)})).ok());
  EXPECT_EQ(Scalar("SELECT v = 'a' || chr(0) || 'b' FROM t"), "true");
}

TEST_F(DuckdbTarget, WhatDuckdbWouldChangeIsRefused) {
  const v1::TableSchema text = SchemaOf(Type::KIND_STRING);
  EXPECT_THAT(RefusalOf(text, Texts(text, {"good", "\xff\xfe"})), HasSubstr("column v holds bytes that are not UTF-8"));
  const v1::TableSchema day = SchemaOf(Type::KIND_DATE);
  for (const int32_t infinity : {std::numeric_limits<int32_t>::max(), -std::numeric_limits<int32_t>::max()})
    EXPECT_THAT(RefusalOf(day, OneColumn(day, arrow::Date32Builder(), std::vector{infinity})), HasSubstr("a date"));
  for (const Type::Kind kind : {Type::KIND_TIMESTAMP, Type::KIND_TIMESTAMPTZ}) {
    const v1::TableSchema moment = SchemaOf(kind);
    for (const int64_t infinity : {std::numeric_limits<int64_t>::max(), -std::numeric_limits<int64_t>::max(),
                                   std::numeric_limits<int64_t>::min()}) {
      arrow::TimestampBuilder builder(ArrowType(moment.columns(0).type()), arrow::default_memory_pool());
      EXPECT_THAT(RefusalOf(moment, OneColumn(moment, std::move(builder), std::vector{infinity})), HasSubstr("a time"));
    }
  }
  const v1::TableSchema money = SchemaOf(Type::KIND_DECIMAL, 4, 2);
  arrow::Decimal128Builder wide(ArrowType(money.columns(0).type()));
  EXPECT_THAT(RefusalOf(money, OneColumn(money, std::move(wide), std::vector{arrow::Decimal128(12345)})),
              HasSubstr("decimal"));
  const v1::TableSchema json = SchemaOf(Type::KIND_JSON);
  EXPECT_THAT(RefusalOf(json, Texts(json, {"{\"a\": 1}", "{\"a\": 1"})),
              HasSubstr("column v holds texts that are not JSON in 1 rows"));
  EXPECT_EQ(Scalar("SELECT count(*) FROM duckdb_tables() WHERE schema_name = 'main'"), "0");
}

TEST_F(DuckdbTarget, ARowThatTheTableRefusesFailsTheLoadWhole) {
  Sql("CREATE TABLE t (v BIGINT CHECK (v < 5))");
  Sql("INSERT INTO t VALUES (3)");
  const absl::Status refused = LoadFull(1, SchemaOf(Type::KIND_INT64), Integers({1, 7})).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(refused)) << refused;
  EXPECT_EQ(Scalar("SELECT string_agg(v::VARCHAR, ',') FROM t"), "3");
  EXPECT_FALSE(Open(Job(v1::LOAD_STRATEGY_FULL))->Probe(RunOf(1))->committed());
}

TEST_F(DuckdbTarget, WhatCannotBeLoadedIsRefusedBeforehand) {
  const v1::TableSchema schema = SchemaOf(Type::KIND_INT64);
  const auto refusal = [&](const v1::JobSpec& job) {
    return Message(Open(job)->Describe(schema, {v1::CHUNK_FORMAT_ARROW}).status());
  };
  Sql("CREATE TABLE base (v BIGINT)");
  Sql("CREATE VIEW seen AS FROM base");
  EXPECT_THAT(refusal(Job(v1::LOAD_STRATEGY_FULL, "seen")), HasSubstr("is a view"));
  Sql("CREATE TABLE made (a BIGINT, v BIGINT GENERATED ALWAYS AS (a))");
  EXPECT_THAT(refusal(Job(v1::LOAD_STRATEGY_FULL, "made")), HasSubstr("generated"));
  EXPECT_THAT(refusal(Job(v1::LOAD_STRATEGY_FULL, "tidemark.ledger")), HasSubstr("Tidemark's own"));
  v1::JobSpec rename = Job(v1::LOAD_STRATEGY_FULL, "base");
  rename.mutable_target()->set_swap(v1::SWAP_MODE_RENAME);
  EXPECT_THAT(refusal(rename), HasSubstr("target.swap"));
  EXPECT_EQ(refusal(Job(v1::LOAD_STRATEGY_FULL, "\"BASE\"")), "");
}

TEST_F(DuckdbTarget, ASchemaIsMadeWithItsTable) {
  ASSERT_TRUE(Load(1, Job(v1::LOAD_STRATEGY_FULL, "\"a \"\" b\".\"t'; DROP TABLE x; --\""), SchemaOf(Type::KIND_INT64),
                   Integers({1, 2}), v1::WINDOW_KIND_FULL)
                  .ok());
  EXPECT_EQ(Scalar("SELECT count(*) FROM \"a \"\" b\".\"t'; DROP TABLE x; --\""), "2");
}

// Rows (id, x, note) merged by id.
class DuckdbUpsert : public DuckdbTarget {
 protected:
  absl::StatusOr<v1::CommitResult> Upsert(int number, const std::vector<int64_t>& ids, double x,
                                          const std::string& note) {
    v1::TableSchema schema;
    AddColumn("id", Type::KIND_INT64, &schema);
    AddColumn("x", Type::KIND_FLOAT64, &schema);
    AddColumn("note", Type::KIND_STRING, &schema);
    const Chunk chunk = ChunkOf(schema, {ArrayOf(arrow::Int64Builder(), ids),
                                         ArrayOf(arrow::DoubleBuilder(), std::vector<double>(ids.size(), x)),
                                         ArrayOf(arrow::StringBuilder(), std::vector<std::string>(ids.size(), note))});
    return Load(number, Job(v1::LOAD_STRATEGY_UPSERT), schema, chunk, v1::WINDOW_KIND_RANGE);
  }
};

TEST_F(DuckdbUpsert, WhatIsEqualButNotTheSameIsWritten) {
  Sql("CREATE TABLE t (id BIGINT, x DOUBLE, note VARCHAR COLLATE NOCASE)");
  ASSERT_TRUE(Upsert(1, {1}, 0.0, "a").ok());
  EXPECT_EQ(Upsert(2, {1}, 0.0, "a")->counts().loaded(), 0);
  EXPECT_EQ(Upsert(3, {1}, -0.0, "a")->counts().loaded(), 0) << "an UPDATE would leave 0";
  EXPECT_EQ(Upsert(4, {1}, 0.0, "A")->counts().loaded(), 1);
  EXPECT_EQ(Scalar("SELECT note FROM t"), "A");
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(Upsert(5, {1}, nan, "A")->counts().loaded(), 1);
  EXPECT_EQ(Upsert(6, {1}, nan, "A")->counts().loaded(), 0);
}

TEST_F(DuckdbUpsert, AKeyTheTableHasTwiceIsNoKey) {
  Sql("CREATE TABLE t (id BIGINT, x DOUBLE, note VARCHAR)");
  Sql("INSERT INTO t VALUES (1, 0, 'a'), (1, 0, 'b'), (2, 0, 'c')");
  const absl::Status doubled = Upsert(1, {1}, 1, "d").status();
  EXPECT_TRUE(absl::IsFailedPrecondition(doubled)) << doubled;
  EXPECT_THAT(Message(doubled), HasSubstr("share the key"));
  EXPECT_TRUE(Upsert(2, {2, 3}, 1, "d").ok());
  EXPECT_EQ(Scalar("SELECT string_agg(note, '' ORDER BY note) FROM t"), "abdd");
}

TEST_F(DuckdbUpsert, AUsersIndexIsMergedInto) {
  Sql("CREATE TABLE t (id BIGINT PRIMARY KEY, x DOUBLE, note VARCHAR)");
  Sql("CREATE INDEX t_note ON t (note)");
  for (int number = 1; number <= 4; ++number)
    ASSERT_TRUE(Upsert(number, {1, number, number + 1}, number, absl::StrCat("n", number)).ok()) << number;
  EXPECT_EQ(Scalar("SELECT string_agg(id || note, ',' ORDER BY id) FROM t"), "1n4,2n2,3n3,4n4,5n4");
}

TEST_F(DuckdbTarget, ItIsOneHandleForAProcessAndClosedWithTheLast) {
  auto first = TryOpen(path());
  ASSERT_TRUE(first.ok()) << first.status();
  ASSERT_TRUE((**first)->Execute("CREATE TABLE t (v BIGINT)").ok());
  // By another name of the file.
  auto second = TryOpen(directory_.path() + "/./t.duckdb");
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_TRUE((**second)->Execute("INSERT INTO t VALUES (1)").ok());
  EXPECT_EQ(*(**first)->Query("SELECT v::VARCHAR FROM t")->at(0).at(0), "1");
  first->reset();
  EXPECT_TRUE((**second)->Execute("INSERT INTO t VALUES (2)").ok());
  second->reset();
  EXPECT_FALSE(std::filesystem::exists(path() + ".wal")) << "it is not closed";
}

TEST_F(DuckdbTarget, ManyMayOpenAndCloseAtOnce) {
  Sql("CREATE TABLE t (v BIGINT)");
  std::vector<std::thread> threads;
  const auto queue = WriterQueueOf(path());
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < 10; ++n) {
        const auto turn = WriterQueueOf(path())->Wait([] { return false; });
        const auto file = TryOpen(path());
        ASSERT_TRUE(file.ok()) << file.status();
        const auto done = (**file)->Execute("INSERT INTO t VALUES (1)");
        ASSERT_TRUE(done.ok()) << done.status();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(Scalar("SELECT count(*) FROM t"), "40");
}

TEST_F(DuckdbTarget, ErrorsOfOpeningSayWhatToDo) {
  EXPECT_TRUE(absl::IsNotFound(FileConnection::Open(path(), FileConnection::Mode::kExisting).status()));
  const absl::Status nowhere = TryOpen(directory_.path() + "/no/such/folder/t.duckdb").status();
  EXPECT_TRUE(absl::IsNotFound(nowhere)) << nowhere;
  directory_.Write("text", std::string(10'000, 'x'));
  const absl::Status text = TryOpen(directory_.File("text")).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(text)) << text;

  int held[2];
  ASSERT_EQ(pipe(held), 0);
  const pid_t other = fork();
  if (other == 0) {
    const auto file = TryOpen(path());
    const char byte = file.ok() ? '+' : '-';
    if (write(held[1], &byte, 1) != 1) _exit(1);
    pause();
  }
  char byte;
  ASSERT_EQ(read(held[0], &byte, 1), 1);
  const absl::Status locked = TryOpen(path()).status();
  kill(other, SIGKILL);
  waitpid(other, nullptr, 0);
  EXPECT_TRUE(absl::IsUnavailable(locked)) << locked;
  EXPECT_THAT(Message(locked), HasSubstr("another process has the file open"));
  EXPECT_TRUE(TryOpen(path()).ok());
}

TEST_F(DuckdbTarget, AFileIsAllThatItsSessionsReach) {
  directory_.Write("secret.csv", "a\n1\n");
  const auto file = TryOpen(path());
  ASSERT_TRUE(file.ok()) << file.status();
  adbc::Connection& db = ***file;
  for (const std::string& sql :
       {absl::StrCat("SELECT * FROM ", Literal(directory_.File("secret.csv"))),
        absl::StrCat("COPY (SELECT 1) TO ", Literal(directory_.File("out.csv"))),
        absl::StrCat("ATTACH ", Literal(directory_.File("other.duckdb")), " AS other"), std::string("INSTALL httpfs"),
        std::string("LOAD httpfs"), std::string("SET enable_external_access = true"),
        std::string("SET memory_limit = '100GB'"), std::string("RESET lock_configuration")}) {
    EXPECT_FALSE(db.Query(sql).ok()) << sql;
  }
  EXPECT_EQ(*db.Query("SELECT current_setting('memory_limit')")->at(0).at(0), "1.0 GiB");
  EXPECT_EQ(*db.Query("SELECT current_setting('TimeZone')")->at(0).at(0), "UTC");
  EXPECT_EQ(*db.Query("SELECT current_setting('temp_directory')")->at(0).at(0), path() + ".tmp");
}

TEST_F(DuckdbTarget, KilledAtAnyMomentItIsDoneOrNotBegun) {
  std::vector<int64_t> values(200'000);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<int64_t>(i);
  const v1::TableSchema schema = SchemaOf(Type::KIND_INT64);
  ASSERT_TRUE(LoadFull(1, schema, Integers({-1})).ok());
  for (int round = 0; round < 12; ++round) {
    const int number = 2 + round;
    values.push_back(number);
    const std::string before = Scalar("SELECT count(*) || ',' || sum(v) FROM t");
    const pid_t child = fork();
    if (child == 0) {
      const bool done = LoadFull(number, schema, Integers(values)).ok();
      _exit(done ? 0 : 1);
    }
    absl::SleepFor(absl::Milliseconds(20 + 20 * round));
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    const auto probe = Open(Job(v1::LOAD_STRATEGY_FULL))->Probe(RunOf(number));
    ASSERT_TRUE(probe.ok()) << probe.status();
    if (!probe->committed()) {
      EXPECT_EQ(Scalar("SELECT count(*) || ',' || sum(v) FROM t"), before);
      // Whatever it left, the same run again ends well, once.
      const auto again = LoadFull(number, schema, Integers(values));
      ASSERT_TRUE(again.ok()) << again.status();
    }
    EXPECT_EQ(Scalar("SELECT count(*) FROM t"), absl::StrCat(values.size()));
    EXPECT_EQ(Scalar("SELECT count(DISTINCT run_id) || ',' || count(*) FROM tidemark.ledger"),
              absl::StrCat(number, ",", number));
  }
}

}  // namespace
}  // namespace tidemark::duckdb
