#include <atomic>
#include <functional>
#include <optional>
#include <thread>

#include "coordinator/store/metadata_store.h"
#include "coordinator/store/migrations/migrations.h"
#include "coordinator/store/open_store.h"
#include "coordinator/store/postgres_database.h"
#include "coordinator/store/postgres_migration.h"
#include "coordinator/store/sample_records.h"
#include "tests/support/postgres_server.h"

namespace tidemark::coordinator {
namespace {

using test::Exec;
using test::PostgresServer;
using test::Scalar;
using ::testing::HasSubstr;
using ::testing::Not;

// A transaction that another client holds open while it lives.
class OpenTransaction {
 public:
  OpenTransaction(const std::string& dsn, const std::string& sql) : pool_(*PostgresAddress::Of(dsn), {}) {
    thread_ = std::thread([this, sql] {
      EXPECT_EQ(pool_.Transact([&](PostgresTransaction& transaction) -> absl::Status {
        const absl::Status ran = transaction.RunScript(sql);
        Set(&began_);
        absl::MutexLock lock(&mutex_);
        mutex_.Await(absl::Condition(&ended_));
        return ran;
      }),
                absl::OkStatus());
    });
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(&began_));
  }
  ~OpenTransaction() {
    Set(&ended_);
    thread_.join();
  }

 private:
  void Set(bool* flag) {
    absl::MutexLock lock(&mutex_);
    *flag = true;
  }

  PostgresPool pool_;
  absl::Mutex mutex_;
  bool began_ = false;
  bool ended_ = false;
  std::thread thread_;
};

class PostgresStoreTest : public ::testing::Test {
 protected:
  std::unique_ptr<MetadataStore> Open() {
    auto store = OpenStore(dsn_, &clock_);
    EXPECT_TRUE(store.ok()) << store.status();
    return store.ok() ? *std::move(store) : nullptr;
  }

  std::unique_ptr<MetadataStore> MigrateAndOpen() {
    const auto migrated = MigrateStore(dsn_, clock_);
    EXPECT_TRUE(migrated.ok()) << migrated.status();
    return Open();
  }

  // Waits until `count` sessions of this database wait for a lock.
  void AwaitLockWaits(const std::string& count) {
    while (Scalar(dsn_,
                  "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND "
                  "wait_event_type = 'Lock'") != count) {
    }
  }

  const std::string dsn_ = PostgresServer::Shared().NewDatabase();
  SystemClock clock_;
};

TEST_F(PostgresStoreTest, NamesTheCommandThatMigrates) {
  const auto unmigrated = OpenStore(dsn_, &clock_);
  EXPECT_THAT(unmigrated.status(), HasCode(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(unmigrated.status().message(), HasSubstr("tidemark migrate"));

  PostgresPool pool(*PostgresAddress::Of(dsn_), {});
  const auto first = Migrate(pool, Migrations().first(2));
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(first->size(), 2u);
  EXPECT_THAT(OpenStore(dsn_, &clock_).status().message(), HasSubstr("older version"));

  const auto rest = MigrateStore(dsn_, clock_);
  ASSERT_TRUE(rest.ok()) << rest.status();
  ASSERT_EQ(rest->size(), Migrations().size() - 2);
  EXPECT_EQ(rest->front().number, 3);
  EXPECT_TRUE(MigrateStore(dsn_, clock_)->empty());
  EXPECT_NE(Open(), nullptr);

  std::vector<Migration> migrations(Migrations().begin(), Migrations().end());
  const int next = static_cast<int>(migrations.size()) + 1;
  migrations.push_back({next, "good", "CREATE TABLE etl_more (id BIGINT)"});
  migrations.push_back({next + 1, "bad", "INSERT INTO nowhere VALUES (1)"});
  EXPECT_FALSE(Migrate(pool, migrations).ok());
  EXPECT_EQ(Scalar(dsn_, "SELECT to_regclass('etl_more')"), "NULL");
  migrations.pop_back();
  ASSERT_TRUE(Migrate(pool, migrations).ok());
  const auto newer = OpenStore(dsn_, &clock_);
  EXPECT_THAT(newer.status(), HasCode(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(newer.status().message(), HasSubstr("newer version"));
  EXPECT_THAT(MigrateStore(dsn_, clock_).status(), HasCode(absl::StatusCode::kFailedPrecondition));
}

TEST_F(PostgresStoreTest, OfMigrationsAtOnceOneDoesIt) {
  std::atomic<size_t> steps = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      const auto migrated = MigrateStore(dsn_, clock_);
      EXPECT_TRUE(migrated.ok()) << migrated.status();
      if (migrated.ok()) steps += migrated->size();
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(steps, Migrations().size());
  EXPECT_EQ(*Open()->ClusterId(), *Open()->ClusterId());
}

TEST_F(PostgresStoreTest, LivesInTheFirstSchemaOfTheSearchPath) {
  Exec(dsn_, "CREATE TABLE etl_jobs (id INTEGER); CREATE SCHEMA mine");
  const auto taken = MigrateStore(dsn_, clock_);
  EXPECT_THAT(taken.status(), HasCode(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(taken.status().message(), HasSubstr("etl_jobs"));
  const std::string mine = dsn_ + "?options=-csearch_path%3Dmine,public";
  ASSERT_TRUE(MigrateStore(mine, clock_).ok());
  EXPECT_EQ(Scalar(dsn_, "SELECT count(*) FROM mine.etl_jobs"), "0");
  EXPECT_TRUE(OpenStore(mine, &clock_).ok());
  EXPECT_THAT(OpenStore(dsn_ + "?options=-csearch_path%3Dnone", &clock_).status(),
              HasCode(absl::StatusCode::kFailedPrecondition));
}

TEST_F(PostgresStoreTest, UsersFindTheColumnsTheyKnow) {
  auto store = MigrateAndOpen();
  const int64_t epoch = *store->AcquireLeadership("a", absl::Minutes(1), 0);
  JobRecord job = SampleJob("orders");
  job.last_watermark = Mark("2026-01-01 00:00:00");
  ASSERT_EQ(store->Apply(epoch, {.jobs = {job}, .runs = {SampleRun(job, "r1")}}), absl::OkStatus());
  EXPECT_EQ(Scalar(dsn_,
                   "SELECT concat_ws('|', id, name, schedule_cron, source_dsn, source_query, transform_ref, "
                   "target_table, load_strategy, watermark_col, last_watermark, enabled) FROM etl_jobs"),
            "1|orders|30 2 * * *|connection:shop|SELECT * FROM public.orders|sales.orders|upsert|updated_at|"
            "2026-01-01 00:00:00|f");
  EXPECT_EQ(Scalar(dsn_,
                   "SELECT concat_ws('|', id, job_id, run_start, coalesce(run_end::text, 'open'), rows_read, "
                   "rows_loaded, status, error_msg, watermark_snapshot, run_start - created_at) FROM etl_runs"),
            "r1|1|2026-01-01 00:00:01.123456+00|open|12|9|running|the target is down: start it|"
            "2026-01-02 00:00:00.000001|00:00:01");
}

TEST_F(PostgresStoreTest, HoldsWhatTextOfPostgresqlCannot) {
  auto store = MigrateAndOpen();
  const int64_t epoch = *store->AcquireLeadership("a", absl::Minutes(1), 0);
  const JobRecord job = SampleJob("orders");
  RunRecord run = SampleRun(job, "r1");
  run.error = absl::StrCat("nul ", std::string(1, '\0'), " bad \xFF \\ \" ' {,} NULL");
  ASSERT_EQ(store->Apply(epoch, {.jobs = {job}, .runs = {run}}), absl::OkStatus());
  EXPECT_EQ(store->GetRun("r1")->error, "nul \xEF\xBF\xBD bad \xEF\xBF\xBD \\ \" ' {,} NULL");
  EXPECT_THAT(store->GetRun(std::string("r1\0", 3)).status(), HasCode(absl::StatusCode::kNotFound));
}

TEST_F(PostgresStoreTest, LargeBatchesAreOneTransaction) {
  auto store = MigrateAndOpen();
  const int64_t epoch = *store->AcquireLeadership("a", absl::Minutes(1), 0);
  const JobRecord job = SampleJob("orders");
  ASSERT_EQ(store->Apply(epoch, {.jobs = {job}}), absl::OkStatus());
  WriteBatch batch;
  for (int i = 0; i < 6'000; ++i) batch.runs.push_back(SampleRun(job, absl::StrCat("r", 10'000 + i)));
  ASSERT_EQ(store->Apply(epoch, batch), absl::OkStatus());
  EXPECT_EQ(store->ListUnfinishedRuns()->size(), 6'000u);

  for (RunRecord& run : batch.runs) run.revision = 1;
  batch.runs[5'500].revision = 2;
  const absl::Status changed = store->Apply(epoch, batch);
  EXPECT_THAT(changed, HasCode(absl::StatusCode::kAborted));
  EXPECT_THAT(changed.message(), HasSubstr("run r15500"));
  EXPECT_EQ(store->GetRun("r10000")->revision, 1);

  RunRecord again = batch.runs[0];
  batch.runs[5'500].revision = 1;
  // One row twice in a batch: one write after the other.
  again.revision = 2;
  again.phase = RunPhase::kCommitting;
  batch.runs.push_back(again);
  ASSERT_EQ(store->Apply(epoch, batch), absl::OkStatus());
  EXPECT_EQ(store->GetRun("r10000")->revision, 3);
  EXPECT_EQ(store->GetRun("r10000")->phase, RunPhase::kCommitting);

  WriteBatch taken = {.runs = {SampleRun(job, "new"), SampleRun(job, "r10007")}};
  const absl::Status exists = store->Apply(epoch, taken);
  EXPECT_THAT(exists, HasCode(absl::StatusCode::kAlreadyExists));
  EXPECT_THAT(exists.message(), HasSubstr("r10007"));
  EXPECT_THAT(store->GetRun("new").status(), HasCode(absl::StatusCode::kNotFound));
}

TEST_F(PostgresStoreTest, ASlowBatchHoldsUpNeitherReadsNorTheLease) {
  auto store = MigrateAndOpen();
  const int64_t epoch = *store->AcquireLeadership("a", absl::Minutes(1), 0);
  const JobRecord job = SampleJob("orders");
  ASSERT_EQ(store->Apply(epoch, {.jobs = {job}, .runs = {SampleRun(job, "r1")}}), absl::OkStatus());
  RunRecord run = *store->GetRun("r1");
  std::thread slow;
  {
    const OpenTransaction other(dsn_, "SELECT FROM etl_runs FOR UPDATE");
    slow = std::thread([&] { EXPECT_EQ(store->Apply(epoch, {.runs = {run}}), absl::OkStatus()); });
    AwaitLockWaits("1");
    EXPECT_EQ(store->GetRun("r1")->revision, 1);
    EXPECT_EQ(store->RenewLeadership(epoch, absl::Minutes(1)), absl::OkStatus());
    EXPECT_EQ(store->Apply(epoch, {.audit = {{clock_.Now(), "a", "b", "c", "d"}}}), absl::OkStatus());
    // And who only asks waits for nothing.
    EXPECT_THAT(store->AcquireLeadership("b", absl::Minutes(1), 0).status(),
                HasCode(absl::StatusCode::kFailedPrecondition));
  }
  slow.join();
  EXPECT_EQ(store->GetRun("r1")->revision, 2);
}

TEST_F(PostgresStoreTest, ANewLeaderWaitsForTheLastBatchOfTheOld) {
  auto store = MigrateAndOpen();
  auto other = Open();
  const int64_t epoch = *store->AcquireLeadership("a", absl::ZeroDuration(), 0);
  const JobRecord job = SampleJob("orders");
  ASSERT_EQ(store->Apply(epoch, {.jobs = {job}, .runs = {SampleRun(job, "r1")}}), absl::OkStatus());
  RunRecord run = *store->GetRun("r1");
  std::atomic<bool> applied = false;
  std::thread batch;
  std::thread successor;
  {
    const OpenTransaction lock(dsn_, "SELECT FROM etl_runs FOR UPDATE");
    batch = std::thread([&] {
      EXPECT_EQ(store->Apply(epoch, {.runs = {run}}), absl::OkStatus());
      applied = true;
    });
    AwaitLockWaits("1");
    successor = std::thread([&] {
      const auto taken = other->AcquireLeadership("b", absl::Minutes(1), 0);
      EXPECT_TRUE(taken.ok()) << taken.status();
      EXPECT_EQ(other->GetRun("r1")->revision, 2) << "the successor leads while its predecessor writes";
    });
    AwaitLockWaits("2");
  }
  batch.join();
  successor.join();
  EXPECT_THAT(store->Apply(epoch, {}), HasCode(absl::StatusCode::kFailedPrecondition));
}

TEST_F(PostgresStoreTest, APersonMayAskForARun) {
  auto store = MigrateAndOpen();
  EXPECT_TRUE(store->WaitForTriggers(absl::InfiniteDuration()));  // It listens from now on.
  EXPECT_FALSE(store->WaitForTriggers(absl::ZeroDuration()));
  Exec(dsn_, "INSERT INTO etl_triggers (job_name) VALUES ('orders')");
  EXPECT_TRUE(store->WaitForTriggers(absl::InfiniteDuration()));
  EXPECT_FALSE(store->WaitForTriggers(absl::ZeroDuration()));
  Exec(dsn_, "INSERT INTO etl_triggers (job_name, requested_at) VALUES ('odd', '-infinity')");
  const auto triggers = store->ListTriggers();
  ASSERT_TRUE(triggers.ok()) << triggers.status();
  ASSERT_EQ(triggers->size(), 2u);
  EXPECT_EQ((*triggers)[0].requested, absl::InfinitePast());
  const TriggerRecord& plain = (*triggers)[1];
  EXPECT_FALSE(plain.id.empty());
  EXPECT_EQ(plain.job_name, "orders");
  EXPECT_FALSE(plain.full_refresh);
  EXPECT_LT(absl::AbsDuration(plain.requested - clock_.Now()), absl::Minutes(10));
}

TEST_F(PostgresStoreTest, ListensAgainWhenItsConnectionWasEnded) {
  auto store = MigrateAndOpen();
  ASSERT_TRUE(store->WaitForTriggers(absl::InfiniteDuration()));
  ASSERT_FALSE(store->WaitForTriggers(absl::ZeroDuration()));
  const std::string terminate =
      "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
      "WHERE datname = current_database() AND query LIKE 'LISTEN%'";
  std::thread ender([&] { EXPECT_EQ(Scalar(dsn_, terminate), "1"); });
  // One may have been added while nobody listened.
  EXPECT_TRUE(store->WaitForTriggers(absl::InfiniteDuration()));
  ender.join();
  EXPECT_FALSE(store->WaitForTriggers(absl::ZeroDuration()));
  std::thread asker([&] { Exec(dsn_, "INSERT INTO etl_triggers (job_name) VALUES ('orders')"); });
  EXPECT_TRUE(store->WaitForTriggers(absl::InfiniteDuration()));
  asker.join();
}

TEST_F(PostgresStoreTest, RecoversFromTheServersDeath) {
  auto started = PostgresServer::Start();
  ASSERT_TRUE(started.ok()) << started.status();
  PostgresServer& server = **started;
  const std::string dsn = server.Dsn();
  ASSERT_TRUE(MigrateStore(dsn, clock_).ok());
  auto store = *OpenStore(dsn, &clock_);
  const int64_t epoch = *store->AcquireLeadership("a", absl::Minutes(1), 0);
  ASSERT_EQ(store->Apply(epoch, {.jobs = {SampleJob("orders")}}), absl::OkStatus());
  ASSERT_TRUE(store->WaitForTriggers(absl::InfiniteDuration()));
  for (int round = 0; round < 2; ++round) {
    server.KillHard();
    EXPECT_THAT(store->Apply(epoch, {}), HasCode(absl::StatusCode::kUnavailable));
    EXPECT_THAT(store->GetJob("orders").status(), HasCode(absl::StatusCode::kUnavailable));
    EXPECT_THAT(store->RenewLeadership(epoch, absl::Minutes(1)), HasCode(absl::StatusCode::kUnavailable));
    EXPECT_THAT(store->AddTrigger(SampleTrigger("t1")), HasCode(absl::StatusCode::kUnavailable));
    EXPECT_FALSE(store->WaitForTriggers(absl::Milliseconds(10)));
    EXPECT_THAT(OpenStore(dsn, &clock_).status(), HasCode(absl::StatusCode::kUnavailable));
    const absl::Status again = server.StartAgain();
    ASSERT_EQ(again, absl::OkStatus());
    EXPECT_TRUE(store->WaitForTriggers(absl::InfiniteDuration()));
    EXPECT_EQ(store->Apply(epoch, {}), absl::OkStatus());
    EXPECT_EQ(store->RenewLeadership(epoch, absl::Minutes(1)), absl::OkStatus());
    EXPECT_EQ(store->GetJob("orders")->revision, 1);
  }
  // A server that was away while nobody asked is not noticed.
  server.KillHard();
  ASSERT_EQ(server.StartAgain(), absl::OkStatus());
  EXPECT_EQ(store->Apply(epoch, {}), absl::OkStatus());
  EXPECT_EQ(store->GetJob("orders")->revision, 1);
}

TEST_F(PostgresStoreTest, ARepetitionOfAWriteInDoubtIsAborted) {
  auto store = MigrateAndOpen();
  const int64_t epoch = *store->AcquireLeadership("a", absl::Minutes(1), 0);
  ASSERT_EQ(store->Apply(epoch, {.jobs = {SampleJob("orders")}}), absl::OkStatus());
  const JobRecord job = *store->GetJob("orders");
  absl::Status ended;
  std::thread batch;
  {
    const OpenTransaction lock(dsn_, "SELECT FROM etl_jobs FOR UPDATE");
    batch = std::thread([&] { ended = store->Apply(epoch, {.jobs = {job}}); });
    AwaitLockWaits("1");
    Exec(dsn_,
         "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND "
         "wait_event_type = 'Lock'");
    batch.join();
  }
  EXPECT_THAT(ended, HasCode(absl::StatusCode::kUnavailable));
  EXPECT_EQ(store->Apply(epoch, {.jobs = {job}}), absl::OkStatus());
  EXPECT_THAT(store->Apply(epoch, {.jobs = {job}}), HasCode(absl::StatusCode::kAborted));
}

TEST_F(PostgresStoreTest, SaysWhatIsWrongAndNoSecret) {
  MigrateAndOpen();
  const std::string host = dsn_.substr(dsn_.find('@') + 1);
  Exec(dsn_,
       "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'reader') THEN CREATE ROLE reader LOGIN; "
       "END IF; END $$; GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader");
  auto reader = OpenStore("postgresql://reader:canary-71@" + host, &clock_);
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_THAT((*reader)->AddTrigger(SampleTrigger("t1")), HasCode(absl::StatusCode::kPermissionDenied));

  struct Case {
    std::string dsn;
    absl::StatusCode code;
  };
  for (const Case& wrong : std::vector<Case>{
           {"postgresql://nobody:canary-71@" + host, absl::StatusCode::kPermissionDenied},
           {"postgresql://postgres:canary-71@" + host + "_none", absl::StatusCode::kNotFound},
           {"postgresql://postgres:canary-71@127.0.0.1:1/none", absl::StatusCode::kUnavailable},
           {"postgresql://postgres:canary-71:x@y@" + host, absl::StatusCode::kInvalidArgument},
           {"postgresql://postgres:canary-71/x@" + host, absl::StatusCode::kInvalidArgument},
           {"postgresql://postgres:canary-71@" + host + "?nonsense=canary-71", absl::StatusCode::kInvalidArgument},
           {"mysql://root:canary-71@" + host, absl::StatusCode::kInvalidArgument},
           {"sqlite:", absl::StatusCode::kInvalidArgument},
       }) {
    const absl::Status status = OpenStore(wrong.dsn, &clock_).status();
    EXPECT_THAT(status, HasCode(wrong.code)) << wrong.dsn;
    EXPECT_THAT(status.message(), Not(HasSubstr("canary"))) << wrong.dsn;
    EXPECT_THAT(status.message(), Not(HasSubstr("\n")));
    EXPECT_THAT(MigrateStore(wrong.dsn, clock_).status(), HasCode(wrong.code)) << wrong.dsn;
  }
}

}  // namespace
}  // namespace tidemark::coordinator
