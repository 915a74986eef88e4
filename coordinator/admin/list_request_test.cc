#include "coordinator/admin/list_request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/base/rng.h"
#include "common/rpc/error_details.h"
#include "tidemark/v1/job.pb.h"
#include "tidemark/v1/run.pb.h"

namespace tidemark::coordinator {
namespace {

using testing::HasSubstr;

v1::Run ARun() {
  v1::Run run;
  run.set_name("runs/1");
  run.set_job("jobs/orders");
  run.set_status(v1::Run::STATUS_FAILED);
  run.set_phase("cancelled");
  run.mutable_counts()->set_read(42);
  run.set_error("it said \"no\" \\ AND = more");
  run.mutable_create_time()->set_seconds(1'767'225'600);
  run.mutable_create_time()->set_nanos(500'000'000);
  return run;
}

bool Matches(const std::string& text) {
  const absl::StatusOr<ListFilter> filter = ListFilter::Parse(text, *v1::Run::descriptor());
  EXPECT_TRUE(filter.ok()) << text << ": " << filter.status();
  return filter.ok() && filter->Matches(ARun());
}

void ExpectNames(const absl::Status& status, const std::string& field) {
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  const ErrorDetails details = DetailsOf(status);
  ASSERT_EQ(details.field_violations.size(), 1u) << status;
  EXPECT_EQ(details.field_violations[0].field, field);
}

TEST(ListFilterTest, ComparesFieldsOfEveryType) {
  EXPECT_TRUE(Matches(""));
  EXPECT_TRUE(Matches("  \t\n"));
  EXPECT_TRUE(Matches("job = \"jobs/orders\""));
  EXPECT_TRUE(Matches("job=jobs/orders"));
  EXPECT_FALSE(Matches("job = \"jobs/order\""));
  for (const char* status : {"failed", "FAILED", "status_failed", "STATUS_FAILED", "\"Failed\""}) {
    EXPECT_TRUE(Matches(absl::StrCat("status = ", status))) << status;
  }
  EXPECT_FALSE(Matches("status = success"));
  EXPECT_TRUE(Matches("counts.read = 42"));
  EXPECT_TRUE(Matches("counts.read = 042"));
  EXPECT_FALSE(Matches("counts.read = 4"));
  EXPECT_FALSE(Matches("counts.loaded = -1"));
  EXPECT_TRUE(Matches("counts.loaded = 0")) << "absent: the default of its type";
  EXPECT_TRUE(Matches("partitions = 0"));
  EXPECT_TRUE(Matches("create_time = \"2026-01-01T00:00:00.5Z\""));
  EXPECT_TRUE(Matches("create_time = 2026-01-01T01:00:00.5+01:00"));
  EXPECT_FALSE(Matches("create_time = 2026-01-01T00:00:00Z"));
  EXPECT_FALSE(Matches("end_time = 1970-01-01T00:00:00Z")) << "it has not ended";
  EXPECT_FALSE(Matches("window.full_refresh = false")) << "one of an absent message matches nothing";
  EXPECT_TRUE(Matches("error = \"it said \\\"no\\\" \\\\ AND = more\""));
  EXPECT_TRUE(Matches("retry_of = \"\""));
}

TEST(ListFilterTest, JoinsByAnd) {
  EXPECT_TRUE(Matches("status = failed AND phase = cancelled and counts.read=42"));
  EXPECT_FALSE(Matches("status = failed AND phase = done"));
  EXPECT_FALSE(Matches("status = failed AND status = success"));
  const ListFilter filter = ListFilter::Parse("status = failed AND job = j", *v1::Run::descriptor()).value();
  EXPECT_EQ(filter.ValueOf("job"), "j");
  EXPECT_EQ(filter.ValueOf("phase"), "");
}

TEST(ListFilterTest, SaysWhatCannotBeRead) {
  for (const auto& [text, why] : std::initializer_list<std::pair<const char*, const char*>>{
           {"nosuch = 1", "no field"},
           {"notes = x", "no field"},
           {"counts = 1", "fields of its own"},
           {"window.low = 1", "fields of its own"},
           {"counts.read.more = 1", "no field"},
           {"counts. = 1", "no field"},
           {".read = 1", "no field"},
           {"status", "expected = after status"},
           {"status failed", "expected = after status"},
           {"status =", "expected a value"},
           {"status = bogus", "no value that status can have"},
           {"counts.read = many", "no value that counts.read can have"},
           {"counts.read = 99999999999999999999", "no value"},
           {"create_time = yesterday", "no value"},
           {"window.full_refresh = yes", "no value"},
           {"phase = done OR phase = failed", "AND alone"},
           {"phase = done phase = failed", "AND alone"},
           {"phase = done AND", "expected FIELD"},
           {"AND phase = done", "no field"},
           {"= done", "expected FIELD"},
           {"\"phase\" = done", "expected FIELD"},
           {"phase = \"done", "not closed"},
           {"phase = \"done\\", "not closed"},
           {"phase \"=\" done", "expected ="},
           {"phase = done \"and\" job = j", "AND alone"}}) {
    const absl::Status status = ListFilter::Parse(text, *v1::Run::descriptor()).status();
    ExpectNames(status, "filter");
    EXPECT_THAT(std::string(status.message()), HasSubstr(why)) << text;
  }
}

TEST(ListFilterTest, TakesWhateverIsThrownAtIt) {
  const std::vector<std::string> pieces = {"status",
                                           "counts.read",
                                           "create_time",
                                           "window.full_refresh",
                                           "job",
                                           "=",
                                           "\"",
                                           "\\",
                                           " ",
                                           "AND",
                                           "and",
                                           "failed",
                                           "42",
                                           "true",
                                           ".",
                                           "\n",
                                           "\xff",
                                           "2026-01-01T00:00:00Z",
                                           "spec.schedule.cron",
                                           std::string(1, '\0'),
                                           "\u00e9",
                                           "-1"};
  Rng rng(7);
  int good = 0;
  for (int i = 0; i < 50'000; ++i) {
    std::string text;
    for (uint64_t left = rng.Below(12); left > 0; --left) {
      if (rng.Below(8) == 0) {
        text.push_back(static_cast<char>(rng.Below(256)));
      } else {
        text += pieces[rng.Below(pieces.size())];
      }
      if (rng.Below(2) == 0) text.push_back(' ');
    }
    for (const google::protobuf::Descriptor* resource : {v1::Run::descriptor(), v1::Job::descriptor()}) {
      const absl::StatusOr<ListFilter> filter = ListFilter::Parse(text, *resource);
      if (filter.ok()) {
        ++good;
        if (resource == v1::Run::descriptor()) (void)filter->Matches(ARun());
        if (resource == v1::Job::descriptor()) (void)filter->Matches(v1::Job());
      } else {
        ExpectNames(filter.status(), "filter");
        for (const char c : filter.status().message()) ASSERT_TRUE(c >= ' ' && c != '\x7f') << absl::CHexEscape(text);
      }
    }
    if (HasFailure()) FAIL() << absl::CHexEscape(text);
  }
  EXPECT_GT(good, 100) << "this test can fail";
}

TEST(ReadPageTest, SizesAndTokens) {
  EXPECT_EQ(ReadPage(0, "")->size, 100);
  EXPECT_EQ(ReadPage(1, "")->size, 1);
  EXPECT_EQ(ReadPage(1000, "")->size, 1000);
  EXPECT_EQ(ReadPage(1001, "")->size, 1000);
  EXPECT_EQ(ReadPage(2'147'483'647, "")->size, 1000);
  ExpectNames(ReadPage(-1, "").status(), "page_size");
  EXPECT_EQ(ReadPage(1, "")->after, "");
  for (const std::string& last : {std::string("orders"), std::string("\0\xff", 2), std::string()}) {
    EXPECT_EQ(ReadPage(1, PageToken(last))->after, last);
  }
  for (const char* token : {"orders", "x", "====", "cDI6b3JkZXJz", "\xff", "p1:orders"}) {
    ExpectNames(ReadPage(1, token).status(), "page_token");
  }
}

TEST(ReadPageTest, TakesWhateverIsThrownAtIt) {
  Rng rng(8);
  for (int i = 0; i < 50'000; ++i) {
    std::string token = PageToken("some job");
    for (uint64_t left = rng.Below(4); left > 0 && !token.empty(); --left) {
      const size_t at = rng.Below(token.size());
      switch (rng.Below(3)) {
        case 0:
          token[at] = static_cast<char>(rng.Below(256));
          break;
        case 1:
          token.erase(at, 1);
          break;
        default:
          token.insert(at, 1, static_cast<char>(rng.Below(256)));
      }
    }
    const absl::StatusOr<Page> page = ReadPage(static_cast<int32_t>(rng.Below(3000)), token);
    if (page.ok()) {
      ASSERT_TRUE(page->size >= 1 && page->size <= 1000);
    } else {
      ExpectNames(page.status(), "page_token");
      if (HasFailure()) FAIL() << absl::CHexEscape(token);
    }
  }
}

}  // namespace
}  // namespace tidemark::coordinator
