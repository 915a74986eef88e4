// One task with its threads, over fakes of the stores.
#include "worker/agent/task_runner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <thread>

#include "absl/strings/str_replace.h"
#include "common/base/clock.h"
#include "worker/task/fake_connector.h"

namespace tidemark {
namespace {

using testing::HasSubstr;

// Keeps the session last returned to be kept.
class OneSessionKeeper final : public SessionKeeper {
 public:
  std::unique_ptr<SourceSession> Borrow(const std::string& session_id) override { return nullptr; }
  void Return(const std::string& session_id, std::unique_ptr<SourceSession> session, bool keep) override {
    kept = keep ? std::move(session) : nullptr;
  }

  std::unique_ptr<SourceSession> kept;
};

class TaskRunnerTest : public testing::Test {
 protected:
  TaskRunnerTest() {
    std::string path = (std::filesystem::temp_directory_path() / "task_runner_test_XXXXXX").string();
    EXPECT_NE(mkdtemp(path.data()), nullptr);
    directory_ = path;
    connectors_.Add("fake", connector_);
    rate_.SetRate(0);
    task_.set_task_id("t1");
    task_.set_attempt(1);
    task_.set_run_id("run-1");
    task_.mutable_job()->set_name("orders");
    task_.mutable_source()->set_dsn("fake:source");
    task_.mutable_target()->set_dsn("fake:target");
    task_.mutable_session()->set_session_id("s1");
    task_.mutable_session()->set_open(true);
    task_.mutable_session()->set_keep(true);
  }
  ~TaskRunnerTest() override { std::filesystem::remove_all(directory_); }

  TaskRunner::Environment Environment() {
    TaskRunner::Environment environment;
    environment.connectors = &connectors_;
    environment.clock = &clock_;
    environment.rng = &rng_;
    environment.budget = &budget_;
    environment.sessions = &keeper_;
    environment.rate = &rate_;
    environment.spill_dir = directory_;
    environment.task_memory_bytes = 1 << 20;
    return environment;
  }

  std::string directory_;
  SystemClock clock_;
  Rng rng_{1};
  MemoryBudget budget_{1 << 20};
  RateLimiter rate_{&clock_};
  OneSessionKeeper keeper_;
  std::shared_ptr<test::FakeSource> source_ = std::make_shared<test::FakeSource>();
  std::shared_ptr<test::FakeTarget> target_ = std::make_shared<test::FakeTarget>();
  std::shared_ptr<test::FakeConnector> connector_ = std::make_shared<test::FakeConnector>(source_, target_);
  ConnectorRegistry connectors_;
  v1::Task task_;
};

TEST_F(TaskRunnerTest, ACancelledSessionIsNeverKept) {
  task_.mutable_horizon();
  constexpr int kEnoughRuns = 400;
  int runs = 0;
  int kept = 0;
  int cancelled = 0;
  // Until all there is to see was seen, which takes longer where the threads seldom run side by side.
  const auto seen = [&] { return kept > 0 && kept < runs && cancelled > 0; };
  for (; runs < kEnoughRuns || (!seen() && runs < 100 * kEnoughRuns); ++runs) {
    TaskRunner runner(task_, Environment());
    std::atomic<int> ready = 0;
    std::thread canceller([&] {
      ++ready;
      while (ready < 2) std::this_thread::yield();
      // At every moment of the run, one after the other.
      for (std::atomic<int> wait = 0; wait < runs % 100 * 30; ++wait) {
      }
      runner.Cancel();
    });
    while (ready < 1) std::this_thread::yield();
    ++ready;
    const bool failed = runner.Run().has_error();
    canceller.join();
    cancelled += failed;
    if (keeper_.kept == nullptr) continue;
    ++kept;
    // What is cancelled, is so for good: nobody could read with it.
    ReadRequest request;
    request.format = v1::CHUNK_FORMAT_PG_COPY_BINARY;
    auto reader = keeper_.kept->Read(request);
    ASSERT_TRUE(reader.ok());
    ASSERT_TRUE((*reader)->Next().ok()) << "run " << runs;
    reader->reset();
    keeper_.kept.reset();
  }
  EXPECT_TRUE(seen()) << "of " << runs << " runs " << kept << " kept their session, " << cancelled << " were cancelled";
}

TEST_F(TaskRunnerTest, WantOfMemoryFailsTheTaskNotTheProcess) {
  task_.mutable_move()->set_format(v1::CHUNK_FORMAT_PG_COPY_BINARY);
  task_.mutable_job()->mutable_retry()->set_attempts(1);
  task_.mutable_session()->set_keep(false);
  const auto expect_told = [&] {
    const v1::CompleteTaskRequest outcome = TaskRunner(task_, Environment()).Run();
    EXPECT_EQ(outcome.error().code(), static_cast<int>(absl::StatusCode::kResourceExhausted));
    EXPECT_TRUE(outcome.error().retryable());
    EXPECT_THAT(outcome.error().message(), HasSubstr("memory"));
    EXPECT_EQ(source_->Open(), 0);
    EXPECT_EQ(target_->Open(), 0);
    EXPECT_EQ(budget_.used(), 0);
  };
  source_->out_of_memory_at = 1;
  expect_told();
  source_->out_of_memory_at.reset();
  {
    absl::MutexLock lock(&target_->mutex);
    target_->out_of_memory = true;
  }
  expect_told();
  {
    absl::MutexLock lock(&target_->mutex);
    target_->out_of_memory = false;
  }
  EXPECT_EQ(TaskRunner(task_, Environment()).Run().move().counts().read(), 30);
}

TEST_F(TaskRunnerTest, ConnectorsSeeResolvedDsnsAndNobodyElse) {
  task_.mutable_describe();
  task_.mutable_source()->set_dsn("fake:${source}");
  task_.mutable_target()->set_dsn("fake:${target}");
  TaskRunner::Environment environment = Environment();
  environment.resolve_dsn = [](const std::string& dsn) -> absl::StatusOr<std::string> { return dsn + "+secret77"; };
  environment.redact = [](std::string_view text) {
    return absl::StrReplaceAll(absl::string_view(text.data(), text.size()), {{"secret77", "***"}});
  };
  TaskRunner runner(task_, environment);
  EXPECT_TRUE(runner.Run().has_describe());
  EXPECT_EQ(connector_->source_dsn(), "fake:${source}+secret77");
  EXPECT_EQ(connector_->target_dsn(), "fake:${target}+secret77");
  EXPECT_EQ(runner.task().source().dsn(), "fake:${source}");

  // A server that quotes what it was given.
  environment.resolve_dsn = [](const std::string& dsn) -> absl::StatusOr<std::string> {
    return absl::InvalidArgumentError("there is no secret77");
  };
  task_.mutable_source()->set_name("shop");
  const v1::CompleteTaskRequest outcome = TaskRunner(task_, environment).Run();
  EXPECT_EQ(outcome.error().code(), static_cast<int>(absl::StatusCode::kInvalidArgument));
  EXPECT_FALSE(outcome.error().retryable());
  EXPECT_THAT(outcome.error().message(), HasSubstr("the dsn of connection shop: there is no ***"));
  EXPECT_EQ(source_->Open(), 0);

  environment.resolve_dsn = [](const std::string& dsn) -> absl::StatusOr<std::string> {
    return absl::InvalidArgumentError(std::string(1990, 'x') + "secret77" + std::string(1'000'000, 'x'));
  };
  const std::string cut = TaskRunner(task_, environment).Run().error().message();
  EXPECT_LT(cut.size(), 5000u);
  EXPECT_THAT(cut, testing::Not(HasSubstr("secret")));
}

}  // namespace
}  // namespace tidemark
