// The program tidemark-worker, run as its users do, against a coordinator in this process.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "absl/strings/substitute.h"
#include "coordinator/control/grpc_server.h"
#include "coordinator/control/grpc_worker_control_service.h"
#include "coordinator/run/ticker.h"
#include "grpcpp/impl/service_type.h"
#include "tests/integration/sqlite_file.h"
#include "tests/support/certificate_authority.h"
#include "tests/support/http_get.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace tidemark::test {
namespace {

using testing::HasSubstr;
using testing::MatchesRegex;
using testing::Not;

constexpr absl::Duration kPatience = absl::Minutes(2);

std::string WorkerProgram() {
  return std::filesystem::read_symlink("/proc/self/exe").replace_filename("tidemark-worker").string();
}

class WorkerDaemon : public testing::Test {
 protected:
  WorkerDaemon() {
    coordinator::CoordinatorOptions options;
    options.store = store_.get();
    options.clock = &clock_;
    options.rng = &rng_;
    options.holder = "test";
    coordinator_ = coordinator::Coordinator::Start(options).value();
    ticker_ = std::make_unique<coordinator::Ticker>(coordinator_.get());
    service_ = coordinator::NewWorkerControlService(coordinator_.get());
  }
  ~WorkerDaemon() override {
    worker_.reset();
    coordinator_->Shutdown();
  }

  void Serve(const TlsFiles& tls) {
    coordinator::GrpcServerOptions options;
    options.listen = "127.0.0.1:0";
    options.tls = tls;
    options.services = {service_.get()};
    auto server = coordinator::GrpcServer::Start(options);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }

  // A worker with these lines in its settings file besides those that any here has.
  std::unique_ptr<Process> NewWorker(const std::string& lines, std::map<std::string, std::string> environment = {}) {
    ProcessOptions options;
    options.environment = std::move(environment);
    const std::string file =
        directory_.Write("worker.yaml", absl::StrCat("spill_dir: spill\nmetrics_listen: 127.0.0.1:0\n", lines, "\n"));
    return Process::Start({WorkerProgram(), "--config", file}, options).value();
  }
  void StartWorker(const std::string& lines, std::map<std::string, std::string> environment = {}) {
    worker_ = NewWorker(lines, std::move(environment));
    ASSERT_EQ(worker_->WaitForOutput("ready\n", kPatience), absl::OkStatus()) << worker_->err();
  }
  std::string Coordinators() const {
    return absl::StrCat("coordinators: [\"127.0.0.1:1\", \"", server_->address(), "\"]");
  }

  // One job from `source` to `target`, full load, and its run's id.
  std::string StartRun(const std::string& source, const std::string& target, int64_t rows_per_second = 0) {
    std::vector<v1::ConnectionSpec> connections(2);
    connections[0].set_name("src");
    connections[0].set_dsn(source);
    connections[0].set_max_rows_per_second(rows_per_second);
    connections[1].set_name("dst");
    connections[1].set_dsn(target);
    v1::JobSpec job;
    job.set_name("orders");
    job.mutable_source()->set_connection("src");
    job.mutable_source()->set_table("events");
    job.mutable_target()->set_connection("dst");
    job.mutable_target()->set_table("orders");
    job.mutable_target()->set_strategy(v1::LOAD_STRATEGY_FULL);
    job.mutable_retry()->set_attempts(1);
    EXPECT_EQ(coordinator_->ApplyProject(connections, {job}), absl::OkStatus());
    return coordinator_->StartRun("orders", {}).value();
  }
  coordinator::RunRecord Finish(const std::string& run) {
    const absl::Duration until = clock_.Monotonic() + kPatience;
    while (true) {
      const uint64_t seen = coordinator_->version();
      coordinator::RunRecord record = coordinator_->GetRun(run).value();
      if (record.status != coordinator::RunStatus::kRunning || clock_.Monotonic() > until) return record;
      coordinator_->WaitForChange(seen, absl::Seconds(1));
    }
  }

  SystemClock clock_;
  Rng rng_{1};
  TempDir directory_;
  std::unique_ptr<coordinator::MetadataStore> store_ = coordinator::NewMemoryStore(&clock_, 1);
  std::unique_ptr<coordinator::Coordinator> coordinator_;
  std::unique_ptr<coordinator::Ticker> ticker_;
  std::unique_ptr<grpc::Service> service_;
  std::unique_ptr<coordinator::GrpcServer> server_;
  std::unique_ptr<Process> worker_;
};

TEST_F(WorkerDaemon, RunsAJobOverMutualTls) {
  CertificateAuthority authority;
  const auto server = authority.Issue("coordinator");
  const auto client = authority.Issue("worker-1");
  Serve({server.cert, server.key, authority.ca()});
  std::filesystem::create_directory(directory_.File("secrets"));
  directory_.Write("secrets/target", absl::StrCat(directory_.File("target.db"), "\n"));
  StartWorker(absl::StrCat(Coordinators(), "\nallow_env: [ROWS]\nsecrets_dir: secrets\ntls: { key: ", client.key,
                           ", ca: ", authority.ca(), " }"),
              {{"ROWS", "5000"}, {"TIDEMARK_TLS_CERT", client.cert}});
  EXPECT_THAT(worker_->out(), MatchesRegex("listening metrics 127.0.0.1:[1-9][0-9]*\nready\n"));

  const coordinator::RunRecord run = Finish(StartRun("generator:rows=${env:ROWS}", "sqlite:${file:target}"));
  EXPECT_EQ(run.status, coordinator::RunStatus::kSuccess) << run.error << worker_->err();
  EXPECT_EQ(SqliteScalar(directory_.File("target.db"), "SELECT count(*) FROM orders"), "5000");

  const std::string out = worker_->out();
  const std::string address = out.substr(18, out.find('\n') - 18);
  const std::string scrape = HttpGet(address, "/metrics")->body;
  EXPECT_THAT(scrape, HasSubstr("tidemark_rows_total{etl_job=\"orders\",stage=\"read\"} 5000\n"));
  EXPECT_THAT(scrape, HasSubstr("tidemark_rows_total{etl_job=\"orders\",stage=\"loaded\"} 5000\n"));
  EXPECT_THAT(scrape, HasSubstr("tidemark_task_attempts_total{kind=\"commit\",result=\"success\"} 1\n"));
  EXPECT_THAT(scrape, HasSubstr("tidemark_stage_duration_seconds_count{stage=\"extract\"}"));
  EXPECT_THAT(scrape, HasSubstr("tidemark_worker_memory_bytes 0\n"));
  EXPECT_THAT(scrape, HasSubstr("tidemark_spill_bytes 0\n"));
  EXPECT_THAT(scrape, HasSubstr("tidemark_build_info{version="));

  worker_->Signal(SIGTERM);
  EXPECT_EQ(worker_->Wait(absl::Seconds(30)).value(), 0) << worker_->err();
  EXPECT_THAT(worker_->err(), HasSubstr(" is registered, by a leader of epoch 1"));
}

TEST_F(WorkerDaemon, OnlyWhatItAllowsIsResolved) {
  Serve({});
  StartWorker(Coordinators(), {{"SECRET", "secret77"}});
  const coordinator::RunRecord run = Finish(StartRun("generator:rows=${env:SECRET}", "sqlite:/nowhere"));
  EXPECT_EQ(run.status, coordinator::RunStatus::kFailed);
  EXPECT_THAT(run.error, HasSubstr("the dsn of connection src: ${env:SECRET} cannot be resolved"));
  EXPECT_THAT(run.error + worker_->err(), Not(HasSubstr("secret77")));
}

TEST_F(WorkerDaemon, TheSecondSignalEndsItAtOnce) {
  Serve({});
  StartWorker(Coordinators());
  // A source that gives a row a second keeps its move busy for weeks.
  const std::string run = StartRun("generator:rows=5000000", absl::StrCat("sqlite:", directory_.File("t.db")), 1);
  const absl::Duration until = clock_.Monotonic() + kPatience;
  while (coordinator_->GetProgress(run)->partitions == 0 && clock_.Monotonic() < until) {
    coordinator_->WaitForChange(coordinator_->version(), absl::Milliseconds(100));
  }
  worker_->Signal(SIGTERM);
  ASSERT_EQ(worker_->WaitForOutput("a signal came", kPatience), absl::OkStatus());
  EXPECT_TRUE(absl::IsDeadlineExceeded(worker_->Wait(absl::Milliseconds(500)).status())) << "it finishes its tasks";
  worker_->Signal(SIGTERM);
  EXPECT_EQ(worker_->Wait(absl::Seconds(5)).value(), 1);
}

TEST_F(WorkerDaemon, OneProcessForOneId) {
  Serve({});
  StartWorker(Coordinators());
  const auto second = NewWorker(Coordinators());
  EXPECT_EQ(second->Wait(kPatience).value(), 1);
  EXPECT_THAT(second->err(), HasSubstr("give each an id of its own"));
  const auto third = NewWorker(absl::StrCat(Coordinators(), "\nid: third"));
  EXPECT_EQ(third->WaitForOutput("ready\n", kPatience), absl::OkStatus());
  third->Signal(SIGINT);
  EXPECT_EQ(third->Wait(kPatience).value(), 0);
}

TEST_F(WorkerDaemon, SaysWhatIsWrongWithItsSettings) {
  const auto wrong = NewWorker("coordinators: [a:8471]\nslot: 3");
  EXPECT_EQ(wrong->Wait(kPatience).value(), 2);
  EXPECT_EQ(wrong->err(),
            absl::StrCat(directory_.File("worker.yaml"), ":4:1: slot: unknown key; did you mean \"slots\"?\n"));
  EXPECT_EQ(wrong->out(), "");
  const auto no_tls = NewWorker("coordinators: [a:8471]\ntls: { ca: none.pem }");
  EXPECT_EQ(no_tls->Wait(kPatience).value(), 2);
  EXPECT_THAT(no_tls->err(), HasSubstr("none.pem: cannot be read"));
  const auto nothing = *RunProcess({WorkerProgram()}, kPatience);
  EXPECT_EQ(nothing.exit_code, 2);
  EXPECT_THAT(nothing.err, HasSubstr("TIDEMARK_COORDINATORS"));
  EXPECT_EQ(RunProcess({WorkerProgram(), "--confg", "x"}, kPatience)->exit_code, 2);

  const auto help = *RunProcess({WorkerProgram(), "--help"}, kPatience);
  EXPECT_EQ(help.exit_code, 0);
  EXPECT_THAT(help.out, HasSubstr("TIDEMARK_SPILL_DIR, default /var/tmp/tidemark\n"));
  EXPECT_THAT(RunProcess({WorkerProgram(), "--version"}, kPatience)->out, MatchesRegex("tidemark-worker [0-9.]+\n"));
}

}  // namespace
}  // namespace tidemark::test
