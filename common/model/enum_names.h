#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "google/protobuf/descriptor.h"
#include "google/protobuf/generated_enum_reflection.h"
#include "tidemark/v1/values.pb.h"

namespace tidemark {

// The names users see are the enum's own without its prefix, in lower case: LOAD_STRATEGY_UPSERT is "upsert". The
// unspecified value has the empty name.
std::string EnumName(const google::protobuf::EnumDescriptor& descriptor, int number);
// nullopt if no value has the name.
std::optional<int> EnumNumber(const google::protobuf::EnumDescriptor& descriptor, std::string_view name);
// Every name but the unspecified value's, in the order of declaration.
std::vector<std::string> EnumNames(const google::protobuf::EnumDescriptor& descriptor);

template <typename Enum>
std::string EnumName(Enum value) {
  return EnumName(*google::protobuf::GetEnumDescriptor<Enum>(), value);
}

// How a run's rows travel: "wire" (undecoded) or "arrow".
std::string_view FormatName(v1::ChunkFormat format);

}  // namespace tidemark
