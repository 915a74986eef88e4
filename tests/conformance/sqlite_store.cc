#include <sqlite3.h>

#include <cstdio>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tests/conformance/store_under_test.h"
#include "tests/support/temp_dir.h"
#include "worker/connectors/sqlite/sqlite_connector.h"

namespace tidemark::conformance {
namespace {

class FileSession final : public SqlSession {
 public:
  explicit FileSession(const std::string& path) {
    Check(sqlite3_open(path.c_str(), &db_), path);
    sqlite3_busy_timeout(db_, 20'000);
    Exec("PRAGMA journal_mode = WAL");
  }
  ~FileSession() override { sqlite3_close(db_); }

  void Exec(const std::string& sql) override { Check(sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, nullptr), sql); }

  std::vector<std::vector<std::string>> Query(const std::string& sql) override {
    sqlite3_stmt* statement = nullptr;
    Check(sqlite3_prepare_v2(db_, sql.c_str(), -1, &statement, nullptr), sql);
    std::vector<std::vector<std::string>> rows;
    int code;
    while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
      std::vector<std::string>& row = rows.emplace_back();
      for (int i = 0; i < sqlite3_column_count(statement); ++i) {
        const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement, i));
        row.emplace_back(text != nullptr ? text : "NULL");
      }
    }
    sqlite3_finalize(statement);
    Check(code == SQLITE_DONE ? SQLITE_OK : code, sql);
    return rows;
  }

 private:
  void Check(int code, const std::string& doing) {
    if (code == SQLITE_OK) return;
    std::fprintf(stderr, "SQLite: %s: %s\n", sqlite3_errmsg(db_), doing.c_str());
    std::abort();
  }

  sqlite3* db_ = nullptr;
};

class SqliteStore final : public StoreUnderTest {
 public:
  Connector& connector() override { return connector_; }

  Events MakeEvents(int rows) override {
    Events events;
    events.connection = NewDatabase();
    events.job = ReadJob("events", "updated_at");
    const auto session = Open(events.connection);
    session->Exec(StampedTable("events"));
    session->Exec("BEGIN");
    for (int i = 0; i < rows; ++i) {
      const std::string stamp =
          absl::StrFormat("2024-01-%02d %02d:%02d:%02d.000", 1 + i / 86400, i / 3600 % 24, i / 60 % 60, i % 60);
      session->Exec(absl::StrCat("INSERT INTO events VALUES (", i + 1, ", 'note ", i + 1, "', '", stamp, "')"));
      events.ids.push_back(i + 1);
      v1::Watermark& watermark = events.stamps.emplace_back();
      watermark.set_type("timestamp");
      watermark.set_text(stamp);
      watermark.set_precision(3);
      watermark.set_zone("UTC");
    }
    session->Exec("COMMIT");
    return events;
  }

  v1::ConnectionSpec NewDatabase() override {
    v1::ConnectionSpec connection;
    connection.set_name("file");
    connection.set_dsn(absl::StrCat("sqlite:", directory_.File(absl::StrCat("db", ++databases_, ".sqlite"))));
    return connection;
  }

  std::unique_ptr<SqlSession> Open(const v1::ConnectionSpec& connection) override {
    return std::make_unique<FileSession>(connection.dsn().substr(sizeof("sqlite:") - 1));
  }

  std::string StampedTable(const std::string& name) const override {
    return absl::StrCat(
        "CREATE TABLE ", name,
        " (id INTEGER PRIMARY KEY, note TEXT, updated_at TIMESTAMP DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now')))");
  }

  std::string BeginWriting() const override { return "BEGIN IMMEDIATE"; }

  std::vector<std::string> Zoo() const override {
    return {
        "CREATE TABLE zoo (id INTEGER PRIMARY KEY, small SMALLINT, middle INT4, big BIGINT, truth BOOLEAN, real8 "
        "DOUBLE, money DECIMAL(12,2), "
        "huge DECIMAL_TEXT(38,10), vast DECIMAL_TEXT(60,5), anynum DECIMAL_TEXT, words TEXT, bytes BLOB, day DATE, "
        "clock TIME, moment TIMESTAMP, "
        "instant TIMESTAMPTZ, ident UUID, doc JSON_TEXT)",
        "INSERT INTO zoo VALUES (1, 32767, 2147483647, 9223372036854775807, 1, 0.1, '1234567890.10', "
        "'1234567890123456789012345678.0123456789', "
        "'-1234567890123456789012345678901234567890123456789012345.00001', '3.14159265358979323846264338327950288', "
        "'grüße 🌊 ''quoted''', "
        "x'00ff10', '0001-01-01', '23:59:59.999999', '9999-12-31 23:59:59.999999', '2024-03-31 01:30:00.5+02:00', "
        "'00112233-4455-6677-8899-aabbccddeeff', '{\"a\": [1, 1.0, null]}')",
        "INSERT INTO zoo VALUES (2, -32768, -2147483648, -9223372036854775808, 0, -1e300, '-0.01', '-0.0000000001', "
        "'0.00000', '-1', '', x'', "
        "'9999-12-31', '00:00:00', '1969-12-31 23:59:59.000001', '1970-01-01 00:00:00Z', "
        "'FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF', '5')",
        "INSERT INTO zoo (id) VALUES (3)",
        "INSERT INTO zoo (id, real8, words) VALUES (4, 9e999, 'two"
        "\n"
        "lines\tand a tab\\')"};
  }

  std::string UserTables() const override {
    return "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' "
           "AND name NOT IN "
           "('_tidemark_fence', '_tidemark_ledger', '_tidemark_moves', '_tidemark_quarantine', '_tidemark_staging') "
           "ORDER BY name";
  }
  std::string ControlTable(const std::string& name) const override { return absl::StrCat("_tidemark_", name); }

 private:
  test::TempDir directory_;
  int databases_ = 0;
  sqlite::SqliteConnector connector_;
};

}  // namespace

std::unique_ptr<StoreUnderTest> MakeSqliteStore() { return std::make_unique<SqliteStore>(); }

}  // namespace tidemark::conformance
