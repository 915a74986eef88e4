#pragma once

#include <string>

namespace tidemark {

// One text for one local file, by whatever path it is reached; empty if it is gone.
std::string FileIdentity(const std::string& path);

}  // namespace tidemark
