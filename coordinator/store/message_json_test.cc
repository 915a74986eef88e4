#include "coordinator/store/message_json.h"

#include "coordinator/store/sample_records.h"
#include "google/protobuf/util/message_differencer.h"

namespace tidemark::coordinator {
namespace {

using ::google::protobuf::util::MessageDifferencer;

TEST(MessageJsonTest, WhatIsRememberedIsWhatWasPrinted) {
  const v1::JobSpec spec = SampleJob("remembered").spec;
  const std::string json = *MessageJson(spec);
  EXPECT_EQ(*MessageJson(spec), json);
  for (int i = 0; i < 2; ++i) {
    v1::JobSpec back;
    back.set_name("overwritten");
    ASSERT_EQ(ParseMessageJson(json, &back), absl::OkStatus());
    EXPECT_TRUE(MessageDifferencer::Equals(back, spec));
  }
  v1::JobSpec other = spec;
  other.mutable_source()->mutable_horizon_wait()->set_nanos(1'000);
  EXPECT_NE(*MessageJson(other), json);
}

TEST(MessageJsonTest, EqualBytesOfDifferentTypesAreTold) {
  v1::Window window;
  window.set_kind(v1::WINDOW_KIND_RANGE);
  v1::RowCounts counts;
  counts.set_read(2);
  ASSERT_EQ(window.SerializeAsString(), counts.SerializeAsString());
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(*MessageJson(window), R"({"kind":"WINDOW_KIND_RANGE"})");
    EXPECT_EQ(*MessageJson(counts), R"({"read":"2"})");
    EXPECT_EQ(*MessageJson(v1::Window()), "{}");
  }
}

TEST(MessageJsonTest, FieldsOfLaterVersionsAreLeftOut) {
  for (int i = 0; i < 2; ++i) {
    v1::JobSpec spec;
    ASSERT_EQ(ParseMessageJson(R"({"name":"later","new_field":[1]})", &spec), absl::OkStatus());
    EXPECT_EQ(spec.name(), "later");
    EXPECT_THAT(ParseMessageJson(R"({"name":)", &spec), HasCode(absl::StatusCode::kDataLoss));
  }
}

}  // namespace
}  // namespace tidemark::coordinator
