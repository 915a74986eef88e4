// The commands that talk to a cluster: the real program against services that answer as a test wants it.
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <csignal>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/synchronization/notification.h"
#include "common/rpc/error_details.h"
#include "common/rpc/grpc_status.h"
#include "gmock/gmock.h"
#include "google/protobuf/util/message_differencer.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/integration/project.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"
#include "tidemark/v1/cluster.grpc.pb.h"
#include "tidemark/v1/connection.grpc.pb.h"
#include "tidemark/v1/job.grpc.pb.h"
#include "tidemark/v1/run.grpc.pb.h"

namespace tidemark::test {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

grpc::Status NoSuch(const std::string& name) {
  return {grpc::StatusCode::NOT_FOUND, absl::StrCat("there is no ", name)};
}

// A page of `items`: small ones, so that every list has several.
template <typename Request, typename Item>
std::string FillPage(const std::vector<Item>& items, const Request& request,
                     google::protobuf::RepeatedPtrField<Item>* page) {
  size_t at = 0;
  EXPECT_TRUE(request.page_token().empty() || absl::SimpleAtoi(request.page_token(), &at));
  const size_t end = std::min(items.size(), at + std::min(2, request.page_size()));
  for (; at < end; ++at) *page->Add() = items[at];
  return end < items.size() ? absl::StrCat(end) : "";
}

class FakeJobs final : public v1::JobService::Service {
 public:
  grpc::Status GetJob(grpc::ServerContext*, const v1::GetJobRequest* request, v1::Job* job) override {
    if (!jobs.contains(request->name())) return NoSuch(request->name());
    *job = jobs[request->name()];
    return grpc::Status::OK;
  }
  grpc::Status ListJobs(grpc::ServerContext*, const v1::ListJobsRequest* request,
                        v1::ListJobsResponse* response) override {
    std::vector<v1::Job> all;
    for (const auto& [name, job] : jobs) all.push_back(job);
    response->set_next_page_token(FillPage(all, *request, response->mutable_jobs()));
    return grpc::Status::OK;
  }
  grpc::Status UpdateJob(grpc::ServerContext*, const v1::UpdateJobRequest* request, v1::Job* job) override {
    if (request->job().name() == refuses) {
      ErrorDetails details;
      details.field_violations = {{"job.spec.source.watermark", "no such column"}, {"job.spec.name", "taken"}};
      details.reason = "BAD_SPEC";
      details.metadata = {{"job", "orders"}};
      return ToGrpcStatus(WithDetails(absl::InvalidArgumentError("the job is not sound"), details));
    }
    *job = request->job();
    job->set_etag("new");
    if (!request->validate_only()) jobs[job->name()] = *job;
    return grpc::Status::OK;
  }
  grpc::Status PauseJob(grpc::ServerContext*, const v1::PauseJobRequest* request, v1::Job* job) override {
    if (!jobs.contains(request->name())) return NoSuch(request->name());
    jobs[request->name()].set_paused(true);
    *job = jobs[request->name()];
    return grpc::Status::OK;
  }
  grpc::Status RunJob(grpc::ServerContext*, const v1::RunJobRequest* request, v1::Run* run) override {
    if (!jobs.contains(request->name())) return NoSuch(request->name());
    if (busy) return {grpc::StatusCode::FAILED_PRECONDITION, "a run goes on"};
    run_requests.push_back(*request);
    run->set_name("runs/01run");
    run->set_job(request->name());
    run->set_status(v1::Run::STATUS_RUNNING);
    run->set_phase("queued");
    return grpc::Status::OK;
  }
  grpc::Status BackfillJob(grpc::ServerContext*, const v1::BackfillJobRequest* request, v1::Run* run) override {
    backfill = *request;
    run->set_name("runs/01run");
    return grpc::Status::OK;
  }

  std::map<std::string, v1::Job> jobs;
  std::vector<v1::RunJobRequest> run_requests;
  v1::BackfillJobRequest backfill;
  bool busy = false;
  // Name of a job that UpdateJob finds fault with.
  std::string refuses;
};

class FakeRuns final : public v1::RunService::Service {
 public:
  // What one stream tells, and how it ends; `held`: not before the client leaves.
  struct Stream {
    std::vector<v1::Run> updates = {};
    grpc::Status end = {};
    bool held = false;
  };

  grpc::Status GetRun(grpc::ServerContext*, const v1::GetRunRequest* request, v1::Run* run) override {
    for (const v1::Run& each : runs) {
      if (each.name() != request->name() && request->name() != each.job() + "/runs/latest") continue;
      *run = each;
      return grpc::Status::OK;
    }
    return NoSuch(request->name());
  }
  grpc::Status ListRuns(grpc::ServerContext*, const v1::ListRunsRequest* request,
                        v1::ListRunsResponse* response) override {
    listed.push_back(*request);
    response->set_next_page_token(FillPage(runs, *request, response->mutable_runs()));
    return grpc::Status::OK;
  }
  grpc::Status WatchRun(grpc::ServerContext* context, const v1::WatchRunRequest* request,
                        grpc::ServerWriter<v1::WatchRunResponse>* writer) override {
    watched.push_back(request->name());
    if (watched.size() > streams.size()) return {grpc::StatusCode::INTERNAL, "watched too often"};
    const Stream& stream = streams[watched.size() - 1];
    for (const v1::Run& run : stream.updates) {
      v1::WatchRunResponse response;
      *response.mutable_run() = run;
      writer->Write(response);
    }
    if (stream.held) {
      if (!held.HasBeenNotified()) held.Notify();
      // What is written to a client that has left fails.
      v1::WatchRunResponse response;
      *response.mutable_run() = stream.updates.back();
      while (!context->IsCancelled() && writer->Write(response)) continue;
    }
    return stream.end;
  }

  std::vector<v1::Run> runs;
  std::vector<v1::ListRunsRequest> listed;
  std::vector<Stream> streams;
  std::vector<std::string> watched;
  absl::Notification held;
};

class FakeConnections final : public v1::ConnectionService::Service {
 public:
  grpc::Status GetConnection(grpc::ServerContext*, const v1::GetConnectionRequest* request,
                             v1::Connection* connection) override {
    if (!connections.contains(request->name())) return NoSuch(request->name());
    *connection = Shown(connections[request->name()]);
    return grpc::Status::OK;
  }
  grpc::Status ListConnections(grpc::ServerContext*, const v1::ListConnectionsRequest* request,
                               v1::ListConnectionsResponse* response) override {
    std::vector<v1::Connection> all;
    for (const auto& [name, connection] : connections) all.push_back(Shown(connection));
    response->set_next_page_token(FillPage(all, *request, response->mutable_connections()));
    return grpc::Status::OK;
  }
  grpc::Status UpdateConnection(grpc::ServerContext*, const v1::UpdateConnectionRequest* request,
                                v1::Connection* connection) override {
    *connection = request->connection();
    const v1::Connection& before = connections[connection->name()];
    const bool same = google::protobuf::util::MessageDifferencer::Equals(before.spec(), request->connection().spec());
    connection->set_etag(same ? before.etag() : before.etag() + "+");
    if (request->validate_only()) {
      if (!before.has_spec()) connections.erase(connection->name());
    } else {
      connections[connection->name()] = *connection;
    }
    *connection = Shown(*connection);
    return grpc::Status::OK;
  }
  grpc::Status TestConnection(grpc::ServerContext*, const v1::TestConnectionRequest* request,
                              v1::TestConnectionResponse* response) override {
    if (request->name() == "connections/down") return {grpc::StatusCode::UNAVAILABLE, "connection refused"};
    response->set_server("PostgreSQL 15.20, primary");
    response->add_warnings("GRANT pg_read_all_stats TO etl");
    return grpc::Status::OK;
  }

  // With their secrets, as they were sent.
  std::map<std::string, v1::Connection> connections;

 private:
  static v1::Connection Shown(v1::Connection connection) {
    connection.mutable_spec()->clear_dsn();
    connection.set_redacted_dsn("postgresql://***@db/shop");
    return connection;
  }
};

class FakeCluster final : public v1::ClusterService::Service {
 public:
  grpc::Status GetStatus(grpc::ServerContext*, const v1::GetStatusRequest*, v1::ClusterStatus* status) override {
    status->set_cluster_id("c1");
    status->set_leader("etl-1:8470");
    status->set_workers(2);
    return grpc::Status::OK;
  }
  grpc::Status ListWorkers(grpc::ServerContext*, const v1::ListWorkersRequest* request,
                           v1::ListWorkersResponse* response) override {
    std::vector<v1::Worker> workers(3);
    for (int i = 0; i < 3; ++i) workers[i].set_name(absl::StrCat("workers/w", i));
    workers[1].set_state(v1::Worker::STATE_LOST);
    response->set_next_page_token(FillPage(workers, *request, response->mutable_workers()));
    return grpc::Status::OK;
  }
  grpc::Status DrainWorker(grpc::ServerContext*, const v1::DrainWorkerRequest* request, v1::Worker* worker) override {
    worker->set_name(request->name());
    worker->set_state(v1::Worker::STATE_DRAINING);
    return grpc::Status::OK;
  }
};

v1::Run RunOf(v1::Run::Status status, const std::string& phase) {
  v1::Run run;
  run.set_name("runs/01run");
  run.set_job("jobs/orders");
  run.set_status(status);
  run.set_phase(phase);
  return run;
}

// Each test has a server of its own; its fakes are looked at while no command runs.
class CliClusterTest : public ::testing::Test {
 protected:
  CliClusterTest() {
    int port = 0;
    server_ = grpc::ServerBuilder()
                  .AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port)
                  .RegisterService(&jobs_)
                  .RegisterService(&runs_)
                  .RegisterService(&connections_)
                  .RegisterService(&cluster_)
                  .BuildAndStart();
    address_ = absl::StrCat("127.0.0.1:", port);
    for (const char* name : {"customers", "invoices", "orders"}) {
      v1::Job& job = jobs_.jobs[absl::StrCat("jobs/", name)];
      job.set_name(absl::StrCat("jobs/", name));
      job.mutable_spec()->set_name(name);
    }
  }
  ~CliClusterTest() override { server_->Shutdown(); }

  std::vector<std::string> Words(std::vector<std::string> words) const {
    words.insert(words.begin(), TidemarkProgram());
    words.insert(words.end(), {"--server", address_});
    return words;
  }
  ProcessResult Command(std::vector<std::string> words) {
    return *RunProcess(Words(std::move(words)), absl::Minutes(2));
  }
  // Of a watch whose streams are these.
  ProcessResult Watch(std::vector<FakeRuns::Stream> streams) {
    runs_.streams = std::move(streams);
    return Command({"runs", "watch", "orders@latest"});
  }

  FakeJobs jobs_;
  FakeRuns runs_;
  FakeConnections connections_;
  FakeCluster cluster_;
  std::unique_ptr<grpc::Server> server_;
  std::string address_;
};

TEST_F(CliClusterTest, ListsFollowTheirPages) {
  v1::Job& orders = jobs_.jobs["jobs/orders"];
  orders.mutable_spec()->mutable_schedule()->set_cron("30 2 * * *");
  orders.mutable_last_watermark()->set_text("2026-01-05");
  orders.mutable_next_fire_time()->set_seconds(1'767'580'200);
  orders.set_paused(true);
  const json jobs = json::parse(Command({"jobs", "list", "-o", "json"}).out);
  ASSERT_EQ(jobs.size(), 3u);
  EXPECT_EQ(jobs[2]["job"], "orders");
  EXPECT_EQ(jobs[2]["schedule"], "30 2 * * *");
  EXPECT_EQ(jobs[2]["timezone"], "UTC");
  EXPECT_EQ(jobs[2]["next_fire_time"], "2026-01-05T02:30:00.000Z");
  EXPECT_EQ(jobs[2]["last_watermark"], "2026-01-05");
  EXPECT_EQ(jobs[2]["paused"], true);
  EXPECT_EQ(jobs[0]["schedule"], nullptr);
  EXPECT_THAT(Command({"jobs", "list"}).out,
              HasSubstr("\norders     30 2 * * *  UTC   2026-01-05T02:30:00.000Z  2026-01-05      yes\n"));
  const json workers = json::parse(Command({"workers", "list", "-o", "json"}).out);
  ASSERT_EQ(workers.size(), 3u);
  EXPECT_EQ(workers[1]["worker"], "w1");
  EXPECT_EQ(workers[1]["state"], "lost");
}

TEST_F(CliClusterTest, RunsAreThoseAskedFor) {
  for (int i = 0; i < 5; ++i) {
    runs_.runs.push_back(RunOf(v1::Run::STATUS_FAILED, "failed"));
    runs_.runs.back().set_name(absl::StrCat("runs/", i));
  }
  const ProcessResult list =
      Command({"runs", "list", "--job", "orders", "--status", "failed", "--limit", "3", "-o", "json"});
  EXPECT_EQ(json::parse(list.out).size(), 3u) << list.err;
  ASSERT_THAT(runs_.listed, SizeIs(2));
  EXPECT_EQ(runs_.listed[0].parent(), "jobs/orders");
  EXPECT_EQ(runs_.listed[0].filter(), "status = \"failed\"");
  EXPECT_EQ(runs_.listed[1].page_token(), "2");
  EXPECT_EQ(json::parse(Command({"runs", "get", "3", "-o", "json"}).out)["run_id"], "3");
  EXPECT_THAT(Command({"runs", "get", "orders@latest"}).out, HasSubstr("orders: failed  (run 0)"));
  EXPECT_EQ(Command({"runs", "get", "nope"}).exit_code, 4);
  EXPECT_EQ(Command({"runs", "get", "@latest"}).exit_code, 2);
  EXPECT_EQ(Command({"runs", "list", "--status", "done"}).exit_code, 2);
}

TEST_F(CliClusterTest, ErrorsHaveTheirExitCodes) {
  const ProcessResult missing = Command({"jobs", "pause", "nope"});
  EXPECT_EQ(missing.exit_code, 4);
  EXPECT_EQ(missing.err, "tidemark: there is no jobs/nope\n");
  jobs_.busy = true;
  EXPECT_EQ(Command({"jobs", "run", "orders"}).exit_code, 1);
  // Not served by these fakes.
  EXPECT_EQ(Command({"jobs", "delete", "orders"}).exit_code, 1);
  server_->Shutdown();
  const ProcessResult unreachable = Command({"status"});
  EXPECT_EQ(unreachable.exit_code, 5);
  EXPECT_THAT(unreachable.err, HasSubstr(absl::StrCat("tidemark: ", address_, ": ")));
  EXPECT_THAT(Command({"jobs", "run", "orders", "--request-id", "once"}).err, HasSubstr("--request-id once"));
  EXPECT_EQ(Command({"status", "--tls-ca", "/nowhere/ca.pem"}).exit_code, 2);
  EXPECT_EQ(RunProcess({TidemarkProgram(), "status", "--server", "here"}, absl::Minutes(1))->exit_code, 2);
}

TEST_F(CliClusterTest, TheServerMayBeNamedInTheEnvironment) {
  ProcessOptions options;
  options.environment = {{"TIDEMARK_SERVER", address_}};
  const ProcessResult status = *RunProcess({TidemarkProgram(), "status"}, absl::Minutes(1), options);
  EXPECT_THAT(status.out, HasSubstr("cluster c1")) << status.err;
  EXPECT_EQ(json::parse(Command({"status", "-o", "json"}).out)["leader"], "etl-1:8470");
  EXPECT_EQ(Command({"workers", "drain", "w1"}).out, "w1: draining, gets no new task and finishes those it has\n");
}

TEST_F(CliClusterTest, EveryInvocationMakesARunUnlessItSaysWhich) {
  EXPECT_EQ(Command({"jobs", "run", "orders"}).out, "orders: run 01run is queued\n");
  EXPECT_EQ(Command({"jobs", "run", "orders", "--full-refresh"}).exit_code, 0);
  EXPECT_EQ(Command({"jobs", "run", "orders", "--request-id", "once"}).exit_code, 0);
  ASSERT_THAT(jobs_.run_requests, SizeIs(3));
  EXPECT_THAT(jobs_.run_requests[0].request_id(), Not(IsEmpty()));
  EXPECT_NE(jobs_.run_requests[0].request_id(), jobs_.run_requests[1].request_id());
  EXPECT_EQ(jobs_.run_requests[2].request_id(), "once");
  EXPECT_FALSE(jobs_.run_requests[0].full_refresh());
  EXPECT_TRUE(jobs_.run_requests[1].full_refresh());
  EXPECT_EQ(Command({"backfill", "orders", "--from", "A", "--to", "B"}).exit_code, 0);
  EXPECT_EQ(jobs_.backfill.low(), "A");
  EXPECT_EQ(jobs_.backfill.high(), "B");
  EXPECT_EQ(Command({"backfill", "orders", "--from", "A"}).exit_code, 2);
}

TEST_F(CliClusterTest, AWatchEndsAsTheRunDid) {
  v1::Run moving = RunOf(v1::Run::STATUS_RUNNING, "moving");
  moving.set_partitions(8);
  moving.set_partitions_done(3);
  v1::Run done = RunOf(v1::Run::STATUS_SUCCESS, "done");
  done.mutable_counts()->set_read(10);
  done.mutable_counts()->set_loaded(10);
  const ProcessResult success = Watch({{.updates = {moving, done}}});
  EXPECT_EQ(success.exit_code, 0);
  EXPECT_THAT(success.out, AllOf(HasSubstr("orders: success"), HasSubstr("read 10 = loaded 10")));
  EXPECT_THAT(success.err, HasSubstr("orders: moving, 3/8 partitions\n"));
  EXPECT_THAT(runs_.watched, ElementsAre("jobs/orders/runs/latest"));
}

TEST_F(CliClusterTest, AWatchHasTheRunsExitCode) {
  v1::Run quarantined = RunOf(v1::Run::STATUS_SUCCESS, "done");
  quarantined.mutable_counts()->set_quarantined(1);
  v1::Run failed = RunOf(v1::Run::STATUS_FAILED, "failed");
  failed.set_error("no such table");
  runs_.streams = {{.updates = {quarantined}}, {.updates = {failed}}};
  EXPECT_EQ(Command({"runs", "watch", "01run"}).exit_code, 3);
  const ProcessResult run = Command({"jobs", "run", "orders", "--wait", "-o", "json"});
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_EQ(json::parse(run.out)["error"], "no such table");
  EXPECT_THAT(runs_.watched, ElementsAre("runs/01run", "runs/01run"));
}

TEST_F(CliClusterTest, AWatchGoesOnWhenTheServerComesBack) {
  const ProcessResult watch =
      Watch({{.updates = {RunOf(v1::Run::STATUS_RUNNING, "moving")}, .end = {grpc::StatusCode::UNAVAILABLE, "bye"}},
             {.updates = {RunOf(v1::Run::STATUS_RUNNING, "committing")}},
             {.updates = {RunOf(v1::Run::STATUS_SUCCESS, "done")}}});
  EXPECT_EQ(watch.exit_code, 0) << watch.err;
  EXPECT_THAT(watch.err, HasSubstr("bye; trying again\n"));
  EXPECT_THAT(runs_.watched, ElementsAre("jobs/orders/runs/latest", "runs/01run", "runs/01run"));
  EXPECT_EQ(Watch({{}, {}, {}, {.end = NoSuch("runs/01run")}}).exit_code, 4);
}

TEST_F(CliClusterTest, CtrlCLeavesTheWatchAndTheRunGoesOn) {
  runs_.streams = {{.updates = {RunOf(v1::Run::STATUS_RUNNING, "moving")}, .held = true}};
  const std::unique_ptr<Process> watch = Process::Start(Words({"runs", "watch", "01run"})).value();
  runs_.held.WaitForNotification();
  watch->Signal(SIGINT);
  EXPECT_EQ(watch->Wait(absl::Minutes(2)).value(), 130);
  EXPECT_THAT(watch->err(), HasSubstr("the run goes on: tidemark runs watch 01run"));
}

TEST_F(CliClusterTest, ConnectionsAreTestedByTheCluster) {
  for (const char* name : {"connections/shop", "connections/down"}) connections_.connections[name].set_name(name);
  const ProcessResult all = Command({"connections", "test", "-o", "json"});
  EXPECT_EQ(all.exit_code, 5);
  const json tests = json::parse(all.out);
  ASSERT_EQ(tests.size(), 2u);
  EXPECT_EQ(tests[0]["ok"], false);
  EXPECT_THAT(tests[0]["error"].get<std::string>(), HasSubstr("connection refused"));
  EXPECT_EQ(tests[1]["server"], "PostgreSQL 15.20, primary");
  EXPECT_EQ(tests[1]["warnings"][0], "GRANT pg_read_all_stats TO etl");
  EXPECT_EQ(Command({"connections", "test", "shop"}).exit_code, 0);
  EXPECT_EQ(Command({"connections", "test", "nope"}).exit_code, 4);
  EXPECT_THAT(Command({"connections", "list"}).out, HasSubstr("postgresql://***@db/shop"));
}

class CliApplyTest : public CliClusterTest {
 protected:
  CliApplyTest() {
    jobs_.jobs.clear();
    Write("4");
  }
  void Write(const std::string& max_connections) {
    file_ = directory_.Write("tidemark.yaml", absl::StrCat(R"(connections:
  shop: { dsn: "postgresql://etl:${env:NOT_SET_HERE}@db/shop", max_connections: )",
                                                           max_connections, R"( }
  warehouse: { dsn: "sqlite:warehouse.db" }
jobs:
  orders:
    source: { connection: shop, table: orders, watermark: updated_at }
    target: { connection: warehouse, table: orders }
)"));
  }
  // "kind name change" of each item.
  std::vector<std::string> Apply(std::vector<std::string> options = {}, int exit_code = 0) {
    options.insert(options.begin(), {"apply", file_, "-o", "json"});
    const ProcessResult applied = Command(options);
    EXPECT_EQ(applied.exit_code, exit_code) << applied.err;
    err_ = applied.err;
    std::vector<std::string> lines;
    for (const json& item : json::parse(applied.out)) {
      lines.push_back(absl::StrCat(item["kind"].get<std::string>(), " ", item["name"].get<std::string>(), " ",
                                   item["change"].get<std::string>()));
    }
    return lines;
  }

  TempDir directory_;
  std::string file_;
  std::string err_;
};

TEST_F(CliApplyTest, SaysWhatBecameOfEachItem) {
  EXPECT_THAT(Apply({"--dry-run"}),
              ElementsAre("connection shop created", "connection warehouse created", "job orders created"));
  EXPECT_THAT(connections_.connections, IsEmpty());
  EXPECT_THAT(jobs_.jobs, IsEmpty());
  EXPECT_THAT(Apply(), ElementsAre("connection shop created", "connection warehouse created", "job orders created"));
  // The worker resolves what the project file only names; its paths are those of this machine.
  EXPECT_EQ(connections_.connections["connections/shop"].spec().dsn(), "postgresql://etl:${env:NOT_SET_HERE}@db/shop");
  EXPECT_EQ(connections_.connections["connections/warehouse"].spec().dsn(),
            absl::StrCat("sqlite:", directory_.File("warehouse.db")));
  EXPECT_EQ(jobs_.jobs["jobs/orders"].spec().retry().attempts(), 5);
  EXPECT_THAT(Apply(),
              ElementsAre("connection shop unchanged", "connection warehouse unchanged", "job orders unchanged"));
  Write("7");
  EXPECT_THAT(Apply({"--dry-run"}),
              ElementsAre("connection shop changed", "connection warehouse unchanged", "job orders unchanged"));
  EXPECT_EQ(connections_.connections["connections/shop"].spec().max_connections(), 4);
  EXPECT_THAT(Apply(),
              ElementsAre("connection shop changed", "connection warehouse unchanged", "job orders unchanged"));
}

TEST_F(CliApplyTest, WhatTheServerRefusesIsSaidFieldByField) {
  jobs_.refuses = "jobs/orders";
  EXPECT_THAT(Apply({}, 2),
              ElementsAre("connection shop created", "connection warehouse created", "job orders failed"));
  EXPECT_EQ(err_,
            "tidemark: job orders: the job is not sound\n  job.spec.source.watermark: no such column\n"
            "  job.spec.name: taken\n  reason BAD_SPEC: job=orders\n");
}

TEST_F(CliApplyTest, WhatTheFileHasWrongReachesNoServer) {
  server_->Shutdown();
  directory_.Write("tidemark.yaml", "connections: { a: { dsn: 'ftp:x' } }\njobs: {}\n");
  EXPECT_EQ(Command({"apply", file_}).exit_code, 2);
  Write("4");
  EXPECT_EQ(Command({"apply", file_}).exit_code, 5);
}

class CliCompletionTest : public CliClusterTest {
 protected:
  // The words that `tidemark WORDS...` may go on with.
  std::vector<std::string> Offers(std::vector<std::string> words) {
    words.insert(words.begin(), {TidemarkProgram(), "__complete", "--server", address_});
    const ProcessResult result = *RunProcess(words, absl::Minutes(1));
    EXPECT_EQ(result.exit_code, 0);
    EXPECT_THAT(result.err, IsEmpty());
    std::vector<std::string> offers;
    for (const absl::string_view line : absl::StrSplit(result.out, '\n', absl::SkipEmpty())) {
      offers.emplace_back(*absl::StrSplit(line, '\t').begin());
    }
    return offers;
  }
};

TEST_F(CliCompletionTest, CommandsOptionsAndNames) {
  runs_.runs.push_back(RunOf(v1::Run::STATUS_RUNNING, "moving"));
  connections_.connections["connections/shop"].set_name("connections/shop");
  EXPECT_THAT(Offers({"jo"}), ElementsAre("jobs"));
  EXPECT_THAT(Offers({"jobs", "p"}), ElementsAre("pause"));
  EXPECT_THAT(Offers({"jobs", "run", ""}), ElementsAre("customers", "invoices", "orders"));
  EXPECT_THAT(Offers({"jobs", "run", "--wait", "or"}), ElementsAre("orders"));
  EXPECT_THAT(Offers({"jobs", "run", "orders", ""}), IsEmpty());
  EXPECT_THAT(Offers({"jobs", "run", "--re"}), ElementsAre("--request-id"));
  EXPECT_THAT(Offers({"-o", "nd"}), ElementsAre("ndjson"));
  EXPECT_THAT(Offers({"runs", "list", "--status", "s"}), ElementsAre("success", "skipped"));
  EXPECT_THAT(Offers({"runs", "list", "--job", "i"}), ElementsAre("invoices"));
  EXPECT_THAT(Offers({"runs", "watch", "o"}), ElementsAre("orders@latest"));
  EXPECT_THAT(Offers({"runs", "get", "0"}), ElementsAre("01run"));
  EXPECT_THAT(Offers({"workers", "drain", ""}), ElementsAre("w0", "w1", "w2"));
  EXPECT_THAT(Offers({"connections", "test", "shop", ""}), ElementsAre("shop"));
  EXPECT_THAT(Offers({"apply", ""}), ElementsAre(":files"));
  EXPECT_THAT(Offers({"__"}), IsEmpty());
  server_->Shutdown();
  EXPECT_THAT(Offers({"jobs", "run", ""}), IsEmpty());
}

TEST_F(CliCompletionTest, BashCompletesWhatItIsAsked) {
  runs_.runs.push_back(RunOf(v1::Run::STATUS_RUNNING, "moving"));
  TempDir directory;
  const std::string script = directory.Write("script", Command({"completion", "bash"}).out + R"(
complete_line() {
  COMP_LINE="$1" COMP_POINT=${#1}
  _tidemark "$TIDEMARK" "$2"
  echo "${COMPREPLY[*]}"
}
compopt() { echo "compopt $*"; }
complete_line "tidemark jobs re" re
complete_line "tidemark jobs " ""
complete_line "tidemark runs get orders@la" @la
complete_line "tidemark apply " ""
)");
  ProcessOptions options;
  options.environment = {{"TIDEMARK_SERVER", address_}, {"TIDEMARK", TidemarkProgram()}};
  EXPECT_EQ(RunProcess({"bash", script}, absl::Minutes(1), options)->out,
            "resume\nlist get delete pause resume adopt run\n@latest\ncompopt -o default\n\n");
}

TEST_F(CliCompletionTest, ScriptsParse) {
  TempDir directory;
  for (const char* shell : {"bash", "zsh", "fish"}) {
    const ProcessResult script = Command({"completion", shell});
    EXPECT_EQ(script.exit_code, 0);
    const std::string file = directory.Write(shell, script.out);
    if (RunProcess({"sh", "-c", absl::StrCat("command -v ", shell)}, absl::Minutes(1))->exit_code != 0) continue;
    const ProcessResult parsed = *RunProcess({shell, "-n", file}, absl::Minutes(1));
    EXPECT_EQ(parsed.exit_code, 0) << shell << ": " << parsed.err;
  }
  EXPECT_EQ(Command({"completion", "tcsh"}).exit_code, 2);
}

}  // namespace
}  // namespace tidemark::test
