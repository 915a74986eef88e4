#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <memory>
#include <regex>
#include <set>
#include <sstream>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/telemetry/event_log.h"
#include "common/telemetry/metric_registry.h"
#include "common/telemetry/metrics.h"
#include "common/telemetry/metrics_server.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/http_get.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace tidemark {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// What dashboards and alerts hold on to, with the labels in their order.
const std::set<std::string>& Contract() {
  static const auto* const kContract = new std::set<std::string>{
      "tidemark_build_info{version} gauge",
      "tidemark_coordinator_is_leader{} gauge",
      "tidemark_runs_total{etl_job,status} counter",
      "tidemark_run_duration_seconds{etl_job} histogram",
      "tidemark_runs_active{} gauge",
      "tidemark_job_last_success_timestamp_seconds{etl_job} gauge",
      "tidemark_job_next_run_timestamp_seconds{etl_job} gauge",
      "tidemark_watermark_timestamp_seconds{etl_job} gauge",
      "tidemark_horizon_hold_seconds{connection} gauge",
      "tidemark_rows_total{etl_job,stage} counter",
      "tidemark_bytes_total{stage} counter",
      "tidemark_stage_duration_seconds{stage} histogram",
      "tidemark_tasks_queued{} gauge",
      "tidemark_task_attempts_total{kind,result} counter",
      "tidemark_task_queue_wait_seconds{} histogram",
      "tidemark_source_connections{connection} gauge",
      "tidemark_source_connections_limit{connection} gauge",
      "tidemark_source_rows_per_second_limit{connection} gauge",
      "tidemark_replica_lag_seconds{connection,replica} gauge",
      "tidemark_workers{state} gauge",
      "tidemark_worker_memory_bytes{} gauge",
      "tidemark_spill_bytes{} gauge",
      "tidemark_job_cache_requests_total{result} counter",
      "tidemark_metadata_query_duration_seconds{operation} histogram",
      "tidemark_schedule_lag_seconds{} histogram",
      "tidemark_schedule_missed_total{reason} counter",
      "tidemark_schema_errors_total{etl_job} counter",
      "tidemark_quarantine_pending_rows{etl_job} gauge",
      "grpc_server_handled_total{grpc_type,grpc_service,grpc_method,grpc_code} counter",
      "grpc_server_handling_seconds{grpc_type,grpc_service,grpc_method} histogram",
  };
  return *kContract;
}

// Makes one metric of each family, and lists the families as Contract does.
class EveryFamily {
 public:
  explicit EveryFamily(MetricRegistry* registry) : registry_(*registry) {
    using namespace metrics;
    Make(kBuildInfo, kGrpcServerHandled, kGrpcServerHandling, kIsLeader, kRuns, kRunDuration, kRunsActive,
         kJobLastSuccess, kJobNextRun, kWatermark, kSchemaErrors, kQuarantinePending, kScheduleLag, kScheduleMissed,
         kHorizonHold, kSourceConnections, kSourceConnectionsLimit, kSourceRateLimit, kReplicaLag, kRows, kBytes,
         kStageDuration, kTasksQueued, kTaskAttempts, kTaskQueueWait, kWorkers, kWorkerMemory, kSpill,
         kJobCacheRequests, kMetadataQueryDuration);
  }
  const std::set<std::string>& listed() const { return listed_; }

 private:
  template <class... Families>
  void Make(const Families&... families) {
    (MakeOne(families), ...);
  }
  template <template <size_t> class Family, size_t kLabels>
  void MakeOne(const Family<kLabels>& family) {
    MakeWith(family, std::make_index_sequence<kLabels>());
    std::string labels;
    for (const std::string_view label : family.labels)
      absl::StrAppend(&labels, labels.empty() ? "" : ",", std::string(label));
    listed_.insert(absl::StrCat(std::string(family.name), "{", labels, "} ", TypeOf(family)));
  }
  template <class Family, size_t... kIndex>
  void MakeWith(const Family& family, std::index_sequence<kIndex...>) {
    Touch(registry_.Get(family, absl::StrCat("v", kIndex)...));
  }
  static void Touch(const Counter& counter) { counter.Add(2); }
  static void Touch(const Gauge& gauge) { gauge.Set(3); }
  static void Touch(const Histogram& histogram) { histogram.Observe(.3); }
  template <size_t kLabels>
  static const char* TypeOf(const CounterFamily<kLabels>&) {
    return "counter";
  }
  template <size_t kLabels>
  static const char* TypeOf(const GaugeFamily<kLabels>&) {
    return "gauge";
  }
  template <size_t kLabels>
  static const char* TypeOf(const HistogramFamily<kLabels>&) {
    return "histogram";
  }

  MetricRegistry& registry_;
  std::set<std::string> listed_;
};

TEST(MetricsTest, EveryFamilyIsInTheContractAndTheOtherWayRound) {
  MetricRegistry registry;
  EXPECT_EQ(EveryFamily(&registry).listed(), Contract());

  // The families of this test are all that are declared.
  std::ifstream file(TIDEMARK_METRICS_H);
  std::stringstream declared;
  declared << file.rdbuf();
  const std::string text = declared.str();
  const std::regex family(R"((Counter|Gauge|Histogram)Family<\d+> k)");
  EXPECT_EQ(std::distance(std::sregex_iterator(text.begin(), text.end(), family), std::sregex_iterator()),
            static_cast<ptrdiff_t>(Contract().size()));
}

TEST(MetricsTest, AScrapeIsWhatPrometheusWants) {
  MetricRegistry registry;
  EveryFamily every(&registry);
  const auto server = MetricsServer::Start("127.0.0.1:0", registry);
  ASSERT_TRUE(server.ok()) << server.status();
  const auto scrape = test::HttpGet((*server)->address(), "/metrics");
  ASSERT_TRUE(scrape.ok()) << scrape.status();
  ASSERT_EQ(scrape->status, 200);
  EXPECT_THAT(scrape->body, HasSubstr("tidemark_rows_total{etl_job=\"v0\",stage=\"v1\"} 2\n"));
  EXPECT_THAT(scrape->body, HasSubstr("tidemark_stage_duration_seconds_bucket{stage=\"v0\",le=\"0.5\"} 1\n"));
  EXPECT_THAT(scrape->body, HasSubstr("# HELP tidemark_tasks_queued Tasks that wait"));

  test::TempDir directory;
  const std::string file = directory.Write("scrape", scrape->body);
  const auto checked = test::RunProcess({"sh", "-c", "promtool check metrics < \"$0\"", file}, absl::Seconds(60));
  ASSERT_TRUE(checked.ok()) << checked.status();
  EXPECT_EQ(checked->exit_code, 0);
  EXPECT_EQ(checked->out + checked->err, "");
}

TEST(MetricRegistryTest, OneMetricForOneSetOfLabels) {
  MetricRegistry registry;
  registry.Get(metrics::kRuns, "orders", "success").Add();
  registry.Get(metrics::kRuns, "orders", "success").Add(2);
  registry.Get(metrics::kRuns, "orders", "failed");
  registry.Get(metrics::kRuns, "or\"ders\n", "failed").Add(-1);
  EXPECT_EQ(registry.Text(),
            "# HELP tidemark_runs_total Runs that ended, by how.\n"
            "# TYPE tidemark_runs_total counter\n"
            "tidemark_runs_total{etl_job=\"or\\\"ders\\n\",status=\"failed\"} 0\n"
            "tidemark_runs_total{etl_job=\"orders\",status=\"failed\"} 0\n"
            "tidemark_runs_total{etl_job=\"orders\",status=\"success\"} 3\n");
}

TEST(MetricRegistryTest, WhatIsRemovedIsShownNoMore) {
  MetricRegistry registry;
  const Gauge shop = registry.Get(metrics::kSourceConnections, "shop");
  shop.Set(3);
  registry.Get(metrics::kSourceConnections, "crm").Set(1);
  registry.Remove(metrics::kSourceConnections, "shop");
  registry.Remove(metrics::kSourceConnections, "no such");
  registry.Remove(metrics::kRuns, "no", "such");
  shop.Set(4);
  EXPECT_THAT(registry.Text(), Not(HasSubstr("shop")));
  EXPECT_THAT(registry.Text(), HasSubstr("{connection=\"crm\"} 1"));
  registry.Remove(metrics::kSourceConnections, "crm");
  EXPECT_EQ(registry.Text(), "") << "a family without metrics";
  registry.Get(metrics::kSourceConnections, "shop").Add(2);
  EXPECT_THAT(registry.Text(), HasSubstr("{connection=\"shop\"} 2"));
}

TEST(MetricRegistryTest, HandlesOutliveTheRegistry) {
  Counter counter;
  counter.Add();
  MetricRegistry::CollectHook hook;
  {
    MetricRegistry registry;
    counter = registry.Get(metrics::kBytes, "read");
    hook = registry.OnCollect([] {});
  }
  counter.Add();
}

TEST(MetricRegistryTest, CallbacksRunBeforeEveryScrape) {
  MetricRegistry registry;
  int queued = 5;
  {
    const auto hook = registry.OnCollect([&] { registry.Get(metrics::kTasksQueued).Set(queued); });
    EXPECT_THAT(registry.Text(), HasSubstr("tidemark_tasks_queued 5\n"));
    queued = 6;
    EXPECT_THAT(registry.Text(), HasSubstr("tidemark_tasks_queued 6\n"));
  }
  queued = 7;
  EXPECT_THAT(registry.Text(), HasSubstr("tidemark_tasks_queued 6\n"));
}

TEST(MetricRegistryTest, ManyThreads) {
  MetricRegistry registry;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      for (int n = 0; n < 500; ++n) {
        registry.Get(metrics::kBytes, "read").Add();
        registry.Get(metrics::kStageDuration, "load").Observe(n);
        const auto hook = registry.OnCollect([&] { registry.Get(metrics::kTasksQueued).Set(1); });
        if (n % 100 == 0) registry.Text();
        registry.Remove(metrics::kSourceConnections, absl::StrCat("c", i));
        registry.Get(metrics::kSourceConnections, absl::StrCat("c", i)).Add(1);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(registry.Text(), HasSubstr("tidemark_bytes_total{stage=\"read\"} 2000\n"));
  EXPECT_THAT(registry.Text(), HasSubstr("tidemark_stage_duration_seconds_count{stage=\"load\"} 2000\n"));
  EXPECT_THAT(registry.Text(), HasSubstr("{connection=\"c3\"} 1\n"));
}

TEST(MetricsServerTest, TakesAFreePortAndTellsWhenThereIsNone) {
  MetricRegistry registry;
  auto server = MetricsServer::Start("127.0.0.1:0", registry);
  ASSERT_TRUE(server.ok()) << server.status();
  const std::string address = (*server)->address();
  EXPECT_THAT(address, Not(testing::EndsWith(":0")));
  EXPECT_EQ(test::HttpGet(address, "/healthz")->status, 200);
  EXPECT_EQ(test::HttpGet(address, "/nowhere")->status, 404);

  const absl::Status taken = MetricsServer::Start(address, registry).status();
  EXPECT_EQ(taken.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(taken.message()), HasSubstr(address));
  EXPECT_EQ(MetricsServer::Start("9470", registry).status().code(), absl::StatusCode::kInvalidArgument);
  server->reset();
  EXPECT_FALSE(test::HttpGet(address, "/metrics").ok());
}

TEST(EventLogTest, OneLineForAnEvent) {
  const SimulatedClock clock(absl::FromUnixMillis(1'767'225'600'250));
  test::TempDir directory;
  const std::string path = directory.File("log");
  const int file = creat(path.c_str(), 0600);
  {
    EventLog log(file, &clock);
    log.Write("a\nb \x1b[31m\xff");
    log.Write("next");
  }
  close(file);
  std::ifstream written(path);
  std::stringstream text;
  text << written.rdbuf();
  EXPECT_EQ(text.str(),
            "2026-01-01T00:00:00.250Z a\\nb \\x1b[31m\\xff\n"
            "2026-01-01T00:00:00.250Z next\n");
}

// A pipe, whose reader may not read.
class Pipe {
 public:
  Pipe() { EXPECT_EQ(pipe(ends_), 0); }
  ~Pipe() {
    close(ends_[0]);
    CloseWriter();
  }
  int writer() const { return ends_[1]; }
  void CloseWriter() {
    if (ends_[1] >= 0) close(ends_[1]);
    ends_[1] = -1;
  }
  // What is in it until it ends.
  std::string ReadAll() {
    CloseWriter();
    return ReadUntil("");
  }
  // What is in it up to the first `end`.
  std::string ReadUntil(const std::string& end) {
    std::string text;
    char bytes[4096];
    while (end.empty() || text.find(end) == std::string::npos) {
      const ssize_t count = read(ends_[0], bytes, sizeof(bytes));
      if (count <= 0) break;
      text.append(bytes, static_cast<size_t>(count));
    }
    return text;
  }

 private:
  int ends_[2] = {-1, -1};
};

int64_t Lines(const std::string& text) { return std::count(text.begin(), text.end(), '\n'); }

TEST(EventLogTest, NobodyWaitsForAReaderWhoDoesNotRead) {
  const SimulatedClock clock(absl::FromUnixMillis(1'767'225'600'250));
  Pipe pipe;
  {
    EventLog log(pipe.writer(), &clock);
    // More than a pipe takes.
    for (int i = 0; i < 10; ++i) log.Write(std::string(50'000, 'x'));
    // Ends all the same.
  }
  EXPECT_THAT(pipe.ReadAll(), testing::StartsWith("2026-01-01T00:00:00.250Z xxx"));
}

TEST(EventLogTest, LinesBeyondTheBoundAreCountedInTheirPlace) {
  const SimulatedClock clock;
  Pipe pipe;
  constexpr int64_t kLost = 7;
  const int64_t most = EventLog::kMostLines;
  std::string text;
  {
    EventLog log(pipe.writer(), &clock);
    // The writer has taken it, and is stuck with it.
    log.Write(std::string(500'000, 'x'));
    text = pipe.ReadUntil("xxx");
    for (int64_t i = 0; i < most + kLost; ++i) log.Write(absl::StrCat("line ", i, "."));
    text += pipe.ReadUntil(absl::StrCat("line ", most / 2, "."));
    log.Write("after");
    text += pipe.ReadUntil("after");
    for (int64_t i = 0; i < 3; ++i) log.Write("last");
  }
  text += pipe.ReadAll();
  EXPECT_EQ(Lines(text), 1 + most + 1 + 1 + 3);
  EXPECT_THAT(text, HasSubstr(absl::StrCat("line ", most - 1, ".\n")));
  EXPECT_THAT(text, Not(HasSubstr(absl::StrCat("line ", most, "."))));
  EXPECT_THAT(text, testing::ContainsRegex("lost here, since nobody read it: 7\n[^\n]* after\n"));
  EXPECT_THAT(text, testing::EndsWith("last\n"));
}

TEST(EventLogTest, TheEndSaysWhatWasLost) {
  const SimulatedClock clock;
  Pipe pipe;
  auto log = std::make_unique<EventLog>(pipe.writer(), &clock);
  log->Write(std::string(500'000, 'x'));
  std::string text = pipe.ReadUntil("xxx");
  for (size_t i = 0; i < EventLog::kMostLines + 1; ++i) log->Write("line");
  std::thread reader([&] { text += pipe.ReadUntil(""); });
  log.reset();
  pipe.CloseWriter();
  reader.join();
  EXPECT_EQ(Lines(text), 1 + static_cast<int64_t>(EventLog::kMostLines) + 1);
  EXPECT_THAT(text, testing::EndsWith("nobody read it: 1\n"));
}

}  // namespace
}  // namespace tidemark
