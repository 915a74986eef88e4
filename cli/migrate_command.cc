#include <vector>

#include "cli/commands.h"
#include "cli/print.h"
#include "cli/signal_watcher.h"
#include "common/base/clock.h"
#include "coordinator/store/open_store.h"

namespace tidemark::cli {

ExitCode Execute(const MigrateCommand& command, const CommandContext& context) {
  // What was begun is rolled back.
  ExitOnSignals();
  const SystemClock clock;
  const absl::StatusOr<std::vector<coordinator::Migration>> applied = coordinator::MigrateStore(command.store, clock);
  if (!applied.ok()) return Fail(context, applied.status());
  std::vector<Value::Record> rows;
  for (const coordinator::Migration& migration : *applied) {
    rows.push_back({{"migration", migration.number}, {"name", std::string(migration.name)}});
  }
  if (rows.empty()) context.console->Say("the store is up to date");
  PrintList(context, rows, {{"migration", "MIGRATION", true}, {"name", "NAME"}});
  return kDone;
}

}  // namespace tidemark::cli
