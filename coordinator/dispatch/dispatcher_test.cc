#include "coordinator/dispatch/dispatcher.h"

#include <gtest/gtest.h>

#include "common/base/rng.h"

namespace tidemark::coordinator {
namespace {

v1::ConnectionSpec Source(int limit) {
  v1::ConnectionSpec connection;
  connection.set_name("src");
  connection.set_dsn("sqlite:src.db");
  connection.set_max_connections(limit);
  return connection;
}

TaskOffer Move(const std::string& job) {
  return {.job_uid = job,
          .run_id = "run-" + job,
          .task_id = job + "-m",
          .connection = "src",
          .servers = {"sqlite:src.db"},
          .idle_sessions = {},
          .may_open = true,
          .reads_rows = true,
          .only_worker = ""};
}

PermitRecord Granted(const std::string& session, const std::string& job, const std::string& worker = "w") {
  PermitRecord permit;
  permit.session_id = session;
  permit.connection = "src";
  permit.run_id = "run-" + job;
  permit.worker_id = worker;
  permit.incarnation = "1";
  return permit;
}

bool Anyone(std::string_view) { return true; }

class DispatcherTest : public testing::Test {
 protected:
  std::optional<Assignment> Choose(const std::vector<TaskOffer>& offers, const std::string& worker = "w") {
    return dispatcher_.Choose(worker, "1", offers, budget_, Anyone);
  }

  Dispatcher dispatcher_;
  ConnectionBudget budget_;
};

TEST_F(DispatcherTest, SlotAndPermitTogetherOrNotAtAll) {
  budget_.SetConnections({Source(1)});
  budget_.Grant(Granted("s1", "a"));
  EXPECT_FALSE(Choose({Move("b")}).has_value());
  // What needs no session is not held up.
  TaskOffer commit = Move("c");
  commit.connection.clear();
  commit.reads_rows = false;
  const std::optional<Assignment> chosen = Choose({Move("b"), commit});
  ASSERT_TRUE(chosen.has_value());
  EXPECT_EQ(chosen->offer, 1u);
  EXPECT_FALSE(chosen->open);
}

TEST_F(DispatcherTest, AnIdleSessionServesOnItsOwnWorkerAlone) {
  budget_.SetConnections({Source(2)});
  budget_.Grant(Granted("s1", "a", "w1"));
  TaskOffer move = Move("a");
  move.idle_sessions = {"s1"};
  const std::optional<Assignment> home = Choose({move}, "w1");
  ASSERT_TRUE(home.has_value());
  EXPECT_EQ(home->session_id, "s1");
  EXPECT_FALSE(home->open);
  const std::optional<Assignment> away = Choose({move}, "w2");
  ASSERT_TRUE(away.has_value());
  EXPECT_TRUE(away->open);
  move.may_open = false;
  EXPECT_FALSE(Choose({move}, "w2").has_value());
}

TEST_F(DispatcherTest, NoJobTakesASecondSessionWhileAnotherWaitsForItsFirst) {
  budget_.SetConnections({Source(3)});
  budget_.Grant(Granted("s1", "a"));
  budget_.Grant(Granted("s2", "b"));
  const std::optional<Assignment> chosen = Choose({Move("a"), Move("b"), Move("c")});
  ASSERT_TRUE(chosen.has_value());
  EXPECT_EQ(chosen->offer, 2u);
}

TEST_F(DispatcherTest, WhoWasServedLongestAgoGoesFirst) {
  budget_.SetConnections({Source(9)});
  const std::vector<TaskOffer> offers{Move("a"), Move("b"), Move("c")};
  std::vector<size_t> order;
  for (int i = 0; i < 6; ++i) order.push_back(Choose(offers)->offer);
  EXPECT_EQ(order, (std::vector<size_t>{0, 1, 2, 0, 1, 2}));
}

TEST_F(DispatcherTest, TheRateAndTheOwnerOfAFileAreAsked) {
  budget_.SetConnections({Source(2)});
  EXPECT_FALSE(dispatcher_.Choose("w", "1", {Move("a")}, budget_, [](std::string_view) { return false; }).has_value());
  TaskOffer move = Move("a");
  move.only_worker = "w2";
  EXPECT_FALSE(Choose({move}, "w").has_value());
  EXPECT_TRUE(Choose({move}, "w2").has_value());
}

TEST_F(DispatcherTest, ARunYieldsWhatAnotherWouldStillHoldLessWith) {
  budget_.SetConnections({Source(3)});
  budget_.Grant(Granted("s1", "a"));
  budget_.Grant(Granted("s2", "a"));
  EXPECT_FALSE(Dispatcher::ShouldYield("a", "sqlite:src.db", 2, {Move("b")}, budget_)) << "one is to spare";
  budget_.Grant(Granted("s3", "b"));
  EXPECT_FALSE(Dispatcher::ShouldYield("a", "sqlite:src.db", 2, {Move("b")}, budget_)) << "it would only change hands";
  EXPECT_TRUE(Dispatcher::ShouldYield("a", "sqlite:src.db", 2, {Move("c")}, budget_));
  EXPECT_FALSE(Dispatcher::ShouldYield("b", "sqlite:src.db", 1, {Move("c")}, budget_)) << "its only one";
}

// Jobs of unequal length on one source: sessions are never above the limit, and no job that waits is left without for
// long.
TEST_F(DispatcherTest, SharesASourceFairlyAmongManyJobs) {
  constexpr int kLimit = 4;
  budget_.SetConnections({Source(kLimit)});
  Rng rng(7);
  std::vector<std::string> jobs{"a", "b", "c", "d", "e", "f"};
  std::map<std::string, int> served;
  std::vector<std::string> open;
  int next_session = 0;
  for (int step = 0; step < 3000; ++step) {
    std::vector<TaskOffer> offers;
    for (const std::string& job : jobs) offers.push_back(Move(job));
    if (const std::optional<Assignment> chosen = Choose(offers); chosen.has_value()) {
      const std::string& job = offers[chosen->offer].job_uid;
      ++served[job];
      open.push_back("s" + std::to_string(next_session++));
      budget_.Grant(Granted(open.back(), job));
    }
    ASSERT_LE(budget_.Held("src"), kLimit);
    if (rng.Below(2) == 0 && !open.empty()) {
      const size_t at = rng.Below(open.size());
      budget_.Release(open[at]);
      open.erase(open.begin() + static_cast<std::ptrdiff_t>(at));
    }
  }
  int least = served["a"];
  int most = least;
  for (const std::string& job : jobs) {
    least = std::min(least, served[job]);
    most = std::max(most, served[job]);
  }
  EXPECT_GT(least, 200);
  EXPECT_LT(most - least, least / 5);
}

}  // namespace
}  // namespace tidemark::coordinator
