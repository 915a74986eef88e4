// The suite that judges every implementation of MetadataStore.
#include "coordinator/store/metadata_store.h"

#include <algorithm>
#include <atomic>
#include <functional>
#include <thread>
#include <utility>

#include "coordinator/store/sample_records.h"
#include "google/protobuf/util/message_differencer.h"
#include "tests/support/postgres_server.h"

namespace tidemark::coordinator {
namespace {

using ::google::protobuf::util::MessageDifferencer;
using ::testing::HasSubstr;

struct Implementation {
  std::string name;
  // Its leases run by `clock`, or by a clock that moves with it.
  std::function<std::unique_ptr<MetadataStore>(const std::string& path, const SimulatedClock* clock)> open;
};

class StoreSuite : public ::testing::TestWithParam<Implementation> {
 protected:
  void SetUp() override {
    store_ = GetParam().open(directory_.File("state.db"), &clock_);
    ASSERT_NE(store_, nullptr);
    auto epoch = store_->AcquireLeadership("a", absl::Seconds(15), 0);
    ASSERT_TRUE(epoch.ok()) << epoch.status();
    epoch_ = *epoch;
  }

  absl::Status Apply(WriteBatch batch) { return store_->Apply(epoch_, batch); }

  // A stored job, as the store gives it back.
  JobRecord StoredJob(const std::string& name) {
    EXPECT_EQ(Apply({.jobs = {SampleJob(name)}}), absl::OkStatus());
    return *store_->GetJob(name);
  }

  // One field of each record of a list.
  template <typename Record>
  static std::vector<std::string> Each(const absl::StatusOr<std::vector<Record>>& records, std::string Record::*field) {
    EXPECT_TRUE(records.ok()) << records.status();
    std::vector<std::string> values;
    for (const Record& record : *records) values.push_back(record.*field);
    return values;
  }

  std::vector<std::string> RunIds(const RunFilter& filter) { return Each(store_->ListRuns(filter), &RunRecord::id); }

  ScratchDirectory directory_;
  SimulatedClock clock_;
  std::unique_ptr<MetadataStore> store_;
  int64_t epoch_ = 0;
};

TEST_P(StoreSuite, GivesBackWhatWasStored) {
  JobRecord job = SampleJob("orders");
  job.last_watermark = Mark("2026-01-01 00:00:00");
  RunRecord run = SampleRun(job, "r1");
  run.started = run.created + absl::Nanoseconds(1'999);  // Kept to the microsecond.
  const TaskRecord task = SampleTask(run, "t1", 0);
  TaskRecord plain;
  plain.id = "t0";
  plain.run_id = "r1";
  plain.kind = v1::TASK_KIND_DESCRIBE;
  const AuditEvent event{run.created, "cli", "run", "orders", "by hand"};
  ASSERT_EQ(
      Apply({.jobs = {job}, .runs = {run}, .tasks = {task, plain}, .permits = {SamplePermit("s1")}, .audit = {event}}),
      absl::OkStatus());

  const auto job_back = store_->GetJob("orders");
  ASSERT_TRUE(job_back.ok()) << job_back.status();
  EXPECT_EQ(job_back->id, 1);
  EXPECT_EQ(job_back->revision, 1);
  EXPECT_TRUE(MessageDifferencer::Equals(job_back->spec, job.spec));
  EXPECT_TRUE(MessageDifferencer::Equals(*job_back->last_watermark, *job.last_watermark));
  EXPECT_FALSE(job_back->enabled);
  EXPECT_EQ(job_back->last_sequence, 7);
  EXPECT_EQ(job_back->source_identity, job.source_identity);
  EXPECT_EQ(job_back->created, job.created);
  EXPECT_EQ(job_back->updated, job.updated);
  EXPECT_EQ(job_back->scheduled_from, job.scheduled_from);
  EXPECT_EQ(job_back->request_id, "create orders");
  EXPECT_TRUE(job_back->adopting);

  const auto run_back = store_->GetRunByKey("orders@r1");
  ASSERT_TRUE(run_back.ok()) << run_back.status();
  EXPECT_EQ(run_back->id, "r1");
  EXPECT_EQ(run_back->job_uid, job.uid);
  EXPECT_EQ(run_back->job_name, "orders");
  EXPECT_EQ(run_back->fire_time, run.fire_time);
  EXPECT_EQ(run_back->retry_of, "r0");
  EXPECT_EQ(run_back->status, RunStatus::kRunning);
  EXPECT_EQ(run_back->phase, RunPhase::kMoving);
  EXPECT_EQ(run_back->created, run.created);
  EXPECT_EQ(run_back->started, run.created + absl::Microseconds(1));
  EXPECT_EQ(run_back->ended, std::nullopt);
  EXPECT_TRUE(MessageDifferencer::Equals(run_back->window, run.window));
  EXPECT_TRUE(MessageDifferencer::Equals(run_back->spec, run.spec));
  EXPECT_TRUE(MessageDifferencer::Equals(*run_back->description, *run.description));
  EXPECT_TRUE(MessageDifferencer::Equals(run_back->counts, run.counts));
  EXPECT_EQ(run_back->sequence, 8);
  EXPECT_EQ(run_back->partitions, 3);
  EXPECT_EQ(run_back->peak_source_connections, 2);
  EXPECT_EQ(run_back->describe_time, run.describe_time);
  EXPECT_EQ(run_back->wait_time, run.wait_time);
  EXPECT_EQ(run_back->move_time, run.move_time);
  EXPECT_EQ(run_back->commit_time, run.commit_time);
  EXPECT_EQ(run_back->error, run.error);

  const auto tasks = store_->ListTasks("r1");
  ASSERT_TRUE(tasks.ok()) << tasks.status();
  ASSERT_EQ(tasks->size(), 2u);
  const TaskRecord& plain_back = tasks->front();
  EXPECT_EQ(plain_back.id, "t0");
  EXPECT_EQ(plain_back.partition, -1);
  EXPECT_EQ(plain_back.not_before, absl::InfinitePast());
  const TaskRecord& task_back = tasks->back();
  EXPECT_EQ(task_back.kind, v1::TASK_KIND_MOVE);
  EXPECT_EQ(task_back.partition, 0);
  EXPECT_TRUE(MessageDifferencer::Equals(task_back.range, task.range));
  EXPECT_EQ(task_back.state, TaskState::kLeased);
  EXPECT_EQ(task_back.attempt, 2);
  EXPECT_EQ(task_back.failures, 1);
  EXPECT_EQ(task_back.not_before, task.not_before);
  EXPECT_EQ(task_back.worker_id, "w1");
  EXPECT_EQ(task_back.incarnation, "i1");
  EXPECT_EQ(task_back.session_id, "s1");
  EXPECT_TRUE(task_back.extracted);
  EXPECT_TRUE(MessageDifferencer::Equals(task_back.counts, task.counts));
  EXPECT_EQ(task_back.error, task.error);

  const auto permits = store_->ListPermits();
  ASSERT_TRUE(permits.ok()) << permits.status();
  ASSERT_EQ(permits->size(), 1u);
  const PermitRecord expected = SamplePermit("s1");
  EXPECT_EQ(permits->front().session_id, "s1");
  EXPECT_EQ(permits->front().connection, expected.connection);
  EXPECT_EQ(permits->front().identity, expected.identity);
  EXPECT_EQ(permits->front().run_id, expected.run_id);
  EXPECT_EQ(permits->front().worker_id, expected.worker_id);
  EXPECT_EQ(permits->front().incarnation, expected.incarnation);
  EXPECT_TRUE(permits->front().in_snapshot);
  EXPECT_EQ(permits->front().granted, expected.granted);

  const auto audit = store_->ListAudit({.limit = 10});
  ASSERT_TRUE(audit.ok()) << audit.status();
  ASSERT_EQ(audit->size(), 1u);
  EXPECT_EQ(audit->front().time, event.time);
  EXPECT_EQ(audit->front().actor, "cli");
  EXPECT_EQ(audit->front().action, "run");
  EXPECT_EQ(audit->front().subject, "orders");
  EXPECT_EQ(audit->front().detail, "by hand");
}

TEST_P(StoreSuite, GivesBackConnectionsAndTriggers) {
  ConnectionRecord plain;
  plain.name = "a";
  ASSERT_EQ(Apply({.connections = {SampleConnection("shop"), plain}}), absl::OkStatus());
  EXPECT_THAT(Each(store_->ListConnections(), &ConnectionRecord::name), testing::ElementsAre("a", "shop"));
  const ConnectionRecord expected = SampleConnection("shop");
  const auto back = store_->GetConnection("shop");
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(back->name, "shop");
  EXPECT_TRUE(MessageDifferencer::Equals(back->spec, expected.spec));
  EXPECT_EQ(back->redacted_dsn, expected.redacted_dsn);
  EXPECT_EQ(back->request_id, expected.request_id);
  EXPECT_EQ(back->created, expected.created);
  EXPECT_EQ(back->updated, expected.updated);
  EXPECT_EQ(back->revision, 1);

  ASSERT_EQ(store_->AddTrigger(SampleTrigger("t1")), absl::OkStatus());
  EXPECT_THAT(store_->AddTrigger(SampleTrigger("t1")), HasCode(absl::StatusCode::kAlreadyExists));
  const auto triggers = store_->ListTriggers();
  ASSERT_TRUE(triggers.ok()) << triggers.status();
  ASSERT_EQ(triggers->size(), 1u);
  const TriggerRecord& trigger = triggers->front();
  EXPECT_EQ(trigger.id, "t1");
  EXPECT_EQ(trigger.job_name, "orders");
  EXPECT_EQ(trigger.request_id, "by hand");
  EXPECT_TRUE(trigger.full_refresh);
  EXPECT_EQ(trigger.low, "2026-01-01");
  EXPECT_EQ(trigger.high, "");
  EXPECT_EQ(trigger.requested, SampleTrigger("t1").requested);
}

TEST_P(StoreSuite, ConnectionsAreWrittenAndDropped) {
  ConnectionRecord shop = SampleConnection("shop");
  ASSERT_EQ(Apply({.connections = {shop}}), absl::OkStatus());
  EXPECT_THAT(Apply({.connections = {shop}}), HasCode(absl::StatusCode::kAlreadyExists));
  shop.revision = 1;
  shop.redacted_dsn = "elsewhere";
  EXPECT_EQ(Apply({.connections = {shop}}), absl::OkStatus());
  EXPECT_THAT(Apply({.connections = {shop}}), HasCode(absl::StatusCode::kAborted));
  EXPECT_EQ(store_->GetConnection("shop")->redacted_dsn, "elsewhere");
  EXPECT_EQ(store_->GetConnection("shop")->revision, 2);
  // Dropped, and made anew at once.
  EXPECT_EQ(Apply({.dropped_connections = {"shop", "none"}, .connections = {SampleConnection("shop")}}),
            absl::OkStatus());
  EXPECT_EQ(store_->GetConnection("shop")->revision, 1);
  EXPECT_EQ(Apply({.dropped_connections = {"shop"}}), absl::OkStatus());
  EXPECT_THAT(store_->GetConnection("shop").status(), HasCode(absl::StatusCode::kNotFound));
}

TEST_P(StoreSuite, RunsOutliveTheirJob) {
  const JobRecord orders = StoredJob("orders");
  const JobRecord customers = StoredJob("customers");
  ASSERT_EQ(Apply({.runs = {SampleRun(customers, "r1")}}), absl::OkStatus());
  ASSERT_EQ(Apply({.dropped_jobs = {customers.uid, "none"}}), absl::OkStatus());
  EXPECT_THAT(store_->GetJob("customers").status(), HasCode(absl::StatusCode::kNotFound));
  EXPECT_THAT(Apply({.jobs = {customers}}), HasCode(absl::StatusCode::kAborted));
  EXPECT_THAT(Apply({.runs = {SampleRun(customers, "r2")}}), HasCode(absl::StatusCode::kNotFound));

  RunRecord run = *store_->GetRun("r1");
  EXPECT_EQ(run.job_uid, customers.uid);
  run.phase = RunPhase::kCancelled;
  EXPECT_EQ(Apply({.runs = {run}}), absl::OkStatus());
  EXPECT_EQ(store_->GetRun("r1")->phase, RunPhase::kCancelled);

  // The name is free in the same batch; the surrogate stays with the runs.
  JobRecord namesake = SampleJob("orders");
  namesake.uid = "another";
  ASSERT_EQ(Apply({.dropped_jobs = {orders.uid}, .jobs = {namesake}}), absl::OkStatus());
  EXPECT_EQ(store_->GetJob("orders")->uid, "another");
  EXPECT_GT(store_->GetJob("orders")->id, customers.id);
}

TEST_P(StoreSuite, TheRevisionOfTheJobsGrowsWithTheirDefinitions) {
  int64_t last = *store_->JobsRevision();
  const auto grown = [&] {
    const int64_t before = std::exchange(last, *store_->JobsRevision());
    EXPECT_GE(last, before);
    return last > before;
  };
  const JobRecord job = StoredJob("orders");
  EXPECT_TRUE(grown());
  EXPECT_THAT(Apply({.jobs = {SampleJob("orders")}}), HasCode(absl::StatusCode::kAlreadyExists));
  EXPECT_FALSE(grown());
  ASSERT_EQ(Apply({.jobs = {job}}), absl::OkStatus());
  EXPECT_TRUE(grown());
  ASSERT_EQ(Apply({.connections = {SampleConnection("shop")},
                   .runs = {SampleRun(job, "r1")},
                   .watermarks = {{.job_uid = job.uid, .run_id = "r1", .high = Mark("2"), .sequence = 8}}}),
            absl::OkStatus());
  EXPECT_FALSE(grown());
  ASSERT_EQ(Apply({.dropped_jobs = {"none"}}), absl::OkStatus());
  EXPECT_FALSE(grown());
  ASSERT_EQ(Apply({.dropped_jobs = {job.uid}}), absl::OkStatus());
  EXPECT_TRUE(grown());
}

TEST_P(StoreSuite, KnowsTheLastFireTimes) {
  const JobRecord orders = StoredJob("orders");
  const JobRecord customers = StoredJob("customers");
  const JobRecord idle = StoredJob("idle");
  const JobRecord dropped = StoredJob("dropped");
  const absl::Time noon = absl::FromUnixSeconds(1'767'268'800);
  WriteBatch batch;
  const auto add = [&](const JobRecord& job, const std::string& id, std::optional<absl::Time> fire_time) {
    batch.runs.push_back(SampleRun(job, id));
    batch.runs.back().fire_time = fire_time;
  };
  add(orders, "r1", noon);
  add(orders, "r2", noon - absl::Hours(1));
  add(orders, "r3", std::nullopt);
  add(customers, "r4", noon + absl::Microseconds(1));
  add(idle, "r5", std::nullopt);
  add(dropped, "r6", noon);
  ASSERT_EQ(Apply(batch), absl::OkStatus());
  ASSERT_EQ(Apply({.dropped_jobs = {dropped.uid}}), absl::OkStatus());
  const auto times = store_->LastFireTimes();
  ASSERT_TRUE(times.ok()) << times.status();
  EXPECT_THAT(*times, testing::UnorderedElementsAre(std::pair(orders.uid, noon),
                                                    std::pair(customers.uid, noon + absl::Microseconds(1))));
}

TEST_P(StoreSuite, KnowsTheLastSuccesses) {
  const JobRecord orders = StoredJob("orders");
  const JobRecord customers = StoredJob("customers");
  const JobRecord failing = StoredJob("failing");
  const JobRecord dropped = StoredJob("dropped");
  const absl::Time noon = absl::FromUnixSeconds(1'767'268'800);
  WriteBatch batch;
  const auto add = [&](const JobRecord& job, const std::string& id, RunStatus status, absl::Time ended) {
    batch.runs.push_back(SampleRun(job, id));
    batch.runs.back().status = status;
    batch.runs.back().ended = ended;
  };
  add(orders, "r1", RunStatus::kSuccess, noon);
  add(orders, "r2", RunStatus::kSuccess, noon - absl::Hours(1));
  add(orders, "r3", RunStatus::kFailed, noon + absl::Hours(1));
  add(orders, "r4", RunStatus::kSkipped, noon + absl::Hours(2));
  add(customers, "r5", RunStatus::kSuccess, noon + absl::Microseconds(1));
  add(failing, "r6", RunStatus::kFailed, noon);
  add(dropped, "r7", RunStatus::kSuccess, noon);
  ASSERT_EQ(Apply(batch), absl::OkStatus());
  ASSERT_EQ(Apply({.dropped_jobs = {dropped.uid}}), absl::OkStatus());
  const auto times = store_->LastSuccesses();
  ASSERT_TRUE(times.ok()) << times.status();
  EXPECT_THAT(*times, testing::UnorderedElementsAre(std::pair(orders.uid, noon),
                                                    std::pair(customers.uid, noon + absl::Microseconds(1))));
}

TEST_P(StoreSuite, TriggersAreListedOldestFirstAndDropped) {
  TriggerRecord first = SampleTrigger("b");
  TriggerRecord second = SampleTrigger("c");
  TriggerRecord third = SampleTrigger("a");
  third.requested += absl::Microseconds(1);
  for (const TriggerRecord* trigger : {&third, &second, &first}) {
    ASSERT_EQ(store_->AddTrigger(*trigger), absl::OkStatus());
  }
  EXPECT_THAT(Each(store_->ListTriggers(), &TriggerRecord::id), testing::ElementsAre("b", "c", "a"));
  ASSERT_EQ(Apply({.dropped_triggers = {"b", "none"}}), absl::OkStatus());
  EXPECT_THAT(Each(store_->ListTriggers(), &TriggerRecord::id), testing::ElementsAre("c", "a"));
}

TEST_P(StoreSuite, ATriggerEndsTheWait) {
  while (store_->WaitForTriggers(absl::ZeroDuration())) {
  }
  EXPECT_FALSE(store_->WaitForTriggers(absl::Milliseconds(1)));
  std::atomic<bool> added = false;
  std::thread asker([&] {
    added = true;
    EXPECT_EQ(store_->AddTrigger(SampleTrigger("t1")), absl::OkStatus());
  });
  EXPECT_TRUE(store_->WaitForTriggers(absl::InfiniteDuration()));
  EXPECT_TRUE(added);
  asker.join();
  EXPECT_EQ(store_->ListTriggers()->size(), 1u);
  // One that came before the wait.
  while (store_->WaitForTriggers(absl::ZeroDuration())) {
  }
  ASSERT_EQ(store_->AddTrigger(SampleTrigger("t2")), absl::OkStatus());
  EXPECT_TRUE(store_->WaitForTriggers(absl::InfiniteDuration()));
}

TEST_P(StoreSuite, AnInterruptEndsTheWait) {
  while (store_->WaitForTriggers(absl::ZeroDuration())) {
  }
  store_->Interrupt();
  EXPECT_FALSE(store_->WaitForTriggers(absl::InfiniteDuration()));
  std::thread interrupter([&] { store_->Interrupt(); });
  EXPECT_FALSE(store_->WaitForTriggers(absl::InfiniteDuration()));
  interrupter.join();
}

TEST_P(StoreSuite, ClusterIdIsKept) {
  const auto id = store_->ClusterId();
  ASSERT_TRUE(id.ok()) << id.status();
  EXPECT_EQ(id->size(), 26u);
  EXPECT_EQ(*store_->ClusterId(), *id);
}

TEST_P(StoreSuite, MissingRowsAreNotFound) {
  EXPECT_THAT(store_->GetConnection("none").status(), HasCode(absl::StatusCode::kNotFound));
  EXPECT_THAT(store_->GetJob("none").status(), HasCode(absl::StatusCode::kNotFound));
  EXPECT_THAT(store_->GetRun("none").status(), HasCode(absl::StatusCode::kNotFound));
  EXPECT_THAT(store_->GetRunByKey("none").status(), HasCode(absl::StatusCode::kNotFound));
  EXPECT_TRUE(store_->ListTasks("none")->empty());
  EXPECT_THAT(Apply({.runs = {SampleRun(SampleJob("none"), "r1")}}), HasCode(absl::StatusCode::kNotFound));
  EXPECT_THAT(Apply({.watermarks = {{.job_uid = "none", .run_id = "r1", .high = Mark("1"), .sequence = 1}}}),
              HasCode(absl::StatusCode::kNotFound));
}

TEST_P(StoreSuite, AWriteOfAnOldRevisionLoses) {
  JobRecord job = StoredJob("orders");
  RunRecord run = SampleRun(job, "r1");
  TaskRecord task = SampleTask(run, "t1", 0);
  PermitRecord permit = SamplePermit("s1");
  ASSERT_EQ(Apply({.runs = {run}, .tasks = {task}, .permits = {permit}}), absl::OkStatus());
  run.revision = task.revision = permit.revision = 1;
  run.phase = RunPhase::kCommitting;
  task.state = TaskState::kSucceeded;
  permit.in_snapshot = false;
  job.enabled = true;
  ASSERT_EQ(Apply({.jobs = {job}, .runs = {run}, .tasks = {task}, .permits = {permit}}), absl::OkStatus());

  run.phase = RunPhase::kFailed;
  task.state = TaskState::kFailed;
  permit.in_snapshot = true;
  job.enabled = false;
  EXPECT_THAT(Apply({.jobs = {job}}), HasCode(absl::StatusCode::kAborted));
  EXPECT_THAT(Apply({.runs = {run}}), HasCode(absl::StatusCode::kAborted));
  EXPECT_THAT(Apply({.tasks = {task}}), HasCode(absl::StatusCode::kAborted));
  EXPECT_THAT(Apply({.permits = {permit}}), HasCode(absl::StatusCode::kAborted));
  run.revision = 3;  // Nor may a write come from the future.
  EXPECT_THAT(Apply({.runs = {run}}), HasCode(absl::StatusCode::kAborted));
  run.id = "r2";  // A row that is not there has no revision.
  EXPECT_THAT(Apply({.runs = {run}}), HasCode(absl::StatusCode::kAborted));

  EXPECT_EQ(store_->GetRun("r1")->phase, RunPhase::kCommitting);
  EXPECT_EQ(store_->GetRun("r1")->revision, 2);
  EXPECT_EQ(store_->ListTasks("r1")->front().state, TaskState::kSucceeded);
  EXPECT_FALSE(store_->ListPermits()->front().in_snapshot);
  EXPECT_TRUE(store_->GetJob("orders")->enabled);
}

TEST_P(StoreSuite, KeysNamesAndIdsAreUnique) {
  const JobRecord job = StoredJob("orders");
  StoredJob("customers");
  ASSERT_EQ(Apply({.runs = {SampleRun(job, "r1")}}), absl::OkStatus());

  RunRecord again = SampleRun(job, "r2");
  again.run_key = "orders@r1";
  const absl::Status taken = Apply({.runs = {again}});
  EXPECT_THAT(taken, HasCode(absl::StatusCode::kAlreadyExists));
  EXPECT_THAT(taken.message(), HasSubstr("orders@r1"));
  EXPECT_THAT(Apply({.runs = {SampleRun(job, "r1")}}), HasCode(absl::StatusCode::kAlreadyExists));
  JobRecord namesake = SampleJob("orders");
  namesake.uid = "another";
  EXPECT_THAT(Apply({.jobs = {namesake}}), HasCode(absl::StatusCode::kAlreadyExists));
  JobRecord renamed = job;
  renamed.spec.set_name("customers");
  EXPECT_THAT(Apply({.jobs = {renamed}}), HasCode(absl::StatusCode::kAlreadyExists));
  EXPECT_THAT(Apply({.jobs = {SampleJob("a"), SampleJob("a")}}), HasCode(absl::StatusCode::kAlreadyExists));

  renamed.spec.set_name("orders_v2");
  ASSERT_EQ(Apply({.jobs = {renamed}}), absl::OkStatus());
  EXPECT_EQ(store_->GetJob("orders_v2")->id, job.id);
  EXPECT_THAT(store_->GetJob("orders").status(), HasCode(absl::StatusCode::kNotFound));
  namesake.uid = "another";
  EXPECT_EQ(Apply({.jobs = {namesake}}), absl::OkStatus());  // The name is free again.
}

TEST_P(StoreSuite, ABatchIsAllOrNothing) {
  JobRecord job = StoredJob("orders");
  RunRecord run = SampleRun(job, "r1");
  const JobRecord doomed = StoredJob("doomed");
  ASSERT_EQ(Apply({.connections = {SampleConnection("shop")}, .runs = {run}, .permits = {SamplePermit("s1")}}),
            absl::OkStatus());
  ASSERT_EQ(store_->AddTrigger(SampleTrigger("t1")), absl::OkStatus());
  const int64_t jobs_revision = *store_->JobsRevision();
  run.revision = 1;
  run.phase = RunPhase::kDone;
  run.run_key = "orders@elsewhere";
  job.spec.set_name("renamed");
  // Everything in it is good but the last watermark.
  WriteBatch batch = {.dropped_connections = {"shop"},
                      .dropped_jobs = {doomed.uid},
                      .connections = {SampleConnection("warehouse")},
                      .jobs = {job, SampleJob("new")},
                      .runs = {run, SampleRun(job, "r2")},
                      .tasks = {SampleTask(run, "t1", 0)},
                      .permits = {SamplePermit("s2")},
                      .dropped_permits = {"s1"},
                      .dropped_triggers = {"t1"},
                      .watermarks = {{.job_uid = job.uid, .run_id = "r1", .high = Mark("2"), .sequence = 8},
                                     {.job_uid = job.uid, .run_id = "r1", .high = Mark("3"), .sequence = 9}},
                      .audit = {{clock_.Now(), "a", "b", "c", "d"}}};
  EXPECT_THAT(Apply(batch), HasCode(absl::StatusCode::kAborted));

  EXPECT_THAT(Each(store_->ListConnections(), &ConnectionRecord::name), testing::ElementsAre("shop"));
  EXPECT_THAT(Each(store_->ListJobs(), &JobRecord::uid), testing::ElementsAre("uid-doomed", "uid-orders"));
  EXPECT_EQ(store_->GetJob("doomed")->id, doomed.id);
  EXPECT_EQ(*store_->JobsRevision(), jobs_revision);
  EXPECT_EQ(store_->ListTriggers()->size(), 1u);
  EXPECT_EQ(store_->GetJob("orders")->revision, 1);
  EXPECT_EQ(store_->GetJob("orders")->last_watermark, std::nullopt);
  EXPECT_THAT(RunIds({}), testing::ElementsAre("r1"));
  EXPECT_EQ(store_->GetRunByKey("orders@r1")->phase, RunPhase::kMoving);
  EXPECT_THAT(store_->GetRunByKey("orders@elsewhere").status(), HasCode(absl::StatusCode::kNotFound));
  EXPECT_TRUE(store_->ListTasks("r1")->empty());
  ASSERT_EQ(store_->ListPermits()->size(), 1u);
  EXPECT_EQ(store_->ListPermits()->front().session_id, "s1");
  EXPECT_TRUE(store_->ListAudit({.limit = 10})->empty());

  batch.watermarks.pop_back();
  EXPECT_EQ(Apply(batch), absl::OkStatus());
  EXPECT_EQ(store_->ListPermits()->front().session_id, "s2");
  EXPECT_THAT(Each(store_->ListConnections(), &ConnectionRecord::name), testing::ElementsAre("warehouse"));
  EXPECT_THAT(Each(store_->ListJobs(), &JobRecord::uid), testing::ElementsAre("uid-new", "uid-orders"));
  EXPECT_TRUE(store_->ListTriggers()->empty());
  EXPECT_EQ(store_->GetJob("renamed")->revision, 3);  // Its own write, and the watermark's.
}

TEST_P(StoreSuite, AnOlderEpochChangesNothing) {
  const JobRecord job = StoredJob("orders");
  const JobRecord other = StoredJob("other");
  ASSERT_EQ(
      Apply(
          {.connections = {SampleConnection("shop")}, .runs = {SampleRun(job, "r1")}, .permits = {SamplePermit("s1")}}),
      absl::OkStatus());
  ASSERT_EQ(store_->AddTrigger(SampleTrigger("t1")), absl::OkStatus());
  const int64_t stale = epoch_;
  clock_.Advance(absl::Seconds(16));
  ASSERT_EQ(*store_->AcquireLeadership("b", absl::Seconds(15), 0), stale + 1);

  RunRecord run = SampleRun(job, "r1");
  run.revision = 1;
  const std::vector<WriteBatch> writes = {
      {},
      {.dropped_connections = {"shop"}},
      {.dropped_jobs = {other.uid}},
      {.connections = {SampleConnection("warehouse")}},
      {.jobs = {job}},
      {.jobs = {SampleJob("new")}},
      {.runs = {run}},
      {.runs = {SampleRun(job, "r2")}},
      {.tasks = {SampleTask(run, "t1", 0)}},
      {.permits = {SamplePermit("s2")}},
      {.dropped_permits = {"s1"}},
      {.dropped_triggers = {"t1"}},
      {.watermarks = {{.job_uid = job.uid, .run_id = "r1", .high = Mark("2"), .sequence = 8}}},
      {.audit = {{clock_.Now(), "a", "b", "c", "d"}}},
  };
  for (const WriteBatch& write : writes) {
    EXPECT_THAT(store_->Apply(stale, write), HasCode(absl::StatusCode::kFailedPrecondition));
    EXPECT_THAT(store_->Apply(stale + 2, write), HasCode(absl::StatusCode::kFailedPrecondition));
    EXPECT_THAT(store_->Apply(0, write), HasCode(absl::StatusCode::kFailedPrecondition));
  }
  EXPECT_THAT(store_->RenewLeadership(stale, absl::Seconds(15)), HasCode(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(store_->ResignLeadership(stale), HasCode(absl::StatusCode::kFailedPrecondition));
  EXPECT_EQ(store_->GetJob("orders")->revision, 1);
  EXPECT_EQ(store_->ListJobs()->size(), 2u);
  EXPECT_THAT(Each(store_->ListConnections(), &ConnectionRecord::name), testing::ElementsAre("shop"));
  EXPECT_EQ(store_->ListTriggers()->size(), 1u);
  EXPECT_THAT(RunIds({}), testing::ElementsAre("r1"));
  EXPECT_EQ(store_->ListPermits()->size(), 1u);
  for (const WriteBatch& write : writes) {
    // The job's second write names the revision of its first.
    if (!write.watermarks.empty() || write.jobs.empty()) {
      EXPECT_EQ(store_->Apply(stale + 1, write), absl::OkStatus());
    }
  }
}

TEST_P(StoreSuite, LeadershipIsALease) {
  const auto held = store_->AcquireLeadership("b", absl::Seconds(15), 0);
  EXPECT_THAT(held.status(), HasCode(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(held.status().message(), HasSubstr("led by a"));
  EXPECT_EQ(*store_->AcquireLeadership("a", absl::Seconds(15), 0), epoch_ + 1);  // Its holder may, and fences itself.
  clock_.Advance(absl::Seconds(14));
  EXPECT_EQ(store_->RenewLeadership(epoch_ + 1, absl::Seconds(15)), absl::OkStatus());
  clock_.Advance(absl::Seconds(14));
  EXPECT_FALSE(store_->AcquireLeadership("b", absl::Seconds(15), 0).ok());
  clock_.Advance(absl::Seconds(2));
  // Run out, and nobody has led since.
  EXPECT_EQ(store_->Apply(epoch_ + 1, {}), absl::OkStatus());
  EXPECT_EQ(*store_->AcquireLeadership("b", absl::Seconds(15), 0), epoch_ + 2);
  EXPECT_EQ(store_->ResignLeadership(epoch_ + 2), absl::OkStatus());
  EXPECT_THAT(store_->RenewLeadership(epoch_ + 2, absl::Seconds(15)), HasCode(absl::StatusCode::kFailedPrecondition));
  // The target's fence is ahead: the leader takes its lease above it.
  EXPECT_EQ(*store_->AcquireLeadership("c", absl::Seconds(15), 41), 42);
  EXPECT_EQ(*store_->AcquireLeadership("c", absl::Seconds(15), 7), 43);
}

TEST_P(StoreSuite, AWatermarkMovesFromWhereItIs) {
  const JobRecord job = StoredJob("orders");  // last_sequence is 7.
  const auto advance = [&](std::optional<v1::Watermark> low, std::optional<std::string> high, int64_t sequence) {
    return Apply({.watermarks = {{.job_uid = job.uid,
                                  .run_id = absl::StrCat("r", sequence),
                                  .low = std::move(low),
                                  .high = high.has_value() ? std::optional(Mark(*high)) : std::nullopt,
                                  .sequence = sequence,
                                  .source_identity = "timeline 2"}}});
  };
  EXPECT_THAT(advance(Mark("1"), "2", 8), HasCode(absl::StatusCode::kAborted));  // It has none yet.
  ASSERT_EQ(advance(std::nullopt, "2", 8), absl::OkStatus());
  JobRecord moved = *store_->GetJob("orders");
  EXPECT_EQ(moved.last_watermark->text(), "2");
  EXPECT_EQ(moved.last_sequence, 8);
  EXPECT_EQ(moved.source_identity, "timeline 2");
  EXPECT_EQ(moved.revision, 2);
  EXPECT_TRUE(MessageDifferencer::Equals(moved.spec, job.spec));

  EXPECT_THAT(advance(std::nullopt, "2", 8), HasCode(absl::StatusCode::kAborted));  // Once.
  EXPECT_THAT(advance(Mark("1"), "3", 9), HasCode(absl::StatusCode::kAborted));
  v1::Watermark same_text = Mark("2");
  same_text.set_zone("UTC");
  EXPECT_THAT(advance(same_text, "3", 9), HasCode(absl::StatusCode::kAborted));
  const absl::Status overtaken = advance(Mark("2"), "3", 7);
  EXPECT_THAT(overtaken, HasCode(absl::StatusCode::kAborted));
  EXPECT_THAT(overtaken.message(), HasSubstr("superseded"));
  EXPECT_EQ(advance(Mark("2"), "3", 9), absl::OkStatus());
  EXPECT_EQ(store_->GetJob("orders")->last_watermark->text(), "3");
  // A job that was read before loses against the watermark.
  EXPECT_THAT(Apply({.jobs = {job}}), HasCode(absl::StatusCode::kAborted));
  // A chain without a watermark: it ends the one before, and no list of jobs is out of date by it.
  const int64_t lists = *store_->JobsRevision();
  EXPECT_THAT(advance(Mark("2"), std::nullopt, 10), HasCode(absl::StatusCode::kAborted));
  EXPECT_EQ(advance(Mark("3"), std::nullopt, 10), absl::OkStatus());
  moved = *store_->GetJob("orders");
  EXPECT_FALSE(moved.last_watermark.has_value());
  EXPECT_EQ(moved.last_sequence, 10);
  EXPECT_EQ(*store_->JobsRevision(), lists);
}

TEST_P(StoreSuite, ListsInOrder) {
  const JobRecord orders = StoredJob("orders");
  const JobRecord customers = StoredJob("customers");
  EXPECT_THAT(Each(store_->ListJobs(), &JobRecord::uid), testing::ElementsAre("uid-customers", "uid-orders"));

  WriteBatch batch;
  for (int i = 1; i <= 6; ++i) {
    RunRecord run = SampleRun(i % 2 == 0 ? orders : customers, absl::StrCat("r", i));
    if (i <= 3) run.status = RunStatus::kSuccess;
    if (i == 5) run.phase = RunPhase::kWaiting;
    batch.runs.push_back(run);
  }
  for (const auto& [id, partition, kind] :
       std::vector<std::tuple<std::string, int, v1::TaskKind>>{{"a", 10, v1::TASK_KIND_MOVE},
                                                               {"b", 9, v1::TASK_KIND_MOVE},
                                                               {"c", -1, v1::TASK_KIND_COMMIT},
                                                               {"d", -1, v1::TASK_KIND_DESCRIBE}}) {
    batch.tasks.push_back(SampleTask(batch.runs[0], id, partition));
    batch.tasks.back().kind = kind;
  }
  batch.tasks.push_back(SampleTask(batch.runs[1], "of another run", 0));
  for (const char* action : {"first", "second", "third"}) batch.audit.push_back({clock_.Now(), "a", action, "c", "d"});
  ASSERT_EQ(Apply(batch), absl::OkStatus());

  EXPECT_THAT(RunIds({}), testing::ElementsAre("r6", "r5", "r4", "r3", "r2", "r1"));
  EXPECT_THAT(RunIds({.limit = 2}), testing::ElementsAre("r6", "r5"));
  EXPECT_THAT(RunIds({.before = "r5", .limit = 2}), testing::ElementsAre("r4", "r3"));
  EXPECT_THAT(RunIds({.job_name = "orders", .limit = 0}), testing::ElementsAre("r6", "r4", "r2"));
  EXPECT_THAT(RunIds({.job_name = "orders", .status = RunStatus::kSuccess}), testing::ElementsAre("r2"));
  EXPECT_THAT(RunIds({.phase = RunPhase::kWaiting}), testing::ElementsAre("r5"));
  EXPECT_THAT(RunIds({.job_name = "orders", .phase = RunPhase::kMoving, .limit = 1}), testing::ElementsAre("r6"));
  RunRecord queued = SampleRun(orders, "r7");
  queued.sequence = 0;
  ASSERT_EQ(Apply({.runs = {queued}}), absl::OkStatus());
  EXPECT_THAT(RunIds({.job_name = "orders", .begun = true, .limit = 2}), testing::ElementsAre("r6", "r4"));
  EXPECT_THAT(Each(store_->ListUnfinishedRuns(), &RunRecord::id), testing::ElementsAre("r4", "r5", "r6", "r7"));
  EXPECT_THAT(Each(store_->ListTasks("r1"), &TaskRecord::id), testing::ElementsAre("d", "c", "b", "a"));
  EXPECT_THAT(Each(store_->ListAudit({.limit = 2}), &AuditEvent::action), testing::ElementsAre("third", "second"));
  const int64_t second = store_->ListAudit({.limit = 2})->back().id;
  EXPECT_THAT(Each(store_->ListAudit({.before = second}), &AuditEvent::action), testing::ElementsAre("first"));
}

TEST_P(StoreSuite, FindsTheRunThatMovedTheChain) {
  const JobRecord orders = StoredJob("orders");
  const auto run = [&](const std::string& id, RunStatus status, v1::WindowKind kind, bool empty = false) {
    RunRecord record = SampleRun(orders, id);
    record.status = status;
    record.window.set_kind(kind);
    record.description->set_empty_window(empty);
    return record;
  };
  const RunRecord other = SampleRun(StoredJob("customers"), "r0");
  RunRecord full_of_nothing = run("r3", RunStatus::kSuccess, v1::WINDOW_KIND_FULL, true);
  ASSERT_EQ(Apply({.runs = {other, run("r1", RunStatus::kSuccess, v1::WINDOW_KIND_WINDOW),
                            run("r2", RunStatus::kSuccess, v1::WINDOW_KIND_RANGE), full_of_nothing,
                            run("r4", RunStatus::kSuccess, v1::WINDOW_KIND_WINDOW, true),
                            run("r5", RunStatus::kFailed, v1::WINDOW_KIND_WINDOW),
                            run("r6", RunStatus::kRunning, v1::WINDOW_KIND_FULL)}}),
            absl::OkStatus());
  // A full load replaces the target even by nothing; an empty window leaves the chain as it is.
  EXPECT_THAT(RunIds({.job_name = "orders", .moved_chain = true}), testing::ElementsAre("r3", "r1"));
  EXPECT_THAT(RunIds({.job_name = "orders", .moved_chain = true, .limit = 1}), testing::ElementsAre("r3"));
  RunRecord ends = *store_->GetRun("r6");
  ends.status = RunStatus::kSuccess;
  ASSERT_EQ(Apply({.runs = {ends}}), absl::OkStatus());
  EXPECT_THAT(RunIds({.job_name = "orders", .moved_chain = true, .limit = 1}), testing::ElementsAre("r6"));
}

TEST_P(StoreSuite, OfRacingWritersOneWins) {
  const JobRecord job = StoredJob("orders");
  RunRecord run = SampleRun(job, "r1");
  run.sequence = 0;
  ASSERT_EQ(Apply({.runs = {run}}), absl::OkStatus());
  constexpr int kThreads = 4;
  constexpr int kRounds = 25;
  std::vector<std::atomic<int>> winners(kRounds);
  std::atomic<int> unexpected = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < kRounds; ++round) {
        // All threads go at the same revision, however late they are.
        RunRecord mine = run;
        mine.revision = round + 1;
        mine.sequence = round + 1;
        absl::Status status = store_->Apply(epoch_, {.runs = {mine}});
        while (absl::IsAborted(status) && store_->GetRun("r1")->revision <= round) {
          status = store_->Apply(epoch_, {.runs = {mine}});
        }
        if (status.ok()) ++winners[round];
        if (!status.ok() && !absl::IsAborted(status)) ++unexpected;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(unexpected, 0);
  for (const auto& count : winners) EXPECT_EQ(count, 1);
  EXPECT_EQ(store_->GetRun("r1")->revision, kRounds + 1);
  EXPECT_EQ(store_->GetRun("r1")->sequence, kRounds);
}

std::unique_ptr<MetadataStore> OpenMemory(const std::string&, const SimulatedClock* clock) {
  return NewMemoryStore(clock);
}

std::unique_ptr<MetadataStore> OpenSqlite(const std::string& path, const SimulatedClock* clock) {
  auto store = OpenSqliteStore(path, clock);
  EXPECT_TRUE(store.ok()) << store.status();
  return store.ok() ? *std::move(store) : nullptr;
}

std::unique_ptr<MetadataStore> OpenPostgres(const std::string&, const SimulatedClock* clock) {
  const std::string dsn = test::PostgresServer::Shared().NewDatabase();
  const auto migrated = MigratePostgresStore(dsn, *clock);
  EXPECT_TRUE(migrated.ok()) << migrated.status();
  auto store = OpenPostgresStore(dsn, [clock, begin = clock->Now()] { return clock->Now() - begin; });
  EXPECT_TRUE(store.ok()) << store.status();
  return store.ok() ? *std::move(store) : nullptr;
}

INSTANTIATE_TEST_SUITE_P(Implementations, StoreSuite,
                         ::testing::Values(Implementation{"memory", OpenMemory}, Implementation{"sqlite", OpenSqlite},
                                           Implementation{"postgres", OpenPostgres}),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace tidemark::coordinator
