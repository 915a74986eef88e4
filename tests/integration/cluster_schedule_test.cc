// Many jobs at once on a source of few connections, fired by their schedules, with a Redis that comes and goes.
// TIDEMARK_TEST_CLUSTER_ROWS sets how many rows each job moves.
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/substitute.h"
#include "absl/time/clock.h"
#include "tests/integration/cluster.h"
#include "tests/integration/postgres_oracle.h"
#include "tests/integration/postgres_session_sampler.h"
#include "tests/support/postgres_server.h"
#include "tests/support/redis_server.h"

namespace tidemark::test {
namespace {

constexpr int kJobs = 20;
constexpr int kLimit = 3;

int64_t Rows() {
  const char* rows = std::getenv("TIDEMARK_TEST_CLUSTER_ROWS");
  return rows ? std::atoll(rows) : 4'000;
}

// Jobs that all fire at minute `minute` of the hour, with every strategy among them.
std::string ProjectAt(int minute, const std::string& source, const std::string& target, int64_t rows_per_second) {
  std::string yaml = absl::Substitute(R"(
connections:
  shop: { dsn: "$0", max_connections: $1, max_rows_per_second: $2 }
  warehouse: { dsn: "$3" }
jobs:
)",
                                      source, kLimit, rows_per_second, target);
  for (int job = 0; job < kJobs; ++job) {
    absl::StrAppend(&yaml,
                    absl::Substitute(R"(
  items-$0:
    schedule: "$1 * * * *"
    source: { connection: shop, table: public.items, watermark: updated_at, partitions: 3 }
    target: { connection: warehouse, table: public.items_$0, strategy: $2, key: [id] }
)",
                                     job, minute, std::vector<const char*>{"full", "incremental", "upsert"}[job % 3]));
  }
  return yaml;
}

TEST(ClusterSchedule, ManyJobsShareFewConnectionsWhateverRedisDoes) {
  PostgresServer& server = PostgresServer::Shared();
  const std::string source = server.NewDatabase();
  const std::string target = server.NewDatabase();
  const std::string database = source.substr(source.rfind('/') + 1);
  Exec(source, absl::StrCat("CREATE TABLE items (id bigint PRIMARY KEY, payload text, updated_at timestamptz NOT NULL);"
                            "INSERT INTO items SELECT g, md5(g::text), timestamptz '2025-01-01' + g * interval '1 s' "
                            "FROM generate_series(1, ",
                            Rows(),
                            ") g; CREATE INDEX ON items (updated_at); ANALYZE items; CREATE ROLE etl LOGIN;"
                            "GRANT pg_read_all_stats TO etl; GRANT SELECT ON items TO etl"));
  auto redis = RedisServer::Start().value();
  Cluster cluster({.store = server.NewDatabase(), .redis = redis->Url()});
  SessionSampler sampler(
      {.dsn = source,
       .role = "etl",
       // Runs that have waited for their first session since before the last sample.
       .number_dsn = cluster.store(),
       .number_sql =
           "SELECT count(*) FROM etl_tasks t JOIN etl_runs r ON r.id = t.run_id WHERE t.kind = 'describe' AND "
           "t.state = 'queued' AND t.attempt = 0 AND r.created_at < clock_timestamp() - interval '300 ms'"});

  // A turn of the minute that comes after all jobs are there.
  absl::Time turn;
  do {
    turn = absl::FromTimeT((absl::ToTimeT(absl::Now()) + 15) / 60 * 60 + 60);
    cluster.Apply(ProjectAt(absl::ToCivilMinute(turn, absl::UTCTimeZone()).minute(),
                            absl::StrCat("postgresql://etl@127.0.0.1:", server.port(), "/", database), target,
                            /*rows_per_second=*/Rows() * kJobs / 8));
  } while (absl::Now() >= turn);
  const auto jobs = [&] {
    std::vector<std::string> names;
    const ProcessResult list = cluster.Command({"jobs", "list", "-o", "json"});
    for (const nlohmann::json& job : nlohmann::json::parse(list.out)) names.push_back(job.at("job"));
    return names;
  };
  const std::vector<std::string> applied = jobs();
  EXPECT_EQ(applied.size(), size_t{kJobs});

  const auto count = [&](const std::string& which) {
    return std::stoi(Scalar(cluster.store(), "SELECT count(*) FROM etl_runs WHERE " + which));
  };
  ASSERT_TRUE(Eventually([&] { return count("status = 'success'") >= 2; }));
  redis->Flush();
  EXPECT_EQ(jobs(), applied);
  ASSERT_TRUE(Eventually([&] { return count("status = 'success'") >= 5; }));
  EXPECT_LT(count("status = 'success'"), kJobs);
  redis->Stop();
  EXPECT_TRUE(Eventually([&] { return count("run_end IS NOT NULL") >= kJobs; }));
  EXPECT_EQ(jobs(), applied);

  for (const auto& run : Query(cluster.store(), "SELECT job_name, status, error_msg, fire_time FROM etl_runs")) {
    EXPECT_EQ(run[1], "success") << run[0] << ": " << run[2];
    EXPECT_NE(run[3], "NULL") << run[0];
  }
  EXPECT_EQ(Scalar(cluster.store(), "SELECT count(DISTINCT job_name) FROM etl_runs"), absl::StrCat(kJobs));
  const std::string expected = Fingerprint(source, "items", "id, payload, updated_at");
  for (int job = 0; job < kJobs; ++job) {
    EXPECT_EQ(Fingerprint(target, absl::StrCat("items_", job), "id, payload, updated_at"), expected) << job;
  }

  const std::vector<SessionSampler::Sample> samples = sampler.Stop();
  EXPECT_EQ(MostSessions(samples), kLimit);
  int looked = 0;
  for (size_t i = 1; i < samples.size(); ++i) {
    // A slow look, or runs that none waits behind, tells nothing of who took what before whom.
    if (samples[i].number == 0 || samples[i].at - samples[i - 1].at > absl::Milliseconds(250)) continue;
    ++looked;
    for (const auto& [job, sessions] : samples[i].sessions) {
      const auto before = samples[i - 1].sessions.find(job);
      const int had = before == samples[i - 1].sessions.end() ? 0 : before->second;
      EXPECT_FALSE(sessions > 1 && sessions > had)
          << job << " took another session while " << samples[i].number << " runs waited for their first";
    }
  }
  RecordProperty("samples", absl::StrCat(samples.size()));
  RecordProperty("samples_with_waiting_runs", absl::StrCat(looked));
  EXPECT_GT(looked, 0);
}

}  // namespace
}  // namespace tidemark::test
