#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "tidemark/v1/values.pb.h"

namespace tidemark {

// Whether read = loaded + filtered + quarantined, the reasons of the filtered rows sum to them, and nothing is
// negative.
bool Balances(const v1::RowCounts& counts);

// Adds every count of `more`, reason by reason.
void Add(const v1::RowCounts& more, v1::RowCounts* sum);

// Counts `rows` more as filtered for `reason`. Nothing for no rows: a reason is listed only with rows.
void AddFiltered(std::string_view reason, int64_t rows, v1::RowCounts* counts);

// Rows read that are neither filtered nor quarantined: what is left to load, or what was.
int64_t Remaining(const v1::RowCounts& counts);

// "read 10,000 = loaded 9,990 + filtered 7 + quarantined 3". Written with an equals sign only if it is one: counts that
// do not balance read "read 10,000 <> ...".
std::string Summary(const v1::RowCounts& counts);

// 1234567 -> "1,234,567".
std::string FormatCount(int64_t count);

}  // namespace tidemark
