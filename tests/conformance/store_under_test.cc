#include "tests/conformance/store_under_test.h"

namespace tidemark::conformance {

const std::vector<StoreFactory>& AllStores() {
  static const auto* stores = new std::vector<StoreFactory>{{"sqlite", &MakeSqliteStore},
                                                            {"postgres", &MakePostgresStore},
                                                            {"duckdb", &MakeDuckdbStore},
                                                            {"generator", &MakeGeneratorStore}};
  return *stores;
}

const std::vector<StoreFactory>& SqlStores() {
  static const auto* stores = new std::vector<StoreFactory>{
      {"sqlite", &MakeSqliteStore}, {"postgres", &MakePostgresStore}, {"duckdb", &MakeDuckdbStore}};
  return *stores;
}

v1::JobSpec ReadJob(const std::string& table, const std::string& watermark) {
  v1::JobSpec job;
  job.set_name("conformance");
  job.mutable_source()->set_table(table);
  job.mutable_source()->set_watermark(watermark);
  job.mutable_target()->set_table("loaded");
  job.mutable_target()->set_strategy(watermark.empty() ? v1::LOAD_STRATEGY_FULL : v1::LOAD_STRATEGY_INCREMENTAL);
  return job;
}

std::string Scalar(SqlSession& session, const std::string& sql) { return session.Query(sql).at(0).at(0); }

}  // namespace tidemark::conformance
