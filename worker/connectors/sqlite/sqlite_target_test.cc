#include "worker/connectors/sqlite/sqlite_target.h"

#include <arrow/array/builder_binary.h>
#include <arrow/array/builder_decimal.h>
#include <arrow/array/builder_primitive.h>
#include <arrow/array/builder_time.h>
#include <arrow/record_batch.h>
#include <arrow/util/decimal.h>
#include <signal.h>
#include <sqlite3.h>
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
#include "worker/connectors/sqlite/sqlite_row_binder.h"
#include "worker/connectors/sqlite/sqlite_swap.h"

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
    if (absl::Status status = session->Prepare(RunOf(number), schema, TakeOver::kNothing); !status.ok()) return status;
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

v1::Window WindowOf(v1::WindowKind kind, const std::string& low, const std::string& high) {
  v1::Window window;
  window.set_kind(kind);
  if (!low.empty()) window.mutable_low()->set_text(low);
  if (!high.empty()) window.mutable_high()->set_text(high);
  return window;
}

// Loads of rows (id, note, w) into table t.
class SqliteRows : public SqliteTarget {
 protected:
  SqliteRows() : job_(Job("t", "w")) { job_.mutable_target()->add_key("id"); }

  // `values` is a list of SQL rows.
  absl::StatusOr<v1::CommitResult> Load(int number, const v1::Window& window, const std::string& values) {
    Sql(absl::StrCat(
        "DROP TABLE IF EXISTS s; CREATE TABLE s (id INTEGER, note TEXT, w TIMESTAMP); INSERT INTO s VALUES ", values));
    const auto source = Source(Job("s"));
    const v1::TableSchema schema = source->Describe()->schema;
    const auto chunks = ReadChunks(*source);
    if (!chunks.ok()) return chunks.status();
    const auto session = Target(job_);
    if (absl::Status status = session->Prepare(RunOf(number), schema, TakeOver::kNothing); !status.ok()) return status;
    auto writer = session->BeginMove(RunOf(number), 0, schema, v1::CHUNK_FORMAT_ARROW);
    if (!writer.ok()) return writer.status();
    for (const Chunk& chunk : *chunks) {
      if (absl::Status status = (*writer)->Write(chunk); !status.ok()) return status;
    }
    const auto outcome = (*writer)->Commit();
    if (!outcome.ok()) return outcome.status();
    writer->reset();
    v1::CommitWork work;
    *work.mutable_window() = window;
    *work.mutable_schema() = schema;
    work.add_moves()->set_rows(outcome->rows);
    return session->Commit(RunOf(number), work);
  }

  v1::JobSpec job_;
};

constexpr char kDay1[] = "2026-01-01 00:00:00";
constexpr char kDay2[] = "2026-01-02 00:00:00";
constexpr char kDay3[] = "2026-01-03 00:00:00";

TEST_F(SqliteRows, WhatAnOverlapBringsChangedIsNotDropped) {
  const auto first = Load(1, WindowOf(v1::WINDOW_KIND_WINDOW, "", kDay1),
                          "(1, 'one', '2026-01-01 00:00:00'), (2, 'two', '2026-01-01 00:00:00'), (3, 'three', NULL), "
                          "(4, 'four', NULL)");
  ASSERT_TRUE(first.ok()) << first.status();
  v1::Window window = WindowOf(v1::WINDOW_KIND_WINDOW, kDay1, kDay2);
  window.set_overlap(true);
  window.set_nulls(true);
  // The same; changed in its own name; the same without a watermark; changed without one; new.
  const auto result = Load(2, window,
                           "(1, 'one', '2026-01-01 00:00:00'), (2, '2', '2026-01-01 00:00:00'), (3, 'three', NULL), "
                           "(4, '4', NULL), (5, 'five', '2026-01-02 00:00:00')");
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->counts().loaded(), 1);
  EXPECT_EQ(result->counts().filtered(), 2);
  EXPECT_EQ(result->counts().filtered_by_reason().at("already_loaded"), 2);
  EXPECT_EQ(result->counts().quarantined(), 2);
  EXPECT_EQ(Scalar("SELECT group_concat(payload ->> 'note') FROM _tidemark_quarantine WHERE reason = "
                   "'conflicting_version' AND run_id = 'run2'"),
            "2,4");
  EXPECT_EQ(Scalar("SELECT group_concat(note) FROM (SELECT note FROM t ORDER BY id)"), "one,two,three,four,five");
  // Of several versions in the target one is enough.
  Sql("INSERT INTO t VALUES (2, '2', '2026-01-01 00:00:00')");
  window = WindowOf(v1::WINDOW_KIND_WINDOW, kDay2, kDay3);
  window.set_overlap(true);
  const auto again = Load(3, window, "(2, '2', '2026-01-01 00:00:00'), (2, 'two', '2026-01-01 00:00:00')");
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->counts().filtered(), 2);
  EXPECT_EQ(again->counts().quarantined(), 0);
}

TEST_F(SqliteRows, ATableThatIsGoneIsNotMadeOfOneWindow) {
  ASSERT_TRUE(Load(1, WindowOf(v1::WINDOW_KIND_WINDOW, "", kDay1), "(1, 'one', '2026-01-01 00:00:00')").ok());
  for (const v1::LoadStrategy strategy : {v1::LOAD_STRATEGY_INCREMENTAL, v1::LOAD_STRATEGY_UPSERT}) {
    job_.mutable_target()->set_strategy(strategy);
    Sql("DROP TABLE IF EXISTS t");
    for (const v1::WindowKind kind : {v1::WINDOW_KIND_WINDOW, v1::WINDOW_KIND_RANGE}) {
      const absl::Status gone = Load(2, WindowOf(kind, kDay1, kDay2), "(2, 'two', '2026-01-02 00:00:00')").status();
      EXPECT_TRUE(absl::IsFailedPrecondition(gone)) << gone;
      EXPECT_THAT(std::string(gone.message()),
                  HasSubstr(absl::StrCat("the target table t is gone, though the ledger has loads of this job up to ",
                                         kDay1, ": restore it, or run with --full-refresh")));
      EXPECT_EQ(Scalar("SELECT count(*) FROM sqlite_schema WHERE name = 't'"), "0");
    }
  }
  const auto full =
      Load(3, WindowOf(v1::WINDOW_KIND_FULL, "", kDay2), "(1, 'one', NULL), (2, 'two', '2026-01-02 00:00:00')");
  ASSERT_TRUE(full.ok()) << full.status();
  EXPECT_EQ(Scalar("SELECT count(*) FROM t"), "2");
  const auto next = Load(4, WindowOf(v1::WINDOW_KIND_WINDOW, kDay2, kDay3), "(3, 'three', '2026-01-03 00:00:00')");
  EXPECT_TRUE(next.ok()) << next.status();
}

TEST_F(SqliteRows, ANullNeverBecomesARowsNumber) {
  const auto expect_refused = [&](const absl::Status& status) {
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("column id"));
    EXPECT_THAT(std::string(status.message()), HasSubstr("INTEGER PRIMARY KEY"));
    EXPECT_EQ(Scalar("SELECT count(*) FROM t"), "0");
  };
  const std::string rows = "(1, 'one', '2026-01-01 00:00:00'), (NULL, 'nobody', '2026-01-01 00:00:00')";
  Sql("CREATE TABLE t (id INTEGER PRIMARY KEY, note TEXT UNIQUE, w TIMESTAMP)");
  job_.mutable_target()->clear_key();
  expect_refused(Load(1, WindowOf(v1::WINDOW_KIND_WINDOW, "", kDay1), rows).status());
  expect_refused(Load(1, WindowOf(v1::WINDOW_KIND_FULL, "", kDay1), rows).status());
  job_.mutable_target()->set_strategy(v1::LOAD_STRATEGY_UPSERT);
  job_.mutable_target()->add_key("note");
  expect_refused(Load(1, WindowOf(v1::WINDOW_KIND_WINDOW, "", kDay1), rows).status());
  job_.mutable_target()->set_strategy(v1::LOAD_STRATEGY_FULL);
  expect_refused(Load(1, WindowOf(v1::WINDOW_KIND_FULL, "", ""), rows).status());
  // Where it is the job's key, such rows have their place.
  job_.mutable_target()->set_strategy(v1::LOAD_STRATEGY_UPSERT);
  job_.mutable_target()->set_key(0, "id");
  const auto keyed = Load(1, WindowOf(v1::WINDOW_KIND_WINDOW, "", kDay1), rows);
  ASSERT_TRUE(keyed.ok()) << keyed.status();
  EXPECT_EQ(keyed->counts().quarantined(), 1);
  // A table that the load makes itself has the source's key.
  Sql("DROP TABLE t; DELETE FROM _tidemark_ledger");
  v1::TableSchema schema = SchemaOf(Type::KIND_INT64);
  schema.add_primary_key("v");
  arrow::Int64Builder with_null;
  ASSERT_TRUE(with_null.AppendNull().ok());
  std::shared_ptr<arrow::Array> array;
  ASSERT_TRUE(with_null.Finish(&array).ok());
  const Chunk chunk = Chunk::FromArrow(arrow::RecordBatch::Make(*ArrowSchema(schema), 1, {array}));
  EXPECT_THAT(RefusalOf(schema, chunk), HasSubstr("INTEGER PRIMARY KEY"));
}

TEST_F(SqliteRows, WhatEarlierRunsHaveLeftIsDropped) {
  const v1::TableSchema schema = SchemaOf(Type::KIND_INT64);
  for (const int number : {5, 1, 2}) ASSERT_TRUE(Target(job_)->Prepare(RunOf(number), schema, TakeOver::kNothing).ok());
  Sql("INSERT INTO _tidemark_moves VALUES ('run2', 0, 1), ('run5', 0, 1)");
  RunIdentity others = RunOf(1);
  others.job_uid = "other";
  others.run_id = "others";
  ASSERT_TRUE(Target(Job("u", "w"))->Prepare(others, schema, TakeOver::kNothing).ok());
  ASSERT_TRUE(Target(job_)->Prepare(RunOf(3), schema, TakeOver::kNothing).ok());
  EXPECT_EQ(Scalar("SELECT group_concat(name) FROM (SELECT name FROM sqlite_schema WHERE name GLOB '_tidemark_stg_*' "
                   "ORDER BY name)"),
            "_tidemark_stg_others,_tidemark_stg_run3,_tidemark_stg_run5");
  EXPECT_EQ(Scalar("SELECT group_concat(run_id) FROM _tidemark_moves"), "run5");
  ASSERT_TRUE(Target(job_)->Abort(RunOf(3)).ok());
  EXPECT_EQ(Scalar("SELECT group_concat(run_id) FROM _tidemark_staging"), "others,run5");
}

TEST_F(SqliteTarget, AValueThatCannotBeBoundIsNotStoredAsNull) {
  const auto db = Open();
  ASSERT_TRUE(db->Exec("CREATE TABLE t (v)").ok());
  sqlite3_limit(db->get(), SQLITE_LIMIT_LENGTH, 100);
  auto insert = db->Prepare("INSERT INTO t VALUES (?)");
  ASSERT_TRUE(insert.ok());
  const std::string large(101, 'x');
  const v1::TableSchema texts = SchemaOf(Type::KIND_STRING);
  const v1::TableSchema blobs = SchemaOf(Type::KIND_BYTES);
  const v1::TableSchema numbers = SchemaOf(Type::KIND_DECIMAL);
  const std::pair<v1::TableSchema, Chunk> cases[] = {
      {texts, OneColumn<arrow::StringBuilder, std::string>(texts, arrow::StringBuilder(), {large})},
      {blobs, OneColumn<arrow::BinaryBuilder, std::string>(blobs, arrow::BinaryBuilder(), {large})},
      {numbers, OneColumn<arrow::StringBuilder, std::string>(numbers, arrow::StringBuilder(), {std::string(101, '1')})},
  };
  for (const auto& [schema, chunk] : cases) {
    auto binder = RowBinder::Create(schema, {"TEXT"}, "");
    ASSERT_TRUE(binder.ok() && (*binder)->Start(*chunk.arrow()).ok());
    const absl::Status status = (*binder)->Bind(0, insert->get(), 1);
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
    EXPECT_THAT(std::string(status.message()),
                AllOf(HasSubstr("column v"), HasSubstr("too big"), HasSubstr("shop.db")));
  }
}

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

TEST_F(SqliteTarget, ColumnsMayNotHaveTheNamesOfTheStagingTable) {
  v1::TableSchema schema = SchemaOf(Type::KIND_INT64);
  schema.mutable_columns(0)->set_name("_tidemark_partition");
  EXPECT_THAT(std::string(Target(Job("t"))->Describe(schema, {v1::CHUNK_FORMAT_ARROW}).status().message()),
              HasSubstr("names that begin with _tidemark_ are taken"));
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

TEST_F(SqliteTarget, ATableMayReferToItself) {
  Sql("CREATE TABLE t (v INTEGER PRIMARY KEY AUTOINCREMENT, up INTEGER REFERENCES t (v)); INSERT INTO t VALUES (100, "
      "100)");
  for (const v1::SwapMode mode : {v1::SWAP_MODE_AUTO, v1::SWAP_MODE_DELETE_INSERT}) {
    const auto swapped = LoadFull(mode, SchemaOf(Type::KIND_INT64), Integers({1, 2}), mode);
    ASSERT_TRUE(swapped.ok()) << swapped.status();
    EXPECT_EQ(Scalar("SELECT group_concat(v) FROM t"), "1,2");
  }
  Sql("INSERT INTO t (up) VALUES (1)");
  EXPECT_EQ(Scalar("SELECT max(v) FROM t"), "101") << "a number given before has come again";
}

TEST_F(SqliteTarget, ANameInQuotesMayHoldAnything) {
  const auto db = Open();
  EXPECT_EQ(*PlainTableName("main.orders"), "orders");
  EXPECT_EQ(*PlainTableName("\"a.b \"\"c\"\"\""), "a.b \"c\"");
  EXPECT_FALSE(PlainTableName("other.orders").ok());
  EXPECT_FALSE(PlainTableName("\"a\".\"b\"").ok());
  ASSERT_TRUE(db->Exec("CREATE TABLE \"a.b\" (x)").ok());
  for (const char* name : {"a.b", "\"a.b\"", "main.\"a.b\""}) {
    const auto found = FindRelation(*db, name);
    EXPECT_TRUE(found.ok() && found->has_value()) << name;
  }
}

TEST_F(SqliteTarget, RowsThatATriggerKeepsFailTheLoad) {
  ASSERT_TRUE(Open()
                  ->Exec("CREATE TABLE t(v INTEGER PRIMARY KEY); INSERT INTO t VALUES (1); CREATE TRIGGER keep BEFORE "
                         "DELETE ON t BEGIN SELECT raise(IGNORE); END")
                  .ok());
  const auto kept = LoadFull(1, SchemaOf(Type::KIND_INT64), Integers({2}), v1::SWAP_MODE_DELETE_INSERT);
  EXPECT_THAT(std::string(kept.status().message()), HasSubstr("holds 2 rows where 1 were loaded"));
  EXPECT_EQ(Scalar("SELECT group_concat(v) FROM t"), "1");
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

TEST_F(SqliteTarget, ALockIsWaitedForNoLongerThanItIsWorth) {
  ASSERT_TRUE(LoadFull(1, SchemaOf(Type::KIND_INT64), Integers({1})).ok());
  ASSERT_TRUE(Target(Job("t"))->Prepare(RunOf(2), SchemaOf(Type::KIND_INT64), TakeOver::kNothing).ok());
  const auto other = Open();
  Transaction lock(*other);
  ASSERT_TRUE(lock.BeginImmediate().ok());
  absl::Time begin = absl::Now();
  const absl::Status prepared = Target(Job("t"))->Prepare(RunOf(3), SchemaOf(Type::KIND_INT64), TakeOver::kNothing);
  EXPECT_TRUE(absl::IsUnavailable(prepared)) << prepared;
  EXPECT_THAT(std::string(prepared.message()), HasSubstr("another connection holds its lock"));
  EXPECT_GT(absl::Now() - begin, absl::Seconds(4));
  EXPECT_LT(absl::Now() - begin, absl::Seconds(20));
  // The next run would drop what was staged; what was not needs no lock.
  begin = absl::Now();
  EXPECT_TRUE(absl::IsUnavailable(Target(Job("t"))->Abort(RunOf(2))));
  const absl::Status aborted = Target(Job("t"))->Abort(RunOf(3));
  EXPECT_TRUE(aborted.ok()) << aborted;
  EXPECT_LT(absl::Now() - begin, absl::Seconds(4));
}

TEST_F(SqliteTarget, CancelEndsTheWaitForALockWhileTheFileIsOpened) {
  // In a rollback-journal mode whoever reads waits.
  const auto other = Open();
  ASSERT_TRUE(other->Exec("CREATE TABLE x (v INTEGER); PRAGMA journal_mode = DELETE; BEGIN EXCLUSIVE").ok());
  const auto session = Target(Job("t"));
  std::thread cancel([&] {
    absl::SleepFor(absl::Milliseconds(300));
    session->Cancel();
  });
  const absl::Time begin = absl::Now();
  EXPECT_FALSE(session->Probe(RunOf(1)).ok());
  EXPECT_GT(absl::Now() - begin, absl::Milliseconds(200));
  EXPECT_LT(absl::Now() - begin, absl::Seconds(3));
  cancel.join();
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

}  // namespace
}  // namespace tidemark::sqlite
