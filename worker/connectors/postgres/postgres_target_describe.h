#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tidemark/v1/spec.pb.h"
#include "worker/connector/target.h"
#include "worker/connectors/postgres/postgres_connection.h"
#include "worker/connectors/postgres/postgres_name.h"

namespace tidemark::postgres {

// TargetSession::Describe: reads the catalog, and refuses what the load could not do later.
absl::StatusOr<TargetDescription> DescribeTarget(Connection& connection, const v1::JobSpec& job,
                                                 const QualifiedName& target, const v1::TableSchema& source,
                                                 const std::vector<v1::ChunkFormat>& source_formats);

}  // namespace tidemark::postgres
