#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tidemark/v1/spec.pb.h"
#include "worker/connectors/postgres/postgres_connection.h"
#include "worker/connectors/postgres/postgres_name.h"
#include "worker/connectors/postgres/postgres_target_table.h"

// A full load's staging in place of what the target held.
namespace tidemark::postgres {

enum class SwapMethod {
  kRename,  // Staging takes the table's name and everything that belongs to it.
  kShell,   // The same with the only partition of a partitioned table: nothing that hangs on the table is touched.
  kTruncateInsert,  // The table stays, its rows go; readers in older snapshots may see it empty.
  kDeleteInsert,    // The table stays, and readers in older snapshots see the old rows. Leaves dead rows for vacuum.
};

struct SwapPlan {
  SwapMethod method = SwapMethod::kRename;
  // What forbids a rename, for the user.
  std::vector<std::string> obstacles;
};

// How `mode` would replace the rows of an existing table now, by rows of the columns `fed`. InvalidArgument if it
// cannot: the mode asks for a rename that would break dependents, for a shell that is none, or the rows are referenced
// by foreign keys. Changes nothing.
absl::StatusOr<SwapPlan> PlanSwap(Connection& connection, const TargetTable& table, v1::SwapMode mode,
                                  const std::vector<std::string>& fed);

struct SwapInput {
  TargetTable table;
  QualifiedName staging;
  // Columns the source feeds.
  std::vector<std::string> fed;
  v1::SwapMode mode = v1::SWAP_MODE_AUTO;
  // Rows in staging: the table holds exactly as many afterwards.
  int64_t rows = 0;
};

// Inside the caller's transaction: replaces the table's rows by the staged ones, and returns the method as users write
// it
// ("rename", ...). Indexes are built before the table is locked; the lock is tried for 5 s at a time and Aborted tells
// who held it. After a rename the catalog's picture of the table must equal the one before; where it does not, mode
// `auto` goes back and rewrites the table in place, and mode `rename` is refused. The staging table is gone, or empty
// of use, afterwards.
absl::StatusOr<std::string> SwapIn(Connection& connection, const SwapInput& input);

// Inside the caller's transaction: staging becomes the table `name`, which does not exist, with a primary key
// (`unique`) or an index on `key` if that is not empty; with a shell, as the only partition of it.
absl::Status BecomeTable(Connection& connection, const QualifiedName& staging, const QualifiedName& name,
                         const std::vector<std::string>& key, bool unique, bool shell);

// LOCK TABLE in `lock` mode (e.g. "ACCESS EXCLUSIVE"), several times with a timeout, so that a queue of readers behind
// the attempt is let through between two tries.
absl::Status LockTable(Connection& connection, const QualifiedName& table, const std::string& lock);

}  // namespace tidemark::postgres
