#include "coordinator/server/trigger_listener.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "coordinator/run/faulty_store.h"
#include "coordinator/store/sample_records.h"

namespace tidemark::coordinator {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

// How long a test waits, in real time, for what must come.
constexpr absl::Duration kPatience = absl::Seconds(60);

class TriggerListenerTest : public testing::Test {
 protected:
  TriggerListenerTest() {
    CoordinatorOptions options;
    options.store = &faults_;
    options.clock = &clock_;
    options.rng = &rng_;
    options.holder = "this";
    coordinator_ = Coordinator::Start(options).value();
    std::vector<v1::ConnectionSpec> connections(1);
    connections[0].set_name("shop");
    connections[0].set_dsn("sqlite:shop.db");
    v1::JobSpec job = SampleJob("orders").spec;
    job.mutable_target()->set_connection("shop");
    EXPECT_EQ(coordinator_->ApplyProject(connections, {job}), absl::OkStatus());
  }

  std::unique_ptr<TriggerListener> Listen() {
    return std::make_unique<TriggerListener>(coordinator_.get(), &faults_, [this](const std::string& line) {
      absl::MutexLock lock(&mutex_);
      log_.push_back(line);
    });
  }

  absl::Status Ask(const std::string& id) {
    TriggerRecord trigger;
    trigger.id = id;
    trigger.job_name = "orders";
    return store_->AddTrigger(trigger);
  }

  std::vector<std::string> RunsOf(size_t count) {
    const absl::Duration deadline = clock_.Monotonic() + kPatience;
    std::vector<std::string> runs;
    for (uint64_t seen = 0; runs.size() < count && clock_.Monotonic() < deadline;) {
      seen = coordinator_->WaitForChange(seen, absl::Seconds(1));
      runs = coordinator_->UnfinishedRuns("orders");
    }
    return runs;
  }

  std::vector<std::string> log() {
    absl::MutexLock lock(&mutex_);
    return log_;
  }

  bool AwaitLog(size_t lines) {
    absl::MutexLock lock(&mutex_);
    const auto said = [&] { return log_.size() >= lines; };
    return mutex_.AwaitWithTimeout(absl::Condition(&said), kPatience);
  }

  const SystemClock clock_;
  Rng rng_{7};
  const std::unique_ptr<MetadataStore> store_ = NewMemoryStore(&clock_, 1);
  FaultyStore faults_{store_.get()};
  std::unique_ptr<Coordinator> coordinator_;
  absl::Mutex mutex_;
  std::vector<std::string> log_;
};

TEST_F(TriggerListenerTest, TakesUpWhatWasThereAndWhatComes) {
  ASSERT_EQ(Ask("t1"), absl::OkStatus());
  const auto listener = Listen();
  EXPECT_THAT(RunsOf(1), SizeIs(1));
  ASSERT_EQ(Ask("t2"), absl::OkStatus());
  EXPECT_THAT(RunsOf(2), SizeIs(2));
}

TEST_F(TriggerListenerTest, SaysOnceThatItCannotAndTriesAgain) {
  faults_.unlistable_triggers = 2;
  const auto listener = Listen();
  ASSERT_TRUE(AwaitLog(1));
  // Each ends the pause after a failure.
  for (const char* id : {"t1", "t2", "t3"}) ASSERT_EQ(Ask(id), absl::OkStatus());
  EXPECT_THAT(RunsOf(3), SizeIs(3));
  EXPECT_THAT(log(), ElementsAre(HasSubstr("triggers cannot be taken up: ")));
}

TEST_F(TriggerListenerTest, EndsWhileItWaits) {
  auto listener = Listen();
  ASSERT_EQ(Ask("t1"), absl::OkStatus());
  EXPECT_THAT(RunsOf(1), SizeIs(1));
  listener.reset();
  ASSERT_EQ(Ask("t2"), absl::OkStatus());
  EXPECT_THAT(store_->ListTriggers().value(), SizeIs(1));
}

}  // namespace
}  // namespace tidemark::coordinator
