#include "coordinator/dispatch/connection_budget.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/model/source_settings.h"

namespace tidemark::coordinator {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

v1::ConnectionSpec Connection(const std::string& name, const std::string& dsn, int limit = 0) {
  v1::ConnectionSpec connection;
  connection.set_name(name);
  connection.set_dsn(dsn);
  connection.set_max_connections(limit);
  return connection;
}

PermitRecord Granted(const std::string& session, const std::string& connection) {
  PermitRecord permit;
  permit.session_id = session;
  permit.connection = connection;
  permit.run_id = "run";
  permit.worker_id = "w";
  permit.incarnation = "1";
  return permit;
}

TEST(ConnectionBudgetTest, ConnectionsOfOneDatabaseShareTheLowestLimit) {
  ConnectionBudget budget;
  budget.SetConnections({Connection("a", "postgresql://u@h/db", 3), Connection("b", "postgresql://v@h:5432/db", 2),
                         Connection("c", "postgresql://h/other"), Connection("d", "postgresql://me@h", 3),
                         Connection("e", "postgresql://me@h", 1)});
  EXPECT_EQ(budget.Limit("a"), 2);
  EXPECT_EQ(budget.Limit("d"), 1) << "the database of the user's name, both";
  EXPECT_EQ(budget.Limit("c"), MaxConnections(v1::ConnectionSpec()));
  EXPECT_EQ(budget.Limit("nowhere"), 0);
  budget.Grant(Granted("s1", "a"));
  EXPECT_EQ(budget.Spare("b"), 1);
  budget.Grant(Granted("s2", "b"));
  EXPECT_EQ(budget.Spare("a"), 0);
  EXPECT_EQ(budget.Held("c"), 0);
  EXPECT_TRUE(budget.Release("s1"));
  EXPECT_FALSE(budget.Release("s1"));
  EXPECT_EQ(budget.Spare("b"), 1);
}

TEST(ConnectionBudgetTest, SessionsStayWhereTheyWereOpened) {
  ConnectionBudget budget;
  const v1::ConnectionSpec other = Connection("b", "postgresql://h/shop", 1);
  budget.SetConnections({Connection("a", "postgresql://h/shop", 1), other});
  PermitRecord granted = Granted("s1", "a");
  granted.identity = budget.Server("a");
  budget.Grant(granted);
  budget.SetConnections({Connection("a", "postgresql://elsewhere/shop", 1), other});
  EXPECT_EQ(budget.Spare("b"), 0);
  EXPECT_EQ(budget.Spare("a"), 1);
  EXPECT_EQ(budget.ServerOf(*budget.Find("s1")), budget.Server("b"));
  budget.Grant(Granted("s2", "a"));
  EXPECT_EQ(budget.Spare("a"), 0);
  budget.Release("s1");
  EXPECT_EQ(budget.Spare("b"), 1);
}

TEST(ConnectionBudgetTest, AReplicaHasABudgetOfItsOwn) {
  ConnectionBudget budget;
  v1::ConnectionSpec shop = Connection("shop", "postgresql://primary/shop", 3);
  shop.add_replicas("postgresql://replica/shop");
  shop.add_replicas("${env:REPLICA}");
  const v1::ConnectionSpec other = Connection("reports", "postgresql://replica:5432/shop", 2);
  budget.SetConnections({shop, other});
  const std::vector<std::string> replicas = budget.Replicas("shop");
  ASSERT_EQ(replicas.size(), 2u);
  EXPECT_EQ(replicas[0], budget.Server("reports"));
  EXPECT_EQ(budget.LimitOn(replicas[0]), 2) << "the lowest of those that name it";
  EXPECT_EQ(budget.LimitOn(replicas[1]), 3);
  PermitRecord granted = Granted("s1", "shop");
  granted.identity = replicas[0];
  budget.Grant(granted);
  EXPECT_EQ(budget.Spare("shop"), 3);
  EXPECT_EQ(budget.SpareOn(replicas[0]), 1);
  EXPECT_EQ(budget.Spare("reports"), 1);
}

TEST(ConnectionBudgetTest, ALoweredLimitGrantsNothingUntilSessionsEnd) {
  ConnectionBudget budget;
  budget.SetConnections({Connection("a", "sqlite:x", 2)});
  budget.Grant(Granted("s1", "a"));
  budget.Grant(Granted("s2", "a"));
  budget.SetConnections({Connection("a", "sqlite:x", 1)});
  EXPECT_EQ(budget.Spare("a"), 0);
  budget.Release("s1");
  EXPECT_EQ(budget.Spare("a"), 0);
  budget.Release("s2");
  EXPECT_EQ(budget.Spare("a"), 1);
}

TEST(ConnectionBudgetTest, WhatTheStoreSaysOfAPermitLeavesItsStateAlone) {
  ConnectionBudget budget;
  budget.SetConnections({Connection("a", "sqlite:x", 2)});
  budget.Grant(Granted("s1", "a"));
  budget.Condemn("s1", absl::Seconds(5));
  PermitRecord stored = Granted("s1", "a");
  stored.in_snapshot = true;
  stored.revision = 3;
  budget.Grant(stored);
  EXPECT_TRUE(budget.Find("s1")->in_snapshot);
  EXPECT_EQ(budget.Find("s1")->revision, 3);
  EXPECT_EQ(budget.Find("s1")->state, Permit::State::kClosing);
  EXPECT_TRUE(budget.Condemned("s1"));
  budget.Grant(Granted("s2", "a"));
  EXPECT_EQ(budget.Spare("a"), 0);
}

TEST(ConnectionBudgetTest, ACondemnedSessionStaysTakenUntilItIsKnownGone) {
  ConnectionBudget budget;
  budget.SetConnections({Connection("a", "sqlite:x", 1)});
  budget.Grant(Granted("s1", "a"));
  EXPECT_EQ(budget.NextGone(), absl::InfiniteDuration());
  budget.Condemn("s1", absl::Seconds(30));
  // A second sentence does not put it off.
  budget.Condemn("s1", absl::Seconds(90));
  EXPECT_EQ(budget.NextGone(), absl::Seconds(30));
  EXPECT_THAT(budget.KnownGone(absl::Seconds(29.9)), IsEmpty());
  EXPECT_EQ(budget.Spare("a"), 0);
  EXPECT_THAT(budget.KnownGone(absl::Seconds(30)), ElementsAre("s1"));
  // Reported closed before: free at once.
  EXPECT_TRUE(budget.Release("s1"));
  EXPECT_EQ(budget.Spare("a"), 1);
}

}  // namespace
}  // namespace tidemark::coordinator
