#include "cli/sqlite_sample_shop.h"

#include <sqlite3.h>

#include <array>
#include <filesystem>
#include <memory>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/rng.h"
#include "common/base/status_macros.h"

namespace tidemark::cli {
namespace {

constexpr int kCustomers = 1'000;
constexpr int kOrders = 4'000;

// Instants with their Z: the shop's watermark is proved without any word on time zones.
constexpr char kSchema[] = R"sql(
CREATE TABLE customers (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  country TEXT NOT NULL,
  updated_at TIMESTAMPTZ NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);
CREATE INDEX customers_updated_at ON customers (updated_at);
CREATE TRIGGER customers_touch AFTER UPDATE ON customers WHEN new.updated_at = old.updated_at BEGIN
  UPDATE customers SET updated_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now') WHERE id = new.id;
END;
CREATE TABLE orders (
  id INTEGER PRIMARY KEY,
  customer_id INTEGER NOT NULL REFERENCES customers (id),
  status TEXT NOT NULL,
  amount DECIMAL(10,2) NOT NULL,
  placed_at TIMESTAMPTZ NOT NULL,
  updated_at TIMESTAMPTZ NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);
CREATE INDEX orders_updated_at ON orders (updated_at);
CREATE TRIGGER orders_touch AFTER UPDATE ON orders WHEN new.updated_at = old.updated_at BEGIN
  UPDATE orders SET updated_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now') WHERE id = new.id;
END;
)sql";

struct CloseDatabase {
  void operator()(sqlite3* db) const { sqlite3_close(db); }
};
struct FinalizeStatement {
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};
using Database = std::unique_ptr<sqlite3, CloseDatabase>;
using Statement = std::unique_ptr<sqlite3_stmt, FinalizeStatement>;

absl::Status Error(sqlite3* db, const std::string& path) {
  return absl::InternalError(absl::StrCat(path, ": ", sqlite3_errmsg(db)));
}

std::string Iso(absl::Time time) { return absl::FormatTime("%Y-%m-%d%ET%H:%M:%E3SZ", time, absl::UTCTimeZone()); }

// Inserts one row of texts: SQLite turns them into what their columns hold.
absl::Status Insert(sqlite3* db, sqlite3_stmt* statement, const std::string& path,
                    const std::vector<std::string>& values) {
  for (size_t i = 0; i < values.size(); ++i) {
    sqlite3_bind_text(statement, static_cast<int>(i) + 1, values[i].data(), static_cast<int>(values[i].size()),
                      SQLITE_TRANSIENT);
  }
  if (sqlite3_step(statement) != SQLITE_DONE) return Error(db, path);
  sqlite3_reset(statement);
  return absl::OkStatus();
}

absl::StatusOr<Statement> Prepare(sqlite3* db, const std::string& path, const char* sql) {
  sqlite3_stmt* statement = nullptr;
  if (sqlite3_prepare_v2(db, sql, -1, &statement, nullptr) != SQLITE_OK) return Error(db, path);
  return Statement(statement);
}

absl::Status InsertRows(sqlite3* db, const std::string& path, absl::Time now) {
  constexpr std::array<const char*, 8> kFirst = {"Ada", "Bela", "Chike", "Dilnoza", "Eun", "Farid", "Greta", "Hina"};
  constexpr std::array<const char*, 8> kLast = {"Aalto", "Berg",    "Costa",  "Diallo",
                                                "Endo",  "Fischer", "Garcia", "Haddad"};
  constexpr std::array<const char*, 5> kCountries = {"DE", "FR", "KE", "JP", "US"};
  constexpr std::array<const char*, 4> kStatuses = {"open", "paid", "shipped", "returned"};
  Rng rng(1);
  TM_ASSIGN_OR_RETURN(const Statement customer,
                      Prepare(db, path, "INSERT INTO customers (id, name, country, updated_at) VALUES (?, ?, ?, ?)"));
  for (int id = 1; id <= kCustomers; ++id) {
    const std::string name = absl::StrCat(kFirst[rng.Below(kFirst.size())], " ", kLast[rng.Below(kLast.size())]);
    const absl::Time updated = now - absl::Hours(24 * 90) - absl::Seconds(rng.Below(90 * 86'400));
    TM_RETURN_IF_ERROR(Insert(db, customer.get(), path,
                              {absl::StrCat(id), name, kCountries[rng.Below(kCountries.size())], Iso(updated)}));
  }
  TM_ASSIGN_OR_RETURN(
      const Statement order,
      Prepare(db, path,
              "INSERT INTO orders (id, customer_id, status, amount, placed_at, updated_at) VALUES (?, ?, ?, ?, ?, ?)"));
  absl::Time placed = now - absl::Hours(24 * 90);
  for (int id = 1; id <= kOrders; ++id) {
    placed += absl::Milliseconds(rng.Below(int64_t{90} * 86'400'000 / kOrders));
    const absl::Time updated = std::min(placed + absl::Milliseconds(rng.Below(7 * 86'400'000)), now - absl::Minutes(5));
    TM_RETURN_IF_ERROR(
        Insert(db, order.get(), path,
               {absl::StrCat(id), absl::StrCat(1 + rng.Below(kCustomers)), kStatuses[rng.Below(kStatuses.size())],
                absl::StrFormat("%d.%02d", 5 + rng.Below(500), rng.Below(100)), Iso(placed), Iso(updated)}));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status WriteSampleShop(const std::string& path, absl::Time now) {
  std::error_code ignored;
  if (std::filesystem::exists(path, ignored)) return absl::AlreadyExistsError(absl::StrCat(path, " is there already"));
  sqlite3* opened = nullptr;
  const int result = sqlite3_open(path.c_str(), &opened);
  const Database db(opened);
  if (result != SQLITE_OK) return Error(db.get(), path);
  const auto exec = [&](const char* sql) {
    return sqlite3_exec(db.get(), sql, nullptr, nullptr, nullptr) == SQLITE_OK ? absl::OkStatus()
                                                                               : Error(db.get(), path);
  };
  TM_RETURN_IF_ERROR(exec("BEGIN"));
  TM_RETURN_IF_ERROR(exec(kSchema));
  TM_RETURN_IF_ERROR(InsertRows(db.get(), path, now));
  return exec("COMMIT");
}

}  // namespace tidemark::cli
