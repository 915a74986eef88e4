#include "common/model/dsn.h"

#include <algorithm>

#include "absl/strings/ascii.h"

namespace tidemark {
namespace {

constexpr std::string_view kLocalSchemes[] = {"sqlite", "duckdb", "file"};

bool BelongsToScheme(char c) {
  return absl::ascii_islower(c) || absl::ascii_isdigit(c) || c == '+' || c == '-' || c == '.';
}

}  // namespace

std::string_view DsnScheme(std::string_view dsn) {
  const size_t colon = dsn.find(':');
  if (colon == std::string_view::npos || colon == 0 || !absl::ascii_islower(dsn.front())) return {};
  const std::string_view scheme = dsn.substr(0, colon);
  return std::all_of(scheme.begin(), scheme.end(), BelongsToScheme) ? scheme : std::string_view();
}

std::optional<std::string_view> DsnLocalPath(std::string_view dsn) {
  const std::string_view scheme = DsnScheme(dsn);
  if (std::find(std::begin(kLocalSchemes), std::end(kLocalSchemes), scheme) == std::end(kLocalSchemes)) {
    return std::nullopt;
  }
  dsn.remove_prefix(scheme.size() + 1);
  if (dsn.starts_with("//")) dsn.remove_prefix(2);
  return dsn;
}

}  // namespace tidemark
