#pragma once

#include <unistd.h>

#include <filesystem>
#include <string>

#include "absl/strings/str_cat.h"
#include "coordinator/store/records.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

// Records for the tests of the store, every field of them set.
namespace tidemark::coordinator {

MATCHER_P(HasCode, code, "") {
  const absl::Status status = arg;
  *result_listener << status;
  return status.code() == code;
}

// A directory of this test's own, removed at the end.
class ScratchDirectory {
 public:
  ScratchDirectory()
      : path_(absl::StrCat(::testing::TempDir(), "/tidemark_store_", getpid(), "_",
                           ::testing::UnitTest::GetInstance()->random_seed(), "_", next_++)) {
    std::filesystem::create_directories(path_);
  }
  ~ScratchDirectory() { std::filesystem::remove_all(path_); }
  std::string File(const std::string& name) const { return absl::StrCat(path_, "/", name); }

 private:
  static inline int next_ = 0;
  const std::string path_;
};

inline v1::Watermark Mark(const std::string& text) {
  v1::Watermark mark;
  mark.set_type("timestamp");
  mark.set_text(text);
  mark.set_precision(6);
  mark.set_zone("Europe/Paris");
  return mark;
}

inline JobRecord SampleJob(const std::string& name) {
  JobRecord job;
  job.uid = absl::StrCat("uid-", name);
  job.spec.set_name(name);
  job.spec.mutable_schedule()->set_cron("30 2 * * *");
  job.spec.mutable_source()->set_connection("shop");
  job.spec.mutable_source()->set_table("public.orders");
  job.spec.mutable_source()->set_watermark("updated_at");
  job.spec.mutable_source()->mutable_horizon_wait()->set_nanos(250'000'000);
  job.spec.mutable_target()->set_table("sales.orders");
  job.spec.mutable_target()->set_strategy(v1::LOAD_STRATEGY_UPSERT);
  job.spec.mutable_target()->add_key("id");
  job.enabled = false;
  job.last_sequence = 7;
  job.source_identity = "system 7423, timeline 1";
  job.created = absl::FromUnixMicros(1'767'225'500'000'001);
  job.updated = job.created + absl::Seconds(2);
  job.scheduled_from = job.created + absl::Seconds(1);
  job.request_id = absl::StrCat("create ", name);
  job.adopting = true;
  return job;
}

inline ConnectionRecord SampleConnection(const std::string& name) {
  ConnectionRecord connection;
  connection.name = name;
  connection.spec.set_name(name);
  connection.spec.set_dsn("sealed:v1:AAAA");
  connection.spec.set_max_connections(3);
  connection.spec.set_max_rows_per_second(int64_t{1} << 40);
  connection.spec.add_replicas("sealed:v1:BBBB");
  connection.spec.set_worker("w1");
  connection.redacted_dsn = "postgresql://***@db/shop";
  connection.request_id = absl::StrCat("create ", name);
  connection.created = absl::FromUnixMicros(1'767'225'400'000'001);
  connection.updated = connection.created + absl::Seconds(1);
  return connection;
}

inline TriggerRecord SampleTrigger(const std::string& id) {
  TriggerRecord trigger;
  trigger.id = id;
  trigger.job_name = "orders";
  trigger.request_id = "by hand";
  trigger.full_refresh = true;
  trigger.low = "2026-01-01";
  trigger.high = "";
  trigger.requested = absl::FromUnixMicros(1'767'225'600'000'001);
  return trigger;
}

inline RunRecord SampleRun(const JobRecord& job, const std::string& id) {
  RunRecord run;
  run.id = id;
  run.job_uid = job.uid;
  run.job_name = job.spec.name();
  run.run_key = absl::StrCat(job.spec.name(), "@", id);
  run.phase = RunPhase::kMoving;
  run.created = absl::FromUnixMicros(1'767'225'600'123'456);
  run.started = run.created + absl::Seconds(1);
  run.fire_time = run.created - absl::Microseconds(1);
  run.retry_of = "r0";
  run.window.set_kind(v1::WINDOW_KIND_WINDOW);
  *run.window.mutable_low() = Mark("2026-01-01 00:00:00");
  *run.window.mutable_high() = Mark("2026-01-02 00:00:00.000001");
  run.spec = job.spec;
  run.sequence = 8;
  run.description.emplace().set_estimated_rows(int64_t{1} << 60);
  run.description->mutable_completeness()->set_level(v1::Completeness::LEVEL_PROVED);
  run.description->add_notes("hard deletes are not seen");
  run.description->set_horizon_hold_seconds(0.1);
  run.counts.set_read(12);
  run.counts.set_loaded(9);
  run.counts.set_filtered(2);
  run.counts.set_quarantined(1);
  (*run.counts.mutable_filtered_by_reason())["superseded"] = 2;
  run.partitions = 3;
  run.peak_source_connections = 2;
  run.describe_time = absl::Milliseconds(12);
  run.wait_time = absl::Seconds(2);
  run.move_time = absl::Minutes(3);
  run.commit_time = absl::Microseconds(1);
  run.error = "the target is down: start it";
  return run;
}

inline TaskRecord SampleTask(const RunRecord& run, const std::string& id, int partition) {
  TaskRecord task;
  task.id = id;
  task.run_id = run.id;
  task.kind = v1::TASK_KIND_MOVE;
  task.partition = partition;
  task.range.set_partitioning(v1::PARTITIONING_KEY);
  task.range.add_columns("na\"me");
  task.range.mutable_lower()->add_values("caf\u00e9 \u2603\n");
  task.state = TaskState::kLeased;
  task.attempt = 2;
  task.failures = 1;
  task.not_before = run.created;
  task.worker_id = "w1";
  task.incarnation = "i1";
  task.session_id = "s1";
  task.extracted = true;
  task.counts.set_read(4);
  task.error = "server closed the connection";
  return task;
}

inline PermitRecord SamplePermit(const std::string& session_id) {
  PermitRecord permit;
  permit.session_id = session_id;
  permit.connection = "shop";
  permit.identity = "db.internal:5432/shop";
  permit.run_id = "r1";
  permit.worker_id = "w1";
  permit.incarnation = "i1";
  permit.in_snapshot = true;
  permit.granted = absl::FromUnixMicros(1'767'225'600'000'001);
  return permit;
}

}  // namespace tidemark::coordinator
