#pragma once

#include "common/config/diagnostics.h"
#include "common/config/project.h"
#include "common/config/spec_reader.h"

namespace tidemark {

// The rules between keys: what a strategy needs, what excludes what, which names must exist. A rule whose keys already
// have an error is not judged.
void CheckRules(const Project& project, const Places& places, Diagnostics* diagnostics);

}  // namespace tidemark
