// What a cluster shows to those outside of it: gRPC to any client, metrics to Prometheus, secrets to no one.
#include <gmock/gmock.h>
#include <google/protobuf/io/gzip_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/unknown_field_set.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
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

// A value with what it holds compressed, gzip as its last part, in plain.
std::string Inflated(const std::string& value) {
  const size_t at = value.find("\x1f\x8b\x08");
  if (at == value.npos) return value;
  google::protobuf::io::ArrayInputStream compressed(value.data() + at, static_cast<int>(value.size() - at));
  google::protobuf::io::GzipInputStream stream(&compressed);
  std::string plain = value.substr(0, at);
  const void* part = nullptr;
  for (int size = 0; stream.Next(&part, &size);) plain.append(static_cast<const char*>(part), size);
  return plain;
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

TEST_F(ClusterApi, SecretsAreNowhere) {
  const std::string canary = "canary77";
  const auto with_password = [&](const std::string& dsn, const std::string& password) {
    return absl::StrReplaceAll(dsn, {{"postgres@", absl::StrCat("postgres:", password, "@")}});
  };
  auto redis = RedisServer::Start(canary + "redis").value();
  const std::string store = server_.NewDatabase();
  Cluster cluster({.store = with_password(store, canary + "store"),
                   .redis = redis->Url(),
                   .workers = 1,
                   .worker_environment = {{"WAREHOUSE_PASSWORD", canary + "variable"},
                                          {"TIDEMARK_ALLOW_ENV", "WAREHOUSE_PASSWORD"}}});
  const std::string source = with_password(source_, canary + "literal");
  cluster.Apply(Project(source, with_password(target_, "${env:WAREHOUSE_PASSWORD}")));
  EXPECT_EQ(cluster.FinishRun(cluster.StartRun("items"))["status"], "success");
  // What goes wrong is told of in more places: databases that are not there, by a literal and by a reference.
  cluster.Apply(Project(source + "_missing", target_));
  EXPECT_EQ(cluster.FinishRun(cluster.StartRun("items"))["status"], "failed");
  cluster.Apply(Project(source, with_password(target_, "${env:WAREHOUSE_PASSWORD}") + "_missing"));
  EXPECT_EQ(cluster.FinishRun(cluster.StartRun("items"))["status"], "failed");
  for (const std::vector<std::string>& words :
       std::vector<std::vector<std::string>>{{"connections", "list", "-o", "json"},
                                             {"connections", "test"},
                                             {"jobs", "list", "-o", "json"},
                                             {"jobs", "get", "items", "-o", "json"},
                                             {"runs", "list", "-o", "json"},
                                             {"status", "-o", "json"}}) {
    cluster.Command(words);
  }

  EXPECT_THAT(Cluster::Metrics(cluster.coordinator()), Not(HasSubstr(canary)));
  EXPECT_THAT(Cluster::Metrics(cluster.worker(0)), Not(HasSubstr(canary)));
  std::string rows;
  for (const auto& table : Query(store, "SELECT relname FROM pg_stat_user_tables")) {
    for (const auto& row : Query(store, absl::StrCat("SELECT t::text FROM ", table[0], " t"))) {
      absl::StrAppend(&rows, table[0], ": ", row[0], "\n");
    }
  }
  EXPECT_THAT(rows, HasSubstr("_missing"));
  EXPECT_THAT(rows, Not(HasSubstr(canary)));
  std::string values;
  for (const absl::string_view key : absl::StrSplit(redis->Command({"KEYS", "*"}), '\n')) {
    absl::StrAppend(&values, key, Inflated(redis->Command({"GET", std::string(key)})));
  }
  EXPECT_THAT(values, HasSubstr("items"));
  EXPECT_THAT(values, Not(HasSubstr(canary)));
  for (Process* process : {&cluster.coordinator(), &cluster.worker(0)}) {
    process->Signal(SIGTERM);
    EXPECT_EQ(process->Wait(kClusterPatience).value_or(-1), 0);
  }
  EXPECT_THAT(cluster.Output(), HasSubstr("_missing"));
  EXPECT_THAT(cluster.Output(), Not(HasSubstr(canary)));
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
