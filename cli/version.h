#pragma once

namespace tidemark::cli {

// Of this build, from CMake's project().
inline constexpr char kVersion[] = TIDEMARK_VERSION;

}  // namespace tidemark::cli
