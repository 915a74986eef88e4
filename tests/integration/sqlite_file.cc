#include "tests/integration/sqlite_file.h"

#include <sqlite3.h>

#include <cstdio>
#include <cstdlib>
#include <memory>

namespace tidemark::test {
namespace {

[[noreturn]] void Die(const std::string& path, const std::string& sql, const char* message) {
  std::fprintf(stderr, "%s: %s: %s\n", path.c_str(), sql.c_str(), message);
  std::abort();
}

int AppendRow(void* rows, int columns, char** cells, char**) {
  std::vector<std::string>& row = static_cast<std::vector<std::vector<std::string>>*>(rows)->emplace_back();
  for (int i = 0; i < columns; ++i) row.emplace_back(cells[i] == nullptr ? "NULL" : cells[i]);
  return 0;
}

}  // namespace

std::vector<std::vector<std::string>> SqliteQuery(const std::string& path, const std::string& sql) {
  sqlite3* opened = nullptr;
  const int result = sqlite3_open(path.c_str(), &opened);
  const std::unique_ptr<sqlite3, decltype(&sqlite3_close)> db(opened, &sqlite3_close);
  if (result != SQLITE_OK) Die(path, sql, sqlite3_errmsg(opened));
  sqlite3_busy_timeout(opened, 30'000);
  std::vector<std::vector<std::string>> rows;
  if (sqlite3_exec(opened, sql.c_str(), &AppendRow, &rows, nullptr) != SQLITE_OK)
    Die(path, sql, sqlite3_errmsg(opened));
  return rows;
}

void SqliteExec(const std::string& path, const std::string& sql) { SqliteQuery(path, sql); }

std::string SqliteScalar(const std::string& path, const std::string& sql) {
  const std::vector<std::vector<std::string>> rows = SqliteQuery(path, sql);
  if (rows.empty()) Die(path, sql, "no row");
  return rows[0][0];
}

}  // namespace tidemark::test
