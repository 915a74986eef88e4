#include <cstdio>
#include <cstdlib>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tests/conformance/store_under_test.h"
#include "tests/support/temp_dir.h"
#include "worker/connector/writer_queue.h"
#include "worker/connectors/duckdb/duckdb_connector.h"
#include "worker/connectors/duckdb/duckdb_file.h"

namespace tidemark::conformance {
namespace {

void Must(const absl::Status& status, const std::string& doing) {
  if (status.ok()) return;
  std::fprintf(stderr, "%s: %s\n", std::string(status.message()).c_str(), doing.c_str());
  std::abort();
}

// On the process's one handle of the file: a second would write to the file behind the first one's back. So it stands
// for a load of this process, and queues for its transactions as that does.
class FileSession final : public SqlSession {
 public:
  explicit FileSession(const std::string& path) : writers_(duckdb::WriterQueueOf(path)) {
    auto file = duckdb::FileConnection::Open(path, duckdb::FileConnection::Mode::kCreate);
    Must(file.status(), path);
    file_ = *std::move(file);
  }

  void Exec(const std::string& sql) override {
    if (sql == "BEGIN") {
      auto turn = writers_->Wait([] { return false; });
      Must(turn.status(), sql);
      turn_.emplace(*std::move(turn));
    }
    Must((*file_)->Execute(sql).status(), sql);
    if (sql == "COMMIT" || sql == "ROLLBACK") turn_.reset();
  }

  std::vector<std::vector<std::string>> Query(const std::string& sql) override {
    const auto rows = (*file_)->Query(sql);
    Must(rows.status(), sql);
    std::vector<std::vector<std::string>> cells;
    for (const auto& row : *rows) {
      for (cells.emplace_back(); const auto& cell : row) cells.back().push_back(cell.value_or("NULL"));
    }
    return cells;
  }

 private:
  const std::shared_ptr<WriterQueue> writers_;
  // Until the transaction is over, which it is with the connection.
  std::optional<WriterQueue::Turn> turn_;
  std::unique_ptr<duckdb::FileConnection> file_;
};

class DuckdbStore final : public StoreUnderTest {
 public:
  Connector& connector() override { return connector_; }

  Events MakeEvents(int rows) override {
    Events events;
    events.connection = NewDatabase();
    events.job = ReadJob("events", "updated_at");
    const auto session = Open(events.connection);
    session->Exec(StampedTable("events"));
    session->Exec(
        absl::StrCat("INSERT INTO events SELECT n + 1, 'note ' || (n + 1), TIMESTAMPTZ '2024-01-01 00:00:00+00' + "
                     "to_seconds(n) FROM range(",
                     rows, ") r (n)"));
    for (int i = 0; i < rows; ++i) {
      events.ids.push_back(i + 1);
      v1::Watermark& watermark = events.stamps.emplace_back();
      watermark.set_type("timestamptz");
      watermark.set_text(
          absl::StrFormat("2024-01-%02d %02d:%02d:%02d+00", 1 + i / 86400, i / 3600 % 24, i / 60 % 60, i % 60));
      watermark.set_precision(6);
    }
    return events;
  }

  v1::ConnectionSpec NewDatabase() override {
    v1::ConnectionSpec connection;
    connection.set_name("file");
    connection.set_dsn(absl::StrCat("duckdb:", directory_.File(absl::StrCat("db", ++databases_, ".duckdb"))));
    return connection;
  }

  std::unique_ptr<SqlSession> Open(const v1::ConnectionSpec& connection) override {
    return std::make_unique<FileSession>(connection.dsn().substr(sizeof("duckdb:") - 1));
  }

  bool merges_without_index() const override { return true; }

  std::string StampedTable(const std::string& name) const override {
    return absl::StrCat("CREATE TABLE ", name,
                        " (id BIGINT PRIMARY KEY, note VARCHAR, updated_at TIMESTAMPTZ DEFAULT now())");
  }

  std::vector<std::string> Zoo() const override {
    return {
        "CREATE TABLE zoo (id INTEGER PRIMARY KEY, small SMALLINT, middle INTEGER, big BIGINT, positive UBIGINT, truth "
        "BOOLEAN, real4 FLOAT, real8 DOUBLE, money DECIMAL(12,2), huge DECIMAL(38,10), words VARCHAR, bytes BLOB, day "
        "DATE, clock TIME, moment TIMESTAMP, instant TIMESTAMPTZ, ident UUID, doc JSON)",
        "INSERT INTO zoo VALUES (1, 32767, 2147483647, 9223372036854775807, 9223372036854775807, TRUE, 0.1, 0.1, "
        "1234567890.10, 1234567890123456789012345678.0123456789, 'grüße 🌊 ''quoted''', '\\x00\\xFF\\x10', "
        "'0001-01-01', '23:59:59.999999', '9999-12-31 23:59:59.999999', '2024-03-31 01:30:00.5+02:00', "
        "'00112233-4455-6677-8899-aabbccddeeff', '{\"a\": [1, 1.0, null]}')",
        "INSERT INTO zoo VALUES (2, -32768, -2147483648, -9223372036854775808, 0, FALSE, -1e30, -1e300, -0.01, "
        "-0.0000000001, '', '', '9999-12-31', '00:00:00', '1969-12-31 23:59:59.000001', '1970-01-01 00:00:00Z', "
        "'ffffffff-ffff-ffff-ffff-ffffffffffff', '5')",
        "INSERT INTO zoo (id) VALUES (3)",
        "INSERT INTO zoo (id, real8, words) VALUES (4, 'inf', 'two' || chr(10) || 'lines' || chr(9) || 'and a tab\\')"};
  }

  std::string UserTables() const override {
    return "SELECT table_name FROM information_schema.tables WHERE table_catalog = current_database() AND NOT "
           "(table_schema = 'tidemark' AND table_name IN ('fence', 'ledger', 'moves', 'quarantine', 'staging')) "
           "ORDER BY table_name";
  }
  std::string ControlTable(const std::string& name) const override { return absl::StrCat("tidemark.", name); }

 private:
  test::TempDir directory_;
  int databases_ = 0;
  duckdb::DuckdbConnector connector_;
};

}  // namespace

std::unique_ptr<StoreUnderTest> MakeDuckdbStore() { return std::make_unique<DuckdbStore>(); }

}  // namespace tidemark::conformance
