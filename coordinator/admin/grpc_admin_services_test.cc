// Every call of the admin services, over gRPC within the process.
#include "coordinator/admin/grpc_admin_services.h"

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/blocking_counter.h"
#include "common/model/duration.h"
#include "common/rpc/error_details.h"
#include "common/rpc/grpc_status.h"
#include "common/secret/sealing.h"
#include "coordinator/cache/store_job_list_source.h"
#include "coordinator/control/grpc_server.h"
#include "tidemark/v1/cluster.grpc.pb.h"
#include "tidemark/v1/connection.grpc.pb.h"
#include "tidemark/v1/job.grpc.pb.h"
#include "tidemark/v1/run.grpc.pb.h"

namespace tidemark::coordinator {
namespace {

using testing::AnyOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

// The store's jobs; a load may be held until as many have asked for the revision as it is told.
class CountingSource final : public JobListSource {
 public:
  explicit CountingSource(MetadataStore* store) : source_(store) {}

  absl::StatusOr<int64_t> Revision() override {
    ++asked;
    return source_.Revision();
  }
  absl::StatusOr<std::vector<JobDefinition>> Load() override {
    ++loads;
    while (asked < hold_until) std::this_thread::yield();
    return source_.Load();
  }

  std::atomic<int> asked = 0;
  std::atomic<int> loads = 0;
  std::atomic<int> hold_until = 0;

 private:
  StoreJobListSource source_;
};

template <class Stub, class Request, class Response>
absl::StatusOr<Response> Call(Stub& stub, grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                              const Request& request, absl::Duration timeout = absl::Minutes(1)) {
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + timeout));
  Response response;
  const grpc::Status status = (stub.*method)(&context, request, &response);
  if (!status.ok()) return FromGrpcStatus(status);
  return response;
}

class GrpcAdminServicesTest : public testing::Test {
 protected:
  GrpcAdminServicesTest() {
    CoordinatorOptions options;
    options.store = store_.get();
    options.clock = &clock_;
    options.rng = &rng_;
    options.holder = "test";
    options.schedule = true;
    options.sealer = &sealer_;
    coordinator_ = Coordinator::Start(options).value();
    cache_ = NewMemoryJobCache({.source = &source_, .clock = &clock_, .rng = &cache_rng_});
    AdminOptions admin;
    admin.coordinator = coordinator_.get();
    admin.store = store_.get();
    admin.jobs = cache_.get();
    admin.version = "1.2.3";
    admin_ = std::make_unique<Admin>(admin);
    admin_->SetAddress("leader:8470");
    services_ = NewAdminServices(admin_.get());
    GrpcServerOptions server;
    for (const auto& service : services_) server.services.push_back(service.get());
    server_ = GrpcServer::Start(server).value();
    jobs_ = v1::JobService::NewStub(server_->InProcessChannel());
    runs_ = v1::RunService::NewStub(server_->InProcessChannel());
    connections_ = v1::ConnectionService::NewStub(server_->InProcessChannel());
    cluster_ = v1::ClusterService::NewStub(server_->InProcessChannel());
  }

  ~GrpcAdminServicesTest() override {
    coordinator_->Shutdown();
    server_.reset();
  }

  // ---- calls
  absl::StatusOr<v1::Job> CreateJob(const v1::JobSpec& spec, const std::string& request_id = "") {
    v1::CreateJobRequest request;
    *request.mutable_job() = spec;
    request.set_request_id(request_id);
    return Call(*jobs_, &v1::JobService::Stub::CreateJob, request);
  }
  absl::StatusOr<v1::Job> GetJob(const std::string& name) {
    v1::GetJobRequest request;
    request.set_name(name);
    return Call(*jobs_, &v1::JobService::Stub::GetJob, request);
  }
  absl::StatusOr<v1::ListJobsResponse> ListJobs(int size, const std::string& token = "",
                                                const std::string& filter = "") {
    v1::ListJobsRequest request;
    request.set_page_size(size);
    request.set_page_token(token);
    request.set_filter(filter);
    return Call(*jobs_, &v1::JobService::Stub::ListJobs, request);
  }
  absl::StatusOr<v1::Job> UpdateJob(const v1::UpdateJobRequest& request) {
    return Call(*jobs_, &v1::JobService::Stub::UpdateJob, request);
  }
  absl::StatusOr<v1::Run> RunJob(const std::string& name, const std::string& request_id = "") {
    v1::RunJobRequest request;
    request.set_name(name);
    request.set_request_id(request_id);
    return Call(*jobs_, &v1::JobService::Stub::RunJob, request);
  }
  absl::Status DeleteJob(const std::string& name, bool force = false, const std::string& etag = "") {
    v1::DeleteJobRequest request;
    request.set_name(name);
    request.set_force(force);
    request.set_etag(etag);
    return Call(*jobs_, &v1::JobService::Stub::DeleteJob, request).status();
  }
  absl::StatusOr<v1::Run> GetRun(const std::string& name) {
    v1::GetRunRequest request;
    request.set_name(name);
    return Call(*runs_, &v1::RunService::Stub::GetRun, request);
  }
  absl::StatusOr<v1::Run> CancelRun(const std::string& name) {
    v1::CancelRunRequest request;
    request.set_name(name);
    return Call(*runs_, &v1::RunService::Stub::CancelRun, request);
  }
  absl::StatusOr<v1::ListRunsResponse> ListRuns(int size, const std::string& token = "", const std::string& filter = "",
                                                const std::string& parent = "") {
    v1::ListRunsRequest request;
    request.set_page_size(size);
    request.set_page_token(token);
    request.set_filter(filter);
    request.set_parent(parent);
    return Call(*runs_, &v1::RunService::Stub::ListRuns, request);
  }
  absl::StatusOr<v1::Connection> CreateConnection(const v1::ConnectionSpec& spec, const std::string& request_id = "") {
    v1::CreateConnectionRequest request;
    *request.mutable_connection() = spec;
    request.set_request_id(request_id);
    return Call(*connections_, &v1::ConnectionService::Stub::CreateConnection, request);
  }
  absl::StatusOr<v1::Connection> UpdateConnection(const v1::UpdateConnectionRequest& request) {
    return Call(*connections_, &v1::ConnectionService::Stub::UpdateConnection, request);
  }

  // ---- what there is
  static v1::ConnectionSpec Connection(const std::string& name, const std::string& dsn) {
    v1::ConnectionSpec spec;
    spec.set_name(name);
    spec.set_dsn(dsn);
    spec.set_max_connections(2);
    return spec;
  }
  static v1::JobSpec Job(const std::string& name) {
    v1::JobSpec job;
    job.set_name(name);
    job.set_enabled(true);
    job.mutable_source()->set_connection("src");
    job.mutable_source()->set_table(name);
    job.mutable_source()->set_watermark("id");
    job.mutable_target()->set_connection("dst");
    job.mutable_target()->set_table(name);
    job.mutable_target()->set_strategy(v1::LOAD_STRATEGY_UPSERT);
    job.mutable_target()->add_key("id");
    return job;
  }
  void CreateConnections() {
    for (const char* name : {"src", "dst"}) {
      const auto created = CreateConnection(Connection(name, absl::StrCat("postgresql://etl:canary@host/", name)));
      ASSERT_TRUE(created.ok()) << created.status();
    }
  }
  void CreateJobs(const std::vector<std::string>& names) {
    for (const std::string& name : names) {
      const auto created = CreateJob(Job(name));
      ASSERT_TRUE(created.ok()) << created.status();
    }
  }

  // ---- a worker
  void Register() {
    v1::RegisterRequest request;
    request.set_worker_id("w");
    request.set_incarnation("1");
    request.set_slots(4);
    request.set_version("1.0");
    ASSERT_TRUE(coordinator_->Register(request).ok());
  }
  // Waits for the next task there is.
  v1::Task NextTask() {
    v1::LeaseTasksRequest request;
    request.set_worker_id("w");
    request.set_incarnation("1");
    request.set_free_slots(1);
    while (true) {
      const uint64_t seen = coordinator_->version();
      const v1::LeaseTasksResponse response = coordinator_->LeaseTasks(request).value();
      if (response.tasks_size() > 0) return response.tasks(0);
      coordinator_->WaitForChange(seen, absl::Seconds(1));
    }
  }
  static v1::CompleteTaskRequest Report(const v1::Task& task) {
    v1::CompleteTaskRequest request;
    request.set_worker_id("w");
    request.set_incarnation("1");
    request.set_task_id(task.task_id());
    request.set_attempt(task.attempt());
    if (task.has_session()) {
      v1::SessionState& state = *request.add_sessions();
      state.set_session_id(task.session().session_id());
      state.set_state(v1::SessionState::STATE_CLOSED);
    }
    return request;
  }
  void Complete(const v1::CompleteTaskRequest& request) {
    const absl::Status completed = coordinator_->CompleteTask(request).status();
    ASSERT_TRUE(completed.ok()) << completed;
  }
  // The next task is a describe that finds nothing to move.
  void EndRun() {
    v1::CompleteTaskRequest report = Report(NextTask());
    report.mutable_describe()->set_empty_window(true);
    Complete(report);
  }
  // The next task is a describe that finds a million rows in two ranges.
  void DescribeRows() {
    v1::CompleteTaskRequest report = Report(NextTask());
    v1::DescribeResult& result = *report.mutable_describe();
    result.add_formats(v1::CHUNK_FORMAT_ARROW);
    result.set_estimated_rows(1'000'000);
    result.mutable_high()->set_type("bigint");
    result.mutable_high()->set_text("900");
    v1::PartitionFacts& facts = *result.add_partition_facts();
    facts.set_partitioning(v1::PARTITIONING_KEY);
    facts.add_columns("id");
    facts.set_immutable(true);
    facts.add_quantiles()->add_values("500");
    result.set_has_snapshot(true);
    result.set_snapshot("snap");
    report.mutable_sessions(0)->set_state(v1::SessionState::STATE_IDLE);
    Complete(report);
  }

  static void ExpectField(const absl::Status& status, const std::string& field) {
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    const ErrorDetails details = DetailsOf(status);
    EXPECT_EQ(details.reason, "INVALID_ARGUMENT");
    ASSERT_FALSE(details.field_violations.empty()) << status;
    EXPECT_EQ(details.field_violations[0].field, field);
  }

  static std::vector<std::string> Names(const v1::ListJobsResponse& response) {
    std::vector<std::string> names;
    for (const v1::Job& job : response.jobs()) names.push_back(job.spec().name());
    return names;
  }

  SystemClock clock_;
  Rng rng_{1};
  Rng cache_rng_{2};
  const Sealer sealer_ = Sealer::FromKeys(absl::StrCat("k1:", absl::Base64Escape(std::string(32, 'x')), "\n")).value();
  std::unique_ptr<MetadataStore> store_ = NewMemoryStore(&clock_, 1);
  CountingSource source_{store_.get()};
  std::unique_ptr<Coordinator> coordinator_;
  std::unique_ptr<JobCache> cache_;
  std::unique_ptr<Admin> admin_;
  std::vector<std::unique_ptr<grpc::Service>> services_;
  std::unique_ptr<GrpcServer> server_;
  std::unique_ptr<v1::JobService::Stub> jobs_;
  std::unique_ptr<v1::RunService::Stub> runs_;
  std::unique_ptr<v1::ConnectionService::Stub> connections_;
  std::unique_ptr<v1::ClusterService::Stub> cluster_;
};

TEST_F(GrpcAdminServicesTest, TheLifeOfAJob) {
  CreateConnections();
  v1::JobSpec spec = Job("orders");
  spec.mutable_schedule()->set_cron("0 3 * * *");
  const v1::Job created = CreateJob(spec, "r1").value();
  EXPECT_EQ(created.name(), "jobs/orders");
  EXPECT_EQ(created.etag(), "1");
  EXPECT_FALSE(created.paused());
  EXPECT_TRUE(created.has_next_fire_time());
  EXPECT_EQ(CreateJob(spec, "r1")->uid(), created.uid());
  const absl::Status taken = CreateJob(spec, "r2").status();
  EXPECT_TRUE(absl::IsAlreadyExists(taken));
  EXPECT_EQ(DetailsOf(taken).reason, "ALREADY_EXISTS");
  EXPECT_FALSE(DetailsOf(taken).retry_after.has_value());

  v1::PauseJobRequest pause;
  pause.set_name("jobs/orders");
  const v1::Job paused = Call(*jobs_, &v1::JobService::Stub::PauseJob, pause).value();
  EXPECT_TRUE(paused.paused());
  EXPECT_FALSE(paused.has_next_fire_time());
  EXPECT_TRUE(GetJob("jobs/orders")->paused());
  v1::ResumeJobRequest resume;
  resume.set_name("jobs/orders");
  EXPECT_FALSE(Call(*jobs_, &v1::JobService::Stub::ResumeJob, resume)->paused());
  v1::AdoptJobRequest adopt;
  adopt.set_name("jobs/orders");
  EXPECT_TRUE(Call(*jobs_, &v1::JobService::Stub::AdoptJob, adopt)->adopting());
  EXPECT_TRUE(ListJobs(0)->jobs(0).adopting()) << "though the list is cached";

  const v1::Run run = RunJob("jobs/orders", "tick").value();
  EXPECT_EQ(run.job(), "jobs/orders");
  EXPECT_EQ(run.status(), v1::Run::STATUS_RUNNING);
  EXPECT_EQ(run.estimated_rows(), -1);
  EXPECT_EQ(RunJob("jobs/orders", "tick")->name(), run.name());
  const absl::Status busy = DeleteJob("jobs/orders");
  EXPECT_TRUE(absl::IsFailedPrecondition(busy));
  EXPECT_EQ(DetailsOf(busy).reason, "FAILED_PRECONDITION");
  ASSERT_TRUE(DeleteJob("jobs/orders", /*force=*/true).ok());
  EXPECT_EQ(GetRun(run.name())->phase(), "cancelled") << "the runs stay";
  const absl::Status gone = GetJob("jobs/orders").status();
  EXPECT_TRUE(absl::IsNotFound(gone));
  EXPECT_EQ(DetailsOf(gone).reason, "NOT_FOUND");
  EXPECT_TRUE(absl::IsNotFound(DeleteJob("jobs/orders")));
  EXPECT_THAT(ListJobs(0)->jobs(), IsEmpty());
}

TEST_F(GrpcAdminServicesTest, NamesAreNamesOfTheCollection) {
  for (const char* name : {"", "jobs", "jobs/", "jobs/a/b", "orders", "runs/a", "jobs/a/runs/latest"}) {
    ExpectField(GetJob(name).status(), "name");
    ExpectField(RunJob(name).status(), "name");
    ExpectField(DeleteJob(name), "name");
  }
  for (const char* name : {"", "runs/", "runs/a/b", "jobs/a", "jobs//runs/latest", "jobs/a/b/runs/latest"}) {
    ExpectField(GetRun(name).status(), "name");
  }
  EXPECT_TRUE(absl::IsNotFound(GetRun("runs/nosuch").status()));
  EXPECT_TRUE(absl::IsNotFound(CancelRun("runs/nosuch").status()));
  EXPECT_TRUE(absl::IsNotFound(GetRun("jobs/nosuch/runs/latest").status()));
}

TEST_F(GrpcAdminServicesTest, AnUpdateRestsOnWhatWasRead) {
  CreateConnections();
  CreateJobs({"orders"});
  v1::UpdateJobRequest request;
  request.mutable_job()->set_name("jobs/orders");
  request.mutable_job()->set_etag("1");
  *request.mutable_job()->mutable_spec() = Job("orders");
  request.mutable_job()->mutable_spec()->mutable_source()->set_table("elsewhere");
  EXPECT_EQ(UpdateJob(request)->etag(), "2");
  request.mutable_job()->mutable_spec()->mutable_source()->set_table("yet_elsewhere");
  const absl::Status stale = UpdateJob(request).status();
  EXPECT_TRUE(absl::IsAborted(stale));
  EXPECT_EQ(DetailsOf(stale).reason, "ABORTED");
  EXPECT_TRUE(DetailsOf(stale).retry_after.has_value());
  request.mutable_job()->set_etag("two");
  ExpectField(UpdateJob(request).status(), "etag");
  EXPECT_TRUE(absl::IsAborted(DeleteJob("jobs/orders", false, "1")));
  request.mutable_job()->clear_etag();
  request.set_validate_only(true);
  EXPECT_EQ(UpdateJob(request)->spec().source().table(), "yet_elsewhere");
  EXPECT_EQ(GetJob("jobs/orders")->spec().source().table(), "elsewhere");
  request.mutable_job()->mutable_spec()->set_name("renamed");
  ExpectField(UpdateJob(request).status(), "job.spec.name");
}

TEST_F(GrpcAdminServicesTest, AMaskTakesOverWhatItNames) {
  CreateConnections();
  v1::JobSpec spec = Job("orders");
  spec.mutable_schedule()->set_cron("0 3 * * *");
  spec.mutable_schedule()->set_timezone("Europe/Paris");
  ASSERT_TRUE(CreateJob(spec).ok());
  v1::UpdateJobRequest request;
  request.mutable_job()->set_name("jobs/orders");
  request.mutable_job()->mutable_spec()->mutable_schedule()->set_cron("0 4 * * *");
  request.mutable_update_mask()->add_paths("spec.schedule.cron");
  v1::Job job = UpdateJob(request).value();
  EXPECT_EQ(job.spec().schedule().cron(), "0 4 * * *");
  EXPECT_EQ(job.spec().schedule().timezone(), "Europe/Paris");
  EXPECT_EQ(job.spec().source().table(), "orders");
  // One that is absent is cleared.
  request.mutable_job()->mutable_spec()->clear_schedule();
  request.mutable_update_mask()->set_paths(0, "spec.schedule");
  job = UpdateJob(request).value();
  EXPECT_EQ(job.spec().schedule().cron(), "");
  EXPECT_FALSE(job.has_next_fire_time());
  for (const char* path : {"name", "spec.nosuch", "spec.source.nosuch", "schedule", "", "spec."}) {
    SCOPED_TRACE(path);
    request.mutable_update_mask()->set_paths(0, path);
    ExpectField(UpdateJob(request).status(), "update_mask");
  }
  // The result is judged as a whole.
  request.mutable_update_mask()->set_paths(0, "spec.source.connection");
  ExpectField(UpdateJob(request).status(), "job.spec.source.connection");
  request.mutable_update_mask()->set_paths(0, "spec");
  *request.mutable_job()->mutable_spec() = Job("orders");
  request.mutable_job()->mutable_spec()->set_enabled(false);
  EXPECT_FALSE(UpdateJob(request)->spec().enabled());
  request.mutable_job()->set_name("jobs/nosuch");
  request.mutable_job()->clear_spec();
  EXPECT_TRUE(absl::IsNotFound(UpdateJob(request).status()));
}

TEST_F(GrpcAdminServicesTest, ASpecificationIsJudgedByItsFields) {
  CreateConnections();
  v1::JobSpec spec = Job("orders");
  spec.mutable_schedule()->set_cron("every day");
  spec.mutable_target()->clear_table();
  const absl::Status refused = CreateJob(spec).status();
  EXPECT_TRUE(absl::IsInvalidArgument(refused));
  std::vector<std::string> fields;
  const ErrorDetails details = DetailsOf(refused);
  for (const auto& violation : details.field_violations) fields.push_back(violation.field);
  EXPECT_THAT(fields, Contains("job.schedule.cron"));
  EXPECT_THAT(fields, Contains("job.target.table"));

  v1::ValidateJobRequest request;
  *request.mutable_job() = spec;
  v1::ValidateJobResponse response = Call(*jobs_, &v1::JobService::Stub::ValidateJob, request).value();
  ASSERT_GE(response.problems_size(), 2);
  EXPECT_TRUE(response.problems(0).error());
  *request.mutable_job() = Job("orders");
  response = Call(*jobs_, &v1::JobService::Stub::ValidateJob, request).value();
  for (const auto& problem : response.problems()) EXPECT_FALSE(problem.error()) << problem.DebugString();
  ASSERT_TRUE(CreateJob(Job("orders")).ok());
  request.mutable_job()->set_name("twin");
  response = Call(*jobs_, &v1::JobService::Stub::ValidateJob, request).value();
  ASSERT_GE(response.problems_size(), 1);
  EXPECT_TRUE(response.problems(0).error());
  EXPECT_TRUE(absl::IsNotFound(GetJob("jobs/twin").status()));
  // What is asked without a specification is answered, not crashed on.
  EXPECT_TRUE(Call(*jobs_, &v1::JobService::Stub::ValidateJob, v1::ValidateJobRequest()).ok());
  EXPECT_TRUE(absl::IsInvalidArgument(CreateJob({}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(UpdateJob({}).status()));
}

TEST_F(GrpcAdminServicesTest, PagesOfJobsAreStableUnderInserts) {
  CreateConnections();
  std::vector<std::string> names;
  for (int i = 10; i < 35; ++i) names.push_back(absl::StrCat("job", i));
  CreateJobs(names);
  std::vector<std::string> seen;
  std::string token;
  int pages = 0;
  do {
    const v1::ListJobsResponse page = ListJobs(10, token).value();
    EXPECT_LE(page.jobs_size(), 10);
    for (const std::string& name : Names(page)) seen.push_back(name);
    token = page.next_page_token();
    // One before where we stand, one behind, and one of those already shown goes.
    if (++pages == 1) {
      CreateJobs({"job00", "job99"});
      ASSERT_TRUE(DeleteJob("jobs/job19").ok());
    }
  } while (!token.empty());
  names.push_back("job99");
  EXPECT_EQ(seen, names);
  EXPECT_EQ(pages, 3);

  ExpectField(ListJobs(-1).status(), "page_size");
  ExpectField(ListJobs(1, "job10").status(), "page_token");
  ExpectField(ListJobs(1, "", "nosuch = 1").status(), "filter");
  EXPECT_EQ(Names(ListJobs(5, "", "spec.source.table = job12").value()), std::vector<std::string>{"job12"});
  EXPECT_THAT(ListJobs(5, "", "paused = true")->jobs(), IsEmpty());
  // A filter does not end a list early.
  EXPECT_EQ(Names(ListJobs(1, "", "spec.name = job33").value()), std::vector<std::string>{"job33"});
}

TEST_F(GrpcAdminServicesTest, SizesOfPages) {
  CreateConnections();
  for (int i = 0; i < 1005; ++i) {
    ASSERT_TRUE(coordinator_->CreateJob({.spec = Job(absl::StrCat("job", 1000 + i))}).ok());
  }
  EXPECT_EQ(ListJobs(0)->jobs_size(), 100);
  EXPECT_EQ(ListJobs(5000)->jobs_size(), 1000);
  const v1::ListJobsResponse exact = ListJobs(5, ListJobs(1000)->next_page_token()).value();
  EXPECT_EQ(exact.jobs_size(), 5);
  EXPECT_EQ(exact.next_page_token(), "");
}

TEST_F(GrpcAdminServicesTest, AThousandListsThatMissTheCacheLoadItOnce) {
  constexpr int kCalls = 1000;
  CreateConnections();
  CreateJobs({"a", "b"});
  const int before = source_.loads;
  // The list is that of before the second job: nobody has asked since.
  source_.hold_until = source_.asked + kCalls;
  struct Pending {
    grpc::ClientContext context;
    v1::ListJobsRequest request;
    v1::ListJobsResponse response;
    grpc::Status status;
  };
  std::vector<Pending> calls(kCalls);
  absl::BlockingCounter done(kCalls);
  for (Pending& call : calls) {
    call.context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Minutes(2)));
    jobs_->async()->ListJobs(&call.context, &call.request, &call.response, [&](grpc::Status status) {
      call.status = std::move(status);
      done.DecrementCount();
    });
  }
  done.Wait();
  for (const Pending& call : calls) {
    ASSERT_TRUE(call.status.ok()) << call.status.error_message();
    ASSERT_EQ(call.response.jobs_size(), 2);
  }
  EXPECT_EQ(source_.loads, before + 1);
}

TEST_F(GrpcAdminServicesTest, RunsAreListedNewestFirst) {
  CreateConnections();
  CreateJobs({"a", "b"});
  std::vector<std::string> newest_first;
  for (const char* job : {"a", "b", "a", "b", "a"}) {
    newest_first.insert(newest_first.begin(), RunJob(absl::StrCat("jobs/", job))->name());
    // Ids of one millisecond are in no order.
    coordinator_->WaitForChange(coordinator_->version(), absl::Milliseconds(2));
  }
  std::vector<std::string> seen;
  std::string token;
  do {
    const v1::ListRunsResponse page = ListRuns(2, token).value();
    for (const v1::Run& run : page.runs()) seen.push_back(run.name());
    if (token.empty()) {
      ASSERT_TRUE(RunJob("jobs/b").ok());
    }
    token = page.next_page_token();
  } while (!token.empty());
  EXPECT_EQ(seen, newest_first);

  EXPECT_EQ(ListRuns(0, "", "", "jobs/a")->runs_size(), 3);
  EXPECT_EQ(ListRuns(0, "", "job = \"jobs/a\"")->runs_size(), 3);
  EXPECT_EQ(ListRuns(0, "", "status = running", "jobs/a")->runs_size(), 3);
  EXPECT_THAT(ListRuns(0, "", "status = STATUS_FAILED")->runs(), IsEmpty());
  ASSERT_TRUE(CancelRun(newest_first[0]).ok());
  EXPECT_EQ(ListRuns(1, "", "status = failed AND phase = cancelled")->runs(0).name(), newest_first[0]);
  EXPECT_THAT(ListRuns(0, "", "status = failed AND status = running")->runs(), IsEmpty());
  EXPECT_THAT(ListRuns(0, "", "", "jobs/nosuch")->runs(), IsEmpty());
  ExpectField(ListRuns(0, "", "", "a").status(), "parent");
  ExpectField(ListRuns(0, "", "job = a").status(), "filter");
  ExpectField(ListRuns(0, "", "status = bogus").status(), "filter");
  ExpectField(ListRuns(0, "!").status(), "page_token");
  ExpectField(ListRuns(-1).status(), "page_size");
}

TEST_F(GrpcAdminServicesTest, TheLatestRunOfAJobHasAName) {
  CreateConnections();
  CreateJobs({"a"});
  const absl::Status none = GetRun("jobs/a/runs/latest").status();
  EXPECT_TRUE(absl::IsNotFound(none));
  EXPECT_THAT(std::string(none.message()), HasSubstr("has not run yet"));
  ASSERT_TRUE(RunJob("jobs/a").ok());
  coordinator_->WaitForChange(coordinator_->version(), absl::Milliseconds(2));
  const std::string second = RunJob("jobs/a")->name();
  EXPECT_EQ(GetRun("jobs/a/runs/latest")->name(), second);
  EXPECT_EQ(CancelRun("jobs/a/runs/latest")->phase(), "cancelled");
  v1::RetryRunRequest retry;
  retry.set_name("jobs/a/runs/latest");
  retry.set_request_id("again");
  coordinator_->WaitForChange(coordinator_->version(), absl::Milliseconds(2));
  EXPECT_EQ(Call(*runs_, &v1::RunService::Stub::RetryRun, retry)->retry_of(), second);
  retry.set_name("runs/nosuch");
  EXPECT_TRUE(absl::IsNotFound(Call(*runs_, &v1::RunService::Stub::RetryRun, retry).status()));
  v1::ReplayLoadRequest replay;
  const absl::Status missing = Call(*runs_, &v1::RunService::Stub::ReplayLoad, replay).status();
  EXPECT_TRUE(absl::IsUnimplemented(missing));
  EXPECT_EQ(DetailsOf(missing).reason, "UNIMPLEMENTED");
}

TEST_F(GrpcAdminServicesTest, ABackfillHasBothEnds) {
  CreateConnections();
  CreateJobs({"a"});
  v1::BackfillJobRequest request;
  request.set_name("jobs/a");
  ExpectField(Call(*jobs_, &v1::JobService::Stub::BackfillJob, request).status(), "low");
  request.set_low("10");
  ExpectField(Call(*jobs_, &v1::JobService::Stub::BackfillJob, request).status(), "high");
  request.set_high("20");
  const v1::Run run = Call(*jobs_, &v1::JobService::Stub::BackfillJob, request).value();
  EXPECT_EQ(run.window().kind(), v1::WINDOW_KIND_RANGE);
  EXPECT_EQ(run.window().high().text(), "20");
}

TEST_F(GrpcAdminServicesTest, TasksOfARun) {
  CreateConnections();
  CreateJobs({"a"});
  const std::string run = RunJob("jobs/a")->name();
  Register();
  DescribeRows();
  v1::ListTasksRequest request;
  request.set_parent(run);
  request.set_page_size(2);
  v1::ListTasksResponse response = Call(*runs_, &v1::RunService::Stub::ListTasks, request).value();
  ASSERT_EQ(response.tasks_size(), 2);
  EXPECT_EQ(response.tasks(0).kind(), v1::TASK_KIND_DESCRIBE);
  EXPECT_EQ(response.tasks(0).state(), v1::RunTask::STATE_SUCCEEDED);
  EXPECT_EQ(response.tasks(0).worker(), "workers/w");
  EXPECT_THAT(response.tasks(0).name(), HasSubstr(run + "/tasks/"));
  request.set_page_token(response.next_page_token());
  response = Call(*runs_, &v1::RunService::Stub::ListTasks, request).value();
  ASSERT_EQ(response.tasks_size(), 1);
  EXPECT_EQ(response.tasks(0).partition(), 1);
  EXPECT_EQ(response.next_page_token(), "");
  request.clear_page_token();
  request.set_page_size(0);
  request.set_filter("kind = move AND state = queued");
  EXPECT_EQ(Call(*runs_, &v1::RunService::Stub::ListTasks, request)->tasks_size(), 2);
  request.set_filter("kind = drive");
  ExpectField(Call(*runs_, &v1::RunService::Stub::ListTasks, request).status(), "filter");
  request.clear_filter();
  request.set_page_token("cDE6eA==");
  ExpectField(Call(*runs_, &v1::RunService::Stub::ListTasks, request).status(), "page_token");
  request.set_parent("runs/nosuch");
  EXPECT_TRUE(absl::IsNotFound(Call(*runs_, &v1::RunService::Stub::ListTasks, request).status()));
  request.set_parent("nosuch");
  ExpectField(Call(*runs_, &v1::RunService::Stub::ListTasks, request).status(), "parent");
}

TEST_F(GrpcAdminServicesTest, AWatchTellsAtMostTenTimesASecondAndEndsWithItsRun) {
  CreateConnections();
  CreateJobs({"a"});
  ASSERT_TRUE(RunJob("jobs/a").ok());
  Register();
  DescribeRows();
  const v1::Task move = NextTask();
  std::atomic<int> told = 0;
  v1::Run last;
  const absl::Duration began = clock_.Monotonic();
  std::thread watcher([&] {
    grpc::ClientContext context;
    v1::WatchRunRequest request;
    request.set_name("jobs/a/runs/latest");
    const auto reader = runs_->WatchRun(&context, request);
    for (v1::WatchRunResponse response; reader->Read(&response); ++told) last = response.run();
    EXPECT_TRUE(reader->Finish().ok());
  });
  // More changes than anyone can watch.
  for (int rows = 1; told < 5; ++rows) {
    v1::HeartbeatRequest beat;
    beat.set_worker_id("w");
    beat.set_incarnation("1");
    v1::TaskProgress& progress = *beat.add_tasks();
    progress.set_task_id(move.task_id());
    progress.set_attempt(move.attempt());
    progress.set_rows_read(rows);
    ASSERT_TRUE(coordinator_->Heartbeat(beat).ok());
    coordinator_->WaitForChange(coordinator_->version(), absl::Milliseconds(1));
  }
  ASSERT_TRUE(CancelRun("jobs/a/runs/latest").ok());
  v1::CompleteTaskRequest stopped = Report(move);
  stopped.mutable_error()->set_message("cancelled");
  (void)coordinator_->CompleteTask(stopped);
  v1::CompleteTaskRequest abort = Report(NextTask());
  abort.mutable_abort();
  Complete(abort);
  watcher.join();
  const double seconds = absl::ToDoubleSeconds(clock_.Monotonic() - began);
  EXPECT_LE(told, seconds * 10 + 1);
  EXPECT_EQ(last.phase(), "cancelled");
  EXPECT_GT(last.estimated_rows(), 0);
  // Of one that has ended there is one thing to tell.
  grpc::ClientContext context;
  v1::WatchRunRequest request;
  request.set_name(last.name());
  const auto reader = runs_->WatchRun(&context, request);
  v1::WatchRunResponse response;
  ASSERT_TRUE(reader->Read(&response));
  EXPECT_EQ(response.run().phase(), "cancelled");
  EXPECT_FALSE(reader->Read(&response));
  EXPECT_TRUE(reader->Finish().ok());
}

TEST_F(GrpcAdminServicesTest, AWatchEndsWhenNobodyWatchesAnyMore) {
  CreateConnections();
  CreateJobs({"a"});
  v1::WatchRunRequest request;
  request.set_name(RunJob("jobs/a")->name());
  int told = 0;
  int asked = 0;
  ASSERT_TRUE(admin_
                  ->WatchRun(
                      request, [&](const v1::WatchRunResponse&) { return ++told > 0; }, [&] { return ++asked > 3; })
                  .ok());
  EXPECT_EQ(told, 1) << "nothing has changed since";
  ASSERT_TRUE(admin_
                  ->WatchRun(
                      request, [](const v1::WatchRunResponse&) { return false; }, [] { return false; })
                  .ok());
  // The same over gRPC: the server can go, and waits for no call.
  grpc::ClientContext context;
  const auto reader = runs_->WatchRun(&context, request);
  v1::WatchRunResponse response;
  ASSERT_TRUE(reader->Read(&response));
  context.TryCancel();
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
  grpc::ClientContext other;
  request.set_name("runs/nosuch");
  EXPECT_EQ(runs_->WatchRun(&other, request)->Finish().error_code(), grpc::StatusCode::NOT_FOUND);
  // And when the coordinator goes.
  request.set_name("jobs/a/runs/latest");
  std::thread shutdown;
  const absl::Status ended = admin_->WatchRun(
      request,
      [&](const v1::WatchRunResponse&) {
        shutdown = std::thread([&] { coordinator_->Shutdown(); });
        return true;
      },
      [] { return false; });
  shutdown.join();
  EXPECT_TRUE(absl::IsUnavailable(ended));
}

TEST_F(GrpcAdminServicesTest, OneThatLeadsNoMoreIsAsGoodAsAway) {
  CreateConnections();
  CreateJobs({"a"});
  // Another process of that name takes over.
  ASSERT_TRUE(store_->AcquireLeadership("test", absl::Seconds(15), 0).ok());
  for (int i = 0; i < 2; ++i) {
    const absl::Status refused = RunJob("jobs/a").status();
    EXPECT_TRUE(absl::IsUnavailable(refused)) << refused;
    EXPECT_EQ(DetailsOf(refused).reason, "NOT_LEADER");
    EXPECT_TRUE(DetailsOf(refused).retry_after.has_value());
  }
}

TEST_F(GrpcAdminServicesTest, NobodyLooksOnForACallerThatIsGone) {
  CreateConnections();
  CreateJobs({"a"});
  const auto gone = [] { return true; };
  v1::PlanJobRequest plan;
  plan.set_name("jobs/a");
  EXPECT_TRUE(absl::IsCancelled(admin_->PlanJob(plan, absl::Seconds(5), gone).status()));
  v1::TestConnectionRequest test;
  test.set_name("connections/src");
  EXPECT_TRUE(absl::IsCancelled(admin_->TestConnection(test, absl::Seconds(5), gone).status()));
  EXPECT_TRUE(absl::IsCancelled(admin_->ListRuns({}, gone).status()));
  EXPECT_TRUE(absl::IsCancelled(admin_->ListAuditEvents({}, gone).status()));
}

TEST_F(GrpcAdminServicesTest, TheLifeOfAConnection) {
  const v1::ConnectionSpec spec = Connection("src", "postgresql://etl:canary@host/shop");
  const v1::Connection created = CreateConnection(spec, "r1").value();
  EXPECT_EQ(created.name(), "connections/src");
  EXPECT_EQ(created.etag(), "1");
  EXPECT_EQ(created.spec().dsn(), "");
  EXPECT_EQ(created.spec().max_connections(), 2);
  EXPECT_THAT(created.redacted_dsn(), HasSubstr("host/shop"));
  EXPECT_THAT(created.DebugString(), Not(HasSubstr("canary")));
  EXPECT_EQ(CreateConnection(spec, "r1")->etag(), "1");
  EXPECT_TRUE(absl::IsAlreadyExists(CreateConnection(spec).status()));
  ExpectField(CreateConnection(Connection("bad", "")).status(), "connection.dsn");
  const absl::Status local = CreateConnection(Connection("file", "sqlite:/data/canary.db")).status();
  EXPECT_TRUE(absl::IsInvalidArgument(local));
  EXPECT_THAT(std::string(local.message()), HasSubstr("worker"));

  for (const char* dsn : {"postgresql:/etl:canary@host/shop", "postgresql://etl:can@ary/1@host/shop"}) {
    const absl::Status unreadable = CreateConnection(Connection("bad", dsn)).status();
    ExpectField(unreadable, "connection.dsn");
    EXPECT_THAT(unreadable.ToString(), Not(AnyOf(HasSubstr("canary"), HasSubstr("ary/1"), HasSubstr("host/"))));
  }

  v1::UpdateConnectionRequest update;
  update.mutable_connection()->set_name("connections/src");
  update.mutable_connection()->mutable_spec()->set_max_connections(7);
  update.set_validate_only(true);
  EXPECT_EQ(UpdateConnection(update)->etag(), "2");
  update.set_validate_only(false);
  const v1::Connection updated = UpdateConnection(update).value();
  EXPECT_EQ(updated.etag(), "2");
  EXPECT_EQ(updated.spec().max_connections(), 7);
  EXPECT_EQ(updated.redacted_dsn(), created.redacted_dsn()) << "the DSN stays";
  update.mutable_connection()->mutable_spec()->add_replicas("postgresql://etl:canary@replica/shop");
  const v1::Connection replicated = UpdateConnection(update).value();
  EXPECT_EQ(replicated.spec().replicas_size(), 0) << "a replica's DSN is as secret as the other";
  EXPECT_EQ(coordinator_->ConnectionSpecs()[0].replicas_size(), 1);
  update.mutable_connection()->mutable_spec()->set_replicas(0, "");
  ASSERT_TRUE(UpdateConnection(update).ok()) << "it stays";
  update.mutable_connection()->mutable_spec()->add_replicas("");
  ExpectField(UpdateConnection(update).status(), "connection.replicas[1]");
  update.mutable_connection()->mutable_spec()->Clear();
  update.mutable_connection()->mutable_spec()->set_max_rows_per_second(9000);
  update.mutable_update_mask()->add_paths("spec.max_rows_per_second");
  EXPECT_EQ(UpdateConnection(update)->spec().max_connections(), 7);
  update.mutable_update_mask()->set_paths(0, "spec.nosuch");
  ExpectField(UpdateConnection(update).status(), "update_mask");
  update.mutable_update_mask()->set_paths(0, "spec.dsn");
  ExpectField(UpdateConnection(update).status(), "connection.dsn");
  update.mutable_connection()->mutable_spec()->set_dsn("postgresql://etl:canary@elsewhere/shop");
  EXPECT_THAT(UpdateConnection(update)->redacted_dsn(), HasSubstr("elsewhere"));
  update.mutable_connection()->set_etag("1");
  EXPECT_TRUE(absl::IsAborted(UpdateConnection(update).status()));
  update.mutable_connection()->set_etag("x");
  ExpectField(UpdateConnection(update).status(), "etag");
  update.mutable_connection()->clear_etag();
  update.mutable_connection()->set_name("connections/nosuch");
  EXPECT_TRUE(absl::IsNotFound(UpdateConnection(update).status()));
  update.mutable_connection()->set_name("nosuch");
  ExpectField(UpdateConnection(update).status(), "connection.name");

  ASSERT_TRUE(CreateConnection(Connection("dst", "postgresql://etl:canary@host/warehouse")).ok());
  CreateJobs({"a"});
  v1::ListConnectionsRequest list;
  list.set_page_size(1);
  v1::ListConnectionsResponse page = Call(*connections_, &v1::ConnectionService::Stub::ListConnections, list).value();
  ASSERT_EQ(page.connections_size(), 1);
  EXPECT_EQ(page.connections(0).name(), "connections/dst");
  list.set_page_token(page.next_page_token());
  page = Call(*connections_, &v1::ConnectionService::Stub::ListConnections, list).value();
  ASSERT_EQ(page.connections_size(), 1);
  EXPECT_EQ(page.connections(0).name(), "connections/src");
  EXPECT_EQ(page.next_page_token(), "");
  EXPECT_THAT(page.DebugString(), Not(HasSubstr("canary")));

  v1::GetConnectionRequest get;
  get.set_name("connections/src");
  EXPECT_EQ(Call(*connections_, &v1::ConnectionService::Stub::GetConnection, get)->etag(), "5");
  v1::DeleteConnectionRequest drop;
  drop.set_name("connections/src");
  const absl::Status used = Call(*connections_, &v1::ConnectionService::Stub::DeleteConnection, drop).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(used));
  EXPECT_THAT(std::string(used.message()), HasSubstr("job a"));
  ASSERT_TRUE(DeleteJob("jobs/a").ok());
  EXPECT_TRUE(Call(*connections_, &v1::ConnectionService::Stub::DeleteConnection, drop).ok());
  EXPECT_TRUE(absl::IsNotFound(Call(*connections_, &v1::ConnectionService::Stub::GetConnection, get).status()));
}

TEST_F(GrpcAdminServicesTest, AWorkerTestsAConnectionAndPlansAJob) {
  CreateConnections();
  v1::JobSpec spec = Job("a");
  spec.mutable_schedule()->set_cron("0 3 * * *");
  ASSERT_TRUE(CreateJob(spec).ok());
  v1::TestConnectionRequest test;
  test.set_name("connections/src");
  const absl::Status nobody =
      Call(*connections_, &v1::ConnectionService::Stub::TestConnection, test, absl::Milliseconds(300)).status();
  EXPECT_TRUE(absl::IsDeadlineExceeded(nobody));
  v1::TestConnectionRequest unknown;
  unknown.set_name("connections/nosuch");
  EXPECT_TRUE(absl::IsNotFound(Call(*connections_, &v1::ConnectionService::Stub::TestConnection, unknown).status()));
  Register();
  std::thread worker([this] {
    v1::CompleteTaskRequest report = Report(NextTask());
    report.mutable_test()->set_server("PostgreSQL 15.20, primary");
    report.mutable_test()->add_warnings("GRANT pg_read_all_stats TO etl");
    Complete(report);
    report = Report(NextTask());
    report.mutable_error()->set_code(14);
    report.mutable_error()->set_message("no route to host");
    Complete(report);
    DescribeRows();
  });
  const v1::TestConnectionResponse tested =
      Call(*connections_, &v1::ConnectionService::Stub::TestConnection, test).value();
  EXPECT_EQ(tested.server(), "PostgreSQL 15.20, primary");
  EXPECT_THAT(tested.warnings(), ElementsAre("GRANT pg_read_all_stats TO etl"));
  const absl::Status away = Call(*connections_, &v1::ConnectionService::Stub::TestConnection, test).status();
  EXPECT_TRUE(absl::IsUnavailable(away));
  EXPECT_TRUE(DetailsOf(away).retry_after.has_value());
  EXPECT_THAT(std::string(away.message()), HasSubstr("no route to host"));

  v1::PlanJobRequest plan;
  plan.set_name("jobs/a");
  const v1::PlanJobResponse planned = Call(*jobs_, &v1::JobService::Stub::PlanJob, plan).value();
  worker.join();
  EXPECT_EQ(planned.job(), "jobs/a");
  EXPECT_EQ(planned.watermark_high().text(), "900");
  EXPECT_EQ(planned.partitions_size(), 2);
  EXPECT_EQ(planned.format(), v1::CHUNK_FORMAT_ARROW);
  ASSERT_EQ(planned.next_fire_times_size(), 5);
  EXPECT_EQ(planned.next_fire_times(1).seconds() - planned.next_fire_times(0).seconds(), 86'400);
  EXPECT_THAT(ListRuns(0)->runs(), IsEmpty()) << "nothing was stored";
  plan.set_name("jobs/nosuch");
  EXPECT_TRUE(absl::IsNotFound(Call(*jobs_, &v1::JobService::Stub::PlanJob, plan).status()));
}

TEST_F(GrpcAdminServicesTest, TheClusterAndWhoDidWhat) {
  CreateConnections();
  CreateJobs({"a"});
  Register();
  v1::ClusterStatus status = Call(*cluster_, &v1::ClusterService::Stub::GetStatus, v1::GetStatusRequest()).value();
  EXPECT_EQ(status.leader(), "leader:8470");
  EXPECT_EQ(status.version(), "1.2.3");
  EXPECT_EQ(status.workers(), 1);
  EXPECT_EQ(status.free_slots(), 4);
  EXPECT_EQ(status.epoch(), coordinator_->epoch());
  v1::ListWorkersRequest list;
  EXPECT_EQ(Call(*cluster_, &v1::ClusterService::Stub::ListWorkers, list)->workers(0).name(), "workers/w");
  list.set_filter("state = lost");
  EXPECT_EQ(Call(*cluster_, &v1::ClusterService::Stub::ListWorkers, list)->workers_size(), 0);
  v1::DrainWorkerRequest drain;
  drain.set_name("workers/w");
  EXPECT_EQ(Call(*cluster_, &v1::ClusterService::Stub::DrainWorker, drain)->state(), v1::Worker::STATE_DRAINED);
  drain.set_name("workers/nosuch");
  EXPECT_TRUE(absl::IsNotFound(Call(*cluster_, &v1::ClusterService::Stub::DrainWorker, drain).status()));
  drain.set_name("w");
  ExpectField(Call(*cluster_, &v1::ClusterService::Stub::DrainWorker, drain).status(), "name");

  std::vector<std::string> actions;
  std::set<std::string> names;
  v1::ListAuditEventsRequest audit;
  audit.set_page_size(2);
  do {
    const v1::ListAuditEventsResponse page = Call(*cluster_, &v1::ClusterService::Stub::ListAuditEvents, audit).value();
    for (const v1::AuditEvent& event : page.audit_events()) {
      actions.push_back(event.action());
      names.insert(event.name());
      EXPECT_THAT(event.name(), HasSubstr("auditEvents/"));
      EXPECT_FALSE(event.actor().empty());
      EXPECT_THAT(event.DebugString(), Not(HasSubstr("canary")));
    }
    audit.set_page_token(page.next_page_token());
  } while (!audit.page_token().empty());
  EXPECT_THAT(actions, ElementsAre("worker.drain", "job.create", "connection.create", "connection.create"));
  EXPECT_THAT(names, SizeIs(4));
  audit.set_filter("action = \"job.create\"");
  audit.set_page_size(1);
  const v1::ListAuditEventsResponse page = Call(*cluster_, &v1::ClusterService::Stub::ListAuditEvents, audit).value();
  ASSERT_EQ(page.audit_events_size(), 1);
  EXPECT_EQ(page.audit_events(0).subject(), "jobs/a");
  audit.set_page_token("cDE6eA==");
  ExpectField(Call(*cluster_, &v1::ClusterService::Stub::ListAuditEvents, audit).status(), "page_token");
}

TEST_F(GrpcAdminServicesTest, AfterAShutdownChangesAreRefusedWithARetry) {
  CreateConnections();
  coordinator_->Shutdown();
  const absl::Status refused = CreateJob(Job("a")).status();
  EXPECT_TRUE(absl::IsUnavailable(refused)) << refused;
  EXPECT_EQ(DetailsOf(refused).reason, "UNAVAILABLE");
  EXPECT_EQ(DetailsOf(refused).retry_after, absl::Seconds(1));
}

}  // namespace
}  // namespace tidemark::coordinator
