#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "google/protobuf/duration.pb.h"

namespace tidemark {

// A length of time as users write it: numbers with units from the greatest to the least, each unit at most once, as in
// 15m, 2s, 1h30m, 30d, 1.5s. Units: d (24 hours) h m s ms us. nullopt for anything else, a bare number and a negative
// one included.
std::optional<absl::Duration> ParseDuration(std::string_view text);

// The shortest text that ParseDuration reads back, to the microsecond: "1h30m", "250ms", "0s". A negative one has a
// leading minus.
std::string DurationText(absl::Duration duration);

// For people who look at elapsed time: "0.4s", "12.3s", "4m05s", "2h03m".
std::string ElapsedText(absl::Duration duration);

absl::Duration FromProto(const google::protobuf::Duration& duration);
google::protobuf::Duration ToProto(absl::Duration duration);

}  // namespace tidemark
