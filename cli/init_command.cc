#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "cli/commands.h"
#include "cli/print.h"
#include "cli/sqlite_sample_shop.h"
#include "common/base/clock.h"
#include "common/base/status_macros.h"

namespace tidemark::cli {
namespace {

constexpr char kProjectFile[] = "tidemark.yaml";
constexpr char kShopFile[] = "shop.db";

constexpr char kProject[] = R"yaml(# A shop in a SQLite file, moved into a warehouse in a DuckDB file. Try:
#   tidemark run tidemark.yaml        moves everything; run it again: nothing is left to move
#   sqlite3 shop.db "UPDATE orders SET status = 'shipped' WHERE status = 'paid'"
#   tidemark run tidemark.yaml        moves what has changed, and nothing else
#   tidemark plan tidemark.yaml       what the next run would do, and when
connections:
  shop:
    dsn: "sqlite:shop.db"             # paths are relative to this file; secrets: ${env:NAME} or ${file:PATH}
    max_connections: 4                # as a source: never more at once
  warehouse:
    dsn: "duckdb:warehouse.duckdb"    # made by the first run

jobs:
  customers:
    source: { connection: shop, table: customers, watermark: updated_at }
    target: { connection: warehouse, table: customers, strategy: upsert, key: [id] }

  orders:
    schedule: { cron: "30 2 * * *", timezone: Europe/Paris }
    source:
      connection: shop
      table: orders
      watermark: updated_at           # rises with every change; a run moves what lies above the last one
    target:
      connection: warehouse
      table: orders                   # created from the source's schema
      strategy: upsert                # or full, or incremental (append)
      key: [id]
)yaml";

absl::Status WriteProject(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error)
    return absl::PermissionDeniedError(absl::StrCat(folder.string(), ": cannot make the folder: ", error.message()));
  const std::filesystem::path file = folder / kProjectFile;
  if (std::filesystem::exists(file, error)) {
    return absl::AlreadyExistsError(absl::StrCat(file.string(), " is there already; name another folder"));
  }
  const SystemClock clock;
  TM_RETURN_IF_ERROR(WriteSampleShop((folder / kShopFile).string(), clock.Now()));
  // Last: a project file is there only with its data.
  std::ofstream stream(file);
  stream << kProject;
  stream.close();
  if (!stream) return absl::PermissionDeniedError(absl::StrCat(file.string(), ": cannot write it"));
  return absl::OkStatus();
}

}  // namespace

ExitCode Execute(const InitCommand& command, const CommandContext& context) {
  const std::filesystem::path folder(command.directory);
  if (const absl::Status status = WriteProject(folder); !status.ok()) return Fail(context, status);
  const std::string file = (folder / kProjectFile).lexically_normal().string();
  PrintObject(context, {{"project", file}, {"sample", (folder / kShopFile).lexically_normal().string()}}, [&] {
    return absl::StrCat("made ", file, " and the sample shop ", (folder / kShopFile).lexically_normal().string(),
                        "\nnext: tidemark run ", file, "\n");
  });
  return kDone;
}

}  // namespace tidemark::cli
