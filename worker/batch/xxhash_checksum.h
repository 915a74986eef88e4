#pragma once

#include <cstdint>
#include <string_view>

namespace tidemark {

// XXH3-64 of `first` followed by `second`.
uint64_t Checksum(std::string_view first, std::string_view second = {});

}  // namespace tidemark
