#include "common/model/enum_names.h"

#include "absl/strings/ascii.h"
#include "absl/strings/strip.h"

namespace tidemark {
namespace {

std::string NameOf(const google::protobuf::EnumValueDescriptor& value) {
  // Protobuf's style: the zero value is PREFIX_UNSPECIFIED.
  const absl::string_view prefix = absl::StripSuffix(value.type()->value(0)->name(), "UNSPECIFIED");
  return absl::AsciiStrToLower(absl::StripPrefix(value.name(), prefix));
}

}  // namespace

std::string EnumName(const google::protobuf::EnumDescriptor& descriptor, int number) {
  const google::protobuf::EnumValueDescriptor* value = descriptor.FindValueByNumber(number);
  return value == nullptr || number == 0 ? "" : NameOf(*value);
}

std::optional<int> EnumNumber(const google::protobuf::EnumDescriptor& descriptor, std::string_view name) {
  for (int i = 1; i < descriptor.value_count(); ++i) {
    if (NameOf(*descriptor.value(i)) == name) return descriptor.value(i)->number();
  }
  return std::nullopt;
}

std::vector<std::string> EnumNames(const google::protobuf::EnumDescriptor& descriptor) {
  std::vector<std::string> names;
  for (int i = 1; i < descriptor.value_count(); ++i) names.push_back(NameOf(*descriptor.value(i)));
  return names;
}

std::string_view FormatName(v1::ChunkFormat format) {
  switch (format) {
    case v1::CHUNK_FORMAT_ARROW:
      return "arrow";
    case v1::CHUNK_FORMAT_PG_COPY_BINARY:
      return "wire";
    default:
      return "";
  }
}

}  // namespace tidemark
