#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace tidemark {

// A number of bytes as users write it: "1GiB", "1.5 MiB", "100MB", "4096". KiB, MiB, GiB, TiB are powers of 1024; kB,
// MB, GB, TB of 1000; B or nothing is bytes. Case does not matter. nullopt for anything else.
std::optional<int64_t> ParseByteSize(std::string_view text);

// For people: "0 B", "512 B", "1.0 GiB".
std::string FormatByteSize(int64_t bytes);

}  // namespace tidemark
