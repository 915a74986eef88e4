// What a cluster shows to those outside of it: gRPC to any client, metrics to Prometheus.
#include <gmock/gmock.h>
#include <google/protobuf/unknown_field_set.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/substitute.h"
#include "absl/synchronization/blocking_counter.h"
#include "tests/integration/cluster.h"
#include "tests/integration/project.h"
#include "tests/support/postgres_server.h"
#include "tests/support/redis_server.h"
#include "tidemark/v1/job.grpc.pb.h"

namespace tidemark::test {
namespace {

using google::protobuf::UnknownFieldSet;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::IsSupersetOf;
using testing::Not;

std::shared_ptr<grpc::Channel> Connect(const std::string& address) {
  return grpc::CreateChannel(address, grpc::InsecureChannelCredentials());
}

// One request and one response of a method that this program has no generated code for, as their bytes on the wire.
std::string CallRaw(const std::string& address, const std::string& method, const std::string& request) {
  grpc::GenericStub stub(Connect(address));
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::minutes(2));
  grpc::CompletionQueue queue;
  const auto done = [&queue] {
    void* tag = nullptr;
    bool ok = false;
    return queue.Next(&tag, &ok) && ok;
  };
  const auto call = stub.PrepareCall(&context, method, &queue);
  const grpc::Slice slice(request);
  call->StartCall(nullptr);
  EXPECT_TRUE(done());
  call->WriteLast(grpc::ByteBuffer(&slice, 1), grpc::WriteOptions(), nullptr);
  EXPECT_TRUE(done());
  grpc::ByteBuffer response;
  call->Read(&response, nullptr);
  EXPECT_TRUE(done()) << method << " does not answer";
  grpc::Status status;
  call->Finish(&status, nullptr);
  EXPECT_TRUE(done());
  EXPECT_TRUE(status.ok()) << status.error_message();
  grpc::Slice bytes;
  EXPECT_TRUE(response.DumpToSingleSlice(&bytes).ok());
  return std::string(reinterpret_cast<const char*>(bytes.begin()), bytes.size());
}

// The values of a field of a message.
std::vector<std::string> Field(const std::string& message, int number) {
  UnknownFieldSet fields;
  EXPECT_TRUE(fields.ParseFromString(message));
  std::vector<std::string> values;
  for (int i = 0; i < fields.field_count(); ++i) {
    if (fields.field(i).number() == number) values.push_back(fields.field(i).length_delimited());
  }
  return values;
}

// By the reflection protocol: list_services is field 7 of a request, the answer to it field 6.
std::vector<std::string> Services(const std::string& address) {
  const std::string list_services("\x3a\x00", 2);
  const std::string response =
      CallRaw(address, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", list_services);
  std::vector<std::string> names;
  for (const std::string& list : Field(response, 6)) {
    for (const std::string& service : Field(list, 1)) names.push_back(Field(service, 1).at(0));
  }
  return names;
}

class ClusterApi : public testing::Test {
 protected:
  // The rows that each job has to move.
  static constexpr int kRows = 1000;

  ClusterApi() {
    Exec(source_, absl::StrCat("CREATE TABLE items (id bigint PRIMARY KEY, payload text);"
                               "INSERT INTO items SELECT g, md5(g::text) FROM generate_series(1, ",
                               kRows, ") g"));
  }

  static std::string Project(const std::string& source, const std::string& target) {
    return absl::Substitute(R"(
connections:
  shop: { dsn: "$0", max_connections: 2 }
  warehouse: { dsn: "$1" }
jobs:
  items:
    schedule: "0 0 1 1 *"
    source: { connection: shop, table: public.items }
    target: { connection: warehouse, table: public.items, strategy: full }
    retry: { attempts: 1 }
)",
                            source, target);
  }

  PostgresServer& server_ = PostgresServer::Shared();
  const std::string source_ = server_.NewDatabase();
  const std::string target_ = server_.NewDatabase();
};

TEST_F(ClusterApi, AnyClientFindsItsWay) {
  Cluster cluster({.store = server_.NewDatabase(), .workers = 1});
  cluster.Apply(Project(source_, target_));
  const std::string address = cluster.admin_address();
  EXPECT_THAT(Services(address),
              IsSupersetOf({"tidemark.v1.JobService", "tidemark.v1.RunService", "tidemark.v1.ConnectionService",
                            "tidemark.v1.ClusterService", "grpc.health.v1.Health"}));
  // status = SERVING
  EXPECT_EQ(CallRaw(address, "/grpc.health.v1.Health/Check", ""), "\x08\x01");

  const auto jobs = v1::JobService::NewStub(Connect(address));
  v1::RunJobRequest request;
  request.set_name("jobs/items");
  request.set_request_id("once-77");
  v1::Run first;
  v1::Run again;
  {
    grpc::ClientContext context;
    const grpc::Status status = jobs->RunJob(&context, request, &first);
    ASSERT_TRUE(status.ok()) << status.error_message();
  }
  const std::string id = first.name().substr(first.name().find('/') + 1);
  const nlohmann::json ended = cluster.FinishRun(id);
  EXPECT_EQ(ended["status"], "success") << ended.dump(1);
  EXPECT_EQ(ended["rows_loaded"], kRows);
  {
    grpc::ClientContext context;
    const grpc::Status status = jobs->RunJob(&context, request, &again);
    ASSERT_TRUE(status.ok()) << status.error_message();
  }
  EXPECT_EQ(again.name(), first.name());
  EXPECT_EQ(Scalar(cluster.store(), "SELECT count(*) FROM etl_runs"), "1");
}

TEST_F(ClusterApi, PrometheusFindsNoFaultWithTheMetrics) {
  Cluster cluster({.store = server_.NewDatabase(), .workers = 1});
  cluster.Apply(Project(source_, target_));
  const std::string good = cluster.StartRun("items");
  EXPECT_EQ(cluster.FinishRun(good)["status"], "success");
  // So that the metrics of what fails are there too.
  Exec(source_, "DROP TABLE items");
  const std::string bad = cluster.StartRun("items");
  EXPECT_EQ(cluster.FinishRun(bad)["status"], "failed");

  const TempDir directory;
  const std::string coordinator = Cluster::Metrics(cluster.coordinator());
  const std::string worker = Cluster::Metrics(cluster.worker(0));
  EXPECT_THAT(coordinator, HasSubstr("tidemark_runs_total{etl_job=\"items\",status=\"success\"} 1\n"));
  EXPECT_THAT(coordinator, HasSubstr("tidemark_runs_total{etl_job=\"items\",status=\"failed\"} 1\n"));
  EXPECT_THAT(worker, HasSubstr(absl::StrCat("tidemark_rows_total{etl_job=\"items\",stage=\"loaded\"} ", kRows, "\n")));
  for (const std::string& metrics : {coordinator, worker}) {
    const std::string file = directory.Write("metrics", metrics);
    const ProcessResult check =
        RunProcess({"sh", "-c", "promtool check metrics < \"$0\"", file}, kClusterPatience).value();
    EXPECT_EQ(check.exit_code, 0);
    EXPECT_EQ(check.out + check.err, "");
    EXPECT_THAT(metrics, Not(HasSubstr(good)));
    EXPECT_THAT(metrics, Not(HasSubstr(bad)));
  }
}

TEST_F(ClusterApi, AThousandClientsThatMissTheCacheLoadItAtMostOnce) {
  auto redis = RedisServer::Start().value();
  Cluster cluster({.store = server_.NewDatabase(), .redis = redis->Url(), .workers = 1});
  cluster.Apply(Project(source_, target_));
  struct Client {
    std::unique_ptr<v1::JobService::Stub> jobs;
    grpc::ClientContext context;
    v1::ListJobsRequest request;
    v1::ListJobsResponse response;
    grpc::Status status;
  };
  std::vector<Client> clients(1000);
  // With a connection each, which is there before any of them asks.
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  const auto deadline = std::chrono::system_clock::now() + std::chrono::minutes(2);
  for (Client& client : clients) {
    const auto channel =
        grpc::CreateCustomChannel(cluster.admin_address(), grpc::InsecureChannelCredentials(), arguments);
    ASSERT_TRUE(channel->WaitForConnected(deadline));
    client.jobs = v1::JobService::NewStub(channel);
    client.context.set_deadline(deadline);
  }
  const auto loads = [&] {
    const std::string count = "tidemark_metadata_query_duration_seconds_count{operation=\"list_jobs\"} ";
    const std::vector<std::string> parts = absl::StrSplit(Cluster::Metrics(cluster.coordinator()), count);
    return parts.size() < 2 ? 0 : std::stoi(parts[1]);
  };
  // Neither the process nor Redis has the list of this revision.
  EXPECT_EQ(cluster.Command({"jobs", "pause", "items"}).exit_code, 0);
  redis->Flush();
  const int before = loads();
  absl::BlockingCounter done(static_cast<int>(clients.size()));
  for (Client& client : clients) {
    client.jobs->async()->ListJobs(&client.context, &client.request, &client.response, [&](grpc::Status status) {
      client.status = std::move(status);
      done.DecrementCount();
    });
  }
  done.Wait();
  for (const Client& client : clients) {
    ASSERT_TRUE(client.status.ok()) << client.status.error_message();
    ASSERT_EQ(client.response.jobs_size(), 1);
    ASSERT_TRUE(client.response.jobs(0).paused());
  }
  EXPECT_EQ(loads(), before + 1);
}

TEST(ClusterPrograms, TheCoordinatorLoadsNoDataLibraries) {
  const auto libraries = [](const char* program) {
    const std::filesystem::path path = std::filesystem::path(TidemarkProgram()).replace_filename(program);
    const ProcessResult ldd = RunProcess({"ldd", path}, kClusterPatience).value();
    EXPECT_EQ(ldd.exit_code, 0) << ldd.err;
    return ldd.out;
  };
  const std::string coordinator = libraries("tidemark-coordinator");
  EXPECT_THAT(coordinator, HasSubstr("libgrpc++"));
  for (const char* library : {"arrow", "parquet", "adbc", "duckdb", "mariadb", "mysql"}) {
    EXPECT_THAT(coordinator, Not(HasSubstr(library)));
  }
  EXPECT_THAT(libraries("tidemark-worker"), HasSubstr("libarrow"));
}

}  // namespace
}  // namespace tidemark::test
