#pragma once

#include <string>
#include <vector>

namespace tidemark::test {

// By DuckDB's C API, which Tidemark does not use. The file must not be open elsewhere. Each aborts the test process
// with DuckDB's message on an error.

// Runs statements on a file, made if missing.
void DuckdbExec(const std::string& path, const std::string& sql);
// Rows of text cells ("NULL" for NULL) of one query.
std::vector<std::vector<std::string>> DuckdbQuery(const std::string& path, const std::string& sql);
// First cell of the first row.
std::string DuckdbScalar(const std::string& path, const std::string& sql);

}  // namespace tidemark::test
