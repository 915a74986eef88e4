// Runs that nobody asks for just now: of the schedule, and of triggers in the store.
#include <set>

#include "coordinator/run/coordinator_steps.h"

namespace tidemark::coordinator {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

using Missed = RecordingObserver::Missed;

// The clock starts at midnight.
class ScheduleRunsTest : public CoordinatorSteps {
 protected:
  ScheduleRunsTest() {
    options_.schedule = true;
    Boot();
  }

  void Apply(const std::vector<v1::JobSpec>& jobs) {
    const absl::Status applied = core_->ApplyProject(connections_, jobs);
    ASSERT_TRUE(applied.ok()) << applied;
  }
  void BootWith(const std::vector<v1::JobSpec>& jobs) {
    Boot();
    Apply(jobs);
  }

  absl::Time Minute(int minutes) const { return midnight_ + absl::Minutes(minutes); }

  // Of the runs of the job, oldest first: minutes after midnight.
  std::vector<int> FireMinutes(const std::string& job) {
    std::vector<int> minutes;
    for (const RunRecord& run : RunsOf(job)) {
      EXPECT_TRUE(run.fire_time.has_value());
      minutes.push_back(static_cast<int>((*run.fire_time - midnight_) / absl::Minutes(1)));
    }
    return minutes;
  }

  // Ends whatever runs there are.
  void EndRuns() {
    for (const std::string& id : core_->UnfinishedRuns("")) ASSERT_TRUE(core_->CancelRun(id).ok());
  }

  absl::Status Trigger(const std::string& id, const std::string& job, const std::string& request_id = "",
                       std::optional<std::string> low = {}, std::optional<std::string> high = {}) {
    clock_.Advance(absl::Milliseconds(1));
    TriggerRecord trigger;
    trigger.id = id;
    trigger.job_name = job;
    trigger.request_id = request_id;
    trigger.low = std::move(low);
    trigger.high = std::move(high);
    trigger.requested = clock_.Now();
    return store_->AddTrigger(trigger);
  }

  const absl::Time midnight_ = clock_.Now();
  const std::vector<v1::ConnectionSpec> connections_ = {Connection("src", "postgresql://host/shop", 2),
                                                        Connection("dst", "postgresql://host/warehouse", 2)};
};

TEST_F(ScheduleRunsTest, FiresAtTheMinuteAndTellsItsLag) {
  Apply({Scheduled("a", "*/5 * * * *"), Job("on_demand")});
  EXPECT_EQ(NextFires(), (std::map<std::string, absl::Time>{{"a", Minute(5)}}));
  TickUntil(Minute(5) - absl::Milliseconds(1));
  EXPECT_THAT(RunsOf("a"), IsEmpty());
  TickUntil(Minute(5));
  const std::vector<RunRecord> runs = RunsOf("a");
  ASSERT_THAT(runs, SizeIs(1));
  EXPECT_EQ(runs[0].fire_time, Minute(5));
  EXPECT_EQ(runs[0].status, RunStatus::kRunning);
  EXPECT_THAT(observer_.lags, ElementsAre(absl::ZeroDuration()));
  EndRuns();
  // A coordinator that was busy is late, and says so.
  clock_.Advance(absl::Minutes(5) + absl::Seconds(7));
  ASSERT_TRUE(core_->Tick().ok());
  EXPECT_THAT(observer_.lags, ElementsAre(absl::ZeroDuration(), absl::Seconds(7)));
  EXPECT_THAT(FireMinutes("a"), ElementsAre(5, 10));
  EXPECT_THAT(observer_.missed, IsEmpty());
  EXPECT_EQ(core_->PositionsOf({runs[0].job_uid}).at(runs[0].job_uid).next_fire, Minute(15));
}

TEST_F(ScheduleRunsTest, ARequestCannotTakeTheNameOfAFire) {
  Apply({Scheduled("a", "*/5 * * * *")});
  RunRequest request;
  request.request_id = absl::FormatTime(absl::RFC3339_sec, Minute(5), absl::UTCTimeZone());
  ASSERT_TRUE(core_->StartRun("a", request).ok());
  EndRuns();
  TickUntil(Minute(5));
  EXPECT_THAT(RunsOf("a"), SizeIs(2));
  EXPECT_THAT(observer_.fired, SizeIs(1));
}

TEST_F(ScheduleRunsTest, WithoutAScheduleToKeepNothingFires) {
  options_.schedule = false;
  BootWith({Scheduled("a", "* * * * *")});
  TickFor(absl::Minutes(3));
  EXPECT_THAT(RunsOf("a"), IsEmpty());
  EXPECT_THAT(NextFires(), IsEmpty());
}

TEST_F(ScheduleRunsTest, AFireWhileTheJobRunsIsSkippedOnTheRecord) {
  Apply({Scheduled("a", "* * * * *")});
  TickUntil(Minute(3));
  const std::vector<RunRecord> runs = RunsOf("a");
  ASSERT_THAT(runs, SizeIs(3));
  EXPECT_EQ(runs[0].status, RunStatus::kRunning);
  for (int i : {1, 2}) {
    EXPECT_EQ(runs[i].status, RunStatus::kSkipped);
    EXPECT_EQ(runs[i].phase, RunPhase::kSkipped);
    EXPECT_EQ(runs[i].ended, Minute(i + 1));
    EXPECT_THAT(runs[i].error, HasSubstr(runs[0].id));
  }
  EXPECT_THAT(observer_.missed, ElementsAre(Missed{"a", "skipped", 1}, Missed{"a", "skipped", 1}));
  EXPECT_THAT(observer_.ended, SizeIs(2));
  EXPECT_THAT(core_->UnfinishedRuns("a"), ElementsAre(runs[0].id));
  EndRuns();
  TickUntil(Minute(4));
  EXPECT_EQ(RunsOf("a").back().status, RunStatus::kRunning);
}

TEST_F(ScheduleRunsTest, ARestartCatchesUpFromTheStoredFires) {
  const std::vector<v1::JobSpec> jobs = {Scheduled("a", "*/10 * * * *")};
  Apply(jobs);
  TickUntil(Minute(10));
  EndRuns();
  core_.reset();
  clock_.Advance(absl::Minutes(25));
  observer_ = {};
  BootWith(jobs);
  ASSERT_TRUE(core_->Tick().ok());
  EXPECT_THAT(FireMinutes("a"), ElementsAre(10, 30));
  EXPECT_THAT(observer_.missed, ElementsAre(Missed{"a", "superseded", 1}));
  EXPECT_THAT(observer_.lags, ElementsAre(absl::Minutes(5)));
  // Too long ago for the default catch-up of an hour; the next one comes as usual.
  EndRuns();
  core_.reset();
  clock_.Advance(absl::Minutes(4) + absl::Hours(3));
  observer_ = {};
  std::vector<v1::JobSpec> daily = jobs;
  daily[0].mutable_schedule()->mutable_catch_up()->set_seconds(60);
  BootWith(daily);
  ASSERT_TRUE(core_->Tick().ok());
  EXPECT_THAT(FireMinutes("a"), ElementsAre(10, 30));
  EXPECT_THAT(observer_.missed, ElementsAre(Missed{"a", "too_late", 18}));
  EXPECT_EQ(NextFires().at("a"), Minute(220));
  TickUntil(Minute(220));
  EXPECT_THAT(FireMinutes("a"), ElementsAre(10, 30, 220));
}

TEST_F(ScheduleRunsTest, ALostAnswerDoesNotFireTwice) {
  Apply({Scheduled("a", "* * * * *"), Scheduled("b", "* * * * *")});
  TickUntil(Minute(1) - absl::Milliseconds(1));
  // The lease is renewed by itself; runs are made by a batch.
  faults_.doubtful_write = 1;
  clock_.Advance(absl::Milliseconds(1));
  EXPECT_TRUE(absl::IsUnavailable(core_->Tick()));
  EXPECT_EQ(core_->NextWake(), absl::ZeroDuration());
  clock_.Advance(absl::Seconds(1));
  ASSERT_TRUE(core_->Tick().ok());
  for (const char* job : {"a", "b"}) {
    ASSERT_THAT(FireMinutes(job), ElementsAre(1));
    EXPECT_EQ(RunsOf(job)[0].status, RunStatus::kRunning);
  }
  EXPECT_THAT(core_->UnfinishedRuns(""), SizeIs(2));
  EXPECT_THAT(observer_.missed, IsEmpty());
  TickUntil(Minute(2));
  EXPECT_THAT(FireMinutes("a"), ElementsAre(1, 2));
}

TEST_F(ScheduleRunsTest, AStoreThatFailsAcrossTwoFiresLeavesOneRun) {
  Apply({Scheduled("a", "* * * * *"), Scheduled("b", "* * * * *")});
  // Fires do not come when the lease is renewed, which would fail before them.
  clock_.StepWall(absl::Seconds(2));
  TickUntil(Minute(1) - absl::Milliseconds(1));
  faults_.write_error = absl::UnavailableError("the store is away");
  clock_.Advance(absl::Milliseconds(1));
  EXPECT_FALSE(core_->Tick().ok());
  clock_.Advance(absl::Minutes(1));
  EXPECT_FALSE(core_->Tick().ok());
  faults_.write_error = absl::OkStatus();
  clock_.Advance(absl::Seconds(1));
  ASSERT_TRUE(core_->Tick().ok());
  EXPECT_THAT(FireMinutes("a"), ElementsAre(2));
  EXPECT_THAT(FireMinutes("b"), ElementsAre(2));
  EXPECT_THAT(observer_.missed, ElementsAre(Missed{"a", "superseded", 1}, Missed{"b", "superseded", 1}));
}

TEST_F(ScheduleRunsTest, ALostAnswerAcrossTwoFiresIsNotCalledMissed) {
  Apply({Scheduled("a", "* * * * *")});
  TickUntil(Minute(1) - absl::Milliseconds(1));
  faults_.doubtful_write = 1;
  clock_.Advance(absl::Milliseconds(1));
  EXPECT_FALSE(core_->Tick().ok());
  clock_.Advance(absl::Minutes(1));
  ASSERT_TRUE(core_->Tick().ok());
  EXPECT_THAT(FireMinutes("a"), ElementsAre(1, 2));
  EXPECT_THAT(observer_.missed, ElementsAre(Missed{"a", "skipped", 1}));
}

TEST_F(ScheduleRunsTest, AFireThatAnotherMadeIsNotMadeAgain) {
  Apply({Scheduled("a", "* * * * *"), Scheduled("b", "* * * * *")});
  const JobRecord job = *store_->GetJob("a");
  RunRecord made;
  made.id = "made";
  made.run_key = absl::StrCat(job.uid, "@2026-01-01T00:01:00+00:00");
  made.job_uid = job.uid;
  made.job_name = job.spec.name();
  made.status = RunStatus::kSkipped;
  made.phase = RunPhase::kSkipped;
  made.created = clock_.Now();
  made.ended = made.created;
  ASSERT_EQ(store_->Apply(/*epoch=*/1, {.runs = {made}}), absl::OkStatus());
  TickUntil(Minute(1));
  EXPECT_THAT(RunsOf("a"), SizeIs(1));
  EXPECT_THAT(FireMinutes("b"), ElementsAre(1)) << "of the same batch";
  TickUntil(Minute(2));
  EXPECT_THAT(RunsOf("a"), SizeIs(2));
}

TEST_F(ScheduleRunsTest, TheNextLeaderDoesNotFireWhatTheLastOneDid) {
  const std::vector<v1::JobSpec> jobs = {Scheduled("a", "* * * * *")};
  Apply(jobs);
  TickUntil(Minute(1));
  EndRuns();
  BootWith(jobs);
  ASSERT_TRUE(core_->Tick().ok());
  EXPECT_THAT(FireMinutes("a"), ElementsAre(1));
  // Nor if its clock is behind.
  clock_.StepWall(-absl::Seconds(30));
  BootWith(jobs);
  TickUntil(Minute(1));
  EXPECT_THAT(FireMinutes("a"), ElementsAre(1));
  TickUntil(Minute(2));
  EXPECT_THAT(FireMinutes("a"), ElementsAre(1, 2));
}

TEST_F(ScheduleRunsTest, APausedJobDoesNotFireAndMakesNothingUp) {
  const std::vector<v1::JobSpec> jobs = {Scheduled("a", "* * * * *")};
  Apply(jobs);
  ASSERT_TRUE(core_->SetJobEnabled("a", false, "ann").ok());
  EXPECT_THAT(NextFires(), IsEmpty());
  TickUntil(Minute(10));
  EXPECT_THAT(RunsOf("a"), IsEmpty());
  BootWith(jobs);
  TickUntil(Minute(20));
  EXPECT_THAT(RunsOf("a"), IsEmpty()) << "the pause outlives the coordinator";
  ASSERT_TRUE(core_->SetJobEnabled("a", true, "ann").ok());
  BootWith(jobs);
  TickUntil(Minute(21));
  EXPECT_THAT(FireMinutes("a"), ElementsAre(21));
  EXPECT_THAT(observer_.missed, IsEmpty());
}

TEST_F(ScheduleRunsTest, AJobPausedWhileItsFireCouldNotBeStoredDoesNotFire) {
  Apply({Scheduled("a", "* * * * *")});
  // Fires do not come when the lease is renewed, which would fail before them.
  clock_.StepWall(absl::Seconds(2));
  TickUntil(Minute(1) - absl::Milliseconds(1));
  faults_.write_error = absl::UnavailableError("the store is away");
  clock_.Advance(absl::Milliseconds(1));
  EXPECT_FALSE(core_->Tick().ok());
  faults_.write_error = absl::OkStatus();
  ASSERT_TRUE(core_->SetJobEnabled("a", false, "ann").ok());
  TickUntil(Minute(3));
  EXPECT_THAT(RunsOf("a"), IsEmpty());
}

TEST_F(ScheduleRunsTest, AChangedCronStartsFromNow) {
  Apply({Scheduled("a", "0 12 * * *")});
  TickUntil(Minute(30));
  Apply({Scheduled("a", "15 * * * *")});
  EXPECT_EQ(NextFires().at("a"), Minute(75)) << "00:15 is of the past";
  BootWith({Scheduled("a", "15 * * * *")});
  ASSERT_TRUE(core_->Tick().ok());
  EXPECT_THAT(RunsOf("a"), IsEmpty());
  TickUntil(Minute(75));
  EXPECT_THAT(FireMinutes("a"), ElementsAre(75));
  Apply({Job("a")});
  EXPECT_THAT(NextFires(), IsEmpty()) << "on demand now";
}

TEST_F(ScheduleRunsTest, ADeletedJobNeverFires) {
  Apply({Scheduled("a", "* * * * *"), Scheduled("b", "* * * * *")});
  ASSERT_TRUE(core_->DeleteJob("a", 0, "ann").ok());
  TickUntil(Minute(2));
  EXPECT_THAT(RunsOf("a"), IsEmpty());
  EXPECT_EQ(NextFires().count("a"), 0u);
  BootWith({Scheduled("b", "* * * * *")});
  TickUntil(Minute(3));
  EXPECT_THAT(RunsOf("a"), IsEmpty());
  EXPECT_THAT(FireMinutes("b"), ElementsAre(1, 2, 3));
}

TEST_F(ScheduleRunsTest, WhatAWriteInDoubtDidToAScheduleCounts) {
  Apply({Scheduled("a", "* * * * *"), Scheduled("b", "* * * * *")});
  faults_.doubtful_write = 1;
  EXPECT_FALSE(core_->SetJobEnabled("a", false, "ann").ok());
  EXPECT_FALSE(core_->SetJobEnabled("a", false, "ann")->enabled);
  EXPECT_EQ(NextFires().count("a"), 0u);
  TickUntil(Minute(1));
  EXPECT_THAT(RunsOf("a"), IsEmpty());
  faults_.doubtful_write = 1;
  EXPECT_FALSE(core_->SetJobEnabled("a", true, "ann").ok());
  TickUntil(Minute(2));
  EXPECT_THAT(FireMinutes("a"), ElementsAre(2));
  EndRuns();
  faults_.doubtful_write = 1;
  EXPECT_FALSE(core_->DeleteJob("a", 0, "ann").ok());
  EXPECT_TRUE(absl::IsNotFound(core_->DeleteJob("a", 0, "ann")));
  faults_.doubtful_write = 1;
  const JobChange created = {.spec = Scheduled("c", "* * * * *"), .request_id = "once"};
  EXPECT_FALSE(core_->CreateJob(created).ok());
  EXPECT_TRUE(core_->CreateJob(created).ok());
  TickUntil(Minute(3));
  EXPECT_THAT(FireMinutes("a"), ElementsAre(2));
  EXPECT_THAT(FireMinutes("c"), ElementsAre(3));
}

TEST_F(ScheduleRunsTest, TenThousandJobsFireAtOneInstant) {
  constexpr int kJobs = 10'000;
  std::vector<v1::JobSpec> jobs;
  for (int i = 0; i < kJobs; ++i) jobs.push_back(Scheduled(absl::StrCat("job", i), "0 1 * * *"));
  Apply(jobs);
  TickUntil(Minute(60) - absl::Milliseconds(1));
  // The third of their writes is not answered.
  faults_.doubtful_write = 3;
  clock_.Advance(absl::Milliseconds(1));
  EXPECT_FALSE(core_->Tick().ok());
  ASSERT_TRUE(core_->Tick().ok());
  std::set<std::string> fired;
  for (const RunRecord& run : RunsOf("")) {
    ASSERT_TRUE(fired.insert(run.job_name).second) << run.job_name;
    ASSERT_EQ(run.fire_time, Minute(60));
    ASSERT_EQ(run.status, RunStatus::kRunning);
  }
  EXPECT_THAT(fired, SizeIs(kJobs));
  EXPECT_EQ(core_->Cluster().running_runs, kJobs);
  // All but the few whose turn it is stand in line.
  int begun = 0;
  for (const RunRecord& run : UnfinishedRuns()) begun += run.phase != RunPhase::kQueued;
  EXPECT_EQ(begun, 2);
}

TEST_F(ScheduleRunsTest, ATriggerStartsOneRunAndIsTakenAway) {
  Apply({Job("a")});
  ASSERT_TRUE(Trigger("t1", "a").ok());
  ASSERT_TRUE(Trigger("t2", "a", "", "10", "20").ok());
  ASSERT_TRUE(core_->TakeTriggers().ok());
  ASSERT_TRUE(core_->TakeTriggers().ok());
  EXPECT_THAT(store_->ListTriggers().value(), IsEmpty());
  const std::vector<RunRecord> runs = RunsOf("a");
  ASSERT_THAT(runs, SizeIs(2));
  std::set<v1::WindowKind> kinds = {runs[0].window.kind(), runs[1].window.kind()};
  EXPECT_THAT(kinds, testing::UnorderedElementsAre(v1::WINDOW_KIND_WINDOW, v1::WINDOW_KIND_RANGE));
  EXPECT_THAT(Actions(), testing::Contains("job.run").Times(2));
  // Two who ask by one request id ask for one run.
  ASSERT_TRUE(Trigger("t3", "a", "same").ok());
  ASSERT_TRUE(Trigger("t4", "a", "same").ok());
  ASSERT_TRUE(core_->TakeTriggers().ok());
  EXPECT_THAT(RunsOf("a"), SizeIs(3));
  EXPECT_THAT(store_->ListTriggers().value(), IsEmpty());
}

TEST_F(ScheduleRunsTest, ManyTriggersAreTakenAFewAtATime) {
  Apply({Job("a")});
  for (int i = 0; i < 120; ++i) ASSERT_TRUE(Trigger(absl::StrCat("t", i), "a").ok());
  EXPECT_TRUE(core_->TakeTriggers().value());
  EXPECT_THAT(RunsOf("a"), SizeIs(testing::Lt(120)));
  while (core_->TakeTriggers().value()) continue;
  EXPECT_THAT(RunsOf("a"), SizeIs(120));
  EXPECT_THAT(store_->ListTriggers().value(), IsEmpty());
}

TEST_F(ScheduleRunsTest, ATriggerThatCannotBeDoneIsAuditedAndTakenAway) {
  Apply({Job("a")});
  ASSERT_TRUE(Trigger("t1", "nosuch").ok());
  ASSERT_TRUE(Trigger("t2", "a", "", "10").ok());
  ASSERT_TRUE(Trigger("t3", "a").ok());
  ASSERT_TRUE(core_->TakeTriggers().ok());
  EXPECT_THAT(store_->ListTriggers().value(), IsEmpty());
  EXPECT_THAT(RunsOf("a"), SizeIs(1));
  EXPECT_THAT(observer_.refused, ElementsAre("t1", "t2"));
  std::vector<AuditEvent> refusals;
  for (const AuditEvent& event : Audit()) {
    if (event.action == "job.run_refused") refusals.push_back(event);
  }
  ASSERT_THAT(refusals, SizeIs(2));
  EXPECT_EQ(refusals[0].subject, "jobs/nosuch");
  EXPECT_THAT(refusals[0].detail, HasSubstr("no job nosuch"));
  EXPECT_THAT(refusals[1].detail, HasSubstr("both --from and --to"));
}

TEST_F(ScheduleRunsTest, ATriggerOfAnySizeHarmsNobody) {
  Apply({Job("a")});
  const std::string huge(1'000'000, 'x');
  ASSERT_TRUE(Trigger("t1", huge).ok());
  ASSERT_TRUE(Trigger("t2", "a", huge).ok());
  ASSERT_TRUE(Trigger("t3", "a", "", huge, "20").ok());
  ASSERT_TRUE(Trigger("t4", "a", "", "", "").ok());
  ASSERT_TRUE(Trigger("t5", "a").ok());
  EXPECT_FALSE(core_->TakeTriggers().value());
  EXPECT_THAT(store_->ListTriggers().value(), IsEmpty());
  EXPECT_THAT(RunsOf("a"), SizeIs(1));
  EXPECT_THAT(observer_.refused, ElementsAre("t1", "t2", "t3", "t4"));
  for (const AuditEvent& event : Audit()) EXPECT_LT(event.subject.size() + event.detail.size(), 1000u);
}

TEST_F(ScheduleRunsTest, ATriggerWhoseAnswersAreLostStartsOneRun) {
  Apply({Job("a")});
  for (int lost : {1, 2, 3}) {
    SCOPED_TRACE(lost);
    ASSERT_TRUE(Trigger(absl::StrCat("t", lost), "a").ok());
    // The run; its begin, or the removal of the trigger.
    faults_.doubtful_write = lost;
    (void)core_->TakeTriggers();
    faults_.doubtful_write = 0;
    ASSERT_TRUE(core_->TakeTriggers().ok());
    EXPECT_THAT(RunsOf("a"), SizeIs(lost));
    EXPECT_THAT(store_->ListTriggers().value(), IsEmpty());
  }
  EXPECT_THAT(observer_.refused, IsEmpty());
}

TEST_F(ScheduleRunsTest, AJobInTroubleKeepsNoOtherTriggerWaiting) {
  Apply({Job("a"), Job("b")});
  ASSERT_TRUE(Trigger("t1", "a").ok());
  ASSERT_TRUE(Trigger("t2", "b").ok());
  faults_.unreadable_job = "a";
  EXPECT_TRUE(absl::IsDataLoss(core_->TakeTriggers().status()));
  EXPECT_THAT(RunsOf("b"), SizeIs(1));
  ASSERT_THAT(store_->ListTriggers().value(), SizeIs(1)) << "it is tried again";
  faults_.unreadable_job = "";
  ASSERT_TRUE(core_->TakeTriggers().ok());
  EXPECT_THAT(RunsOf("a"), SizeIs(1));
  EXPECT_THAT(store_->ListTriggers().value(), IsEmpty());
}

}  // namespace
}  // namespace tidemark::coordinator
