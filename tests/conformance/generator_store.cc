#include <cstdio>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "tests/conformance/store_under_test.h"
#include "worker/connectors/generator/generated_table.h"
#include "worker/connectors/generator/generator_connector.h"

namespace tidemark::conformance {
namespace {

class GeneratorStore final : public StoreUnderTest {
 public:
  Connector& connector() override { return connector_; }

  Events MakeEvents(int rows) override {
    const std::string shape = absl::StrCat("rows=", rows, "&seed=5&row_bytes=50");
    const auto table = generator::GeneratedTable::Parse(shape, generator::GeneratedTable());
    Events events;
    events.connection = NewDatabase();
    events.connection.set_dsn(absl::StrCat("generator:", shape));
    events.job = ReadJob("events", "updated_at");
    for (int i = 0; i < rows; ++i) {
      events.ids.push_back(table->Id(i));
      v1::Watermark& watermark = events.stamps.emplace_back();
      watermark.set_type("timestamptz");
      watermark.set_precision(6);
      watermark.set_text(absl::FormatTime("%Y-%m-%d %H:%M:%E6S+00:00", absl::FromUnixMicros(table->UpdatedAt(i)),
                                          absl::UTCTimeZone()));
    }
    return events;
  }

  bool has_sql() const override { return false; }
  bool is_target() const override { return false; }
  v1::ConnectionSpec NewDatabase() override {
    v1::ConnectionSpec connection;
    connection.set_name("generated");
    connection.set_dsn("generator:rows=0");
    return connection;
  }
  std::unique_ptr<SqlSession> Open(const v1::ConnectionSpec&) override { NoSql(); }
  std::string StampedTable(const std::string&) const override { NoSql(); }
  std::vector<std::string> Zoo() const override { NoSql(); }
  std::string UserTables() const override { NoSql(); }
  std::string ControlTable(const std::string&) const override { NoSql(); }

 private:
  [[noreturn]] static void NoSql() {
    std::fprintf(stderr, "a generator has no SQL\n");
    std::abort();
  }

  generator::GeneratorConnector connector_;
};

}  // namespace

std::unique_ptr<StoreUnderTest> MakeGeneratorStore() { return std::make_unique<GeneratorStore>(); }

}  // namespace tidemark::conformance
