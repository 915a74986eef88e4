#pragma once

#include <optional>
#include <string>
#include "absl/strings/string_view.h"

#include "tidemark/v1/values.pb.h"

namespace tidemark::sqlite {

// What SQLite does to a value stored in a column ("Datatypes In SQLite", section 3.1): the declared type decides it by
// its letters.
enum class Affinity { kInteger, kText, kBlob, kReal, kNumeric };

Affinity AffinityOf(absl::string_view declared);

// What a declared type says its values mean; nullopt where it says nothing (no type, or a name unknown to us of numeric
// affinity) and the values themselves must tell. The names that DeclaredType gives are read back as what they were.
std::optional<v1::LogicalType> LogicalTypeOf(absl::string_view declared);

// The declared type under which a column of ours keeps every value of `type` exactly. Exact decimals and JSON are
// declared with TEXT in their names, since numeric affinity would turn '1.10' into 1.1 and keep 15 digits only.
std::string DeclaredType(const v1::LogicalType& type);

// Why a column declared `declared` would change values of `type`, as the end of a sentence about the column; empty if
// it holds them exactly. Decimals in a column of numeric affinity are held up to 15 digits: their writer checks each
// value.
std::string WhyNotHeld(const v1::LogicalType& type, absl::string_view declared, bool strict);

// "decimal(18,2)", "timestamptz", … for messages.
std::string Describe(const v1::LogicalType& type);

}  // namespace tidemark::sqlite
