#pragma once

#include <string_view>

#include "absl/strings/string_view.h"

namespace tidemark {

// The system's Abseil is built for C++14, where its string_view is a class of its own that knows nothing of the
// standard's.
inline absl::string_view Abs(std::string_view text) { return absl::string_view(text.data(), text.size()); }
inline std::string_view Std(absl::string_view text) { return std::string_view(text.data(), text.size()); }

}  // namespace tidemark
