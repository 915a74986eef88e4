#include "common/model/time_zone.h"

#include <algorithm>
#include <string>

#include "absl/strings/ascii.h"

namespace tidemark {

std::optional<absl::TimeZone> FindTimeZone(std::string_view name) {
  const auto in_name = [](char c) { return absl::ascii_isalnum(c) || c == '/' || c == '_' || c == '-' || c == '+'; };
  if (name.empty() || !absl::ascii_isalpha(name[0]) || !std::all_of(name.begin(), name.end(), in_name)) {
    return std::nullopt;
  }
  absl::TimeZone zone;
  if (!absl::LoadTimeZone(std::string(name), &zone)) return std::nullopt;
  return zone;
}

bool HasSummerTime(absl::TimeZone zone, absl::Time now) {
  absl::TimeZone::CivilTransition transition;
  return zone.NextTransition(now, &transition) && absl::FromCivil(transition.from, zone) < now + absl::Hours(24 * 366);
}

}  // namespace tidemark
