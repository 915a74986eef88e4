#include "coordinator/admin/field_mask.h"

#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/rpc/error_details.h"
#include "google/protobuf/util/field_mask_util.h"

namespace tidemark::coordinator {
namespace {

using google::protobuf::util::FieldMaskUtil;

template <typename Spec>
absl::Status Apply(const google::protobuf::FieldMask& mask, const Spec& from, Spec* to) {
  google::protobuf::FieldMask below;
  for (const std::string& path : mask.paths()) {
    if (path == "spec" || path == "*") {
      *to = from;
      return absl::OkStatus();
    }
    absl::string_view rest = path;
    // The empty path is valid, too: it names everything.
    const bool below_spec = absl::ConsumePrefix(&rest, "spec.") && !rest.empty();
    if (!below_spec || !FieldMaskUtil::IsValidPath<Spec>(std::string(rest))) {
      return InvalidField("update_mask", absl::StrCat("\"", absl::CHexEscape(path), "\" is no path below spec"));
    }
    below.add_paths(std::string(rest));
  }
  FieldMaskUtil::MergeOptions options;
  options.set_replace_message_fields(true);
  options.set_replace_repeated_fields(true);
  FieldMaskUtil::MergeMessageTo(from, below, options, to);
  return absl::OkStatus();
}

}  // namespace

absl::Status ApplyMask(const google::protobuf::FieldMask& mask, const v1::JobSpec& from, v1::JobSpec* to) {
  return Apply(mask, from, to);
}

absl::Status ApplyMask(const google::protobuf::FieldMask& mask, const v1::ConnectionSpec& from,
                       v1::ConnectionSpec* to) {
  return Apply(mask, from, to);
}

}  // namespace tidemark::coordinator
