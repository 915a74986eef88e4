#include "coordinator/cache/redis_url.h"

#include <tuple>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace tidemark::coordinator {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

using Parts = std::tuple<std::string, int, std::string, std::string, int>;

Parts Parse(const char* url) {
  const absl::StatusOr<RedisAddress> address = ParseRedisUrl(url);
  EXPECT_TRUE(address.ok()) << url << ": " << address.status();
  if (!address.ok()) return {};
  return {address->host, address->port, address->user, address->password, address->database};
}

TEST(RedisUrlTest, Parts) {
  EXPECT_EQ(Parse("redis://cache"), Parts("cache", 6379, "", "", 0));
  EXPECT_EQ(Parse("redis://cache/"), Parts("cache", 6379, "", "", 0));
  EXPECT_EQ(Parse("redis://127.0.0.1:7000/3"), Parts("127.0.0.1", 7000, "", "", 3));
  EXPECT_EQ(Parse("redis://:pass@cache:7000"), Parts("cache", 7000, "", "pass", 0));
  EXPECT_EQ(Parse("redis://etl:p%40s%2Fs@cache/1"), Parts("cache", 6379, "etl", "p@s/s", 1));
  EXPECT_EQ(Parse("redis://:p@s/s?@cache"), Parts("cache", 6379, "", "p@s/s?", 0));
  EXPECT_EQ(Parse("redis://[::1]:7000/2"), Parts("::1", 7000, "", "", 2));
  EXPECT_EQ(Parse("redis://[::1]"), Parts("::1", 6379, "", "", 0));
}

TEST(RedisUrlTest, ErrorsShowNothingOfIt) {
  const auto error = [](const char* url) {
    const absl::Status status = ParseRedisUrl(url).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << url << ": " << status;
    EXPECT_THAT(std::string(status.message()), Not(HasSubstr("canary")));
    return std::string(status.message());
  };
  EXPECT_THAT(error("rediss://:canary@cache"), HasSubstr("TLS"));
  EXPECT_THAT(error("http://:canary@cache"), HasSubstr("expected redis://"));
  EXPECT_THAT(error(""), HasSubstr("expected redis://"));
  EXPECT_THAT(error("redis://"), HasSubstr("no host"));
  EXPECT_THAT(error("redis://:canary@"), HasSubstr("no host"));
  EXPECT_THAT(error("redis://canary@cache"), HasSubstr("after a colon"));
  EXPECT_THAT(error("redis://:canary@cache:port"), HasSubstr("port"));
  EXPECT_THAT(error("redis://:canary@cache:65536"), HasSubstr("port"));
  EXPECT_THAT(error("redis://:canary@cache/one"), HasSubstr("database"));
  EXPECT_THAT(error("redis://:canary@cache/-1"), HasSubstr("database"));
  EXPECT_THAT(error("redis://:canary@cache?db=1"), HasSubstr("parameters"));
  EXPECT_THAT(error("redis://:canary@[::1"), HasSubstr("]"));
}

}  // namespace
}  // namespace tidemark::coordinator
