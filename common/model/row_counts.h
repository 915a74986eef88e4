#pragma once

#include <cstdint>
#include <string>

#include "tidemark/v1/values.pb.h"

namespace tidemark {

// Whether read = loaded + filtered + quarantined, the reasons of the filtered rows sum to them, and nothing is
// negative.
bool Balances(const v1::RowCounts& counts);

// Adds every count of `more`, reason by reason.
void Add(const v1::RowCounts& more, v1::RowCounts* sum);

// "read 10,000 = loaded 9,990 + filtered 7 + quarantined 3". Written with an equals sign only if it is one: counts that
// do not balance read "read 10,000 <> ...".
std::string Summary(const v1::RowCounts& counts);

// 1234567 -> "1,234,567".
std::string FormatCount(int64_t count);

}  // namespace tidemark
