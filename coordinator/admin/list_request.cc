#include "coordinator/admin/list_request.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "common/base/absl_view.h"
#include "common/base/status_macros.h"
#include "common/rpc/error_details.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/timestamp.pb.h"

namespace tidemark::coordinator {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

constexpr int kDefaultPage = 100;
constexpr int kLargestPage = 1000;
constexpr char kTokenMark[] = "p1:";

absl::Status Bad(const std::string& what) { return InvalidField("filter", what); }

// The first word, quoted text, = or end of `text`, which is taken off it.
absl::StatusOr<std::string> NextToken(std::string_view& text, bool* quoted) {
  *quoted = false;
  while (!text.empty() && absl::ascii_isspace(text.front())) text.remove_prefix(1);
  if (text.empty()) return std::string();
  if (text.front() == '=') {
    text.remove_prefix(1);
    return std::string("=");
  }
  std::string token;
  if (text.front() != '"') {
    while (!text.empty() && !absl::ascii_isspace(text.front()) && text.front() != '=' && text.front() != '"') {
      token.push_back(text.front());
      text.remove_prefix(1);
    }
    return token;
  }
  *quoted = true;
  for (text.remove_prefix(1); !text.empty(); text.remove_prefix(1)) {
    if (text.front() == '"') {
      text.remove_prefix(1);
      return token;
    }
    if (text.front() == '\\' && text.size() > 1) text.remove_prefix(1);
    token.push_back(text.front());
  }
  return Bad("a quote is not closed");
}

// "STATUS_RUNNING" of the enum Status is also called "running".
std::string EnumWord(const google::protobuf::EnumValueDescriptor& value, bool short_form) {
  const std::string full = absl::AsciiStrToLower(value.name());
  if (!short_form) return full;
  // The values of an enum share its name as their prefix, which the value 0 shows: NAME_UNSPECIFIED.
  const std::string zero = absl::AsciiStrToLower(value.type()->value(0)->name());
  const std::string prefix = zero.substr(0, zero.rfind('_') + 1);
  return absl::StartsWith(full, prefix) ? full.substr(prefix.size()) : full;
}

// Whether `field` can have the value that a filter gives for it.
bool CanBe(const FieldDescriptor& field, const std::string& value) {
  int64_t number = 0;
  absl::Time time;
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_STRING:
      return true;
    case FieldDescriptor::CPPTYPE_BOOL:
      return value == "true" || value == "false";
    case FieldDescriptor::CPPTYPE_INT32:
    case FieldDescriptor::CPPTYPE_INT64:
      return absl::SimpleAtoi(value, &number);
    case FieldDescriptor::CPPTYPE_ENUM: {
      const std::string word = absl::AsciiStrToLower(value);
      for (int i = 0; i < field.enum_type()->value_count(); ++i) {
        const auto& known = *field.enum_type()->value(i);
        if (word == EnumWord(known, /*short_form=*/true) || word == EnumWord(known, /*short_form=*/false)) return true;
      }
      return false;
    }
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return absl::ParseTime(absl::RFC3339_full, value, &time, nullptr);
    default:
      return false;
  }
}

bool ScalarMatches(const Message& message, const FieldDescriptor& field, const std::string& wanted) {
  const google::protobuf::Reflection& reflection = *message.GetReflection();
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_STRING:
      return reflection.GetString(message, &field) == wanted;
    case FieldDescriptor::CPPTYPE_BOOL:
      return wanted == (reflection.GetBool(message, &field) ? "true" : "false");
    case FieldDescriptor::CPPTYPE_INT32:
    case FieldDescriptor::CPPTYPE_INT64: {
      const bool narrow = field.cpp_type() == FieldDescriptor::CPPTYPE_INT32;
      int64_t number = 0;
      return absl::SimpleAtoi(wanted, &number) &&
             number == (narrow ? reflection.GetInt32(message, &field) : reflection.GetInt64(message, &field));
    }
    case FieldDescriptor::CPPTYPE_ENUM: {
      const auto& value = *reflection.GetEnum(message, &field);
      const std::string word = absl::AsciiStrToLower(wanted);
      return word == EnumWord(value, /*short_form=*/true) || word == EnumWord(value, /*short_form=*/false);
    }
    case FieldDescriptor::CPPTYPE_MESSAGE: {
      const Message& inner = reflection.GetMessage(message, &field);
      const auto* time = dynamic_cast<const google::protobuf::Timestamp*>(&inner);
      absl::Time at;
      return time != nullptr && absl::ParseTime(absl::RFC3339_full, wanted, &at, nullptr) &&
             at == absl::FromUnixSeconds(time->seconds()) + absl::Nanoseconds(time->nanos());
    }
    default:
      return false;
  }
}

bool PathMatches(const Message& resource, const std::string& path, const std::string& wanted) {
  const Message* at = &resource;
  const std::vector<std::string> steps = absl::StrSplit(path, '.');
  for (size_t i = 0; i < steps.size(); ++i) {
    const FieldDescriptor* field = at->GetDescriptor()->FindFieldByName(steps[i]);
    const google::protobuf::Reflection& reflection = *at->GetReflection();
    if (field->message_type() != nullptr && !reflection.HasField(*at, field)) return false;
    if (i + 1 == steps.size()) return ScalarMatches(*at, *field, wanted);
    at = &reflection.GetMessage(*at, field);
  }
  return false;
}

absl::StatusOr<const FieldDescriptor*> FieldAt(const std::string& path, const Descriptor& resource) {
  const Descriptor* at = &resource;
  const FieldDescriptor* field = nullptr;
  for (const absl::string_view step : absl::StrSplit(path, '.')) {
    field = at == nullptr ? nullptr : at->FindFieldByName(std::string(step));
    if (field == nullptr || field->is_repeated()) {
      return Bad(
          absl::StrCat("\"", absl::CHexEscape(path), "\" is no field that a ", resource.name(), " can be listed by"));
    }
    at = field->message_type();
  }
  if (at != nullptr && at != google::protobuf::Timestamp::descriptor()) {
    return Bad(absl::StrCat("\"", path, "\" has fields of its own: name one of them"));
  }
  return field;
}

}  // namespace

absl::StatusOr<ListFilter> ListFilter::Parse(std::string_view text, const Descriptor& resource) {
  ListFilter filter;
  bool quoted = false;
  while (true) {
    TM_ASSIGN_OR_RETURN(const std::string field, NextToken(text, &quoted));
    if (field.empty() && !quoted && filter.conditions_.empty()) return filter;
    if (field.empty() || quoted || field == "=") return Bad("expected FIELD = \"VALUE\", joined by AND");
    TM_ASSIGN_OR_RETURN(const FieldDescriptor* const described, FieldAt(field, resource));
    TM_ASSIGN_OR_RETURN(const std::string equals, NextToken(text, &quoted));
    if (equals != "=" || quoted) return Bad(absl::StrCat("expected = after ", field));
    TM_ASSIGN_OR_RETURN(std::string value, NextToken(text, &quoted));
    if (value.empty() && !quoted) return Bad(absl::StrCat("expected a value after ", field, " ="));
    if (!CanBe(*described, value)) {
      return Bad(absl::StrCat("\"", absl::CHexEscape(value), "\" is no value that ", field, " can have"));
    }
    filter.conditions_.emplace_back(field, std::move(value));
    TM_ASSIGN_OR_RETURN(const std::string joined, NextToken(text, &quoted));
    if (joined.empty() && !quoted) return filter;
    if (!absl::EqualsIgnoreCase(joined, "and") || quoted) return Bad("comparisons are joined by AND alone");
  }
}

bool ListFilter::Matches(const Message& resource) const {
  return std::all_of(conditions_.begin(), conditions_.end(),
                     [&](const auto& condition) { return PathMatches(resource, condition.first, condition.second); });
}

std::string ListFilter::ValueOf(std::string_view field) const {
  for (const auto& [name, value] : conditions_) {
    if (name == field) return value;
  }
  return "";
}

absl::StatusOr<Page> ReadPage(int32_t page_size, std::string_view page_token) {
  if (page_size < 0) return InvalidField("page_size", "must not be negative");
  Page page;
  page.size = page_size == 0 ? kDefaultPage : std::min<int>(page_size, kLargestPage);
  if (page_token.empty()) return page;
  std::string text;
  if (!absl::WebSafeBase64Unescape(Abs(page_token), &text) || !absl::StartsWith(text, kTokenMark)) {
    return InvalidField("page_token", "is not one that a list has given");
  }
  page.after = text.substr(sizeof(kTokenMark) - 1);
  return page;
}

std::string PageToken(std::string_view last) { return absl::WebSafeBase64Escape(absl::StrCat(kTokenMark, Abs(last))); }

}  // namespace tidemark::coordinator
