#include "common/model/byte_size.h"

#include <array>
#include <cmath>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/absl_view.h"

namespace tidemark {
namespace {

struct Unit {
  std::string_view name;
  double bytes;
};
constexpr std::array<Unit, 10> kUnits = {{{"", 1},
                                          {"B", 1},
                                          {"kB", 1e3},
                                          {"MB", 1e6},
                                          {"GB", 1e9},
                                          {"TB", 1e12},
                                          {"KiB", 1024.0},
                                          {"MiB", 1048576.0},
                                          {"GiB", 1073741824.0},
                                          {"TiB", 1099511627776.0}}};

}  // namespace

std::optional<int64_t> ParseByteSize(std::string_view text) {
  size_t digits = 0;
  while (digits < text.size() && (absl::ascii_isdigit(text[digits]) || text[digits] == '.')) ++digits;
  double amount = 0;
  if (digits == 0 || !absl::SimpleAtod(Abs(text.substr(0, digits)), &amount)) return std::nullopt;
  const absl::string_view name = absl::StripLeadingAsciiWhitespace(Abs(text.substr(digits)));
  for (const Unit& unit : kUnits) {
    if (!absl::EqualsIgnoreCase(Abs(unit.name), name)) continue;
    const double bytes = amount * unit.bytes;
    if (bytes > 9e18) return std::nullopt;
    return static_cast<int64_t>(std::llround(bytes));
  }
  return std::nullopt;
}

std::string FormatByteSize(int64_t bytes) {
  if (bytes < 0) return absl::StrCat("-", FormatByteSize(-bytes));
  if (bytes < 1024) return absl::StrCat(bytes, " B");
  double amount = static_cast<double>(bytes) / 1024;
  std::string_view name = "KiB";
  for (std::string_view larger : {"MiB", "GiB", "TiB"}) {
    if (amount < 1023.95) break;
    amount /= 1024;
    name = larger;
  }
  return absl::StrFormat("%.1f %s", amount, Abs(name));
}

}  // namespace tidemark
