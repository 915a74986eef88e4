#include <algorithm>
#include <atomic>
#include <map>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/base/rng.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/conformance/arrow_rows.h"
#include "tests/conformance/store_under_test.h"

namespace tidemark::conformance {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class SourceConformance : public ::testing::TestWithParam<StoreFactory> {
 protected:
  std::unique_ptr<SourceSession> Open(const v1::ConnectionSpec& connection, const v1::JobSpec& job) {
    auto session = store_->connector().OpenSource(connection, job, {});
    EXPECT_TRUE(session.ok()) << session.status();
    return session.ok() ? *std::move(session) : nullptr;
  }

  // The ids of the rows in the window, in order.
  std::vector<int64_t> Ids(SourceSession& session, const v1::Window& window, const v1::KeyRange& range = {}) {
    auto request = EverythingOf(session);
    EXPECT_TRUE(request.ok()) << request.status();
    request->window = window;
    request->range = range;
    const auto rows = ReadRows(session, *request);
    EXPECT_TRUE(rows.ok()) << rows.status();
    std::vector<int64_t> ids;
    for (const Cells& row : *rows) ids.push_back(std::stoll(row[0]));
    std::sort(ids.begin(), ids.end());
    return ids;
  }

  static v1::Window Between(const v1::Watermark* low, const v1::Watermark* high) {
    v1::Window window;
    window.set_kind(v1::WINDOW_KIND_WINDOW);
    if (low != nullptr) *window.mutable_low() = *low;
    if (high != nullptr) *window.mutable_high() = *high;
    return window;
  }

  std::unique_ptr<StoreUnderTest> store_ = GetParam().make();
};

class SqlSourceConformance : public SourceConformance {
 protected:
  // Every row, whole, in no order but one of its own.
  std::vector<Cells> SortedRows(SourceSession& session, const v1::Window& window, const v1::KeyRange& range) {
    auto request = EverythingOf(session);
    EXPECT_TRUE(request.ok()) << request.status();
    request->window = window;
    request->range = range;
    auto rows = ReadRows(session, *request);
    EXPECT_TRUE(rows.ok()) << rows.status();
    if (!rows.ok()) return {};
    std::sort(rows->begin(), rows->end());
    return *std::move(rows);
  }

  // The ranges made from what the session says must hold every row of the window exactly once. Returns the
  // partitionings offered.
  std::vector<v1::Partitioning> CheckCover(SourceSession& session, const v1::Window& window, const std::string& by,
                                           int least_ranges) {
    std::vector<v1::Partitioning> offered;
    const auto facts = session.DescribePartitions(window, by, 4);
    EXPECT_TRUE(facts.ok()) << facts.status();
    if (!facts.ok()) return offered;
    const std::vector<Cells> whole = SortedRows(session, window, {});
    for (const v1::PartitionFacts& fact : *facts) {
      offered.push_back(fact.partitioning());
      std::vector<Cells> parts;
      int filled = 0;
      for (const v1::KeyRange& range : RangesOf(fact)) {
        const std::vector<Cells> part = SortedRows(session, window, range);
        if (!part.empty()) ++filled;
        parts.insert(parts.end(), part.begin(), part.end());
      }
      std::sort(parts.begin(), parts.end());
      EXPECT_EQ(parts, whole) << fact.DebugString();
      EXPECT_GE(filled, least_ranges) << fact.DebugString();
    }
    return offered;
  }
};

TEST_P(SourceConformance, DescribesTheRelation) {
  const Events events = store_->MakeEvents(100);
  const auto session = Open(events.connection, events.job);
  const auto description = session->Describe();
  ASSERT_TRUE(description.ok()) << description.status();
  ASSERT_GE(description->schema.columns_size(), 3);
  EXPECT_EQ(description->schema.columns(0).name(), "id");
  EXPECT_EQ(description->schema.columns(0).type().kind(), v1::LogicalType::KIND_INT64);
  EXPECT_FALSE(description->schema.columns(0).nullable());
  EXPECT_THAT(description->schema.primary_key(), ElementsAre("id"));
  EXPECT_THAT(description->capabilities.formats(), ::testing::Contains(v1::CHUNK_FORMAT_ARROW));
  EXPECT_THAT(description->identity, Not(IsEmpty()));
  EXPECT_EQ(session->Identity().value_or(""), description->identity);
  if (description->estimated_rows >= 0) {
    EXPECT_EQ(description->estimated_rows, 100);
  }
}

TEST_P(SourceConformance, AWindowLeavesOutItsLowAndHoldsItsHigh) {
  const Events events = store_->MakeEvents(10);
  const auto session = Open(events.connection, events.job);
  const auto ids = [&](int from, int to) {
    return std::vector<int64_t>(events.ids.begin() + from, events.ids.begin() + to);
  };
  EXPECT_EQ(Ids(*session, Between(&events.stamps[2], &events.stamps[5])), ids(3, 6));
  EXPECT_EQ(Ids(*session, Between(nullptr, &events.stamps[5])), ids(0, 6));
  EXPECT_EQ(Ids(*session, Between(&events.stamps[8], nullptr)), ids(9, 10));
  EXPECT_EQ(Ids(*session, Between(&events.stamps[4], &events.stamps[4])), ids(0, 0));
  EXPECT_EQ(Ids(*session, Between(nullptr, nullptr)), events.ids);
}

TEST_P(SourceConformance, EveryRowAboveABoundIsSeen) {
  const Events events = store_->MakeEvents(10);
  const auto session = Open(events.connection, events.job);
  EXPECT_TRUE(*session->MayHoldRowsAbove(events.stamps[8]));
  // May say yes when it cannot tell, but not here: the table is tiny.
  if (GetParam().name != "postgres") {
    EXPECT_FALSE(*session->MayHoldRowsAbove(events.stamps[9]));
  }
}

TEST_P(SourceConformance, PartitionsOfAWindowCoverIt) {
  Events events = store_->MakeEvents(2000);
  events.job.mutable_source()->mutable_partition()->set_count(4);
  const auto session = Open(events.connection, events.job);
  for (const v1::Window& window : {Between(nullptr, nullptr), Between(&events.stamps[499], &events.stamps[1499])}) {
    const auto facts = session->DescribePartitions(window, "", 4);
    ASSERT_TRUE(facts.ok()) << facts.status();
    const std::vector<int64_t> whole = Ids(*session, window);
    ASSERT_THAT(*facts, Not(IsEmpty()));
    EXPECT_GE(facts->front().quantiles_size(), 3);
    for (const v1::PartitionFacts& fact : *facts) {
      EXPECT_NE(fact.partitioning(), v1::PARTITIONING_PHYSICAL) << "physical ranges outside a snapshot";
      std::vector<int64_t> parts;
      for (const v1::KeyRange& range : RangesOf(fact)) {
        const std::vector<int64_t> part = Ids(*session, window, range);
        parts.insert(parts.end(), part.begin(), part.end());
      }
      std::sort(parts.begin(), parts.end());
      EXPECT_EQ(parts, whole) << parts.size() << " rows, " << fact.ShortDebugString();
    }
  }
}

TEST_P(SourceConformance, CancelEndsARead) {
  const Events events = store_->MakeEvents(60'000);
  const auto session = Open(events.connection, events.job);
  auto request = EverythingOf(*session);
  ASSERT_TRUE(request.ok());
  auto reader = session->Read(*request);
  ASSERT_TRUE(reader.ok()) << reader.status();
  ASSERT_TRUE((*reader)->Next().ok());
  const absl::Time begin = absl::Now();
  std::thread([&] { session->Cancel(); }).join();
  absl::Status status;
  for (int i = 0; i < 10'000 && status.ok(); ++i) {
    const auto chunk = (*reader)->Next();
    status = chunk.status();
    if (status.ok() && !chunk->has_value()) break;
  }
  EXPECT_TRUE(absl::IsCancelled(status)) << status;
  EXPECT_LT(absl::Now() - begin, absl::Seconds(5));
}

INSTANTIATE_TEST_SUITE_P(Stores, SourceConformance, ::testing::ValuesIn(AllStores()),
                         [](const auto& info) { return info.param.name; });

TEST_P(SqlSourceConformance, WhatIsMissingIsNotFound) {
  const Events events = store_->MakeEvents(1);
  const auto describe = [&](const v1::JobSpec& job) {
    auto session = store_->connector().OpenSource(events.connection, job, {});
    return session.ok() ? (*session)->Describe().status() : session.status();
  };
  const absl::Status table = describe(ReadJob("no_such_table"));
  EXPECT_TRUE(absl::IsNotFound(table)) << table;
  EXPECT_THAT(std::string(table.message()), HasSubstr("no_such_table"));
}

TEST_P(SqlSourceConformance, EveryPartitioningCoversEveryRowOnce) {
  const v1::ConnectionSpec connection = store_->NewDatabase();
  const auto sql = store_->Open(connection);
  sql->Exec("CREATE TABLE by_number (id bigint PRIMARY KEY, part integer, day date)");
  sql->Exec("CREATE TABLE by_text (name text NOT NULL PRIMARY KEY, value integer)");
  sql->Exec("CREATE TABLE by_pair (a integer NOT NULL, b text NOT NULL, c integer, PRIMARY KEY (a, b))");
  sql->Exec("CREATE TABLE by_nothing (value integer, words text)");
  sql->Exec("CREATE TABLE empty (id bigint PRIMARY KEY)");
  Rng rng(7);
  sql->Exec("BEGIN");
  for (int i = 0; i < 1200; ++i) {
    const int64_t sparse = static_cast<int64_t>(rng.Next() >> 3) * (i % 2 == 0 ? 1 : -1);
    const std::string part = i % 7 == 0 ? "NULL" : absl::StrCat(i % 5);
    const std::string day = i % 11 == 0 ? "NULL" : absl::StrCat("'2024-", i % 12 < 9 ? "0" : "", i % 12 + 1, "-15'");
    sql->Exec(absl::StrCat("INSERT INTO by_number VALUES (", sparse, ", ", part, ", ", day, ")"));
    sql->Exec(absl::StrCat("INSERT INTO by_text VALUES ('",
                           i % 3 == 0   ? "É"
                           : i % 3 == 1 ? "z"
                                        : "A",
                           rng.Below(1'000'000'000), "-", i, "', ", i, ")"));
    sql->Exec(absl::StrCat("INSERT INTO by_pair VALUES (", i % 9, ", 'b", rng.Below(1000), "-", i, "', ", i, ")"));
    sql->Exec(absl::StrCat("INSERT INTO by_nothing VALUES (", i % 4, ", 'twice')"));
  }
  sql->Exec("COMMIT");
  sql->Exec("ANALYZE");
  for (const bool snapshot : {false, true}) {
    for (const auto& [table, by, least] :
         std::vector<std::tuple<std::string, std::string, int>>{{"by_number", "", 3},
                                                                {"by_number", "part", 4},
                                                                {"by_number", "day", 4},
                                                                {"by_text", "", 3},
                                                                {"by_pair", "", 3},
                                                                {"by_pair", "b", 3},
                                                                {"by_nothing", "", 1},
                                                                {"by_nothing", "value", 2},
                                                                {"empty", "", 0}}) {
      SCOPED_TRACE(absl::StrCat(table, " by '", by, "'", snapshot ? " in a snapshot" : ""));
      v1::JobSpec job = ReadJob(table);
      // Forced: a table this small is not worth cutting.
      job.mutable_source()->mutable_partition()->set_count(4);
      const auto session = Open(connection, job);
      if (snapshot) {
        ASSERT_TRUE(session->OpenSnapshot().ok());
      }
      const auto offered = CheckCover(*session, {}, by, least);
      if (!snapshot) {
        EXPECT_THAT(offered, Not(::testing::Contains(v1::PARTITIONING_PHYSICAL)));
      }
      if (!by.empty()) {
        EXPECT_THAT(offered, ElementsAre(v1::PARTITIONING_KEY));
      }
    }
  }
}

TEST_P(SqlSourceConformance, ARangeOfAKeyNeverHoldsItsNulls) {
  const v1::ConnectionSpec connection = store_->NewDatabase();
  const auto sql = store_->Open(connection);
  sql->Exec("CREATE TABLE parts (id bigint PRIMARY KEY, part integer)");
  sql->Exec("INSERT INTO parts VALUES (1, NULL), (2, 5), (3, NULL), (4, 7)");
  const auto session = Open(connection, ReadJob("parts"));
  v1::KeyRange range;
  range.set_partitioning(v1::PARTITIONING_KEY);
  range.add_columns("part");
  EXPECT_THAT(Ids(*session, {}, range), ElementsAre(2, 4)) << "open at both ends";
  range.mutable_upper()->add_values("7");
  EXPECT_THAT(Ids(*session, {}, range), ElementsAre(2));
  range.clear_upper();
  range.set_nulls(true);
  EXPECT_THAT(Ids(*session, {}, range), ElementsAre(1, 3));
}

TEST_P(SqlSourceConformance, AnUnknownColumnToPartitionByIsRefused) {
  const Events events = store_->MakeEvents(3);
  const auto session = Open(events.connection, events.job);
  EXPECT_FALSE(session->DescribePartitions({}, "no_such_column", 4).ok());
}

TEST_P(SqlSourceConformance, ASnapshotStaysWhatItWas) {
  const Events events = store_->MakeEvents(50);
  const auto session = Open(events.connection, ReadJob("events"));
  const std::vector<Cells> before = SortedRows(*session, {}, {});
  const auto snapshot = session->OpenSnapshot();
  ASSERT_TRUE(snapshot.ok()) << snapshot.status();
  const auto sql = store_->Open(events.connection);
  sql->Exec("INSERT INTO events (id, note) VALUES (1000, 'new')");
  sql->Exec("UPDATE events SET note = 'changed' WHERE id = 7");
  sql->Exec("DELETE FROM events WHERE id = 9");
  EXPECT_EQ(SortedRows(*session, {}, {}), before);
  EXPECT_EQ(SortedRows(*Open(events.connection, ReadJob("events")), {}, {}).size(), before.size());
  const bool can_export = session->Describe()->capabilities.snapshot_export();
  EXPECT_EQ(can_export, !snapshot->empty());
  if (!can_export) return;
  const auto other = Open(events.connection, ReadJob("events"));
  ASSERT_TRUE(other->ImportSnapshot(*snapshot).ok());
  EXPECT_EQ(SortedRows(*other, {}, {}), before);
}

TEST_P(SqlSourceConformance, ALostSnapshotIsDataLoss) {
  const Events events = store_->MakeEvents(5);
  auto session = Open(events.connection, ReadJob("events"));
  const auto snapshot = session->OpenSnapshot();
  ASSERT_TRUE(snapshot.ok());
  if (snapshot->empty()) GTEST_SKIP() << "not exported";
  session.reset();
  const auto other = Open(events.connection, ReadJob("events"));
  const absl::Status lost = other->ImportSnapshot(*snapshot);
  EXPECT_TRUE(absl::IsDataLoss(lost)) << lost;
}

TEST_P(SqlSourceConformance, NullWatermarksAreCountedAndReadWhenAskedFor) {
  const Events events = store_->MakeEvents(5);
  store_->Open(events.connection)
      ->Exec("INSERT INTO events (id, note, updated_at) VALUES (100, 'none', NULL), (101, 'none', NULL)");
  const auto session = Open(events.connection, events.job);
  const auto count = session->CountNullWatermarks();
  ASSERT_TRUE(count.ok()) << count.status();
  EXPECT_EQ(*count, 2);
  v1::Window window = Between(&events.stamps[2], &events.stamps[4]);
  EXPECT_THAT(Ids(*session, window), ElementsAre(4, 5));
  window.set_nulls(true);
  EXPECT_THAT(Ids(*session, window), ElementsAre(4, 5, 100, 101));
}

TEST_P(SqlSourceConformance, AQueryIsBoundToTheWindow) {
  const Events events = store_->MakeEvents(10);
  v1::JobSpec job = events.job;
  job.mutable_source()->clear_table();
  job.mutable_source()->set_query(
      "SELECT id, note, updated_at FROM events WHERE updated_at > :last_watermark AND id <> 5 -- a comment at the end");
  const auto session = Open(events.connection, job);
  EXPECT_THAT(Ids(*session, Between(&events.stamps[2], &events.stamps[5])), ElementsAre(4, 6));
  EXPECT_THAT(Ids(*session, Between(nullptr, &events.stamps[1])), ElementsAre(1, 2));
}

// The one promise everything rests on: what is not visible yet must not lie at or below `high`, unless the next window
// reaches back for it.
TEST_P(SqlSourceConformance, TheHorizonStaysBelowAnOpenWriter) {
  const v1::ConnectionSpec connection = store_->NewDatabase();
  const auto sql = store_->Open(connection);
  sql->Exec(store_->StampedTable("events"));
  sql->Exec("INSERT INTO events (id) VALUES (1)");
  const auto late = store_->Open(connection);
  late->Exec(store_->BeginWriting());
  late->Exec("INSERT INTO events (id) VALUES (2)");
  const std::string late_stamp = Scalar(*late, "SELECT updated_at FROM events WHERE id = 2");
  absl::SleepFor(absl::Milliseconds(1200));

  v1::JobSpec job = ReadJob("events", "updated_at");
  const auto session = Open(connection, job);
  const auto first = session->ProbeHorizon(std::nullopt);
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_NE(first->completeness.level(), v1::Completeness::LEVEL_UNSPECIFIED);
  EXPECT_GT(first->completeness.premises_size(), 0);
  if (first->completeness.level() == v1::Completeness::LEVEL_PROVED) {
    EXPECT_LT(first->high.text(), late_stamp);
  }
  late->Exec("COMMIT");

  const auto second = session->ProbeHorizon(first->high);
  ASSERT_TRUE(second.ok()) << second.status();
  v1::Window window = Between(&first->high, nullptr);
  if (first->completeness.level() == v1::Completeness::LEVEL_LOOKBACK) {
    // The window after a run that only looked back must look back itself.
    EXPECT_GT(first->completeness.lookback_seconds(), 0);
    const auto again = [&] {
      v1::JobSpec stamped = job;
      stamped.mutable_source()->set_stamped_by(v1::STAMPED_BY_APPLICATION);
      return Open(connection, stamped)->ProbeHorizon(first->high);
    }();
    ASSERT_TRUE(again.ok()) << again.status();
    ASSERT_TRUE(again->effective_low.has_value());
    *window.mutable_low() = *again->effective_low;
  }
  EXPECT_THAT(Ids(*session, window), ::testing::Contains(2));
}

TEST_P(SqlSourceConformance, TheHorizonReachesWhatWasCommittedBeforeTheProbe) {
  const v1::ConnectionSpec connection = store_->NewDatabase();
  const auto sql = store_->Open(connection);
  sql->Exec(store_->StampedTable("events"));
  sql->Exec("INSERT INTO events (id) VALUES (1)");
  const auto session = Open(connection, ReadJob("events", "updated_at"));
  const auto probe = session->ProbeHorizon(std::nullopt);
  ASSERT_TRUE(probe.ok()) << probe.status();
  ASSERT_EQ(probe->completeness.level(), v1::Completeness::LEVEL_PROVED) << probe->completeness.DebugString();
  ASSERT_TRUE(probe->probed_at.has_value());
  const absl::Time deadline = absl::Now() + absl::Seconds(10);
  while (absl::Now() < deadline) {
    const auto reached = session->HorizonReached(*probe->probed_at);
    ASSERT_TRUE(reached.ok()) << reached.status();
    if (*reached) break;
    absl::SleepFor(absl::Milliseconds(50));
  }
  const auto final_probe = session->ProbeHorizon(std::nullopt);
  ASSERT_TRUE(final_probe.ok());
  EXPECT_THAT(Ids(*session, Between(nullptr, &final_probe->high)), ElementsAre(1));
}

TEST_P(SqlSourceConformance, StampsOfTheApplicationAreOnlyLookedBackTo) {
  const Events events = store_->MakeEvents(5);
  v1::JobSpec job = events.job;
  job.mutable_source()->set_stamped_by(v1::STAMPED_BY_APPLICATION);
  job.mutable_source()->mutable_lookback()->set_seconds(2);
  const auto session = Open(events.connection, job);
  const auto probe = session->ProbeHorizon(events.stamps[4]);
  ASSERT_TRUE(probe.ok()) << probe.status();
  EXPECT_EQ(probe->completeness.level(), v1::Completeness::LEVEL_LOOKBACK);
  EXPECT_EQ(probe->completeness.lookback_seconds(), 2);
  ASSERT_TRUE(probe->effective_low.has_value());
  EXPECT_THAT(Ids(*session, Between(&*probe->effective_low, &probe->high)), ElementsAre(4, 5));
}

// Writers that commit late and out of order, and a reader that goes on from window to window: every row exactly once.
TEST_P(SqlSourceConformance, NothingIsLostToLateCommits) {
  constexpr int kWriters = 4;
  const v1::ConnectionSpec connection = store_->NewDatabase();
  store_->Open(connection)->Exec(store_->StampedTable("events"));
  std::atomic<bool> stop = false;
  std::vector<std::thread> writers;
  for (int writer = 0; writer < kWriters; ++writer) {
    writers.emplace_back([&, writer] {
      Rng rng(static_cast<uint64_t>(writer) + 1);
      const auto sql = store_->Open(connection);
      for (int i = 0; !stop; ++i) {
        sql->Exec(store_->BeginWriting());
        sql->Exec(absl::StrCat("INSERT INTO events (id) VALUES (", i * kWriters + writer, ")"));
        absl::SleepFor(absl::Milliseconds(static_cast<int64_t>(rng.Below(15))));
        sql->Exec("COMMIT");
        absl::SleepFor(absl::Milliseconds(static_cast<int64_t>(rng.Below(10))));
      }
    });
  }
  std::optional<v1::Watermark> low;
  std::map<int64_t, int> seen;
  bool proved = true;
  const auto read_window = [&] {
    // A session of its own for each, as in a run.
    const auto session = Open(connection, ReadJob("events", "updated_at"));
    const auto probe = session->ProbeHorizon(low);
    ASSERT_TRUE(probe.ok()) << probe.status();
    if (probe->empty) return;
    proved &= probe->completeness.level() == v1::Completeness::LEVEL_PROVED;
    const v1::Watermark* from = probe->effective_low ? &*probe->effective_low : low ? &*low : nullptr;
    for (const int64_t id : Ids(*session, Between(from, &probe->high))) ++seen[id];
    low = probe->high;
  };
  const absl::Time end = absl::Now() + absl::Milliseconds(2500);
  while (absl::Now() < end && !HasFatalFailure()) {
    read_window();
    absl::SleepFor(absl::Milliseconds(20));
  }
  stop = true;
  for (std::thread& writer : writers) writer.join();
  absl::SleepFor(absl::Milliseconds(1500));
  read_window();

  const auto sql = store_->Open(connection);
  const int64_t written = std::stoll(Scalar(*sql, "SELECT count(*) FROM events"));
  EXPECT_GT(written, 50);
  EXPECT_EQ(static_cast<int64_t>(seen.size()), written) << "lost";
  EXPECT_TRUE(proved) << "the barrier was never expected to fail here";
  if (proved) {
    for (const auto& [id, times] : seen) EXPECT_EQ(times, 1) << "row " << id;
  }
}

INSTANTIATE_TEST_SUITE_P(Stores, SqlSourceConformance, ::testing::ValuesIn(SqlStores()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace tidemark::conformance
