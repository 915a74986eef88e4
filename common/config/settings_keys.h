#pragma once

#include <vector>

#include "common/config/project_keys.h"

namespace tidemark {

// The keys of a daemon's settings; they fill v1::CoordinatorSettings and v1::WorkerSettings.
const std::vector<ProjectKey>& CoordinatorSettingsKeys();
const std::vector<ProjectKey>& WorkerSettingsKeys();

}  // namespace tidemark
