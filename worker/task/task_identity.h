#pragma once

#include <string>

#include "tidemark/v1/worker_control.pb.h"
#include "worker/connector/target.h"

namespace tidemark {

// Who writes to the target for this task.
RunIdentity RunIdentityOf(const v1::Task& task);

// Which work it is, for a person: "job orders, run 01H…: move of partition 3 (id in [100, 200))".
std::string PlaceOf(const v1::Task& task);

// "tidemark orders 01H…": what the servers' own views of sessions show.
std::string ApplicationNameOf(const v1::Task& task);

}  // namespace tidemark
