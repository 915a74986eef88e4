#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "worker/connector/source.h"
#include "worker/connectors/generator/generated_table.h"

namespace tidemark::generator {

// `watermark`: empty, "id" or "updated_at"; InvalidArgument otherwise.
absl::StatusOr<std::unique_ptr<SourceSession>> OpenGeneratorSource(const GeneratedTable& table,
                                                                   const std::string& watermark);

}  // namespace tidemark::generator
