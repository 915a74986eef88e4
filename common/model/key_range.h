#pragma once

#include <string>

#include "tidemark/v1/values.pb.h"

namespace tidemark {

// A range for people, in errors and plans: "id in [100, 200)", "(region, id) >= (EU, 7)", "blocks < 512", "id is null",
// "all rows".
std::string Text(const v1::KeyRange& range);

}  // namespace tidemark
