#include "common/model/key_range.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace tidemark {
namespace {

template <typename Strings>
std::string Tuple(const Strings& values) {
  return values.size() == 1 ? values.Get(0) : absl::StrCat("(", absl::StrJoin(values, ", "), ")");
}

}  // namespace

std::string Text(const v1::KeyRange& range) {
  const std::string what = range.partitioning() == v1::PARTITIONING_PHYSICAL ? "blocks" : Tuple(range.columns());
  if (range.nulls()) return absl::StrCat(what, " is null");
  if (range.has_lower() && range.has_upper()) {
    return absl::StrCat(what, " in [", Tuple(range.lower().values()), ", ", Tuple(range.upper().values()), ")");
  }
  if (range.has_lower()) return absl::StrCat(what, " >= ", Tuple(range.lower().values()));
  if (range.has_upper()) return absl::StrCat(what, " < ", Tuple(range.upper().values()));
  return "all rows";
}

}  // namespace tidemark
