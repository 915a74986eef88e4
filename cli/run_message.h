#pragma once

#include "coordinator/store/records.h"
#include "tidemark/v1/run.pb.h"

namespace tidemark::cli {

// A run of a local store as a server would send it, so that both print alike. A run without an id has no name.
v1::Run ToMessage(const coordinator::RunRecord& run);

}  // namespace tidemark::cli
