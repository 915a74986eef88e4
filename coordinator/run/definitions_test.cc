// Jobs and connections as users change them, one by one.
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "absl/strings/escaping.h"
#include "absl/synchronization/notification.h"
#include "common/rpc/error_details.h"
#include "common/secret/sealing.h"
#include "coordinator/run/coordinator_steps.h"

namespace tidemark::coordinator {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

Sealer WithKey(const std::string& id, char fill) {
  return Sealer::FromKeys(absl::StrCat(id, ":", absl::Base64Escape(std::string(32, fill)), "\n")).value();
}

std::string Message(const absl::Status& status) { return std::string(status.message()); }

class DefinitionsTest : public CoordinatorSteps {
 protected:
  DefinitionsTest() {
    options_.schedule = true;
    options_.sealer = &sealer_;
    Boot();
    Create(Connection("src", "postgresql://etl:canary1@host/shop", 2));
    Create(Connection("dst", "postgresql://etl:canary2@host/warehouse", 2));
  }

  void Create(const v1::ConnectionSpec& spec) {
    const absl::StatusOr<ConnectionRecord> created = core_->CreateConnection({.spec = spec, .actor = "ann"});
    ASSERT_TRUE(created.ok()) << created.status();
  }
  absl::StatusOr<JobRecord> Update(const v1::JobSpec& spec, int64_t revision = 0) {
    return core_->UpdateJob({.spec = spec, .revision = revision, .actor = "ann"});
  }
  const v1::ConnectionSpec* Known(const std::string& name) {
    specs_ = core_->ConnectionSpecs();
    for (const v1::ConnectionSpec& spec : specs_) {
      if (spec.name() == name) return &spec;
    }
    return nullptr;
  }

  Sealer sealer_ = WithKey("k1", 'x');
  std::vector<v1::ConnectionSpec> specs_;
};

TEST_F(DefinitionsTest, AJobIsCreatedOncePerRequest) {
  const JobChange change = {.spec = Job("a"), .request_id = "r1", .actor = "ann"};
  const JobRecord job = core_->CreateJob(change).value();
  EXPECT_EQ(job.revision, 1);
  EXPECT_EQ(core_->CreateJob(change)->uid, job.uid);
  JobChange other = change;
  other.request_id = "r2";
  EXPECT_TRUE(absl::IsAlreadyExists(core_->CreateJob(other).status()));
  other.request_id = "";
  EXPECT_TRUE(absl::IsAlreadyExists(core_->CreateJob(other).status()));
  EXPECT_THAT(Actions(), Contains("job.create").Times(1));
  EXPECT_EQ(store_->ListAudit({.limit = 1})->front().actor, "ann");
}

TEST_F(DefinitionsTest, AJobIsUpdatedFromTheRevisionThatWasRead) {
  EXPECT_TRUE(absl::IsNotFound(Update(Job("a")).status()));
  const JobRecord created = core_->UpdateJob({.spec = Job("a"), .allow_missing = true}).value();
  v1::JobSpec spec = Job("a");
  spec.mutable_source()->set_table("elsewhere");
  const JobRecord updated = Update(spec, created.revision).value();
  EXPECT_EQ(updated.revision, 2);
  EXPECT_EQ(updated.uid, created.uid);
  const absl::Status stale = Update(Job("a"), created.revision).status();
  EXPECT_TRUE(absl::IsAborted(stale));
  EXPECT_THAT(Message(stale), HasSubstr("revision 1, now 2"));
  EXPECT_EQ(Update(spec, 2)->revision, 2) << "nothing has changed";
  EXPECT_EQ(store_->GetJob("a")->revision, 2);
  EXPECT_TRUE(absl::IsAborted(core_->DeleteJob("a", 1, "ann")));
  EXPECT_TRUE(core_->DeleteJob("a", 2, "ann").ok());
  EXPECT_TRUE(absl::IsNotFound(core_->DeleteJob("a", 0, "ann")));
}

TEST_F(DefinitionsTest, WhatIsOnlyCheckedChangesNothing) {
  ASSERT_TRUE(core_->CreateJob({.spec = Scheduled("b", "* * * * *"), .validate_only = true}).ok());
  ASSERT_TRUE(core_->UpdateJob({.spec = Job("b"), .allow_missing = true, .validate_only = true}).ok());
  EXPECT_THAT(store_->ListJobs().value(), IsEmpty());
  EXPECT_THAT(NextFires(), IsEmpty());
  v1::ConnectionSpec changed = Connection("src", "postgresql://etl:canary3@elsewhere/shop", 7);
  const ConnectionRecord checked = core_->UpdateConnection({.spec = changed, .validate_only = true}).value();
  EXPECT_EQ(checked.revision, 2);
  EXPECT_THAT(checked.redacted_dsn, HasSubstr("elsewhere"));
  EXPECT_EQ(checked.spec.max_connections(), 7);
  EXPECT_THAT(checked.spec.dsn(), Not(HasSubstr("canary")));
  EXPECT_EQ(store_->GetConnection("src")->revision, 1);
  EXPECT_EQ(Known("src")->max_connections(), 2);
}

TEST_F(DefinitionsTest, TwoJobsDoNotLoadOneTableWhateverTheirConnectionsAreCalled) {
  Create(Connection("same", "postgresql://other:canary@host:5432/warehouse", 1));
  ASSERT_TRUE(core_->CreateJob({.spec = Job("a")}).ok());
  v1::JobSpec twin = Job("b");
  twin.mutable_target()->set_table("a");
  EXPECT_TRUE(absl::IsInvalidArgument(core_->CreateJob({.spec = twin}).status()));
  twin.mutable_target()->set_connection("same");
  const absl::Status refused = core_->CreateJob({.spec = twin}).status();
  EXPECT_TRUE(absl::IsInvalidArgument(refused));
  EXPECT_THAT(Message(refused), HasSubstr("jobs a and b both load table a"));
  // Nor by moving a connection under them.
  Create(Connection("apart", "postgresql://etl@host/apart", 1));
  twin.mutable_target()->set_connection("apart");
  ASSERT_TRUE(core_->CreateJob({.spec = twin}).ok());
  EXPECT_TRUE(absl::IsInvalidArgument(
      core_->UpdateConnection({.spec = Connection("apart", "postgresql://etl@host/warehouse", 1)}).status()));
  EXPECT_THAT(Known("apart")->dsn(), HasSubstr("host/apart"));
  // The table is free with its job.
  ASSERT_TRUE(core_->DeleteJob("a", 0, "ann").ok());
  EXPECT_TRUE(core_->UpdateConnection({.spec = Connection("apart", "postgresql://etl@host/warehouse", 1)}).ok());
}

TEST_F(DefinitionsTest, AJobOfAnEarlierProjectWithoutItsConnectionHindersNobody) {
  options_.sealer = nullptr;
  const std::vector<v1::ConnectionSpec> old = {Connection("src", "sqlite:a.db", 1),
                                               Connection("old", "sqlite:b.db", 1)};
  v1::JobSpec job = Job("earlier");
  job.mutable_target()->set_connection("old");
  job.mutable_target()->set_table("t");
  Boot();
  ASSERT_TRUE(core_->ApplyProject(old, {job}).ok());
  ASSERT_TRUE(core_->ApplyProject({Connection("src", "sqlite:a.db", 1), Connection("dst", "sqlite:c.db", 1)}, {}).ok());
  v1::JobSpec now = Job("now");
  now.mutable_target()->set_table("t");
  EXPECT_TRUE(core_->CreateJob({.spec = now}).ok());
}

TEST_F(DefinitionsTest, AJobNamesConnectionsThatAreThere) {
  v1::JobSpec job = Job("a");
  job.mutable_source()->set_connection("nosuch");
  const absl::Status refused = core_->CreateJob({.spec = job}).status();
  EXPECT_TRUE(absl::IsInvalidArgument(refused));
  EXPECT_THAT(Message(refused), HasSubstr("connection nosuch"));
}

TEST_F(DefinitionsTest, APauseSurvivesWhatIsAppliedAndAResumeEndsIt) {
  ASSERT_TRUE(core_->CreateJob({.spec = Scheduled("a", "* * * * *")}).ok());
  ASSERT_TRUE(core_->SetJobEnabled("a", false, "ann").ok());
  EXPECT_FALSE(Update(Scheduled("a", "*/2 * * * *"))->enabled);
  EXPECT_TRUE(Update(Scheduled("a", "*/2 * * * *"))->spec.enabled()) << "the file does not say so";
  EXPECT_THAT(NextFires(), IsEmpty());
  const int64_t revision = core_->SetJobEnabled("a", false, "ann")->revision;
  EXPECT_EQ(store_->GetJob("a")->revision, revision) << "idempotent";
  EXPECT_TRUE(core_->SetJobEnabled("a", true, "ann")->enabled);
  EXPECT_THAT(NextFires(), SizeIs(1));
  // A file that switches the job off does so; it comes back by the file, and not as paused.
  v1::JobSpec off = Scheduled("a", "*/2 * * * *");
  off.set_enabled(false);
  EXPECT_FALSE(Update(off)->enabled);
  EXPECT_TRUE(Update(Scheduled("a", "*/2 * * * *"))->enabled);
  EXPECT_TRUE(absl::IsNotFound(core_->SetJobEnabled("nosuch", false, "ann").status()));
  EXPECT_THAT(Actions(), Contains("job.pause").Times(1));
  EXPECT_THAT(Actions(), Contains("job.resume").Times(1));
}

TEST_F(DefinitionsTest, AJobIsNotDeletedUnderItsRunAndItsRunsStay) {
  const std::string uid = core_->CreateJob({.spec = Job("a")})->uid;
  const std::string run = core_->StartRun("a", {}).value();
  const absl::Status refused = core_->DeleteJob("a", 0, "ann");
  EXPECT_TRUE(absl::IsFailedPrecondition(refused));
  EXPECT_THAT(Message(refused), HasSubstr(run));
  EXPECT_TRUE(absl::IsFailedPrecondition(core_->AdoptJob("a", "ann").status()));
  ASSERT_TRUE(core_->CancelRun(run).ok());
  ASSERT_TRUE(core_->DeleteJob("a", 0, "ann").ok());
  EXPECT_EQ(store_->GetRun(run)->job_uid, uid);
  EXPECT_TRUE(absl::IsFailedPrecondition(core_->RetryRun(run, "", "ann").status())) << "its job is there no more";
  // Another job of the name is another job.
  const JobRecord again = core_->CreateJob({.spec = Job("a")}).value();
  EXPECT_NE(again.uid, uid);
  EXPECT_TRUE(absl::IsFailedPrecondition(core_->RetryRun(run, "", "ann").status()));
  EXPECT_TRUE(core_->StartRun("a", {}).ok());
}

TEST_F(DefinitionsTest, DeleteByForceCancelsAndWaits) {
  core_.reset();
  const std::unique_ptr<Coordinator> coordinator = Coordinator::Start(options_).value();
  ASSERT_TRUE(coordinator->CreateJob({.spec = Job("a")}).ok());
  const std::string first = coordinator->StartRun("a", {}).value();
  clock_.Advance(absl::Milliseconds(1));
  const std::string second = coordinator->StartRun("a", {}).value();
  EXPECT_TRUE(absl::IsFailedPrecondition(coordinator->DeleteJob("a", 0, false, "ann")));
  EXPECT_TRUE(absl::IsNotFound(coordinator->DeleteJob("nosuch", 0, true, "ann")));
  ASSERT_TRUE(coordinator->DeleteJob("a", 0, true, "ann").ok());
  for (const std::string& id : {first, second}) EXPECT_EQ(store_->GetRun(id)->phase, RunPhase::kCancelled);
  EXPECT_THAT(store_->ListJobs().value(), IsEmpty());
}

TEST_F(DefinitionsTest, DeleteByForceCancelsNothingUnlessItMayDelete) {
  core_.reset();
  const std::unique_ptr<Coordinator> coordinator = Coordinator::Start(options_).value();
  ASSERT_TRUE(coordinator->CreateJob({.spec = Job("a")}).ok());
  const std::string run = coordinator->StartRun("a", {}).value();
  EXPECT_TRUE(absl::IsAborted(coordinator->DeleteJob("a", 7, true, "ann")));
  EXPECT_EQ(store_->GetRun(run)->status, RunStatus::kRunning);
  // Nor when another leads, which is said at once.
  ASSERT_TRUE(store_->AcquireLeadership("test", absl::Seconds(15), 0).ok());
  EXPECT_TRUE(IsNotLeader(coordinator->DeleteJob("a", 1, true, "ann")));
}

TEST_F(DefinitionsTest, DeleteByForceAnswersBeforeACallerGivesUp) {
  core_.reset();
  const std::unique_ptr<Coordinator> coordinator = Coordinator::Start(options_).value();
  ASSERT_TRUE(coordinator->CreateJob({.spec = Job("a")}).ok());
  const std::string run = coordinator->StartRun("a", {}).value();
  v1::RegisterRequest worker;
  worker.set_worker_id("w");
  worker.set_incarnation("1");
  worker.set_slots(1);
  ASSERT_TRUE(coordinator->Register(worker).ok());
  v1::LeaseTasksRequest poll;
  poll.set_worker_id("w");
  poll.set_incarnation("1");
  poll.set_free_slots(1);
  ASSERT_EQ(coordinator->LeaseTasks(poll)->tasks_size(), 1);
  absl::Status deleted;
  absl::Notification done;
  std::thread caller([&] {
    deleted = coordinator->DeleteJob("a", 0, true, "ann");
    done.Notify();
  });
  while (store_->GetRun(run)->phase != RunPhase::kAborting) std::this_thread::yield();
  // The worker lives, and does not let go of its task.
  v1::HeartbeatRequest beat;
  beat.set_worker_id("w");
  beat.set_incarnation("1");
  for (absl::Duration waited; !done.HasBeenNotified() && waited < absl::Seconds(29); waited += absl::Seconds(1)) {
    (void)coordinator->Heartbeat(beat);
    // Whoever waits looks at the clock.
    (void)coordinator->TakeTriggers();
    done.WaitForNotificationWithTimeout(absl::Milliseconds(20));
    clock_.Advance(absl::Seconds(1));
  }
  EXPECT_TRUE(done.WaitForNotificationWithTimeout(absl::Seconds(5)));
  clock_.Advance(absl::Minutes(1));
  (void)coordinator->TakeTriggers();
  caller.join();
  EXPECT_TRUE(absl::IsDeadlineExceeded(deleted)) << deleted;
  EXPECT_THAT(Message(deleted), HasSubstr("call again"));
}

TEST_F(DefinitionsTest, AdoptedOnce) {
  ASSERT_TRUE(core_->CreateJob({.spec = Job("a")}).ok());
  EXPECT_TRUE(core_->AdoptJob("a", "ann")->adopting);
  const int64_t revision = core_->AdoptJob("a", "ann")->revision;
  EXPECT_EQ(revision, 2);
  EXPECT_THAT(Actions(), Contains("job.adopt").Times(1));
  EXPECT_TRUE(core_->PositionsOf({store_->GetJob("a")->uid}).begin()->second.adopting);
}

TEST_F(DefinitionsTest, WritesInDoubtAreKnownByTheNextCall) {
  faults_.doubtful_write = 1;
  const JobChange created = {.spec = Job("a"), .request_id = "r"};
  EXPECT_TRUE(absl::IsUnavailable(core_->CreateJob(created).status()));
  EXPECT_EQ(core_->CreateJob(created)->revision, 1);
  faults_.doubtful_write = 1;
  v1::JobSpec spec = Job("a");
  spec.mutable_source()->set_table("elsewhere");
  EXPECT_TRUE(absl::IsUnavailable(Update(spec, 1).status()));
  EXPECT_EQ(Update(spec)->revision, 2);

  faults_.doubtful_write = 1;
  const ConnectionChange connection = {.spec = Connection("late", "postgresql://host/late", 1), .request_id = "r"};
  EXPECT_TRUE(absl::IsUnavailable(core_->CreateConnection(connection).status()));
  EXPECT_EQ(core_->CreateConnection(connection)->revision, 1);
  ASSERT_NE(Known("late"), nullptr) << "jobs may name it";
  faults_.doubtful_write = 1;
  EXPECT_TRUE(absl::IsUnavailable(
      core_->UpdateConnection({.spec = Connection("late", "postgresql://host/later", 1), .revision = 1}).status()));
  ASSERT_TRUE(core_->Tick().ok());
  EXPECT_EQ(Known("late")->dsn(), "postgresql://host/later");
  faults_.doubtful_write = 1;
  EXPECT_TRUE(absl::IsUnavailable(core_->DeleteConnection("late", 0, "ann")));
  EXPECT_TRUE(absl::IsNotFound(core_->DeleteConnection("late", 0, "ann")));
  EXPECT_EQ(Known("late"), nullptr) << "no job may name it";
}

TEST_F(DefinitionsTest, AConnectionIsCreatedOncePerRequest) {
  const ConnectionChange change = {.spec = Connection("c", "postgresql://host/c", 1), .request_id = "r1"};
  EXPECT_EQ(core_->CreateConnection(change)->revision, 1);
  EXPECT_EQ(core_->CreateConnection(change)->revision, 1);
  EXPECT_TRUE(absl::IsAlreadyExists(core_->CreateConnection({.spec = change.spec}).status()));
  EXPECT_TRUE(absl::IsNotFound(core_->UpdateConnection({.spec = Connection("d", "postgresql://host/d", 1)}).status()));
  EXPECT_TRUE(core_->UpdateConnection({.spec = Connection("d", "postgresql://host/d", 1), .allow_missing = true}).ok());
  EXPECT_TRUE(absl::IsInvalidArgument(core_->CreateConnection({.spec = Connection("e", "", 1)}).status()));
  EXPECT_TRUE(
      absl::IsInvalidArgument(core_->CreateConnection({.spec = Connection("", "postgresql://h/d", 1)}).status()));
}

TEST_F(DefinitionsTest, AnUpdateWithoutADsnKeepsIt) {
  v1::ConnectionSpec with_replica = Connection("src", "postgresql://etl:canary1@host/shop", 2);
  with_replica.add_replicas("postgresql://etl:canary9@replica/shop");
  ASSERT_TRUE(core_->UpdateConnection({.spec = with_replica, .revision = 1}).ok());
  const ConnectionRecord updated = core_->UpdateConnection({.spec = Connection("src", "", 5), .revision = 2}).value();
  EXPECT_EQ(updated.revision, 3);
  EXPECT_EQ(Known("src")->dsn(), "postgresql://etl:canary1@host/shop");
  ASSERT_EQ(Known("src")->replicas_size(), 1);
  EXPECT_EQ(Known("src")->replicas(0), "postgresql://etl:canary9@replica/shop");
  EXPECT_EQ(Known("src")->max_connections(), 5);
  EXPECT_EQ(core_->Connections()[1].max_connections, 5) << "at once";
  EXPECT_TRUE(absl::IsAborted(core_->UpdateConnection({.spec = Connection("src", "", 6), .revision = 2}).status()));
  EXPECT_EQ(core_->UpdateConnection({.spec = Connection("src", "", 5)})->revision, 3) << "nothing has changed";
  // The next leader has them from the store.
  Boot();
  EXPECT_EQ(Known("src")->dsn(), "postgresql://etl:canary1@host/shop");
  EXPECT_EQ(Known("src")->replicas(0), "postgresql://etl:canary9@replica/shop");
}

TEST_F(DefinitionsTest, AReplicaWithoutADsnIsTheOneInItsPlace) {
  v1::ConnectionSpec spec = Connection("src", "", 2);
  spec.add_replicas("postgresql://etl:canary9@replica/shop");
  ASSERT_TRUE(core_->UpdateConnection({.spec = spec}).ok());
  ASSERT_EQ(Known("src")->replicas_size(), 1) << "it is new, and has a DSN";
  spec.set_replicas(0, "");
  spec.add_replicas("postgresql://etl:canary8@other/shop");
  ASSERT_TRUE(core_->UpdateConnection({.spec = spec}).ok());
  EXPECT_THAT(Known("src")->replicas(),
              ElementsAre("postgresql://etl:canary9@replica/shop", "postgresql://etl:canary8@other/shop"));
  EXPECT_EQ(Known("src")->dsn(), "postgresql://etl:canary1@host/shop");
  spec.set_replicas(1, "");
  spec.add_replicas("");
  const absl::Status refused = core_->UpdateConnection({.spec = spec}).status();
  EXPECT_TRUE(absl::IsInvalidArgument(refused));
  ASSERT_THAT(DetailsOf(refused).field_violations, SizeIs(1));
  EXPECT_EQ(DetailsOf(refused).field_violations[0].field, "connection.replicas[2]");
  EXPECT_EQ(Known("src")->replicas_size(), 2);
  // One that is not known has nothing in any place.
  spec.set_name("new");
  spec.set_dsn("postgresql://host/new");
  EXPECT_TRUE(absl::IsInvalidArgument(core_->CreateConnection({.spec = spec}).status()));
}

TEST_F(DefinitionsTest, AnotherKeyDoesNotStart) {
  const int64_t epoch = core_->epoch();
  core_->Resign();
  const Sealer other = WithKey("k2", 'y');
  options_.sealer = &other;
  const absl::Status refused = TryBoot();
  EXPECT_TRUE(absl::IsFailedPrecondition(refused)) << refused;
  EXPECT_THAT(Message(refused), HasSubstr("connection/dst/dsn"));
  EXPECT_THAT(Message(refused), Not(HasSubstr("canary")));
  EXPECT_EQ(store_->AcquireLeadership("next", absl::Minutes(1), 0).value_or(0), epoch + 1) << "it never led";

  // Nor does it wait for its turn.
  EXPECT_EQ(TryBoot(), refused);
}

TEST_F(DefinitionsTest, ALocalFileNamesItsWorker) {
  v1::ConnectionSpec file = Connection("file", "sqlite:/data/a.db", 1);
  const absl::Status refused = core_->CreateConnection({.spec = file}).status();
  EXPECT_TRUE(absl::IsInvalidArgument(refused));
  EXPECT_THAT(Message(refused), HasSubstr("name it in `worker`"));
  file.set_worker("w1");
  EXPECT_TRUE(core_->CreateConnection({.spec = file}).ok());
}

TEST_F(DefinitionsTest, AConnectionInUseIsNotDeleted) {
  ASSERT_TRUE(core_->CreateJob({.spec = Job("a")}).ok());
  for (const char* name : {"src", "dst"}) {
    const absl::Status refused = core_->DeleteConnection(name, 0, "ann");
    EXPECT_TRUE(absl::IsFailedPrecondition(refused));
    EXPECT_THAT(Message(refused), HasSubstr("used by job a"));
  }
  ASSERT_TRUE(core_->DeleteJob("a", 0, "ann").ok());
  EXPECT_TRUE(absl::IsAborted(core_->DeleteConnection("src", 2, "ann")));
  EXPECT_TRUE(core_->DeleteConnection("src", 1, "ann").ok());
  EXPECT_EQ(Known("src"), nullptr);
  EXPECT_TRUE(absl::IsNotFound(core_->DeleteConnection("src", 0, "ann")));
  EXPECT_TRUE(absl::IsInvalidArgument(core_->CreateJob({.spec = Job("a")}).status()));
}

TEST_F(DefinitionsTest, ConnectionsOfAProjectFileAreChangedThere) {
  options_.sealer = nullptr;
  Boot();
  EXPECT_TRUE(absl::IsFailedPrecondition(
      core_->CreateConnection({.spec = Connection("c", "postgresql://host/c", 1)}).status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(
      core_->UpdateConnection({.spec = Connection("c", "postgresql://host/c", 1)}).status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(core_->DeleteConnection("src", 0, "ann")));
}

TEST_F(DefinitionsTest, NothingOfADsnIsStoredInTheOpen) {
  core_.reset();
  const std::filesystem::path folder =
      std::filesystem::path(testing::TempDir()) / absl::StrCat("definitions", rng_.Below(1'000'000'000));
  std::filesystem::create_directory(folder);
  {
    const std::unique_ptr<MetadataStore> store = OpenSqliteStore((folder / "state.db").string(), &clock_).value();
    options_.store = store.get();
    Boot();
    v1::ConnectionSpec secret = Connection("src", "postgresql://etl:canary1@host/shop?sslpassword=canary2", 2);
    secret.add_replicas("postgresql://etl:canary3@replica/shop");
    Create(secret);
    Create(Connection("dst", "postgresql://etl:canary4@host/warehouse", 2));
    ASSERT_TRUE(core_->CreateJob({.spec = Job("a")}).ok());
    secret.set_dsn("postgresql://etl:canary5@host/shop");
    ASSERT_TRUE(core_->UpdateConnection({.spec = secret}).ok());
    ASSERT_TRUE(core_->StartRun("a", {.actor = "ann"}).ok());
    Boot();
    EXPECT_EQ(Known("src")->dsn(), "postgresql://etl:canary5@host/shop");
    core_.reset();
  }
  int files = 0;
  for (const auto& file : std::filesystem::directory_iterator(folder)) {
    std::ostringstream content;
    content << std::ifstream(file.path(), std::ios::binary).rdbuf();
    EXPECT_EQ(content.str().find("canary"), std::string::npos) << file.path();
    files += content.str().find("sealed:v1:k1:") != std::string::npos;
  }
  EXPECT_GE(files, 1) << "this test can fail";
  std::filesystem::remove_all(folder);
}

TEST_F(DefinitionsTest, WhatAnEarlierProjectFileLeftStandsInNobodysWay) {
  options_.sealer = nullptr;
  Boot();
  ASSERT_EQ(core_->ApplyProject({Connection("old", "postgresql://host/old", 1)}, {[] {
                                  v1::JobSpec job = Job("left");
                                  job.mutable_source()->set_connection("old");
                                  job.mutable_target()->set_connection("old");
                                  return job;
                                }()}),
            absl::OkStatus());
  options_.sealer = &sealer_;
  Boot();
  Create(Connection("new", "postgresql://host/new", 2));
  EXPECT_NE(Known("new"), nullptr);
}

}  // namespace
}  // namespace tidemark::coordinator
