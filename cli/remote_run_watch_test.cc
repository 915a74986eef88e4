#include "cli/remote_run_watch.h"

#include <cstdio>
#include <functional>

#include "gtest/gtest.h"

namespace tidemark::cli {
namespace {

// A server of which each stream is told what it does.
class RemoteRunWatchTest : public ::testing::Test {
 protected:
  RemoteRunWatchTest() {
    run_.mutable_run()->set_name("runs/01run");
    run_.mutable_run()->set_job("jobs/orders");
    run_.mutable_run()->set_status(v1::Run::STATUS_RUNNING);
    run_.mutable_run()->set_phase("queued");
  }
  ~RemoteRunWatchTest() override { fclose(out_); }

  using Beat = std::function<bool(const v1::WatchRunResponse*)>;

  // `stream` is told how many there were before it.
  ExitCode Await(const std::function<absl::Status(int before, const Beat& beat)>& stream) {
    const auto next = [&](const v1::WatchRunRequest&, bool, const Beat& beat) { return stream(streams_++, beat); };
    return RemoteRunWatch(next, &context_, &signals_, &clock_).Await("runs/01run");
  }

  // One that says the run as it is, and nothing more until its deadline.
  absl::Status Quiet(const Beat& beat, absl::Duration lasts) {
    beat(&run_);
    clock_.Advance(lasts);
    beat(nullptr);
    return absl::DeadlineExceededError("the stream has lasted long enough");
  }

  // A server that is not there.
  absl::Status Away(absl::Duration lasts) {
    clock_.Advance(lasts);
    return absl::DeadlineExceededError("nobody answers");
  }

  SimulatedClock clock_;
  const SignalWatcher signals_;
  FILE* const out_ = fopen("/dev/null", "w");
  Console console_{out_, out_, {}};
  const CommandContext context_{.console = &console_};
  v1::WatchRunResponse run_;
  int streams_ = 0;
};

TEST_F(RemoteRunWatchTest, ARunThatStandsStillIsWatchedAsLongAsTheServerAnswers) {
  EXPECT_EQ(Await([&](int before, const Beat& beat) {
              if (before < 20) return Quiet(beat, before == 0 ? absl::Seconds(61) : absl::Seconds(31));
              run_.mutable_run()->set_status(v1::Run::STATUS_SUCCESS);
              beat(&run_);
              return absl::OkStatus();
            }),
            kDone);
  EXPECT_EQ(streams_, 21);
}

TEST_F(RemoteRunWatchTest, AServerMayBeAwayForAMinuteAfterItWasLastThere) {
  EXPECT_EQ(Await([&](int before, const Beat& beat) {
              return before == 0 ? Quiet(beat, absl::Minutes(5)) : Away(absl::Seconds(29));
            }),
            kUnreachable);
  EXPECT_EQ(streams_, 4);
}

TEST_F(RemoteRunWatchTest, AServerThatWasNeverThereIsNotWaitedFor) {
  EXPECT_EQ(Await([&](int, const Beat&) { return Away(absl::Seconds(1)); }), kUnreachable);
  EXPECT_EQ(streams_, 1);
}

}  // namespace
}  // namespace tidemark::cli
