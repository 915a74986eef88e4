#include "cli/message_value.h"

#include <utility>

#include "common/model/duration.h"
#include "common/model/enum_names.h"
#include "common/model/timestamp.h"

namespace tidemark::cli {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

Value ToValue(const Message& message) {
  if (const auto* duration = dynamic_cast<const google::protobuf::Duration*>(&message))
    return DurationText(FromProto(*duration));
  if (const auto* timestamp = dynamic_cast<const google::protobuf::Timestamp*>(&message))
    return TimeText(FromProto(*timestamp));
  return ToRecord(message);
}

Value Single(const Message& message, const FieldDescriptor& field) {
  const Reflection& reflection = *message.GetReflection();
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_BOOL:
      return reflection.GetBool(message, &field);
    case FieldDescriptor::CPPTYPE_INT32:
      return int64_t{reflection.GetInt32(message, &field)};
    case FieldDescriptor::CPPTYPE_INT64:
      return reflection.GetInt64(message, &field);
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return reflection.GetDouble(message, &field);
    case FieldDescriptor::CPPTYPE_ENUM:
      return Value::OrNull(EnumName(*field.enum_type(), reflection.GetEnumValue(message, &field)));
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return reflection.HasField(message, &field) ? ToValue(reflection.GetMessage(message, &field)) : Value();
    default:
      return Value::OrNull(reflection.GetString(message, &field));
  }
}

Value::List Repeated(const Message& message, const FieldDescriptor& field) {
  const Reflection& reflection = *message.GetReflection();
  Value::List list;
  for (int i = 0; i < reflection.FieldSize(message, &field); ++i) {
    if (field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      list.push_back(ToValue(reflection.GetRepeatedMessage(message, &field, i)));
    } else {
      list.push_back(reflection.GetRepeatedString(message, &field, i));
    }
  }
  return list;
}

}  // namespace

Value::Record ToRecord(const Message& message) {
  Value::Record record;
  for (int i = 0; i < message.GetDescriptor()->field_count(); ++i) {
    const FieldDescriptor& field = *message.GetDescriptor()->field(i);
    record.emplace_back(field.name(), field.is_repeated() ? Value(Repeated(message, field)) : Single(message, field));
  }
  return record;
}

}  // namespace tidemark::cli
