#pragma once

#include <cstdint>
#include <string_view>

#include "absl/status/statusor.h"

namespace arrow {
class Decimal128;
class Decimal256;
}  // namespace arrow

namespace tidemark::postgres {

// A numeric in binary form (src/backend/utils/adt/numeric.c, numeric_send) as an unscaled integer of `scale` fractional
// digits, exactly. OutOfRange for NaN, the infinities, and a value that has more digits than the type holds; the
// message is the value's text.
absl::StatusOr<arrow::Decimal128> DecodeDecimal128(std::string_view bytes, int32_t scale);
absl::StatusOr<arrow::Decimal256> DecodeDecimal256(std::string_view bytes, int32_t scale);

}  // namespace tidemark::postgres
