#include "coordinator/cache/job_list_codec.h"

#include "absl/strings/str_cat.h"
#include "common/base/rng.h"
#include "google/protobuf/util/message_differencer.h"
#include "gtest/gtest.h"

namespace tidemark::coordinator {
namespace {

CachedList Sample(int jobs = 3) {
  auto list = std::make_shared<JobList>();
  list->revision = 7;
  for (int i = 0; i < jobs; ++i) {
    JobDefinition job;
    job.uid = absl::StrCat("uid", i);
    job.spec.set_name(absl::StrCat("job", i));
    job.spec.mutable_schedule()->set_cron("30 2 * * *");
    job.spec.mutable_source()->set_query("SELECT 'é'");
    job.enabled = i % 2 == 0;
    job.created = absl::FromUnixMicros(1'767'225'600'000'001 + i);
    job.updated = absl::FromUnixMicros(-1);
    list->jobs.push_back(job);
  }
  return {list, absl::FromUnixMicros(1'767'225'700'123'456), absl::Milliseconds(12)};
}

void ExpectSame(const CachedList& a, const CachedList& b) {
  EXPECT_EQ(a.expires, b.expires);
  EXPECT_EQ(a.load_time, b.load_time);
  EXPECT_EQ(a.list->revision, b.list->revision);
  ASSERT_EQ(a.list->jobs.size(), b.list->jobs.size());
  for (size_t i = 0; i < a.list->jobs.size(); ++i) {
    const JobDefinition& one = a.list->jobs[i];
    const JobDefinition& other = b.list->jobs[i];
    EXPECT_EQ(one.uid, other.uid);
    EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(one.spec, other.spec));
    EXPECT_EQ(one.enabled, other.enabled);
    EXPECT_EQ(one.created, other.created);
    EXPECT_EQ(one.updated, other.updated);
  }
}

TEST(JobListCodecTest, ComesBackAsItWas) {
  for (const int jobs : {0, 3, 5000}) {
    const CachedList sample = Sample(jobs);
    const std::string value = EncodeJobList(sample, "cluster");
    const std::optional<CachedList> decoded = DecodeJobList(value, "cluster", 7);
    ASSERT_TRUE(decoded.has_value()) << jobs;
    ExpectSame(*decoded, sample);
  }
}

TEST(JobListCodecTest, OfAnotherClusterOrRevisionItIsIgnored) {
  const std::string value = EncodeJobList(Sample(), "cluster");
  EXPECT_FALSE(DecodeJobList(value, "other", 7).has_value());
  EXPECT_FALSE(DecodeJobList(value, "cluster", 8).has_value());
}

TEST(JobListCodecTest, DamageIsFound) {
  const std::string value = EncodeJobList(Sample(), "cluster");
  for (size_t i = 0; i < value.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string damaged = value;
      damaged[i] = static_cast<char>(damaged[i] ^ (1 << bit));
      EXPECT_FALSE(DecodeJobList(damaged, "cluster", 7).has_value()) << i;
    }
  }
  for (size_t size = 0; size < value.size(); ++size) {
    EXPECT_FALSE(DecodeJobList(value.substr(0, size), "cluster", 7).has_value()) << size;
  }
  EXPECT_FALSE(DecodeJobList(value + "x", "cluster", 7).has_value());
}

TEST(JobListCodecTest, GarbageIsIgnored) {
  Rng rng(1);
  for (int i = 0; i < 1000; ++i) {
    std::string garbage(rng.Below(300), '\0');
    for (char& c : garbage) c = static_cast<char>(rng.Next());
    // Half of them begin like the format.
    if (i % 2 == 0) garbage = "tidemark1" + garbage;
    EXPECT_FALSE(DecodeJobList(garbage, "cluster", 7).has_value());
  }
}

}  // namespace
}  // namespace tidemark::coordinator
