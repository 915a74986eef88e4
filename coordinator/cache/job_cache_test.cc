#include "coordinator/cache/job_cache.h"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/model/duration.h"
#include "coordinator/cache/redis_shared_values.h"
#include "coordinator/cache/store_job_list_source.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/redis_server.h"

namespace tidemark::coordinator {
namespace {

using test::RedisServer;
using ::testing::AnyOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr absl::Duration kTtl = absl::Minutes(10);

// Jobs in memory; each revision has one more job than the one before, so that a list tells which it is.
class FakeSource final : public JobListSource {
 public:
  absl::StatusOr<int64_t> Revision() override {
    ++revision_calls_;
    absl::MutexLock lock(&mutex_);
    if (!revision_error_.ok()) return revision_error_;
    return revision_;
  }

  absl::StatusOr<std::vector<JobDefinition>> Load() override {
    ++loads_;
    const int now_loading = ++loading_;
    for (int most = most_loading_; now_loading > most && !most_loading_.compare_exchange_weak(most, now_loading);) {
    }
    std::vector<JobDefinition> jobs;
    absl::Status error;
    std::function<void()> during;
    {
      absl::MutexLock lock(&mutex_);
      for (int64_t i = 0; i < revision_; ++i) {
        JobDefinition job;
        job.uid = absl::StrCat("uid", i);
        job.spec.set_name(absl::StrCat("job", i));
        jobs.push_back(job);
      }
      error = load_error_;
      during = during_load_;
    }
    if (during) during();
    --loading_;
    if (!error.ok()) return error;
    return jobs;
  }

  void SetRevision(int64_t revision) {
    absl::MutexLock lock(&mutex_);
    revision_ = revision;
  }
  int64_t Change() {
    absl::MutexLock lock(&mutex_);
    return ++revision_;
  }
  void FailRevision(absl::Status status) {
    absl::MutexLock lock(&mutex_);
    revision_error_ = std::move(status);
  }
  void FailLoad(absl::Status status) {
    absl::MutexLock lock(&mutex_);
    load_error_ = std::move(status);
  }
  // Called between reading the jobs and returning them.
  void DuringLoad(std::function<void()> during) {
    absl::MutexLock lock(&mutex_);
    during_load_ = std::move(during);
  }
  int loads() const { return loads_; }
  int most_loading() const { return most_loading_; }
  int revision_calls() const { return revision_calls_; }

 private:
  std::atomic<int> loads_ = 0;
  std::atomic<int> loading_ = 0;
  std::atomic<int> most_loading_ = 0;
  std::atomic<int> revision_calls_ = 0;
  absl::Mutex mutex_;
  int64_t revision_ ABSL_GUARDED_BY(mutex_) = 1;
  absl::Status revision_error_ ABSL_GUARDED_BY(mutex_);
  absl::Status load_error_ ABSL_GUARDED_BY(mutex_);
  std::function<void()> during_load_ ABSL_GUARDED_BY(mutex_);
};

// One server for the whole program, emptied for each test.
RedisServer& SharedServer() {
  static const std::unique_ptr<RedisServer> server = [] {
    auto started = RedisServer::Start();
    if (!started.ok()) {
      ADD_FAILURE() << started.status();
      abort();
    }
    return *std::move(started);
  }();
  return *server;
}

// A cache, which stands for a process, and what it told of its Gets.
struct CacheUnderTest {
  std::unique_ptr<JobCache> cache;
  absl::Mutex mutex;
  std::vector<std::string> results ABSL_GUARDED_BY(mutex);

  // Gets, checks the list to be that of a revision, and returns which; an error fails the test.
  int64_t Get() {
    const absl::StatusOr<std::shared_ptr<const JobList>> list = cache->Get();
    EXPECT_TRUE(list.ok()) << list.status();
    if (!list.ok()) return -1;
    EXPECT_EQ((*list)->jobs.size(), (*list)->revision);
    for (size_t i = 0; i < (*list)->jobs.size(); ++i) EXPECT_EQ((*list)->jobs[i].spec.name(), absl::StrCat("job", i));
    return (*list)->revision;
  }
  std::vector<std::string> Results() {
    absl::MutexLock lock(&mutex);
    return std::exchange(results, {});
  }
};

class CacheTest : public ::testing::Test {
 protected:
  JobCacheOptions Options(CacheUnderTest* under_test) {
    JobCacheOptions options;
    options.source = &source_;
    options.clock = &clock_;
    options.rng = &rng_;
    options.ttl = kTtl;
    options.observer = [under_test](JobCacheResult result) {
      absl::MutexLock lock(&under_test->mutex);
      under_test->results.emplace_back(Name(result));
    };
    return options;
  }

  std::unique_ptr<CacheUnderTest> OnRedis(const std::string& url) {
    auto under_test = std::make_unique<CacheUnderTest>();
    JobCacheOptions options = Options(under_test.get());
    options.outage.began = [this](const absl::Status& error) { outages_.emplace_back(error.message()); };
    options.outage.ended = [this](absl::Duration after) { outages_.push_back("over after " + DurationText(after)); };
    auto cache = NewRedisJobCache(options, url, "c1");
    EXPECT_TRUE(cache.ok()) << cache.status();
    if (cache.ok()) under_test->cache = *std::move(cache);
    return under_test;
  }

  SimulatedClock clock_;
  Rng rng_{7};
  FakeSource source_;
  // Of Redis: how each began, and how it ended.
  std::vector<std::string> outages_;
};

TEST_F(CacheTest, TheStoresJobsAreASource) {
  const std::unique_ptr<MetadataStore> store = NewMemoryStore(&clock_, 1);
  StoreJobListSource source(store.get());
  CacheUnderTest under_test;
  JobCacheOptions options = Options(&under_test);
  options.source = &source;
  under_test.cache = NewMemoryJobCache(options);
  EXPECT_EQ((*under_test.cache->Get())->jobs.size(), 0);
  const int64_t epoch = *store->AcquireLeadership("test", absl::Minutes(1), 0);
  WriteBatch batch;
  for (const char* name : {"b", "a"}) {
    JobRecord job;
    job.uid = absl::StrCat("uid-", name);
    job.spec.set_name(name);
    job.enabled = job.uid == "uid-a";
    job.created = job.updated = clock_.Now();
    batch.jobs.push_back(job);
  }
  ASSERT_TRUE(store->Apply(epoch, batch).ok());
  const std::shared_ptr<const JobList> list = *under_test.cache->Get();
  ASSERT_EQ(list->jobs.size(), 2);
  EXPECT_EQ(list->jobs[0].uid, "uid-a");
  EXPECT_EQ(list->jobs[0].spec.name(), "a");
  EXPECT_TRUE(list->jobs[0].enabled);
  EXPECT_FALSE(list->jobs[1].enabled);
  EXPECT_EQ(list->jobs[1].created, clock_.Now());
  // Watermarks change with every run, and the list with none.
  WatermarkAdvance advance;
  advance.job_uid = "uid-a";
  advance.high.emplace().set_text("7");
  advance.sequence = 1;
  WriteBatch watermark;
  watermark.watermarks = {advance};
  ASSERT_TRUE(store->Apply(epoch, watermark).ok());
  EXPECT_EQ(*under_test.cache->Get(), list);
}

enum class Kind { kMemory, kRedis };

class JobCacheTest : public CacheTest, public ::testing::WithParamInterface<Kind> {
 protected:
  void SetUp() override {
    if (GetParam() == Kind::kRedis) SharedServer().Flush();
    under_test_ = New();
  }

  std::unique_ptr<CacheUnderTest> New() {
    if (GetParam() == Kind::kRedis) return OnRedis(SharedServer().Url());
    auto under_test = std::make_unique<CacheUnderTest>();
    under_test->cache = NewMemoryJobCache(Options(under_test.get()));
    return under_test;
  }

  int64_t Get() { return under_test_->Get(); }
  std::vector<std::string> Results() { return under_test_->Results(); }

  std::unique_ptr<CacheUnderTest> under_test_;
};

INSTANTIATE_TEST_SUITE_P(Kinds, JobCacheTest, ::testing::Values(Kind::kMemory, Kind::kRedis),
                         [](const auto& info) { return info.param == Kind::kMemory ? "Memory" : "Redis"; });

TEST_P(JobCacheTest, OneLoadForOneRevision) {
  for (int i = 0; i < 5; ++i) EXPECT_EQ(Get(), 1);
  EXPECT_EQ(source_.loads(), 1);
  EXPECT_THAT(Results(), ElementsAre("miss", "hit", "hit", "hit", "hit"));
}

TEST_P(JobCacheTest, AChangeIsSeenAtOnce) {
  EXPECT_EQ(Get(), 1);
  source_.Change();
  EXPECT_EQ(Get(), 2);
  EXPECT_EQ(Get(), 2);
  EXPECT_EQ(source_.loads(), 2);
}

TEST_P(JobCacheTest, ErrorsAreTheSources) {
  source_.FailLoad(absl::UnavailableError("no store"));
  EXPECT_EQ(under_test_->cache->Get().status(), absl::UnavailableError("no store"));
  source_.FailLoad(absl::OkStatus());
  EXPECT_EQ(Get(), 1);
  // A list of which nobody knows whether it is the newest is none.
  source_.FailRevision(absl::UnavailableError("no store"));
  EXPECT_EQ(under_test_->cache->Get().status(), absl::UnavailableError("no store"));
  source_.FailRevision(absl::OkStatus());
  EXPECT_EQ(Get(), 1);
  EXPECT_THAT(Results(), ElementsAre("error", "miss", "error", "hit"));
}

TEST_P(JobCacheTest, AListThatChangedWhileItWasReadIsReadAgain) {
  int changes = 1;
  source_.DuringLoad([&] {
    if (changes-- > 0) source_.Change();
  });
  EXPECT_EQ(Get(), 2);
  EXPECT_EQ(source_.loads(), 2);
  EXPECT_EQ(Get(), 2);
  // Nobody finds one under the revision that it was not read at.
  source_.SetRevision(1);
  EXPECT_EQ(New()->Get(), 1);
  EXPECT_EQ(source_.loads(), 3);
}

TEST_P(JobCacheTest, JobsThatNeverStandStillAreReturnedAndNotKept) {
  source_.DuringLoad([&] { source_.Change(); });
  EXPECT_EQ(Get(), 3);
  EXPECT_EQ(source_.loads(), 3);
  source_.DuringLoad(nullptr);
  EXPECT_EQ(Get(), 4);
  EXPECT_EQ(source_.loads(), 4);
}

TEST_P(JobCacheTest, AThousandThreadsThatMissAtOnceLoadOnce) {
  constexpr int kThreads = 1000;
  // Each has asked for the revision, and so is about to miss or to wait, before the load ends.
  source_.DuringLoad([&] {
    while (source_.revision_calls() < kThreads) std::this_thread::yield();
  });
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) threads.emplace_back([&] { EXPECT_EQ(Get(), 1); });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(source_.loads(), 1);
  const std::vector<std::string> results = Results();
  EXPECT_EQ(std::count(results.begin(), results.end(), "miss"), 1);
  EXPECT_THAT(results, Each(AnyOf("miss", "waited", "hit")));
}

TEST_P(JobCacheTest, ThreadsNeverGetLessThanWhatWasThereWhenTheyAsked) {
  std::atomic<bool> stop = false;
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      while (!stop) {
        const int64_t before = *source_.Revision();
        EXPECT_GE(Get(), before);
      }
    });
  }
  for (int i = 0; i < 200; ++i) {
    source_.Change();
    Get();
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(source_.most_loading(), 1);
}

TEST_P(JobCacheTest, WhatHasExpiredIsLoadedAgain) {
  EXPECT_EQ(Get(), 1);
  clock_.Advance(kTtl * 0.9 - absl::Seconds(1));
  EXPECT_EQ(Get(), 1);
  EXPECT_EQ(source_.loads(), 1);
  clock_.Advance(kTtl * 0.1 + absl::Seconds(1));
  EXPECT_EQ(Get(), 1);
  EXPECT_EQ(source_.loads(), 2);
  EXPECT_THAT(Results(), ElementsAre("miss", "hit", "miss"));
}

TEST_P(JobCacheTest, IsLoadedEarlyTheNearerItsEnd) {
  source_.DuringLoad([&] { clock_.Advance(absl::Seconds(10)); });
  EXPECT_EQ(Get(), 1);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(Get(), 1);
  EXPECT_EQ(source_.loads(), 1);
  // At the most a minute before the end, and not after it.
  clock_.Advance(kTtl * 0.9 - absl::Seconds(1));
  Results();
  for (int i = 0; i < 10'000 && source_.loads() == 1; ++i) EXPECT_EQ(Get(), 1);
  EXPECT_EQ(source_.loads(), 2);
  EXPECT_EQ(Results().back(), "recomputed");
  // The new one is fresh.
  for (int i = 0; i < 100; ++i) EXPECT_EQ(Get(), 1);
  EXPECT_EQ(source_.loads(), 2);
}

TEST_P(JobCacheTest, AnEarlyLoadThatFailsHarmsNobody) {
  source_.DuringLoad([&] { clock_.Advance(absl::Seconds(10)); });
  EXPECT_EQ(Get(), 1);
  source_.DuringLoad(nullptr);
  source_.FailLoad(absl::UnavailableError("no store"));
  clock_.Advance(kTtl * 0.9 - absl::Seconds(1));
  for (int i = 0; i < 10'000 && source_.loads() == 1; ++i) EXPECT_EQ(Get(), 1);
  EXPECT_EQ(source_.loads(), 2);
}

TEST_P(JobCacheTest, ManyThreadsNearTheEndLoadOneAtATime) {
  source_.DuringLoad([&] { clock_.Advance(absl::Seconds(10)); });
  EXPECT_EQ(Get(), 1);
  clock_.Advance(kTtl * 0.9 - absl::Seconds(1));
  std::vector<std::thread> threads;
  for (int i = 0; i < 50; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < 20; ++n) EXPECT_EQ(Get(), 1);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(source_.most_loading(), 1);
}

class RedisJobCacheTest : public CacheTest {
 protected:
  void SetUp() override { server().Flush(); }
  // Of tests that stop it too: each leaves it running.
  RedisServer& server() { return SharedServer(); }
  std::unique_ptr<CacheUnderTest> New() { return OnRedis(server().Url()); }
  static std::string Key(int64_t revision) { return absl::StrCat("tidemark:c1:jobs:", revision); }
};

TEST_F(RedisJobCacheTest, WhatOneProcessLoadedTheOthersFind) {
  EXPECT_EQ(New()->Get(), 1);
  const auto other = New();
  EXPECT_EQ(other->Get(), 1);
  EXPECT_THAT(other->Results(), ElementsAre("hit"));
  EXPECT_EQ(source_.loads(), 1);
  // Nothing else is there, the lock is gone, and the value has its time less at most a tenth.
  EXPECT_EQ(server().Command({"KEYS", "*"}), Key(1));
  int64_t left = 0;
  ASSERT_TRUE(absl::SimpleAtoi(server().Command({"PTTL", Key(1)}), &left));
  EXPECT_LE(left, absl::ToInt64Milliseconds(kTtl));
  EXPECT_GT(left, absl::ToInt64Milliseconds(kTtl * 0.9) - 60'000);
}

TEST_F(RedisJobCacheTest, AnEarlyLoadIsSharedToo) {
  source_.DuringLoad([&] { clock_.Advance(absl::Seconds(10)); });
  const auto one = New();
  const auto other = New();
  EXPECT_EQ(one->Get(), 1);
  EXPECT_EQ(other->Get(), 1);
  clock_.Advance(kTtl * 0.9 - absl::Seconds(1));
  for (int i = 0; i < 10'000 && source_.loads() == 1; ++i) EXPECT_EQ(one->Get(), 1);
  // Whenever the other thinks of it, it finds that one.
  clock_.Advance(absl::Seconds(61));
  EXPECT_EQ(other->Get(), 1);
  EXPECT_EQ(source_.loads(), 2);
}

TEST_F(RedisJobCacheTest, FlushedInTheMiddle) {
  const auto one = New();
  EXPECT_EQ(one->Get(), 1);
  server().Flush();
  EXPECT_EQ(one->Get(), 1);
  source_.DuringLoad([&] { server().Flush(); });
  EXPECT_EQ(New()->Get(), 1);
  source_.Change();
  EXPECT_EQ(one->Get(), 2);
  EXPECT_THAT(one->Results(), ElementsAre("miss", "hit", "miss"));
}

TEST_F(RedisJobCacheTest, GoneAndBack) {
  const auto cache = New();
  server().Stop();
  for (int i = 1; i <= 10; ++i) {
    EXPECT_EQ(cache->Get(), i);
    source_.Change();
  }
  EXPECT_THAT(cache->Results(), Each("bypass"));
  EXPECT_EQ(source_.loads(), 10);
  const std::string began = absl::StrCat("redis 127.0.0.1:", server().port(), ": Connection refused");
  EXPECT_THAT(outages_, ElementsAre(began));
  clock_.Advance(kRedisPause);
  EXPECT_EQ(cache->Get(), 11);
  source_.Change();
  ASSERT_TRUE(server().Restart().ok());
  clock_.Advance(kRedisPause);
  EXPECT_EQ(cache->Get(), 12);
  EXPECT_THAT(outages_, ElementsAre(began, "over after 10s"));
  EXPECT_EQ(New()->Get(), 12);
  EXPECT_THAT(cache->Results(), ElementsAre("bypass", "miss"));
  EXPECT_EQ(source_.loads(), 12);
}

TEST_F(RedisJobCacheTest, AConnectionThatWasClosedIsOpenedAgain) {
  const auto cache = New();
  EXPECT_EQ(cache->Get(), 1);
  ASSERT_TRUE(server().Restart().ok());
  source_.Change();
  EXPECT_EQ(cache->Get(), 2);
  EXPECT_THAT(cache->Results(), ElementsAre("miss", "miss"));
}

TEST_F(RedisJobCacheTest, OneThatDoesNotAnswerIsLeftAlone) {
  const auto cache = New();
  EXPECT_EQ(cache->Get(), 1);
  server().Pause();
  for (int i = 1; i <= 10; ++i) {
    EXPECT_EQ(cache->Get(), i);
    source_.Change();
  }
  EXPECT_EQ(source_.loads(), 10);
  // The first of them was in this process; the others went by.
  EXPECT_THAT(cache->Results(), ElementsAre("miss", "hit", "bypass", "bypass", "bypass", "bypass", "bypass", "bypass",
                                            "bypass", "bypass", "bypass"));
  server().Resume();
  // Not even asked, until the pause is over.
  EXPECT_EQ(cache->Get(), 11);
  EXPECT_EQ(server().Command({"EXISTS", Key(11)}), "0");
  clock_.Advance(kRedisPause);
  source_.Change();
  EXPECT_EQ(cache->Get(), 12);
  EXPECT_EQ(server().Command({"EXISTS", Key(12)}), "1");
  EXPECT_THAT(cache->Results(), ElementsAre("bypass", "miss"));
}

TEST_F(RedisJobCacheTest, ForeignValuesAreIgnoredAndReplaced) {
  EXPECT_EQ(New()->Get(), 1);
  source_.Change();
  const std::vector<std::vector<std::string>> kForeign = {
      {"SET", Key(2), "garbage"},
      {"SET", Key(2), ""},
      {"COPY", Key(1), Key(2)},
      {"RPUSH", Key(2), "a", "list"},
  };
  for (const std::vector<std::string>& foreign : kForeign) {
    server().Command({"DEL", Key(2)});
    server().Command(foreign);
    const int loads = source_.loads();
    const auto cache = New();
    EXPECT_EQ(cache->Get(), 2);
    EXPECT_THAT(cache->Results(), ElementsAre("miss")) << foreign[0];
    EXPECT_EQ(New()->Get(), 2);
    EXPECT_EQ(source_.loads(), loads + 1);
  }
}

TEST_F(RedisJobCacheTest, TwoProcessesThatMissAtOnceLoadAtMostOnceEach) {
  for (int round = 0; round < 20; ++round) {
    const int64_t revision = source_.Change();
    const int loads = source_.loads();
    const auto one = New();
    const auto other = New();
    std::vector<std::thread> threads;
    for (int i = 0; i < 20; ++i) {
      threads.emplace_back([&, i] { EXPECT_EQ((i % 2 == 0 ? one : other)->Get(), revision); });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_LE(source_.loads(), loads + 2);
  }
}

TEST_F(RedisJobCacheTest, AnotherProcessIsWaitedFor) {
  // Whoever waits does so for a fraction of a second, so that on a slow machine some rounds tell nothing.
  bool waited = false;
  for (int round = 0; round < 50 && !waited; ++round) {
    const int64_t revision = source_.Change();
    const int loads = source_.loads();
    const auto one = New();
    const auto other = New();
    std::thread waiting;
    // The other one comes while the first holds the lock.
    source_.DuringLoad([&] {
      source_.DuringLoad(nullptr);
      const int calls = source_.revision_calls();
      waiting = std::thread([&] { EXPECT_EQ(other->Get(), revision); });
      while (source_.revision_calls() == calls) std::this_thread::yield();
    });
    EXPECT_EQ(one->Get(), revision);
    waiting.join();
    EXPECT_THAT(one->Results(), ElementsAre("miss"));
    const std::string result = other->Results()[0];
    EXPECT_EQ(source_.loads() - loads, result == "bypass" ? 2 : 1) << result;
    waited = result == "waited";
  }
  EXPECT_TRUE(waited);
}

TEST_F(RedisJobCacheTest, AProcessThatNeverEndsItsLoadIsNotWaitedForLong) {
  server().Command({"SET", absl::StrCat(Key(1), ":lock"), "another", "PX", "600000"});
  const auto cache = New();
  EXPECT_EQ(cache->Get(), 1);
  EXPECT_THAT(cache->Results(), ElementsAre("bypass"));
  EXPECT_EQ(server().Command({"GET", absl::StrCat(Key(1), ":lock")}), "another");
  // What it loaded is there for all the same.
  EXPECT_EQ(New()->Get(), 1);
  EXPECT_EQ(source_.loads(), 1);
}

TEST_F(RedisJobCacheTest, WhateverHappensToRedisTheListIsRight) {
  Rng chance(99);
  const auto one = New();
  const auto other = New();
  bool stopped = false;
  for (int i = 0; i < 150; ++i) {
    switch (chance.Below(12)) {
      case 0:
        if (!stopped) server().Flush();
        break;
      case 1:
        server().Stop();
        stopped = true;
        break;
      case 2:
        ASSERT_TRUE(server().Restart().ok());
        stopped = false;
        break;
      case 3:
        if (!stopped) server().Pause();
        one->Get();
        if (!stopped) server().Resume();
        break;
      case 4:
        if (!stopped) server().Command({"SET", Key(i), "garbage"});
        break;
      case 5:
        clock_.Advance(absl::Seconds(chance.Below(700)));
        break;
      default:
        source_.Change();
        break;
    }
    const int64_t revision = *source_.Revision();
    EXPECT_EQ(one->Get(), revision);
    EXPECT_EQ(other->Get(), revision);
  }
  ASSERT_TRUE(server().Restart().ok());
}

TEST_F(RedisJobCacheTest, PasswordUserAndDatabase) {
  const auto secured = RedisServer::Start("p@ss/word");
  ASSERT_TRUE(secured.ok()) << secured.status();
  const std::string at = absl::StrCat("127.0.0.1:", (*secured)->port());
  EXPECT_EQ(OnRedis(absl::StrCat("redis://default:p%40ss%2Fword@", at, "/3"))->Get(), 1);
  EXPECT_EQ((*secured)->Command({"EXISTS", Key(1)}), "0");
  EXPECT_EQ((*secured)->Command({"-n", "3", "EXISTS", Key(1)}), "1");
  for (const char* who : {"", ":wrong-canary@", "nobody:wrong-canary@"}) {
    const auto cache = OnRedis(absl::StrCat("redis://", who, at));
    EXPECT_EQ(cache->Get(), 1);
    EXPECT_THAT(cache->Results(), ElementsAre("bypass"));
    const auto values = NewRedisSharedValues(*ParseRedisUrl(absl::StrCat("redis://", who, at)), &clock_);
    const absl::Status status = values->Get("a").status();
    EXPECT_TRUE(absl::IsUnavailable(status)) << status;
    EXPECT_THAT(std::string(status.message()), Not(HasSubstr("canary")));
  }
  const auto cache = OnRedis(absl::StrCat("redis://:p@ss/word@", at, "/99999"));
  EXPECT_EQ(cache->Get(), 1);
  EXPECT_THAT(cache->Results(), ElementsAre("bypass"));
}

// Listens on an address and lets nobody in: who connects hears nothing.
class Swallower {
 public:
  Swallower(const sockaddr* address, socklen_t size) {
    const int listener = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockets_.push_back(listener);
    EXPECT_EQ(bind(listener, address, size), 0) << strerror(errno);
    EXPECT_EQ(listen(listener, 0), 0);
    // Until its queue is full.
    for (int i = 0; i < 4; ++i) {
      sockets_.push_back(socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
      (void)connect(sockets_.back(), address, size);
    }
  }
  ~Swallower() {
    for (const int socket : sockets_) close(socket);
  }

 private:
  std::vector<int> sockets_;
};

TEST_F(RedisJobCacheTest, AnAddressThatSwallowsEverythingLeavesTimeForTheNext) {
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  ASSERT_EQ(getaddrinfo("localhost", std::to_string(server().port()).c_str(), &hints, &found), 0);
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> addresses(found, freeaddrinfo);
  const auto is_server = [](const addrinfo& at) {
    return at.ai_family == AF_INET &&
           reinterpret_cast<const sockaddr_in*>(at.ai_addr)->sin_addr.s_addr == htonl(INADDR_LOOPBACK);
  };
  if (found->ai_next == nullptr || is_server(*found)) GTEST_SKIP() << "localhost has no address before 127.0.0.1";
  const Swallower first(found->ai_addr, found->ai_addrlen);
  const auto values =
      NewRedisSharedValues(*ParseRedisUrl(absl::StrCat("redis://localhost:", server().port())), &clock_);
  EXPECT_EQ(values->Get("a").status(), absl::OkStatus());
}

TEST_F(RedisJobCacheTest, NoSuchHost) {
  const auto cache = OnRedis("redis://no-such-host.invalid");
  EXPECT_EQ(cache->Get(), 1);
  EXPECT_THAT(cache->Results(), ElementsAre("bypass"));
}

TEST_F(RedisJobCacheTest, ALockIsItsHoldersAlone) {
  const auto values = NewRedisSharedValues(*ParseRedisUrl(server().Url()), &clock_);
  EXPECT_TRUE(*values->TryLock("lock", "a", absl::Minutes(1)));
  EXPECT_FALSE(*values->TryLock("lock", "b", absl::Minutes(1)));
  EXPECT_TRUE(values->Unlock("lock", "b").ok());
  EXPECT_FALSE(*values->TryLock("lock", "b", absl::Minutes(1)));
  EXPECT_TRUE(values->Unlock("lock", "a").ok());
  EXPECT_TRUE(*values->TryLock("lock", "b", absl::Minutes(1)));
  EXPECT_EQ(*values->Get("none"), std::nullopt);
  const std::string large(3 << 20, '\0');
  EXPECT_TRUE(values->Put("large", large, absl::Minutes(1)).ok());
  EXPECT_EQ(*values->Get("large"), large);
}

// Accepts one connection after the other and answers what no Redis does.
class Impostor {
 public:
  explicit Impostor(std::string answer) : answer_(std::move(answer)) {
    listener_ = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    EXPECT_EQ(bind(listener_, reinterpret_cast<struct sockaddr*>(&address), size), 0);
    EXPECT_EQ(listen(listener_, 8), 0);
    EXPECT_EQ(getsockname(listener_, reinterpret_cast<struct sockaddr*>(&address), &size), 0);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] {
      for (int fd; (fd = accept(listener_, nullptr, nullptr)) >= 0; close(fd)) {
        char request[4096];
        if (recv(fd, request, sizeof(request), 0) > 0) send(fd, answer_.data(), answer_.size(), MSG_NOSIGNAL);
      }
    });
  }
  ~Impostor() {
    shutdown(listener_, SHUT_RDWR);
    thread_.join();
    close(listener_);
  }
  std::string Url() const { return absl::StrCat("redis://127.0.0.1:", port_); }

 private:
  const std::string answer_;
  int listener_ = -1;
  int port_ = 0;
  std::thread thread_;
};

TEST_F(RedisJobCacheTest, SomethingElseThatAnswers) {
  for (const char* answer : {"HTTP/1.1 400 Bad Request\r\n\r\n", "", "$-5\r\n", "$100\r\nhalf a value",
                             "*2\r\n*1\r\n:1\r\n$-1\r\n", ":1\r\n", "-LOADING Redis is loading\r\n"}) {
    SCOPED_TRACE(answer);
    const Impostor impostor(answer);
    const auto cache = OnRedis(impostor.Url());
    for (int i = 0; i < 4; ++i) {
      const int64_t revision = source_.Change();
      EXPECT_EQ(cache->Get(), revision);
    }
  }
}

}  // namespace
}  // namespace tidemark::coordinator
