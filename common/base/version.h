#pragma once

namespace tidemark {

// Of this build, from CMake's project(): "0.1.0".
const char* Version();

}  // namespace tidemark
