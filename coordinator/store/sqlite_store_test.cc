#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <iterator>
#include <thread>

#include "coordinator/store/metadata_store.h"
#include "coordinator/store/sample_records.h"
#include "coordinator/store/sqlite_database.h"
#include "coordinator/store/sqlite_migration.h"

namespace tidemark::coordinator {
namespace {

using ::testing::HasSubstr;

class SqliteStoreTest : public ::testing::Test {
 protected:
  std::unique_ptr<MetadataStore> Open() {
    auto store = OpenSqliteStore(path_, &clock_);
    EXPECT_TRUE(store.ok()) << store.status();
    return store.ok() ? *std::move(store) : nullptr;
  }

  std::unique_ptr<SqliteDatabase> OpenRaw() {
    auto database = SqliteDatabase::Open(path_, SqliteDatabase::Mode::kReadWrite);
    EXPECT_TRUE(database.ok()) << database.status();
    return *std::move(database);
  }

  std::string QueryText(const std::string& sql) {
    std::string text;
    EXPECT_EQ(OpenRaw()->Query(sql, {},
                               [&text](RowReader& row) {
                                 text = row.Text();
                                 return absl::OkStatus();
                               }),
              absl::OkStatus());
    return text;
  }

  // How SQLite would answer `sql`.
  std::string PlanOf(const std::string& sql) {
    std::string plan;
    EXPECT_EQ(OpenRaw()->Query("EXPLAIN QUERY PLAN " + sql, {},
                               [&plan](RowReader& row) {
                                 row.Skip(3);
                                 plan += row.Text();
                                 return absl::OkStatus();
                               }),
              absl::OkStatus());
    return plan;
  }

  ScratchDirectory directory_;
  const std::string path_ = directory_.File("state.db");
  SystemClock clock_;
};

TEST_F(SqliteStoreTest, KeepsEverythingOverAReopening) {
  std::string cluster_id;
  int64_t epoch = 0;
  {
    auto store = Open();
    cluster_id = *store->ClusterId();
    epoch = *store->AcquireLeadership("a", absl::Minutes(1), 0);
    ASSERT_EQ(store->Apply(epoch, {.jobs = {SampleJob("orders")}}), absl::OkStatus());
  }
  auto store = Open();
  EXPECT_EQ(*store->ClusterId(), cluster_id);
  EXPECT_EQ(store->GetJob("orders")->revision, 1);
  // The lease outlives the process, and its holder takes it again.
  EXPECT_THAT(store->AcquireLeadership("b", absl::Minutes(1), 0).status(),
              HasCode(absl::StatusCode::kFailedPrecondition));
  EXPECT_EQ(*store->AcquireLeadership("a", absl::Minutes(1), 0), epoch + 1);
}

TEST_F(SqliteStoreTest, UsersFindTheColumnsTheyKnow) {
  {
    auto store = Open();
    const int64_t epoch = *store->AcquireLeadership("a", absl::Minutes(1), 0);
    JobRecord job = SampleJob("orders");
    job.last_watermark = Mark("2026-01-01 00:00:00");
    ASSERT_EQ(store->Apply(epoch, {.jobs = {job}, .runs = {SampleRun(job, "r1")}}), absl::OkStatus());
  }
  EXPECT_EQ(QueryText("SELECT id || '|' || name || '|' || schedule_cron || '|' || source_dsn || '|' || source_query "
                      "|| '|' || coalesce(transform_ref, 'none') || '|' || target_table || '|' || load_strategy || '|' "
                      "|| watermark_col || '|' || last_watermark || '|' || enabled FROM etl_jobs"),
            "1|orders|30 2 * * *|connection:shop|SELECT * FROM public.orders|none|sales.orders|upsert|updated_at|"
            "2026-01-01 00:00:00|0");
  EXPECT_EQ(QueryText("SELECT id || '|' || job_id || '|' || run_start || '|' || coalesce(run_end, 'open') "
                      "|| '|' || rows_read || '|' || rows_loaded || '|' || status || '|' || error_msg || '|' || "
                      "watermark_snapshot FROM etl_runs"),
            "r1|1|2026-01-01T00:00:01.123456Z|open|12|9|running|the target is down: start it|"
            "2026-01-02 00:00:00.000001");
}

TEST_F(SqliteStoreTest, APersonMayAskForARun) {
  auto store = Open();
  while (store->WaitForTriggers(absl::ZeroDuration())) {
  }
  ASSERT_EQ(OpenRaw()->RunScript("INSERT INTO etl_triggers (job_name) VALUES ('orders'); "
                                 "INSERT INTO etl_triggers (id, job_name, requested_at) VALUES ('x', 'a', 'now')"),
            absl::OkStatus());
  EXPECT_TRUE(store->WaitForTriggers(absl::InfiniteDuration()));
  EXPECT_FALSE(store->WaitForTriggers(absl::ZeroDuration()));
  const auto triggers = store->ListTriggers();
  ASSERT_TRUE(triggers.ok()) << triggers.status();
  ASSERT_EQ(triggers->size(), 2u);
  const TriggerRecord& plain = (*triggers)[0];
  EXPECT_FALSE(plain.id.empty());
  EXPECT_EQ(plain.job_name, "orders");
  EXPECT_FALSE(plain.full_refresh);
  EXPECT_EQ(plain.low, std::nullopt);
  EXPECT_LT(absl::AbsDuration(plain.requested - clock_.Now()), absl::Minutes(10));
  EXPECT_EQ((*triggers)[1].requested, absl::InfinitePast());
}

TEST_F(SqliteStoreTest, FindsTheLastFireTimesWithoutReadingTheRuns) {
  Open();
  EXPECT_THAT(PlanOf("SELECT max(fire_time) FROM etl_runs WHERE job_uid = 'u' AND fire_time IS NOT NULL"),
              HasSubstr("SEARCH etl_runs USING COVERING INDEX etl_runs_by_fire_time"));
}

TEST_F(SqliteStoreTest, FindsTheLastSuccessesWithoutReadingTheRuns) {
  Open();
  EXPECT_THAT(PlanOf("SELECT max(run_end) FROM etl_runs WHERE job_uid = 'u' AND status = 'success'"),
              HasSubstr("SEARCH etl_runs USING INDEX etl_runs_succeeded"));
}

TEST_F(SqliteStoreTest, ASecondWriterIsToldOfTheFirst) {
  auto store = Open();
  const auto second = OpenSqliteStore(path_, &clock_);
  EXPECT_THAT(second.status(), HasCode(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(second.status().message(), HasSubstr(absl::StrCat("process ", getpid())));
  store.reset();
  EXPECT_TRUE(OpenSqliteStore(path_, &clock_).ok());
}

TEST_F(SqliteStoreTest, ReadsWhileAnotherWrites) {
  EXPECT_THAT(OpenSqliteStoreReadOnly(path_).status(), HasCode(absl::StatusCode::kNotFound));
  auto store = Open();
  const int64_t epoch = *store->AcquireLeadership("a", absl::Minutes(1), 0);
  const JobRecord job = SampleJob("orders");
  ASSERT_EQ(store->Apply(epoch, {.jobs = {job}}), absl::OkStatus());
  auto opened = OpenSqliteStoreReadOnly(path_);
  ASSERT_TRUE(opened.ok()) << opened.status();
  const std::unique_ptr<MetadataStore> reader = *std::move(opened);
  EXPECT_EQ(*reader->ClusterId(), *store->ClusterId());

  std::atomic<bool> stop = false;
  int written = 0;
  std::thread writer([&] {
    for (; !stop; ++written) {
      const RunRecord run = SampleRun(job, absl::StrCat("r", 1000 + written));
      const absl::Status status = store->Apply(epoch, {.runs = {run}, .tasks = {SampleTask(run, run.id, 0)}});
      EXPECT_EQ(status, absl::OkStatus());
      if (!status.ok()) break;
    }
    stop = true;
  });
  size_t seen = 0;
  for (int i = 0; !stop && (i < 100 || seen < 2); ++i) {
    const auto runs = reader->ListRuns({.limit = 0});
    ASSERT_TRUE(runs.ok()) << runs.status();
    EXPECT_GE(runs->size(), seen);
    seen = runs->size();
    if (seen > 0) {
      EXPECT_EQ(reader->ListTasks(runs->front().id)->size(), 1u);
    }
  }
  stop = true;
  writer.join();
  EXPECT_EQ(reader->ListRuns({.limit = 0})->size(), static_cast<size_t>(written));

  EXPECT_THAT(reader->Apply(epoch, {}), HasCode(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(reader->AcquireLeadership("b", absl::Minutes(1), 0).status(),
              HasCode(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(reader->ResignLeadership(epoch), HasCode(absl::StatusCode::kFailedPrecondition));
}

TEST_F(SqliteStoreTest, MigratesEveryOlderSchema) {
  for (size_t version = 1; version <= Migrations().size(); ++version) {
    std::filesystem::remove(path_);
    {
      auto database = OpenRaw();
      ASSERT_EQ(Migrate(*database, Migrations().first(version), clock_.Now()).status(), absl::OkStatus());
      ASSERT_EQ(
          database->RunScript("INSERT INTO etl_jobs (id, uid, name, source_dsn, source_query, target_table, enabled, "
                              "last_sequence, source_identity, spec, version) "
                              "VALUES (3, 'u', 'orders', 'connection:shop', 'q', 't', 1, 4, 'i', "
                              "'{\"name\": \"orders\", \"dropped_later\": 1}', 5)"),
          absl::OkStatus());
      // As the versions before the fourth have written them.
      const auto run = [](const char* id, const char* status, const char* kind, const char* description) {
        return absl::StrCat(
            "INSERT INTO etl_runs (id, job_id, job_uid, job_name, run_key, created_at, rows_read, rows_loaded, "
            "rows_filtered, rows_quarantined, bytes_read, status, phase, sequence, partitions, "
            "peak_source_connections, describe_micros, wait_micros, move_micros, commit_micros, window_spec, spec, "
            "description, counts, version) VALUES ('",
            id, "', 3, 'u', 'orders', '", id, "', '2026-01-01T00:00:00.000000Z', 0, 0, 0, 0, 0, '", status,
            "', 'done', 1, 0, 0, 0, 0, 0, 0, '{\"kind\":\"", kind, "\"}', '{}', ", description, ", '{}', 1);");
      };
      ASSERT_EQ(
          version >= 4
              ? absl::OkStatus()
              : database->RunScript(absl::StrCat(
                    run("r1", "success", "WINDOW_KIND_WINDOW", "'{\"estimated_rows\":\"5\"}'"),
                    run("r2", "success", "WINDOW_KIND_FULL", "'{\"empty_window\":true}'"),
                    run("r3", "success", "WINDOW_KIND_WINDOW", "'{\"empty_window\":true,\"notes\":[\"n\"]}'"),
                    run("r4", "success", "WINDOW_KIND_RANGE", "'{}'"), run("r5", "failed", "WINDOW_KIND_FULL", "NULL"),
                    run("r6", "success", "WINDOW_KIND_FULL", "NULL"))),
          absl::OkStatus());
    }
    if (version < Migrations().size()) {
      const auto reader = OpenSqliteStoreReadOnly(path_);
      EXPECT_THAT(reader.status(), HasCode(absl::StatusCode::kFailedPrecondition));
      EXPECT_THAT(reader.status().message(), HasSubstr("older version"));
    }
    auto store = Open();
    const int64_t epoch = *store->AcquireLeadership("a", absl::Minutes(1), 0);
    const auto job = store->GetJob("orders");
    ASSERT_TRUE(job.ok()) << job.status();
    EXPECT_EQ(job->revision, 5);
    EXPECT_EQ(job->last_sequence, 4);
    const auto moved = store->ListRuns({.job_name = "orders", .moved_chain = true});
    ASSERT_TRUE(moved.ok()) << moved.status();
    std::string ids;
    for (const RunRecord& run : *moved) ids += run.id;
    EXPECT_EQ(ids, version < 4 ? "r6r2r1" : "");
    EXPECT_EQ(job->scheduled_from, absl::InfinitePast());
    // Its surrogate is no other's, and its runs outlive it.
    ASSERT_EQ(store->Apply(epoch, {.jobs = {SampleJob("new")}}), absl::OkStatus());
    EXPECT_EQ(store->GetJob("new")->id, 4);
    ASSERT_EQ(store->Apply(epoch, {.runs = {SampleRun(*job, "r9")}}), absl::OkStatus());
    ASSERT_EQ(store->Apply(epoch, {.dropped_jobs = {"uid-new"}}), absl::OkStatus());
    ASSERT_EQ(store->Apply(epoch, {.jobs = {*job}, .audit = {{clock_.Now(), "a", "b", "c", "d"}}}), absl::OkStatus());
  }
}

TEST_F(SqliteStoreTest, FindsTheRunThatMovedTheChainWithoutReadingTheOthers) {
  Open();
  std::string plan;
  ASSERT_EQ(OpenRaw()->Query("EXPLAIN QUERY PLAN SELECT id FROM etl_runs WHERE job_name = 'orders' AND moved_chain "
                             "ORDER BY id DESC LIMIT 1",
                             {},
                             [&plan](RowReader& row) {
                               row.Skip(3);
                               plan += row.Text();
                               return absl::OkStatus();
                             }),
            absl::OkStatus());
  EXPECT_THAT(plan, HasSubstr("etl_runs_moved_chain"));
  EXPECT_THAT(plan, ::testing::Not(HasSubstr("SORT")));
}

TEST_F(SqliteStoreTest, AStepThatFailsLeavesTheFileAsItWas) {
  Open();
  std::vector<Migration> migrations(Migrations().begin(), Migrations().end());
  const int next = static_cast<int>(migrations.size()) + 1;
  migrations.push_back({next, "good", "CREATE TABLE etl_more (id BIGINT); INSERT INTO etl_more VALUES (1)"});
  migrations.push_back({next + 1, "bad", "CREATE TABLE etl_most (id BIGINT); INSERT INTO nowhere VALUES (1)"});
  EXPECT_FALSE(Migrate(*OpenRaw(), migrations, clock_.Now()).ok());
  EXPECT_EQ(QueryText("SELECT count(*) FROM sqlite_master WHERE name IN ('etl_more', 'etl_most')"), "0");
  EXPECT_NE(Open(), nullptr);
}

TEST_F(SqliteStoreTest, RefusesAFileOfANewerVersion) {
  Open();
  std::vector<Migration> migrations(Migrations().begin(), Migrations().end());
  const int next = static_cast<int>(migrations.size()) + 1;
  migrations.push_back({next, "later", "ALTER TABLE etl_jobs ADD COLUMN later TEXT"});
  ASSERT_EQ(Migrate(*OpenRaw(), migrations, clock_.Now()).status(), absl::OkStatus());
  const auto store = OpenSqliteStore(path_, &clock_);
  EXPECT_THAT(store.status(), HasCode(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(store.status().message(), HasSubstr("newer version"));
  EXPECT_THAT(OpenSqliteStoreReadOnly(path_).status(), HasCode(absl::StatusCode::kFailedPrecondition));
}

TEST_F(SqliteStoreTest, LeavesOtherFilesAlone) {
  ASSERT_EQ(OpenRaw()->RunScript("CREATE TABLE orders (id INTEGER)"), absl::OkStatus());
  std::ifstream file(path_, std::ios::binary);
  const std::string before((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  EXPECT_THAT(OpenSqliteStore(path_, &clock_).status(), HasCode(absl::StatusCode::kFailedPrecondition));
  file.seekg(0);
  EXPECT_EQ(std::string((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>()), before);

  std::ofstream(path_, std::ios::trunc) << std::string(4096, 'x');
  EXPECT_THAT(OpenSqliteStore(path_, &clock_).status(), HasCode(absl::StatusCode::kDataLoss));
  EXPECT_THAT(OpenSqliteStore(directory_.File("none/state.db"), &clock_).status(),
              HasCode(absl::StatusCode::kNotFound));
}

// Writes batches of one run, kTasks tasks and a step of the watermark for ever, and a byte to `progress` after each.
constexpr int kTasks = 40;

[[noreturn]] void WriteUntilKilled(const std::string& path, int progress) {
  SystemClock clock;
  auto store = OpenSqliteStore(path, &clock);
  if (!store.ok()) _exit(1);
  const auto epoch = (*store)->AcquireLeadership("child", absl::Minutes(1), 0);
  auto job = (*store)->GetJob("orders");
  if (!epoch.ok() || !job.ok()) _exit(2);
  for (int64_t i = job->last_watermark.has_value() ? std::stoll(job->last_watermark->text()) : 1000;; ++i) {
    const RunRecord run = SampleRun(*job, absl::StrCat("r", i));
    WriteBatch batch = {.runs = {run}};
    for (int t = 0; t < kTasks; ++t) batch.tasks.push_back(SampleTask(run, absl::StrCat("t", i, ".", t), t));
    batch.watermarks.push_back({.job_uid = job->uid,
                                .run_id = run.id,
                                .low = job->last_watermark,
                                .high = Mark(absl::StrCat(i + 1)),
                                .sequence = i});
    if (!(*store)->Apply(*epoch, batch).ok()) _exit(3);
    job->last_watermark = batch.watermarks[0].high;
    if (write(progress, "x", 1) != 1) _exit(4);
  }
}

TEST_F(SqliteStoreTest, AKillInTheMiddleOfABatchLeavesAllOrNothing) {
  {
    auto store = Open();
    const int64_t epoch = *store->AcquireLeadership("child", absl::Minutes(1), 0);
    ASSERT_EQ(store->Apply(epoch, {.jobs = {SampleJob("orders")}}), absl::OkStatus());
  }
  Rng rng(::testing::UnitTest::GetInstance()->random_seed());
  size_t acknowledged = 0;
  for (int round = 0; round < 8; ++round) {
    int pipe_ends[2];
    ASSERT_EQ(pipe(pipe_ends), 0);
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      close(pipe_ends[0]);
      WriteUntilKilled(path_, pipe_ends[1]);
    }
    close(pipe_ends[1]);
    char byte;
    ASSERT_EQ(read(pipe_ends[0], &byte, 1), 1) << "the child could not write";
    ++acknowledged;
    usleep(rng.Below(20'000));
    ASSERT_EQ(kill(child, SIGKILL), 0);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the child ended by itself: " << WEXITSTATUS(status);
    while (read(pipe_ends[0], &byte, 1) == 1) ++acknowledged;
    close(pipe_ends[0]);

    // What was left is readable even before a writer has cleaned up.
    auto reader = OpenSqliteStoreReadOnly(path_);
    ASSERT_TRUE(reader.ok()) << reader.status();
    EXPECT_GE((*reader)->ListRuns({.limit = 0})->size(), acknowledged);
    auto store = Open();
    const auto runs = store->ListRuns({.limit = 0});
    ASSERT_TRUE(runs.ok()) << runs.status();
    // A batch may be there without its acknowledgement, one in every round.
    EXPECT_GE(runs->size(), acknowledged);
    EXPECT_LE(runs->size(), acknowledged + round + 1);
    for (const RunRecord& run : *runs) EXPECT_EQ(store->ListTasks(run.id)->size(), static_cast<size_t>(kTasks));
    EXPECT_EQ(store->GetJob("orders")->last_watermark->text(), absl::StrCat(1000 + runs->size()));
  }
}

}  // namespace
}  // namespace tidemark::coordinator
