#include <arrow/array/array_binary.h>
#include <arrow/record_batch.h>

#include <set>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "worker/connectors/generator/generated_table.h"
#include "worker/connectors/generator/generator_connector.h"

namespace tidemark::generator {
namespace {

GeneratedTable TableOf(const std::string& text) {
  auto table = GeneratedTable::Parse(text, GeneratedTable());
  EXPECT_TRUE(table.ok()) << table.status();
  return *table;
}

TEST(GeneratedTable, IsTheSameWheneverItIsAsked) {
  const GeneratedTable a = TableOf("rows=1000&seed=7&row_bytes=33"), b = TableOf("seed=7&row_bytes=33"),
                       other = TableOf("seed=8&row_bytes=33");
  std::set<std::string> payloads;
  for (const int64_t row : {0, 1, 15, 999}) {
    std::string x, y, z;
    a.AppendPayload(row, &x);
    b.AppendPayload(row, &y);
    other.AppendPayload(row, &z);
    EXPECT_EQ(x, y);
    EXPECT_NE(x, z);
    EXPECT_EQ(x.size(), 33u);
    payloads.insert(x);
    EXPECT_EQ(a.AmountInCents(row), b.AmountInCents(row));
    EXPECT_EQ(a.Name(row), b.Name(row));
  }
  EXPECT_EQ(payloads.size(), 4u);
}

TEST(GeneratedTable, UpdatesAscendAndAreFoundByArithmetic) {
  const GeneratedTable table = TableOf("rows=500&seed=3");
  for (int64_t row = 0; row < table.rows(); ++row) {
    const int64_t at = table.UpdatedAt(row);
    if (row > 0) {
      EXPECT_LT(table.UpdatedAt(row - 1), at);
    }
    EXPECT_GE(at, table.CreatedAt(row));
    EXPECT_EQ(table.FirstUpdatedAfter(at), row + 1);
    EXPECT_EQ(table.FirstUpdatedAfter(at - 1), row);
  }
  EXPECT_EQ(table.FirstUpdatedAfter(0), 0);
}

TEST(GeneratedTable, UnknownSettingsAreRefused) {
  for (const char* text : {"rows=-1", "rows=many", "colour=blue", "rows", "row_bytes=999999999999"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(GeneratedTable::Parse(text, GeneratedTable()).status())) << text;
  }
}

TEST(Generator, TheTableOfTheJobWinsOverTheDsn) {
  GeneratorConnector connector;
  v1::ConnectionSpec connection;
  connection.set_dsn("generator:rows=5&row_bytes=10");
  v1::JobSpec job;
  job.mutable_source()->set_table("anything");
  EXPECT_EQ((*connector.OpenSource(connection, job, {}))->Describe()->estimated_rows, 5);
  job.mutable_source()->set_table("rows=77");
  EXPECT_EQ((*connector.OpenSource(connection, job, {}))->Describe()->estimated_rows, 77);
  job.mutable_source()->set_watermark("payload");
  EXPECT_FALSE(connector.OpenSource(connection, job, {}).ok());
  EXPECT_TRUE(absl::IsUnimplemented(connector.OpenTarget(connection, job, {}).status()));
  EXPECT_THAT(*connector.Test(connection, {}), ::testing::HasSubstr("5 rows"));
}

TEST(Generator, ChunksAreAboutAMegabyteAndEndWithTheRows) {
  GeneratorConnector connector;
  v1::ConnectionSpec connection;
  connection.set_dsn("generator:rows=700&row_bytes=10000");
  v1::JobSpec job;
  const auto session = *connector.OpenSource(connection, job, {});
  ReadRequest request;
  request.schema = session->Describe()->schema;
  const auto reader = *session->Read(request);
  int64_t rows = 0;
  for (auto chunk = reader->Next(); chunk.ok() && chunk->has_value(); chunk = reader->Next()) {
    EXPECT_LT((*chunk)->bytes(), 3 << 20);
    rows += (*chunk)->rows();
  }
  EXPECT_EQ(rows, 700);
}

}  // namespace
}  // namespace tidemark::generator
