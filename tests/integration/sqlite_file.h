#pragma once

#include <string>
#include <vector>

namespace tidemark::test {

// Runs statements on a file, made if missing; waits for locks; aborts the test process with SQLite's message on an
// error.
void SqliteExec(const std::string& path, const std::string& sql);
// Rows of text cells ("NULL" for NULL) of one query.
std::vector<std::vector<std::string>> SqliteQuery(const std::string& path, const std::string& sql);
// First cell of the first row.
std::string SqliteScalar(const std::string& path, const std::string& sql);

}  // namespace tidemark::test
