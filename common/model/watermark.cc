#include "common/model/watermark.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/model/duration.h"
#include "common/model/time_zone.h"

namespace tidemark {

bool Same(const v1::Watermark& a, const v1::Watermark& b) {
  return a.type() == b.type() && a.text() == b.text() && a.precision() == b.precision() && a.zone() == b.zone();
}

std::string Text(const v1::Watermark& watermark) {
  return watermark.zone().empty() ? watermark.text() : absl::StrCat(watermark.text(), " ", watermark.zone());
}

std::optional<absl::Time> InstantOf(const v1::Watermark& watermark) {
  absl::string_view text = watermark.text();
  const auto zone = watermark.zone().empty() ? absl::UTCTimeZone() : FindTimeZone(watermark.zone());
  if (!zone.has_value()) return std::nullopt;
  // Sessions run in UTC, and print it in one of these ways.
  for (const absl::string_view suffix : {"Z", "+00:00", "+00"}) {
    if (absl::ConsumeSuffix(&text, suffix)) break;
  }
  absl::Time time;
  for (const absl::string_view format : {"%Y-%m-%d %H:%M:%E*S", "%Y-%m-%dT%H:%M:%E*S", "%Y-%m-%d"}) {
    if (absl::ParseTime(format, text, *zone, &time, nullptr)) {
      const bool finite = time != absl::InfiniteFuture() && time != absl::InfinitePast();
      return finite ? std::optional<absl::Time>(time) : std::nullopt;
    }
  }
  return std::nullopt;
}

std::string Text(const v1::Window& window) {
  std::string text;
  if (window.has_low() && window.has_high()) {
    text = absl::StrCat("(", Text(window.low()), ", ", Text(window.high()), "]");
  } else if (window.has_high()) {
    text = absl::StrCat("up to ", Text(window.high()));
  } else if (window.has_low()) {
    text = absl::StrCat("after ", Text(window.low()));
  } else {
    return "everything";
  }
  if (window.nulls()) text += " and rows without a watermark";
  return text;
}

std::string Text(const v1::Completeness& completeness) {
  switch (completeness.level()) {
    case v1::Completeness::LEVEL_PROVED:
      return "proved";
    case v1::Completeness::LEVEL_LOOKBACK:
      return absl::StrCat("lookback(", DurationText(absl::Seconds(completeness.lookback_seconds())), ")");
    default:
      return "";
  }
}

}  // namespace tidemark
