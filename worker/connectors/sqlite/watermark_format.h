#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include "absl/strings/string_view.h"

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "tidemark/v1/values.pb.h"

namespace tidemark::sqlite {

// How the values of a watermark column are spelled. SQLite compares them as what they are stored as, so that a window
// is right only if all of them are spelled alike: then the order of the texts is the order of time.
struct WatermarkFormat {
  enum class Kind { kInteger, kDate, kTimestamp };
  Kind kind = Kind::kTimestamp;
  // kTimestamp:
  char separator = ' ';
  // Fractional digits at most. Fewer may occur where the suffix sorts below '.', which leaves the order right.
  int digits = 0;
  // Fewest that were seen: a stamp may be cut off there.
  int fewest_digits = 0;
  // "", "Z" or "+00:00": any other offset breaks the order of the texts.
  std::string suffix;

  // nullopt if no rule gives `text` an order in time.
  static std::optional<WatermarkFormat> Of(absl::string_view text);
  // Takes `other` in, if values of both keep their order in one column.
  bool Merge(const WatermarkFormat& other);
  // Whether a value spelled as `text` belongs into the column.
  bool Matches(absl::string_view text) const;

  // The greatest value of the format that is not above `time`, as the wall clock of `zone` reads it.
  std::string AtOrBelow(absl::Time time, absl::TimeZone zone) const;
  // The greatest value strictly below every stamp that a clock can give at `time` or later.
  std::string StrictlyBelow(absl::Time time, absl::TimeZone zone) const;
  // `text` moved back.
  absl::StatusOr<std::string> Minus(absl::string_view text, absl::Duration by) const;

  // "YYYY-MM-DD HH:MM:SS.fff", for messages.
  std::string Name() const;
  // A watermark of this format. `zone` is recorded with naive values.
  v1::Watermark Watermark(std::string text, absl::string_view zone) const;
};

}  // namespace tidemark::sqlite
