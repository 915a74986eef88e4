#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace tidemark::cli {

// Data that a command prints: null, a scalar, a list, or a record of named values in a fixed order.
class Value {
 public:
  using List = std::vector<Value>;
  using Record = std::vector<std::pair<std::string, Value>>;
  using Variant = std::variant<std::monostate, bool, int64_t, double, std::string, List, Record>;

  Value() = default;
  Value(bool value) : value_(value) {}
  Value(int value) : value_(int64_t{value}) {}
  Value(int64_t value) : value_(value) {}
  Value(double value) : value_(value) {}
  Value(const char* value) : value_(std::string(value)) {}
  Value(std::string value) : value_(std::move(value)) {}
  Value(List value) : value_(std::move(value)) {}
  Value(Record value) : value_(std::move(value)) {}

  // Null for an empty text.
  static Value OrNull(std::string text) { return text.empty() ? Value() : Value(std::move(text)); }

  const Variant& variant() const { return value_; }

 private:
  Variant value_;
};

// One line, or indented over several. Text that is not UTF-8 has its bad bytes replaced.
std::string ToJson(const Value& value, bool indented);
// A block that ends with a line end.
std::string ToYaml(const Value& value);
// For a cell of a table: null is empty, lists are joined by commas.
std::string ToCell(const Value& value);

}  // namespace tidemark::cli
