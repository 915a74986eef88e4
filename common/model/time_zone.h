#pragma once

#include <optional>
#include <string_view>

#include "absl/time/time.h"

namespace tidemark {

// The zone of that name in the IANA database of this machine, such as Europe/Paris or UTC; nullopt if there is none. A
// path is no name, nor is anything else by which absl::LoadTimeZone would open a file. Any thread.
std::optional<absl::TimeZone> FindTimeZone(std::string_view name);

// Whether its clocks are changed within a year of `now`. Any thread.
bool HasSummerTime(absl::TimeZone zone, absl::Time now);

}  // namespace tidemark
