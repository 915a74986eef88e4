#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace tidemark {

// "; did you mean \"orders\"?" if one of `known` is what `word` may have been meant to be, by edit distance; else
// empty.
std::string Suggestion(std::string_view word, const std::vector<std::string>& known);

// The same, or where nothing is near all that is known: "; there is a, b".
std::string SuggestionOrAll(std::string_view word, const std::vector<std::string>& known);

}  // namespace tidemark
