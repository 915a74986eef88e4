#pragma once

#include <optional>
#include <string>

#include "absl/time/time.h"
#include "tidemark/v1/values.pb.h"
#include "tidemark/v1/worker_control.pb.h"

namespace tidemark {

// Whether two watermarks are one value of one type. Texts are compared as they are: both come from the same source,
// which prints a value in one way only.
bool Same(const v1::Watermark& a, const v1::Watermark& b);

// The value as the source prints it, with the zone of a naive timestamp: "2026-01-05 10:00:00 Europe/Paris".
std::string Text(const v1::Watermark& watermark);

// The instant that the value stands for; nullopt for a number, a text, or what no clock shows ("infinity").
std::optional<absl::Time> InstantOf(const v1::Watermark& watermark);

// What a window holds, for people: "(A, B]", "up to B", "after A", "everything"; "and rows without a watermark" where
// they belong to it.
std::string Text(const v1::Window& window);

// "proved", "lookback(15m)"; empty if nothing was recorded.
std::string Text(const v1::Completeness& completeness);

}  // namespace tidemark
