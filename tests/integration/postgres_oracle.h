#pragma once

#include <cstdint>
#include <string>

namespace tidemark::test {

// Count and order-free hash of a relation's rows: the sum of the first 60 bits of every row's md5 over `columns` as
// text. Equal fingerprints mean equal multisets of rows.
std::string Fingerprint(const std::string& dsn, const std::string& relation, const std::string& columns);

// Rows of `table` per id that are doubled.
std::string DuplicateIds(const std::string& dsn, const std::string& table);

// Every run of the ledger once, and windows that join without a gap (each low is the high before
// it). Empty if it holds, else what does not.
std::string LedgerViolations(const std::string& dsn, const std::string& table);

// A TPC-H-like lineitem of `rows` rows: 16 columns, id bigint primary key and updated_at timestamptz, indexed.
void CreateLineitem(const std::string& dsn, int64_t rows);

// The column list of lineitem, for Fingerprint.
extern const char kLineitemColumns[];

}  // namespace tidemark::test
