#include "common/config/spec_value.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <regex>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/absl_view.h"
#include "common/base/status_macros.h"
#include "common/model/byte_size.h"
#include "common/model/dsn.h"
#include "common/model/duration.h"
#include "common/model/enum_names.h"
#include "common/model/host_port.h"
#include "common/model/time_zone.h"

namespace tidemark {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using Kind = ProjectKey::Kind;

absl::Status CheckDsn(std::string_view dsn, const ValueChecks& checks) {
  const std::string_view scheme = DsnScheme(dsn);
  if (scheme.empty()) {
    return absl::InvalidArgumentError("a DSN starts with its scheme, as in postgresql://HOST/DATABASE or sqlite:PATH");
  }
  if (checks.dsn) TM_RETURN_IF_ERROR(checks.dsn(dsn));
  const std::optional<std::string_view> local = DsnLocalPath(dsn);
  if (local && (local->empty() || local->starts_with(":"))) {
    return absl::InvalidArgumentError(absl::StrCat("the path of a file is missing after ", Abs(scheme), ":"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status SetValue(std::string_view text, std::string_view shown, const ProjectKey& key,
                      const FieldDescriptor& field, const ValueChecks& checks, Message* message) {
  const google::protobuf::Reflection& reflection = *message->GetReflection();
  const auto wrong = [&](std::string_view expected) {
    return absl::InvalidArgumentError(absl::StrCat("expected ", Abs(expected), ", found ", Abs(shown)));
  };
  // Databases and the system end a text there.
  if (text.find('\0') != text.npos) return absl::InvalidArgumentError("a text cannot hold a zero byte");
  if (text.empty() && !key.required && key.kind == Kind::kText) return wrong("some text");
  switch (key.kind) {
    case Kind::kBool:
      if (text != "true" && text != "false") return wrong("true or false");
      reflection.SetBool(message, &field, text == "true");
      return absl::OkStatus();
    case Kind::kWhole: {
      int64_t number = 0;
      if (!absl::SimpleAtoi(Abs(text), &number)) return wrong("a whole number");
      const int64_t max = field.cpp_type() == FieldDescriptor::CPPTYPE_INT32
                              ? std::min<int64_t>(key.max, std::numeric_limits<int32_t>::max())
                              : key.max;
      if (number < key.min) return wrong(absl::StrCat("a number from ", key.min));
      if (number > max) return wrong(absl::StrCat("a number up to ", max));
      if (field.cpp_type() == FieldDescriptor::CPPTYPE_INT32) {
        reflection.SetInt32(message, &field, static_cast<int32_t>(number));
      } else {
        reflection.SetInt64(message, &field, number);
      }
      return absl::OkStatus();
    }
    case Kind::kBytes: {
      const std::optional<int64_t> bytes = ParseByteSize(text);
      if (!bytes) return wrong("a number of bytes such as 1GiB");
      if (*bytes < key.min) return wrong(absl::StrCat("at least ", FormatByteSize(key.min)));
      if (*bytes > key.max) return wrong(absl::StrCat("at most ", FormatByteSize(key.max)));
      reflection.SetInt64(message, &field, *bytes);
      return absl::OkStatus();
    }
    case Kind::kPath:
      if (text.empty()) return wrong("a path");
      break;
    case Kind::kAddress:
    case Kind::kAddresses:
      if (!ParseHostPort(text)) return wrong("an address HOST:PORT");
      break;
    case Kind::kDuration: {
      const std::optional<absl::Duration> duration = ParseDuration(text);
      if (!duration) return wrong("a duration such as 15m, 2s or 1h30m, of less than 100 years");
      reflection.MutableMessage(message, &field)->CopyFrom(ToProto(*duration));
      return absl::OkStatus();
    }
    case Kind::kChoice: {
      const std::vector<std::string> names = EnumNames(*field.enum_type());
      const std::optional<int> number = EnumNumber(*field.enum_type(), text);
      if (!number) return wrong(absl::StrCat("one of ", absl::StrJoin(names, ", ")));
      reflection.SetEnumValue(message, &field, *number);
      return absl::OkStatus();
    }
    case Kind::kTimeZone:
      if (!FindTimeZone(text)) return wrong("a time zone such as Europe/Paris or UTC");
      break;
    case Kind::kCron:
      if (checks.cron) TM_RETURN_IF_ERROR(checks.cron(text));
      break;
    case Kind::kDsn:
    case Kind::kDsns:
      TM_RETURN_IF_ERROR(CheckDsn(text, checks));
      break;
    default:
      if (text.empty()) return wrong("some text");
      break;
  }
  if (field.is_repeated()) {
    reflection.AddString(message, &field, std::string(text));
  } else {
    reflection.SetString(message, &field, std::string(text));
  }
  return absl::OkStatus();
}

absl::Status CheckName(const ProjectKey& named, std::string_view name) {
  if (std::regex_match(name.begin(), name.end(), std::regex(named.name_pattern))) return absl::OkStatus();
  return absl::InvalidArgumentError(
      "a name is 1 to 63 lower-case letters, digits, - and _, and starts and ends with a letter or a digit");
}

}  // namespace tidemark
