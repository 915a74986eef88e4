#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/conformance/arrow_rows.h"
#include "tests/conformance/store_under_test.h"
#include "worker/connectors/builtin.h"

namespace tidemark::conformance {
namespace {

using ::testing::HasSubstr;

struct Pair {
  StoreFactory source;
  StoreFactory target;
};

std::vector<Pair> Pairs(const std::vector<StoreFactory>& sources) {
  std::vector<Pair> pairs;
  for (const StoreFactory& source : sources) {
    for (const StoreFactory& target : SqlStores()) pairs.push_back({source, target});
  }
  return pairs;
}

std::string PairName(const ::testing::TestParamInfo<Pair>& info) {
  return absl::StrCat(info.param.source.name, "_to_", info.param.target.name);
}

// One full load from a source to a target, as a run would do it, in two moves where the source can be cut.
class CrossStore : public ::testing::TestWithParam<Pair> {
 protected:
  struct Loaded {
    v1::TableSchema source_schema;
    v1::TableSchema target_schema;
    std::vector<Cells> source_rows;
    std::vector<Cells> target_rows;
    // Formats both sides speak for these columns.
    std::vector<v1::ChunkFormat> formats;
  };

  void Load(const v1::ConnectionSpec& from, const v1::JobSpec& job, Loaded* loaded,
            v1::ChunkFormat format = v1::CHUNK_FORMAT_ARROW) {
    const v1::ConnectionSpec to = target_->NewDatabase();
    auto source = source_->connector().OpenSource(from, job, {});
    ASSERT_TRUE(source.ok()) << source.status();
    const auto description = (*source)->Describe();
    ASSERT_TRUE(description.ok()) << description.status();
    ReadRequest request;
    request.schema = description->schema;
    loaded->source_schema = description->schema;
    ASSERT_TRUE((*source)->OpenSnapshot().ok());

    auto target = target_->connector().OpenTarget(to, job, {});
    ASSERT_TRUE(target.ok()) << target.status();
    std::vector<v1::ChunkFormat> spoken;
    for (const int each : description->capabilities.formats()) spoken.push_back(static_cast<v1::ChunkFormat>(each));
    const auto described = (*target)->Describe(request.schema, spoken);
    ASSERT_TRUE(described.ok()) << described.status();
    loaded->formats = described->formats;
    ASSERT_THAT(loaded->formats, ::testing::Contains(format));
    const RunIdentity run{.cluster_id = "c", .job_uid = "j", .run_id = "run1", .epoch = 1, .sequence = 1};
    ASSERT_TRUE((*target)->Prepare(run, request.schema, TakeOver::kNothing).ok());

    v1::CommitWork work;
    work.mutable_window()->set_kind(v1::WINDOW_KIND_FULL);
    *work.mutable_schema() = request.schema;
    request.format = format;
    int64_t staged = 0;
    std::vector<v1::KeyRange> ranges = {v1::KeyRange()};
    const auto facts = (*source)->DescribePartitions({}, "", 2);
    ASSERT_TRUE(facts.ok()) << facts.status();
    if (!facts->empty()) ranges = RangesOf(facts->front());
    for (size_t i = 0; i < ranges.size(); ++i) {
      request.range = ranges[i];
      const auto chunks = ReadChunks(**source, request);
      ASSERT_TRUE(chunks.ok()) << chunks.status();
      auto writer = (*target)->BeginMove(run, static_cast<int>(i), request.schema, format);
      ASSERT_TRUE(writer.ok()) << writer.status();
      for (const Chunk& chunk : *chunks) {
        const absl::Status written = (*writer)->Write(chunk);
        ASSERT_TRUE(written.ok()) << written;
        staged += chunk.rows();
        if (format != v1::CHUNK_FORMAT_ARROW) continue;
        for (Cells& row : TextRows(chunk)) loaded->source_rows.push_back(std::move(row));
      }
      const auto outcome = (*writer)->Commit();
      ASSERT_TRUE(outcome.ok()) << outcome.status();
      v1::StagedMove* move = work.add_moves();
      move->set_partition(static_cast<int>(i));
      move->set_rows(outcome->rows);
    }
    const auto committed = (*target)->Commit(run, work);
    ASSERT_TRUE(committed.ok()) << committed.status();
    EXPECT_EQ(committed->counts().loaded(), staged);

    const auto back = target_->connector().OpenSource(to, ReadJob("loaded"), {});
    ASSERT_TRUE(back.ok()) << back.status();
    auto all = EverythingOf(**back);
    ASSERT_TRUE(all.ok()) << all.status();
    loaded->target_schema = all->schema;
    const auto rows = ReadRows(**back, *all);
    ASSERT_TRUE(rows.ok()) << rows.status();
    loaded->target_rows = *rows;
    std::sort(loaded->source_rows.begin(), loaded->source_rows.end());
    std::sort(loaded->target_rows.begin(), loaded->target_rows.end());
  }

  std::unique_ptr<StoreUnderTest> source_ = GetParam().source.make();
  std::unique_ptr<StoreUnderTest> target_ = GetParam().target.make();
};

// Column by column, so that a failure says which type broke.
void ExpectEqual(const v1::TableSchema& schema, const std::vector<Cells>& source, const std::vector<Cells>& target) {
  ASSERT_EQ(source.size(), target.size());
  for (size_t row = 0; row < source.size(); ++row) {
    ASSERT_EQ(source[row].size(), target[row].size());
    for (size_t column = 0; column < source[row].size(); ++column) {
      EXPECT_EQ(target[row][column], source[row][column])
          << "column " << schema.columns(static_cast<int>(column)).name() << " of row " << source[row][0];
    }
  }
}

class CrossZoo : public CrossStore {};

TEST_P(CrossZoo, EveryTypeArrivesAsItWas) {
  const v1::ConnectionSpec from = source_->NewDatabase();
  const auto sql = source_->Open(from);
  for (const std::string& statement : source_->Zoo()) sql->Exec(statement);
  Loaded loaded;
  Load(from, ReadJob("zoo"), &loaded);
  if (HasFatalFailure()) return;
  ExpectEqual(loaded.source_schema, loaded.source_rows, loaded.target_rows);
  // A type that comes back as another one is told apart from a value that does.
  for (int i = 0; i < loaded.source_schema.columns_size(); ++i) {
    const v1::LogicalType& sent = loaded.source_schema.columns(i).type();
    const v1::LogicalType& kept = loaded.target_schema.columns(i).type();
    if (sent.kind() == v1::LogicalType::KIND_INTERVAL || sent.kind() == v1::LogicalType::KIND_OTHER) continue;
    // Not every store has a word for it; it arrives as one that holds its values.
    if (sent.kind() == v1::LogicalType::KIND_UINT64) continue;
    EXPECT_EQ(v1::LogicalType::Kind_Name(kept.kind()), v1::LogicalType::Kind_Name(sent.kind()))
        << loaded.source_schema.columns(i).name();
    EXPECT_EQ(kept.precision(), sent.precision()) << loaded.source_schema.columns(i).name();
  }
  // Undecoded, the same must arrive.
  for (const v1::ChunkFormat format : loaded.formats) {
    if (format == v1::CHUNK_FORMAT_ARROW) continue;
    Loaded wire;
    Load(from, ReadJob("zoo"), &wire, format);
    if (HasFatalFailure()) return;
    ExpectEqual(loaded.source_schema, loaded.target_rows, wire.target_rows);
  }
}

INSTANTIATE_TEST_SUITE_P(Stores, CrossZoo, ::testing::ValuesIn(Pairs(SqlStores())), PairName);

TEST_P(CrossStore, ManyRowsArriveWhole) {
  const Events events = source_->MakeEvents(5000);
  v1::JobSpec job = events.job;
  job.mutable_target()->set_strategy(v1::LOAD_STRATEGY_FULL);
  Loaded loaded;
  Load(events.connection, job, &loaded);
  if (HasFatalFailure()) return;
  EXPECT_EQ(loaded.target_rows.size(), 5000u);
  EXPECT_EQ(loaded.target_rows, loaded.source_rows);
}

INSTANTIATE_TEST_SUITE_P(Stores, CrossStore, ::testing::ValuesIn(Pairs(AllStores())), PairName);

TEST(BuiltinConnectors, AreFoundByTheirSchemes) {
  const ConnectorRegistry registry = BuiltinConnectors();
  for (const char* dsn :
       {"postgresql://h/db", "postgres://h/db", "sqlite:file.db", "duckdb:file.db", "adbc:driver", "generator:rows=3"})
    EXPECT_TRUE(registry.Find(dsn).ok()) << dsn;
  const absl::Status unknown = registry.Find("oracle://scott:tiger@h/db").status();
  EXPECT_TRUE(absl::IsNotFound(unknown));
  EXPECT_THAT(std::string(unknown.message()), ::testing::Not(HasSubstr("tiger")));
}

}  // namespace
}  // namespace tidemark::conformance
