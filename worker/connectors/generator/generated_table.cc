#include "worker/connectors/generator/generated_table.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace tidemark::generator {
namespace {

using Type = v1::LogicalType;

constexpr int64_t kSecond = 1'000'000;
// 2024-01-01 00:00:00 UTC.
constexpr int64_t kFirstCreated = 1'704'067'200 * kSecond;
constexpr int64_t kMaxRows = int64_t{1} << 40;
constexpr int64_t kMaxRowBytes = 64 << 20;

// SplitMix64 (Steele, Lea, Flood 2014): one step of it turns a counter into noise.
uint64_t Mix(uint64_t value) {
  value += 0x9e3779b97f4a7c15u;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
  return value ^ (value >> 31);
}

void AddColumn(const char* name, Type::Kind kind, const char* native, bool nullable, v1::TableSchema* schema,
               int precision = 0, int scale = 0) {
  v1::Column* column = schema->add_columns();
  column->set_name(name);
  column->set_native_type(native);
  column->set_nullable(nullable);
  column->mutable_type()->set_kind(kind);
  column->mutable_type()->set_precision(precision);
  column->mutable_type()->set_scale(scale);
}

}  // namespace

absl::StatusOr<GeneratedTable> GeneratedTable::Parse(absl::string_view text, const GeneratedTable& defaults) {
  GeneratedTable table = defaults;
  for (const absl::string_view part : absl::StrSplit(text, '&', absl::SkipEmpty())) {
    const std::pair<absl::string_view, absl::string_view> setting = absl::StrSplit(part, absl::MaxSplits('=', 1));
    int64_t value = 0;
    const bool number = absl::SimpleAtoi(setting.second, &value);
    if (number && setting.first == "rows" && value >= 0 && value <= kMaxRows) {
      table.rows_ = value;
    } else if (number && setting.first == "seed") {
      table.seed_ = value;
    } else if (number && setting.first == "row_bytes" && value >= 0 && value <= kMaxRowBytes) {
      table.row_bytes_ = value;
    } else {
      return absl::InvalidArgumentError(absl::StrCat("generator: '", part, "' is not one of rows=0…", kMaxRows,
                                                     ", seed=NUMBER, row_bytes=0…", kMaxRowBytes));
    }
  }
  return table;
}

v1::TableSchema GeneratedTable::Schema() {
  v1::TableSchema schema;
  AddColumn("id", Type::KIND_INT64, "bigint", false, &schema);
  AddColumn("name", Type::KIND_STRING, "text", false, &schema);
  AddColumn("amount", Type::KIND_DECIMAL, "decimal(18,2)", false, &schema, 18, 2);
  AddColumn("flag", Type::KIND_BOOL, "boolean", false, &schema);
  AddColumn("quantity", Type::KIND_INT32, "integer", true, &schema);
  AddColumn("created_at", Type::KIND_TIMESTAMPTZ, "timestamptz", false, &schema, 0, 6);
  AddColumn("updated_at", Type::KIND_TIMESTAMPTZ, "timestamptz", false, &schema, 0, 6);
  AddColumn("payload", Type::KIND_STRING, "text", false, &schema);
  schema.add_primary_key("id");
  return schema;
}

std::string GeneratedTable::Identity() const {
  return absl::StrCat("generator seed ", seed_, ", row_bytes ", row_bytes_);
}

uint64_t GeneratedTable::Chance(int64_t index, uint64_t column) const {
  return Mix(Mix(static_cast<uint64_t>(seed_) * 64 + column) ^ static_cast<uint64_t>(index));
}

std::string GeneratedTable::Name(int64_t index) const {
  return absl::StrCat("name-", absl::Hex(Chance(index, 1), absl::kZeroPad16));
}
int64_t GeneratedTable::AmountInCents(int64_t index) const {
  return static_cast<int64_t>(Chance(index, 2) % 2'000'000'001) - 1'000'000'000;
}
bool GeneratedTable::Flag(int64_t index) const { return (Chance(index, 3) & 1) != 0; }
int32_t GeneratedTable::Quantity(int64_t index) const { return static_cast<int32_t>(Chance(index, 4) % 1000); }
int64_t GeneratedTable::CreatedAt(int64_t index) const { return kFirstCreated + index * kSecond; }
int64_t GeneratedTable::UpdatedAt(int64_t index) const {
  return CreatedAt(index) + static_cast<int64_t>(Chance(index, 5) % kSecond);
}

void GeneratedTable::AppendPayload(int64_t index, std::string* out) const {
  const size_t begin = out->size();
  out->resize(begin + static_cast<size_t>(row_bytes_));
  uint64_t noise = Chance(index, 6);
  for (size_t at = begin; at < out->size(); at += sizeof noise) {
    noise = Mix(noise);
    // Six bits a byte, from '0' on: printable, and nothing a compressor could shrink to nothing.
    const uint64_t text = (noise & 0x3f3f3f3f3f3f3f3fu) + 0x3030303030303030u;
    std::memcpy(out->data() + at, &text, std::min(sizeof text, out->size() - at));
  }
}

int64_t GeneratedTable::FirstUpdatedAfter(int64_t micros) const {
  if (micros < kFirstCreated) return 0;
  const int64_t candidate = (micros - kFirstCreated) / kSecond;
  if (candidate >= rows_) return rows_;
  return UpdatedAt(candidate) > micros ? candidate : candidate + 1;
}

}  // namespace tidemark::generator
