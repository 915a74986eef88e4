// Names and values that are valid and look like anything but: quotes, capitals, keywords, emoji, the longest there are,
// SQL. Every row arrives, whichever stores it goes between.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "nlohmann/json.hpp"
#include "tests/integration/project.h"
#include "tests/integration/sqlite_file.h"
#include "tests/support/postgres_server.h"
#include "tests/support/temp_dir.h"

namespace tidemark::test {
namespace {

using Rows = std::vector<std::vector<std::string>>;

// Of tables and of columns; 63 bytes are the most that PostgreSQL takes.
const std::vector<std::string>& OddNames() {
  static const auto* const kNames = new std::vector<std::string>{
      R"(it's "quoted")",
      "Capital Letters",
      "select",
      "\xf0\x9f\x93\xa6 crates",
      std::string(63, 'x'),
      std::string(59, 'y') + "\xf0\x9f\x93\xa6",
      "x'; DROP TABLE kept; --",
      R"(x"); DROP TABLE kept; --)",
      "a.b",
      "$1 %s :last_watermark ? $$",
      R"(back\slash)",
      " between spaces ",
      "-- no comment /* here",
  };
  return *kNames;
}

const std::vector<std::string>& OddValues() {
  static const auto* const kValues = new std::vector<std::string>{"",
                                                                  "'",
                                                                  "''; DROP TABLE kept; --",
                                                                  "\"",
                                                                  "\\",
                                                                  "\\N",
                                                                  "\\.",
                                                                  "a\tb\nc\rd",
                                                                  "NULL",
                                                                  "null",
                                                                  "{}",
                                                                  "$1 $$ ${env:HOME}",
                                                                  "%s%n",
                                                                  "=1+1",
                                                                  "\xf0\x9f\x93\xa6\xe2\x80\x8d\xcc\x81",
                                                                  "\x1b[31m",
                                                                  "0x00",
                                                                  "true",
                                                                  std::string(100'000, 'z')};
  return *kValues;
}

std::string Quoted(const std::string& name) {
  return absl::StrCat("\"", absl::StrReplaceAll(name, {{"\"", "\"\""}}), "\"");
}
std::string Literal(const std::string& text) {
  return absl::StrCat("'", absl::StrReplaceAll(text, {{"'", "''"}}), "'");
}
// A JSON string is a YAML string.
std::string Yaml(const std::string& text) { return nlohmann::json(text).dump(); }

// A SQLite file or a PostgreSQL database.
class Store {
 public:
  explicit Store(bool postgres) : dsn_(postgres ? PostgresServer::Shared().NewDatabase() : ""), postgres_(postgres) {}

  std::string dsn() const { return postgres_ ? dsn_ : "sqlite:" + file(); }
  void Run(const std::string& sql) const { postgres_ ? Exec(dsn_, sql) : SqliteExec(file(), sql); }
  Rows Select(const std::string& sql) const { return postgres_ ? Query(dsn_, sql) : SqliteQuery(file(), sql); }
  std::string Now() const { return postgres_ ? "clock_timestamp()" : "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')"; }

 private:
  std::string file() const { return directory_.File("store.db"); }

  TempDir directory_;
  const std::string dsn_;
  const bool postgres_;
};

std::string Columns() {
  return absl::StrJoin(OddNames(), ", ", [](std::string* out, const std::string& name) { *out += Quoted(name); });
}

// Row `id`, with the odd values in turn; the key of the table `name` is the column of its name.
std::string Insert(const Store& store, const std::string& name, size_t id) {
  std::vector<std::string> values;
  for (size_t i = 0; i < OddNames().size(); ++i) {
    const std::string& value = OddValues()[(id + i) % OddValues().size()];
    values.push_back(Literal(OddNames()[i] == name ? absl::StrCat(id, " ", value.substr(0, 100)) : value));
  }
  return absl::StrCat("INSERT INTO ", Quoted(name), " (\"Id\", ", Columns(), ", \"When '\"\"' changed\") VALUES (", id,
                      ", ", absl::StrJoin(values, ", "), ", ", store.Now(), ");\n");
}

Rows Content(const Store& store, const std::string& name) {
  return store.Select(absl::StrCat("SELECT \"Id\", ", Columns(), " FROM ", Quoted(name), " ORDER BY \"Id\""));
}

class OddNamesTest : public ::testing::TestWithParam<std::pair<bool, bool>> {};

TEST_P(OddNamesTest, EveryRowArrivesAsItIs) {
  const Store shop(GetParam().first);
  const Store warehouse(GetParam().second);
  warehouse.Run("CREATE TABLE kept (id int)");
  std::string yaml = absl::StrCat("connections:\n  shop: { dsn: ", Yaml(shop.dsn()),
                                  " }\n  warehouse: { dsn: ", Yaml(warehouse.dsn()), " }\njobs:\n");
  for (size_t job = 0; job < OddNames().size(); ++job) {
    const std::string& name = OddNames()[job];
    std::string sql = absl::StrCat("CREATE TABLE ", Quoted(name), " (\"Id\" int, ");
    for (const std::string& column : OddNames()) absl::StrAppend(&sql, Quoted(column), " text NOT NULL, ");
    absl::StrAppend(&sql, "\"When '\"\"' changed\" timestamptz NOT NULL, PRIMARY KEY (", Quoted(name), "));\n");
    for (size_t id = 0; id < 15; ++id) sql += Insert(shop, name, id);
    shop.Run(sql);
    absl::StrAppend(&yaml, "  j", job, ":\n    source: { connection: shop, table: ", Yaml(Quoted(name)),
                    ", watermark: ", Yaml("When '\"' changed"),
                    " }\n    target: { connection: warehouse, table: ", Yaml(Quoted(name)),
                    ", strategy: upsert, key: [", Yaml(name), "] }\n");
  }
  Project project(yaml);
  const auto expect_all = [&](int exit_code, const std::string& err) {
    ASSERT_EQ(exit_code, 0) << err;
    for (const std::string& name : OddNames()) EXPECT_EQ(Content(warehouse, name), Content(shop, name)) << name;
    EXPECT_EQ(warehouse.Select("SELECT * FROM kept"), Rows());
  };
  RunOutcome outcome = project.Run();
  expect_all(outcome.exit_code, outcome.err);
  for (const std::string& name : OddNames()) {
    const std::string& other = name == OddNames()[0] ? OddNames()[1] : OddNames()[0];
    shop.Run(absl::StrCat("UPDATE ", Quoted(name), " SET ", Quoted(other), " = ", Literal("'\"); --"),
                          ", \"When '\"\"' changed\" = ", shop.Now(), " WHERE \"Id\" < 3;\n", Insert(shop, name, 20)));
  }
  outcome = project.Run();
  expect_all(outcome.exit_code, outcome.err);
  for (const nlohmann::json& job : outcome.jobs) EXPECT_EQ(job["rows_read"], 4) << job;
  outcome = project.Run({"--full-refresh"});
  expect_all(outcome.exit_code, outcome.err);
}

INSTANTIATE_TEST_SUITE_P(Stores, OddNamesTest,
                         ::testing::Values(std::pair(false, false), std::pair(false, true), std::pair(true, false),
                                           std::pair(true, true)),
                         [](const auto& info) {
                           return absl::StrCat(info.param.first ? "Postgres" : "Sqlite", "To",
                                               info.param.second ? "Postgres" : "Sqlite");
                         });

}  // namespace
}  // namespace tidemark::test
