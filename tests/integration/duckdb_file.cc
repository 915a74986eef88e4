#include "tests/integration/duckdb_file.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>

// The library comes without its header.
extern "C" {
struct duckdb_result {
  uint64_t deprecated[3];
  void* deprecated_columns;
  char* deprecated_error;
  void* internal;
};
int duckdb_open(const char* path, void** database);
void duckdb_close(void** database);
int duckdb_connect(void* database, void** connection);
void duckdb_disconnect(void** connection);
int duckdb_query(void* connection, const char* sql, duckdb_result* result);
const char* duckdb_result_error(duckdb_result* result);
uint64_t duckdb_column_count(duckdb_result* result);
uint64_t duckdb_row_count(duckdb_result* result);
char* duckdb_value_varchar(duckdb_result* result, uint64_t column, uint64_t row);
void duckdb_free(void* memory);
void duckdb_destroy_result(duckdb_result* result);
}

namespace tidemark::test {

std::vector<std::vector<std::string>> DuckdbQuery(const std::string& path, const std::string& sql) {
  void* database = nullptr;
  void* connection = nullptr;
  if (duckdb_open(path.c_str(), &database) != 0 || duckdb_connect(database, &connection) != 0) {
    std::fprintf(stderr, "DuckDB: %s cannot be opened\n", path.c_str());
    std::abort();
  }
  duckdb_result result;
  if (duckdb_query(connection, sql.c_str(), &result) != 0) {
    std::fprintf(stderr, "DuckDB: %s: %s\n", duckdb_result_error(&result), sql.c_str());
    std::abort();
  }
  std::vector<std::vector<std::string>> rows(duckdb_row_count(&result));
  for (uint64_t row = 0; row < rows.size(); ++row) {
    for (uint64_t column = 0; column < duckdb_column_count(&result); ++column) {
      char* text = duckdb_value_varchar(&result, column, row);
      rows[row].emplace_back(text != nullptr ? text : "NULL");
      duckdb_free(text);
    }
  }
  duckdb_destroy_result(&result);
  duckdb_disconnect(&connection);
  duckdb_close(&database);
  return rows;
}

void DuckdbExec(const std::string& path, const std::string& sql) { DuckdbQuery(path, sql); }

std::string DuckdbScalar(const std::string& path, const std::string& sql) { return DuckdbQuery(path, sql).at(0).at(0); }

}  // namespace tidemark::test
