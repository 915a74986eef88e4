#include "worker/connectors/builtin.h"

#include <memory>

#include "worker/connectors/adbc/adbc_connector.h"
#include "worker/connectors/duckdb/duckdb_connector.h"
#include "worker/connectors/generator/generator_connector.h"
#include "worker/connectors/postgres/postgres_connector.h"
#include "worker/connectors/sqlite/sqlite_connector.h"

namespace tidemark {

ConnectorRegistry BuiltinConnectors(const adbc::DriverPolicy& drivers) {
  ConnectorRegistry registry;
  const auto postgres = std::make_shared<postgres::PostgresConnector>();
  registry.Add("postgresql", postgres);
  registry.Add("postgres", postgres);
  registry.Add("adbc", std::make_shared<adbc::AdbcConnector>(drivers));
  registry.Add("duckdb", std::make_shared<duckdb::DuckdbConnector>());
  registry.Add("sqlite", std::make_shared<sqlite::SqliteConnector>());
  registry.Add("generator", std::make_shared<generator::GeneratorConnector>());
  return registry;
}

}  // namespace tidemark
