#include "worker/connectors/postgres/postgres_decimal.h"

#include <arrow/util/decimal.h>

#include "absl/status/status.h"
#include "common/base/status_macros.h"

namespace tidemark::postgres {
namespace {

constexpr int32_t kDigitsPerGroup = 4;
constexpr uint16_t kNegative = 0x4000;
constexpr uint16_t kNan = 0xC000;
constexpr uint16_t kInfinity = 0xD000;
constexpr uint16_t kNegativeInfinity = 0xF000;
constexpr int32_t kPowers[] = {1, 10, 100, 1000, 10000};

uint16_t Word(std::string_view bytes, size_t index) {
  return static_cast<uint16_t>(static_cast<unsigned char>(bytes[2 * index]) << 8 |
                               static_cast<unsigned char>(bytes[2 * index + 1]));
}

// An unscaled value is built from groups of four decimal digits, the highest first.
struct Unscaled128 {
  unsigned __int128 value = 0;
  bool overflow = false;
  void Add(int32_t factor, int32_t digits) {
    overflow |= __builtin_mul_overflow(value, static_cast<unsigned __int128>(factor), &value);
    overflow |= __builtin_add_overflow(value, static_cast<unsigned __int128>(digits), &value);
  }
  bool Overflowed() const { return overflow || (value >> 127) != 0; }
  arrow::Decimal128 Result(bool negative) const {
    const arrow::Decimal128 result(static_cast<int64_t>(value >> 64), static_cast<uint64_t>(value));
    return negative ? arrow::Decimal128(-result) : result;
  }
};

struct Unscaled256 {
  arrow::Decimal256 value = 0;
  // 256 bits hold 76 digits; 77 can wrap round.
  int digits_seen = 0;
  void Add(int32_t factor, int32_t digits) {
    value = value * arrow::Decimal256(factor) + arrow::Decimal256(digits);
    if (digits_seen > 0 || digits > 0) {
      for (int32_t power = factor; power > 1; power /= 10) ++digits_seen;
    }
  }
  bool Overflowed() const { return digits_seen > 80 || value < arrow::Decimal256(0); }
  arrow::Decimal256 Result(bool negative) const { return negative ? arrow::Decimal256(-value) : value; }
};

template <typename Unscaled, typename Decimal>
absl::StatusOr<Decimal> Decode(std::string_view bytes, int32_t scale) {
  if (bytes.size() < 8) return absl::InternalError("a numeric of less than 8 bytes");
  const int32_t groups = Word(bytes, 0);
  const int32_t weight = static_cast<int16_t>(Word(bytes, 1));
  const uint16_t sign = Word(bytes, 2);
  if (sign == kNan) return absl::OutOfRangeError("NaN");
  if (sign == kInfinity) return absl::OutOfRangeError("Infinity");
  if (sign == kNegativeInfinity) return absl::OutOfRangeError("-Infinity");
  if (bytes.size() != 8 + 2 * static_cast<size_t>(groups))
    return absl::InternalError("a numeric whose length is not that of its digits");
  Unscaled unscaled;
  for (int32_t group = 0; group < groups; ++group) {
    const int32_t digits = Word(bytes, 4 + static_cast<size_t>(group));
    // Power of ten of the group's last digit, in units of the last fractional digit kept.
    const int32_t exponent = kDigitsPerGroup * (weight - group) + scale;
    if (exponent >= 0) {
      unscaled.Add(10000, digits);
    } else {
      const int32_t dropped = exponent < -kDigitsPerGroup ? kDigitsPerGroup : -exponent;
      if (digits % kPowers[dropped] != 0)
        return absl::OutOfRangeError("a value with more fractional digits than its column");
      unscaled.Add(kPowers[kDigitsPerGroup - dropped], digits / kPowers[dropped]);
    }
  }
  // Trailing zero groups are not sent.
  int32_t missing = groups == 0 ? 0 : kDigitsPerGroup * (weight - (groups - 1)) + scale;
  for (; missing > 0; missing -= kDigitsPerGroup) {
    unscaled.Add(kPowers[missing < kDigitsPerGroup ? missing : kDigitsPerGroup], 0);
  }
  if (unscaled.Overflowed()) return absl::OutOfRangeError("a value with more digits than its column");
  return unscaled.Result(sign == kNegative);
}

}  // namespace

absl::StatusOr<arrow::Decimal128> DecodeDecimal128(std::string_view bytes, int32_t scale) {
  return Decode<Unscaled128, arrow::Decimal128>(bytes, scale);
}

absl::StatusOr<arrow::Decimal256> DecodeDecimal256(std::string_view bytes, int32_t scale) {
  return Decode<Unscaled256, arrow::Decimal256>(bytes, scale);
}

}  // namespace tidemark::postgres
