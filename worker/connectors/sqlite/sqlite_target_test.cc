#include "worker/connectors/sqlite/sqlite_target.h"

#include <arrow/array/builder_binary.h>
#include <arrow/array/builder_decimal.h>
#include <arrow/array/builder_primitive.h>
#include <arrow/array/builder_time.h>
#include <arrow/record_batch.h>
#include <arrow/util/decimal.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cmath>
#include <filesystem>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "worker/batch/arrow_schema.h"
#include "worker/connectors/sqlite/sqlite_file_testing.h"
#include "worker/connectors/sqlite/sqlite_swap.h"
#include "worker/connectors/sqlite/writer_queue.h"

namespace tidemark::sqlite {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

using Type = v1::LogicalType;

v1::TableSchema SchemaOf(Type::Kind kind, int precision = 0, int scale = 0) {
  v1::TableSchema schema;
  v1::Column* column = schema.add_columns();
  column->set_name("v");
  column->set_nullable(true);
  column->mutable_type()->set_kind(kind);
  column->mutable_type()->set_precision(precision);
  column->mutable_type()->set_scale(scale);
  return schema;
}

template <typename Builder, typename Value>
Chunk OneColumn(const v1::TableSchema& schema, Builder builder, const std::vector<Value>& values) {
  for (const Value& value : values) EXPECT_TRUE(builder.Append(value).ok());
  std::shared_ptr<arrow::Array> array;
  EXPECT_TRUE(builder.Finish(&array).ok());
  return Chunk::FromArrow(arrow::RecordBatch::Make(*ArrowSchema(schema), static_cast<int64_t>(values.size()), {array}));
}

Chunk Integers(const std::vector<int64_t>& values) {
  return OneColumn(SchemaOf(Type::KIND_INT64), arrow::Int64Builder(), values);
}

class SqliteTarget : public ::testing::Test, protected FileFixture {
 protected:
  static RunIdentity RunOf(int number) {
    return {.cluster_id = "c", .job_uid = "j", .run_id = absl::StrCat("run", number), .epoch = 1, .sequence = number};
  }

  // One full load of one chunk into table t.
  absl::StatusOr<v1::CommitResult> LoadFull(int number, const v1::TableSchema& schema, const Chunk& chunk,
                                            v1::SwapMode mode = v1::SWAP_MODE_AUTO) {
    v1::JobSpec job = Job("t");
    job.mutable_target()->set_swap(mode);
    const auto session = Target(job);
    if (absl::Status status = session->Describe(schema, {v1::CHUNK_FORMAT_ARROW}).status(); !status.ok()) return status;
    if (absl::Status status = session->Prepare(RunOf(number), schema); !status.ok()) return status;
    v1::CommitWork work;
    work.mutable_window()->set_kind(v1::WINDOW_KIND_FULL);
    *work.mutable_schema() = schema;
    auto writer = session->BeginMove(RunOf(number), 0, schema, v1::CHUNK_FORMAT_ARROW);
    if (!writer.ok()) return writer.status();
    if (absl::Status status = (*writer)->Write(chunk); !status.ok()) return status;
    const auto outcome = (*writer)->Commit();
    if (!outcome.ok()) return outcome.status();
    work.add_moves()->set_rows(outcome->rows);
    return session->Commit(RunOf(number), work);
  }

  std::string RefusalOf(const v1::TableSchema& schema, const Chunk& chunk) {
    return std::string(LoadFull(1, schema, chunk).status().message());
  }
};

TEST_F(SqliteTarget, DescribeMakesNoFile) {
  EXPECT_TRUE(Target(Job("t"))->Describe(SchemaOf(Type::KIND_INT64), {v1::CHUNK_FORMAT_ARROW}).ok());
  EXPECT_FALSE(std::filesystem::exists(path()));
  EXPECT_FALSE(Target(Job("t"))->Probe(RunOf(1))->committed());
  EXPECT_FALSE(std::filesystem::exists(path()));
}

TEST_F(SqliteTarget, WhatSqliteCannotHoldIsRefusedByColumn) {
  const auto unsigned_schema = SchemaOf(Type::KIND_UINT64);
  EXPECT_THAT(RefusalOf(unsigned_schema, OneColumn<arrow::UInt64Builder, uint64_t>(
                                             unsigned_schema, arrow::UInt64Builder(), {uint64_t{1} << 63})),
              AllOf(HasSubstr("column v"), HasSubstr("9223372036854775807")));
  const auto real = SchemaOf(Type::KIND_FLOAT64);
  EXPECT_THAT(RefusalOf(real, OneColumn<arrow::DoubleBuilder, double>(real, arrow::DoubleBuilder(), {std::nan("")})),
              HasSubstr("NaN"));
  const auto instant = SchemaOf(Type::KIND_TIMESTAMPTZ);
  EXPECT_THAT(RefusalOf(instant,
                        OneColumn<arrow::TimestampBuilder, int64_t>(
                            instant,
                            arrow::TimestampBuilder(ArrowType(instant.columns(0).type()), arrow::default_memory_pool()),
                            {std::numeric_limits<int64_t>::max()})),
              HasSubstr("year"));
  EXPECT_EQ(Scalar("SELECT count(*) FROM sqlite_schema WHERE name = 't'"), "0");
}

TEST_F(SqliteTarget, AColumnThatWouldChangeValuesIsRefused) {
  Sql("CREATE TABLE t (v INTEGER)");
  const auto text = SchemaOf(Type::KIND_STRING);
  EXPECT_THAT(RefusalOf(text, OneColumn<arrow::StringBuilder, std::string>(text, arrow::StringBuilder(), {"007"})),
              HasSubstr("declare it TEXT"));
  Sql("DROP TABLE t; CREATE TABLE t (v DECIMAL(20,2))");
  const auto money = SchemaOf(Type::KIND_DECIMAL, 20, 2);
  const auto decimals = [&](int64_t cents) {
    return OneColumn<arrow::Decimal128Builder, arrow::Decimal128>(
        money, arrow::Decimal128Builder(ArrowType(money.columns(0).type())), {arrow::Decimal128(cents)});
  };
  EXPECT_THAT(RefusalOf(money, decimals(123456789012345678)), HasSubstr("15 digits"));
  const auto fits = LoadFull(2, money, decimals(123456789012345));
  ASSERT_TRUE(fits.ok()) << fits.status();
  EXPECT_EQ(Scalar("SELECT printf('%.2f', v) FROM t"), "1234567890123.45");
}

TEST_F(SqliteTarget, ATableOfOursKeepsExactlyWhatItIsGiven) {
  const auto money = SchemaOf(Type::KIND_DECIMAL, 38, 10);
  ASSERT_TRUE(LoadFull(1, money,
                       OneColumn<arrow::Decimal128Builder, arrow::Decimal128>(
                           money, arrow::Decimal128Builder(ArrowType(money.columns(0).type())),
                           {*arrow::Decimal128::FromString("12345678901234567890123456789012345678")}))
                  .ok());
  EXPECT_EQ(Scalar("SELECT v || typeof(v) FROM t"), "1234567890123456789012345678.9012345678text");
}

TEST_F(SqliteTarget, ASwapKeepsAllThatHangsOnTheTable) {
  Sql("CREATE TABLE parent (id INTEGER PRIMARY KEY); CREATE TABLE log (what TEXT);"
      "CREATE TABLE \"t\" /* odd ( */ (v INTEGER PRIMARY KEY AUTOINCREMENT, extra TEXT DEFAULT 'as ever' CHECK (extra "
      "<> 'never'), "
      "up INTEGER REFERENCES parent (id), twice AS (v * 2), UNIQUE (v, extra));"
      "CREATE INDEX t_extra ON t (extra COLLATE NOCASE) WHERE extra IS NOT NULL; CREATE UNIQUE INDEX t_expr ON t (v + "
      "1);"
      "CREATE TRIGGER t_in AFTER INSERT ON t BEGIN INSERT INTO log VALUES ('in ' || NEW.v); END;"
      "CREATE VIEW seen AS SELECT v FROM t; CREATE TABLE other (x); CREATE TRIGGER other_in AFTER INSERT ON other "
      "BEGIN UPDATE t SET extra = 'poked'; END;"
      "CREATE TABLE child (t_id INTEGER REFERENCES t (v) ON DELETE CASCADE);"
      "INSERT INTO t (v) VALUES (1), (2); INSERT INTO child VALUES (1); DELETE FROM log");
  const auto names = [&] {
    return Scalar(
        "SELECT group_concat(name) FROM (SELECT name FROM sqlite_schema WHERE name NOT LIKE '%\\_tidemark%' ESCAPE "
        "'\\' ORDER BY name)");
  };
  const std::string before = names();
  const auto swapped = LoadFull(1, SchemaOf(Type::KIND_INT64), Integers({1, 7, 8}));
  ASSERT_TRUE(swapped.ok()) << swapped.status();
  EXPECT_EQ(swapped->swap(), "rename");
  EXPECT_EQ(names(), before);
  EXPECT_EQ(Scalar("SELECT group_concat(v) FROM seen"), "1,7,8");
  EXPECT_EQ(Scalar("SELECT group_concat(extra || twice) FROM t"), "as ever2,as ever14,as ever16");
  EXPECT_EQ(Scalar("SELECT count(*) FROM child"), "1") << "a cascade has fired";
  EXPECT_EQ(Scalar("SELECT count(*) FROM log"), "0") << "a swap inserts nothing";
  Sql("PRAGMA foreign_keys = ON; INSERT INTO t (v) VALUES (9); INSERT INTO other VALUES (1)");
  EXPECT_EQ(Scalar("SELECT what FROM log"), "in 9");
  EXPECT_EQ(Scalar("SELECT DISTINCT extra FROM t"), "poked");
  EXPECT_THAT(Scalar("SELECT sql FROM sqlite_schema WHERE name = 't_extra'"),
              HasSubstr("COLLATE NOCASE) WHERE extra IS NOT NULL"));
  // Again, from the renamed definition; and by DELETE and INSERT, where triggers do fire.
  ASSERT_TRUE(LoadFull(2, SchemaOf(Type::KIND_INT64), Integers({1, 2})).ok());
  EXPECT_EQ(names(), before);
  const auto replaced = LoadFull(3, SchemaOf(Type::KIND_INT64), Integers({1, 3}), v1::SWAP_MODE_DELETE_INSERT);
  ASSERT_TRUE(replaced.ok()) << replaced.status();
  EXPECT_EQ(Scalar("SELECT count(*) FROM log"), "3");
  // A child would be orphaned: nothing changes.
  const auto orphaned = LoadFull(4, SchemaOf(Type::KIND_INT64), Integers({5}));
  EXPECT_THAT(std::string(orphaned.status().message()), HasSubstr("child"));
  EXPECT_EQ(Scalar("SELECT group_concat(v) FROM t"), "1,3");
}

TEST_F(SqliteTarget, DefinitionsAreClonedWhateverTheNameLooksLike) {
  const auto db = Open();
  for (const std::string name : {"plain", "\"quo\"\"ted ( name\"", "[brack ( eted]", "`back``tick`", "'single'"}) {
    ASSERT_TRUE(
        db->Exec(absl::StrCat("CREATE TABLE ", name, "(v INTEGER PRIMARY KEY, w TEXT DEFAULT '(') WITHOUT ROWID")).ok())
        << name;
    const std::string plain = *db->QueryText("SELECT name FROM sqlite_schema WHERE type = 'table' AND name <> 'copy'");
    const auto relation = FindRelation(*db, plain);
    ASSERT_TRUE(relation.ok() && relation->has_value()) << name;
    const auto clone = CloneStatement(**relation, "copy");
    ASSERT_TRUE(clone.ok()) << clone.status();
    EXPECT_EQ(*clone, "CREATE TABLE \"copy\" (v INTEGER PRIMARY KEY, w TEXT DEFAULT '(') WITHOUT ROWID");
    ASSERT_TRUE(db->Exec(absl::StrCat("DROP TABLE ", name)).ok());
  }
}

TEST_F(SqliteTarget, RestrictiveViewsAndOtherTargetsAreRefused) {
  Sql("CREATE TABLE base (v INTEGER); CREATE VIEW t AS SELECT v FROM base");
  EXPECT_THAT(RefusalOf(SchemaOf(Type::KIND_INT64), Integers({1})), HasSubstr("view"));
  v1::JobSpec shell = Job("base");
  shell.mutable_target()->set_swap(v1::SWAP_MODE_SHELL);
  EXPECT_FALSE(Target(shell)->Describe(SchemaOf(Type::KIND_INT64), {}).ok());
  EXPECT_FALSE(Target(Job("_tidemark_ledger"))->Describe(SchemaOf(Type::KIND_INT64), {}).ok());
}

TEST_F(SqliteTarget, KilledAtAnyMomentItIsDoneOrNotBegun) {
  std::vector<int64_t> values(20'000);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<int64_t>(i);
  ASSERT_TRUE(LoadFull(1, SchemaOf(Type::KIND_INT64), Integers({-1})).ok());
  for (int round = 0; round < 8; ++round) {
    const int number = 2 + round;
    const pid_t child = fork();
    if (child == 0) {
      const bool done = LoadFull(number, SchemaOf(Type::KIND_INT64), Integers(values)).ok();
      _exit(done ? 0 : 1);
    }
    absl::SleepFor(absl::Milliseconds(3 + 9 * round));
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    const auto probe = Target(Job("t"))->Probe(RunOf(number));
    ASSERT_TRUE(probe.ok()) << probe.status();
    EXPECT_EQ(Scalar("PRAGMA integrity_check"), "ok");
    const std::string rows = Scalar("SELECT count(*) FROM t");
    EXPECT_EQ(rows, probe->committed() || Scalar("SELECT count(*) FROM _tidemark_ledger") != "1" ? "20000" : "1");
    // Whatever it left, the same run again ends well, once.
    if (!probe->committed()) {
      const auto again = LoadFull(number, SchemaOf(Type::KIND_INT64), Integers(values));
      ASSERT_TRUE(again.ok()) << again.status();
    }
    EXPECT_EQ(Scalar("SELECT count(*) FROM t"), "20000");
    EXPECT_EQ(Scalar(absl::StrCat("SELECT count(*) FROM _tidemark_ledger WHERE run_id = 'run", number, "'")), "1");
  }
}

TEST_F(SqliteTarget, OneFileCanBeBothEnds) {
  Sql("PRAGMA journal_mode = DELETE; CREATE TABLE s (v INTEGER PRIMARY KEY); INSERT INTO s VALUES (1), (2), (3)");
  const auto source = Source(Job("s"));
  ASSERT_TRUE(source->Describe().ok());
  ASSERT_TRUE(source->OpenSnapshot().ok());
  // The snapshot stays open, as in a run whose other moves are still to be read.
  const auto chunks = ReadChunks(*source);
  ASSERT_TRUE(chunks.ok()) << chunks.status();
  const absl::Time begin = absl::Now();
  const auto loaded = LoadFull(1, SchemaOf(Type::KIND_INT64), chunks->front());
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_LT(absl::Now() - begin, absl::Seconds(10));
  EXPECT_EQ(Scalar("SELECT group_concat(v) FROM t"), "1,2,3");
  EXPECT_EQ(ReadFirstColumn(*source)->size(), 3u);
}

TEST(WriterQueue, WritersTakeTurnsInOrder) {
  const auto queue = std::make_shared<WriterQueue>();
  const auto never = [] { return false; };
  auto first = std::make_unique<WriterQueue::Turn>(*queue->Wait(never));
  std::atomic<bool> give_up = false;
  std::vector<int> order;
  absl::Status gave_up;
  std::thread second([&] { gave_up = queue->Wait([&] { return give_up.load(); }).status(); });
  absl::SleepFor(absl::Milliseconds(30));
  std::thread third([&] {
    const auto turn = queue->Wait(never);
    order.push_back(3);
  });
  absl::SleepFor(absl::Milliseconds(30));
  std::thread fourth([&] {
    const auto turn = queue->Wait(never);
    order.push_back(4);
  });
  absl::SleepFor(absl::Milliseconds(30));
  EXPECT_TRUE(order.empty());
  give_up = true;
  second.join();
  EXPECT_TRUE(absl::IsCancelled(gave_up));
  first.reset();
  third.join();
  fourth.join();
  EXPECT_THAT(order, ElementsAre(3, 4));
}

}  // namespace
}  // namespace tidemark::sqlite
